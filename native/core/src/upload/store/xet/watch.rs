//! Watching sessions of xet-core's, which have no deadlines of their own worth the name: they ask five times,
//! and wait for minutes each time. What moves is left alone, however slow it is: what is read, sent,
//! acknowledged by storage's side of a connection, or reported.

use std::time::{Duration, Instant};

use url::Url;

use super::super::super::item::Item;
use super::super::super::{answer_patience, storage_patience};
use super::sessions::{CONTENT, Sessions};
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

/// Watches the sessions of one attempt.
pub(super) struct Watch<'a> {
    sessions: &'a Sessions,
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
    /// Of sessions with the storage at `cas`, which are to take `items` on the connections of `wire`.
    pub(super) fn new(
        sessions: &'a Sessions,
        call: &'a Call,
        deadlines: &Deadlines,
        cas: &Url,
        wire: Wire,
        items: &[Item],
    ) -> Self {
        // A file that is larger goes through several sessions.
        let in_one = |item: &Item| item.content.size().min(CONTENT * 2);
        let units: u64 = items.iter().map(|item| 1 + in_one(item) / UNIT).sum();
        let longer = CHECK.saturating_mul(u32::try_from(units).unwrap_or(u32::MAX));
        let host = authority(cas);
        let what = format!("Xet storage at {host} to take content");
        Self {
            sessions,
            call,
            host,
            wire,
            sending: storage_patience(deadlines),
            checking: answer_patience(deadlines) + longer,
            waiting: call.counters.waits.begin(what, Duration::ZERO),
        }
    }

    /// Passes the sessions' progress on, as bytes that were `sent`, and returns once there has been none
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
            let now = Seen::of(self.sessions, read, self.wire.unacknowledged());
            counters.add_network(now.sent.saturating_sub(*sent));
            *sent = now.sent.max(*sent);
            if now != last {
                (last, moved) = (now, Instant::now());
                if now.sent > 0 {
                    began_sending.get_or_insert(moved);
                }
                let sending = began_sending.map_or(Duration::ZERO, |b| moved.duration_since(b));
                limit = if now.is_checked {
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
                let what = if now.is_checked { "to register what was sent" } else { "to take it" };
                let message = format!(
                    "the upload to Xet storage has not moved for {limit:?}: {host} was waited for {what}"
                );
                return Error::new(Kind::Timeout, message);
            }
        }
    }
}

/// All that grows while sessions get on.
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
    /// Whether storage has all xorbs of the session that was begun last, and shards with them are on
    /// their way to it.
    is_checked: bool,
}

impl Seen {
    fn of(sessions: &Sessions, read: u64, unacknowledged: u64) -> Self {
        let (alive, sent) = sessions.look();
        let mut seen = Self { read, sent, to_send: sent, unacknowledged, ..Self::default() };
        for session in alive {
            let report = session.report();
            seen.sent += report.total_transfer_bytes_completed;
            seen.to_send += report.total_transfer_bytes;
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
            seen.shards.iter_mut().zip(shards).for_each(|(sum, part)| *sum += part);
            seen.is_checked = shards[0] > 0;
        }
        seen
    }
}
