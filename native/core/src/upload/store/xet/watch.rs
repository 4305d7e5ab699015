//! Watching a session of xet-core's, which has no deadlines of its own worth the name: it asks five times,
//! and waits for minutes each time. What moves is left alone, however slow it is: what is read, sent,
//! acknowledged by storage's side of a connection, or reported.

use std::time::{Duration, Instant};

use url::Url;
use xet_data::processing::FileUploadSession;
use xet_data::progress_tracking::GroupProgressReport;

use super::super::super::item::Item;
use super::super::super::{answer_patience, storage_patience};
use crate::call::Call;
use crate::call::waits::Waiting;
use crate::config::Deadlines;
use crate::http::Wire;
use crate::http::origin::authority;
use crate::http::payload::with_time_to_pass;
use crate::model::error::{Error, Kind};

/// How often the session's counters are looked at.
const LOOK: Duration = Duration::from_millis(50);

/// What storage may take longer to check a shard, for each file and each [`UNIT`] of content: xet-core sets
/// no limit at all there, since that time grows with the number of files, and what is heard of it
/// meanwhile may be nothing but repeated frames, which xet-core keeps to itself.
const CHECK: Duration = Duration::from_millis(100);
const UNIT: u64 = 64 << 20;

/// Watches one session.
pub(super) struct Watch<'a> {
    session: &'a FileUploadSession,
    call: &'a Call,
    host: String,
    wire: Wire,
    /// Longest silence while xorbs are sent.
    sending: Duration,
    /// Longest silence while storage looks at what it got.
    checking: Duration,
    waiting: Waiting,
}

impl<'a> Watch<'a> {
    /// Of a session with the storage at `cas`, which is to take `items` on the connections of `wire`.
    pub(super) fn new(
        session: &'a FileUploadSession,
        call: &'a Call,
        deadlines: &Deadlines,
        cas: &Url,
        wire: Wire,
        items: &[Item],
    ) -> Self {
        let units: u64 = items.iter().map(|item| 1 + item.content.size() / UNIT).sum();
        let longer = CHECK.saturating_mul(u32::try_from(units).unwrap_or(u32::MAX));
        let host = authority(cas);
        let what = format!("Xet storage at {host} to take content");
        Self {
            session,
            call,
            host,
            wire,
            sending: storage_patience(deadlines),
            checking: answer_patience(deadlines) + longer,
            waiting: call.counters.waits.begin(what, Duration::ZERO),
        }
    }

    /// Passes the session's progress on, as bytes that were `sent`, and returns once there has been none
    /// for too long.
    pub(super) async fn run(self, sent: &mut u64) -> Error {
        let counters = &self.call.counters;
        let mut moved = Instant::now();
        let mut last = Seen::default();
        let mut began_sending: Option<Instant> = None;
        let mut limit = self.sending;
        loop {
            tokio::time::sleep(LOOK).await;
            let read = counters.snapshot().bytes_completed;
            let now = Seen::of(&self.session.report(), read, self.wire.unacknowledged());
            counters.add_network(now.sent.saturating_sub(*sent));
            *sent = now.sent.max(*sent);
            if now != last {
                (last, moved) = (now, Instant::now());
                if now.sent > 0 {
                    began_sending.get_or_insert(moved);
                }
                let sending = began_sending.map_or(Duration::ZERO, |b| moved.duration_since(b));
                limit = if now.is_checked() {
                    self.checking
                } else {
                    with_time_to_pass(self.sending, now.sent, sending)
                };
                // It isn't for the call's watchdog to end a wait that may last longer than its own.
                self.waiting.allow(limit.saturating_sub(self.sending));
                counters.beat();
            }
            // All that was read is there, and what wasn't may be waiting for the files of other calls.
            let in_line = now.sent >= now.to_send && self.call.is_behind_others();
            if moved.elapsed() >= limit && !in_line {
                counters.add_silence(moved);
                let host = &self.host;
                let what =
                    if now.is_checked() { "to register what was sent" } else { "to take it" };
                let message = format!(
                    "the upload to Xet storage has not moved for {limit:?}: {host} was waited for {what}"
                );
                return Error::new(Kind::Timeout, message);
            }
        }
    }
}

/// All that grows while a session gets on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Seen {
    /// Bytes that were read.
    read: u64,
    /// Bytes of xorbs that were sent, and that are to be sent.
    sent: u64,
    to_send: u64,
    /// Bytes of them that the system still holds.
    unacknowledged: u64,
    /// Bytes of shards that are to be sent, and that were sent; what storage says about them.
    shards: [u64; 6],
}

impl Seen {
    fn of(report: &GroupProgressReport, read: u64, unacknowledged: u64) -> Self {
        let shards = report.shard.as_ref().map_or([0; 6], |shard| {
            [
                shard.total_shard_bytes,
                shard.total_shard_bytes_upload_completed,
                shard.total_shard_validation_entries_completed,
                shard.total_shards_uploaded_to_store.into(),
                shard.total_shards_synced.into(),
                shard.total_shards_completed.into(),
            ]
        });
        let (sent, to_send) = (report.total_transfer_bytes_completed, report.total_transfer_bytes);
        Self { read, sent, to_send, unacknowledged, shards }
    }

    /// Whether storage has all xorbs, and shards with them are on their way to it.
    fn is_checked(&self) -> bool {
        self.shards[0] > 0
    }
}
