//! Parts of a file over plain HTTP.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;

use crate::call::Call;
use crate::http::{Retry, RetryPolicy};
use crate::hub::{Content, Hub, Place};
use crate::model::error::{Error, Kind, Result};
use crate::model::repo::{CommitId, Entry, Repo};

/// A file that the Hub has at a commit, and the way to it.
#[derive(Clone)]
pub(super) struct Plain {
    pub(super) hub: Hub,
    pub(super) repo: Repo,
    pub(super) commit: CommitId,
    pub(super) entry: Arc<Entry>,
    pub(super) policy: RetryPolicy,
    pub(super) storage: Arc<StoragePlace>,
}

/// Where storage has a file, as the Hub has said it: for the parts that are read later.
#[derive(Default)]
pub(super) struct StoragePlace(Mutex<Option<Place>>);

impl StoragePlace {
    fn get(&self) -> MutexGuard<'_, Option<Place>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Plain {
    /// The bytes of a range that isn't empty. What breaks off is taken up where it ended.
    pub(super) async fn read(&self, range: Range<u64>, call: &Call) -> Result<Bytes> {
        let length = usize::try_from(range.end - range.start).map_err(Error::internal)?;
        let file = &self.entry.path;
        let _waiting = call.counters.waits.begin(format!("{file} over plain HTTP"), Duration::ZERO);
        let mut read = Vec::with_capacity(length);
        let mut retry = Retry::new(self.policy, self.hub.deadlines().min_speed);
        while read.len() < length {
            let (before, at) = (read.len(), range.start + read.len() as u64);
            let Err(error) = self.read_some(at..range.end, &mut read, call).await else { continue };
            if error.is_refused_url() {
                call.counters.add_refresh();
            } else if !error.is_transient() {
                return Err(error);
            }
            retry.pause(error, (read.len() - before) as u64, &call.counters).await?;
        }
        Ok(read.into())
    }

    /// Reads a part in one attempt: what has come is in `read`, also if it fails.
    async fn read_some(&self, part: Range<u64>, read: &mut Vec<u8>, call: &Call) -> Result<()> {
        let content = self.open(&part, call).await?;
        let (file, size) = (&self.entry.path, self.entry.size);
        if let Some(other) = content.total.filter(|&total| total != size) {
            let message =
                format!("{file}: the answer has {other} bytes, where {size} are published");
            return Err(Error::new(Kind::InvalidResponse, message).with(|c| c.may_pass = true));
        }
        let (mut position, mut at, mut stream) = (content.starts_at, part.start, content.stream);
        while let Some(piece) = stream.next().await {
            let piece = piece?;
            call.counters.add_network(piece.len() as u64);
            // A server that doesn't do ranges begins at 0.
            let from = usize::try_from(at.saturating_sub(position)).map_err(Error::internal)?;
            let end = part.end.saturating_sub(position);
            let to = usize::try_from(end).unwrap_or(usize::MAX).min(piece.len());
            position += piece.len() as u64;
            if let Some(wanted) = piece.get(from..to) {
                read.extend_from_slice(wanted);
                at += wanted.len() as u64;
                call.counters.beat();
            }
            if at == part.end {
                return Ok(());
            }
        }
        let (url, status) = content.from;
        let message = format!("{file}: the answer ended at byte {at} of {size}");
        let error = Error::new(Kind::Connection, message);
        Err(error.with(|c| (c.http_status, c.url) = (Some(status), Some(url))))
    }

    async fn open(&self, part: &Range<u64>, call: &Call) -> Result<Content> {
        let Self { hub, repo, commit, entry, .. } = self;
        let (entry, counters) = (&**entry, &*call.counters);
        let known = self.storage.get().clone();
        if let Some(place) = known {
            match hub.open_part_at(&place, repo, commit, entry, part, counters).await {
                Ok(Some(content)) => return Ok(content),
                Err(error) if error.is_transient() => return Err(error),
                // It may have expired: the Hub signs another one.
                _ => *self.storage.get() = None,
            }
        }
        let to = Some(part.end).filter(|&end| end < entry.size);
        let content = hub.open_file(repo, commit, entry, part.start, to, counters).await?;
        if content.is_part {
            self.storage.get().clone_from(&content.place);
        }
        Ok(content)
    }
}
