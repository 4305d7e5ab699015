//! Which bytes of a partial file have come, where they come in parts: several at a time, and not in order.
//!
//! It is noted beside the partial file, so that a kill costs what was on its way, and no more. Nothing in
//! the notes is trusted: the hash of the whole file, or of its chunks, is made of what is read again. Without
//! notes, a partial file holds a beginning and nothing else.
//!
//! Format: the magic bytes, then a record for each range that was written: where it begins and where it
//! ends (u64 each, little-endian). A record that is cut short, or makes no sense, ends the notes.

use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::ops::Range;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::job::Job;
use super::ranges::Ranges;
use crate::call::scheduler::OffWorker;
use crate::model::error::{Error, Result};
use crate::sys::files;
use crate::sys::open::Wary;
use crate::sys::unshared::Unshared;

const MAGIC: &[u8; 8] = b"xetparts";
const RECORD: usize = 16;

/// What has come of one file. Shared by those who bring its parts, and by who follows them.
pub(super) struct Received {
    ranges: Mutex<Ranges>,
    /// More has come. One waits for that.
    more: Notify,
    /// `None`: the parts come in order, so the partial file's length says all.
    notes: Option<OffWorker<Unshared>>,
}

impl Received {
    /// What earlier attempts have left of `job`'s file, outside of `except`. Files that are hashed as a
    /// whole may have a beginning without notes (`begins`). Blocks.
    pub(super) fn open(job: &Job, begins: bool, except: &Ranges) -> Result<Self> {
        let held = job.partial.len()?;
        let path = job.partial.parts_path();
        let mut ranges = Ranges::default();
        // Others may take what is left of a partial file that isn't under a lock for a beginning.
        let (notes, left) = if job.partial.is_alone() {
            let (notes, left) = open_notes(&path)?;
            (Some(notes), left)
        } else {
            (None, None)
        };
        let is_new = left.is_none();
        for range in left.into_iter().flatten() {
            let range = range.start..range.end.min(held);
            except.gaps(&range).into_iter().for_each(|part| ranges.add(part));
        }
        if is_new && begins {
            ranges.add(0..held);
            if let (Some(notes), true) = (&notes, held > 0) {
                append(notes, &path, &(0..held))?;
            }
        }
        let notes = notes.map(|notes| job.task.call.off_worker(notes));
        Ok(Self { ranges: Mutex::new(ranges), more: Notify::new(), notes })
    }

    /// Whether parts may come in any order.
    pub(super) fn takes_any_order(&self) -> bool {
        self.notes.is_some()
    }

    /// What of `within` hasn't come, in order.
    pub(super) fn missing(&self, within: &Range<u64>) -> Vec<Range<u64>> {
        self.ranges().gaps(within)
    }

    /// Counts what has come of `within` before as reused, and says how many bytes that is.
    pub(super) fn reused(&self, job: &Job, within: &Range<u64>) -> u64 {
        let missing: u64 = self.missing(within).iter().map(|gap| gap.end - gap.start).sum();
        let reused = within.end - within.start - missing;
        if reused > 0 {
            tracing::info!(file = %job.task.entry.path, resumed = reused, "resuming");
            job.task.progress.reused(reused);
            job.task.progress.advance(reused);
        }
        reused
    }

    /// Takes note of what has been written.
    pub(super) fn add(&self, range: Range<u64>) {
        self.ranges().add(range);
        self.more.notify_one();
    }

    /// Notes what has been [added](Self::add), for another attempt. Blocks.
    pub(super) fn keep(&self, job: &Job, range: &Range<u64>) -> Result<()> {
        match &self.notes {
            Some(notes) => append(notes, &job.partial.parts_path(), range),
            None => Ok(()),
        }
    }

    /// Waits until so many bytes from `at` on have come, or all up to `end`; where they end.
    pub(super) async fn beyond(&self, at: u64, bytes: u64, end: u64) -> u64 {
        loop {
            let reached = self.ranges().end_of(at).min(end);
            if reached >= at.saturating_add(bytes).min(end) {
                return reached;
            }
            self.more.notified().await;
        }
    }

    fn ranges(&self) -> MutexGuard<'_, Ranges> {
        // Every change leaves them whole.
        self.ranges.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The notes at `path`, to be added to, and what they say; `None`: they have just been begun.
fn open_notes(path: &Path) -> Result<(Unshared, Option<Vec<Range<u64>>>)> {
    files::remove_unless_file(path)?;
    let fail = |e| Error::io("open", path, e);
    let mut options = OpenOptions::new();
    let options = options.read(true).append(true).create(true).never_follow_nor_wait();
    let file = options.open(path).map(Unshared::of).map_err(fail)?;
    let mut bytes = Vec::new();
    (&*file).read_to_end(&mut bytes).map_err(fail)?;
    let noted = read(&bytes);
    // What was cut short would shift those that follow.
    let len = noted.as_ref().map_or(0, |noted| MAGIC.len() + noted.len() * RECORD);
    file.set_len(len as u64).map_err(fail)?;
    if noted.is_none() {
        (&*file).write_all(MAGIC).map_err(|e| Error::io("write", path, e))?;
    }
    Ok((file, noted))
}

/// How many bytes the notes beside a partial file, which holds so many, say have come; `None`: there are none.
pub(super) fn noted(path: &Path, held: u64) -> Option<u64> {
    Some(left(path, held)?.to_vec().iter().map(|range| range.end - range.start).sum())
}

/// What the notes beside a partial file, which holds so many bytes, say has come of it; `None`: there are none.
pub(super) fn left(path: &Path, held: u64) -> Option<Ranges> {
    let mut bytes = Vec::new();
    let opened = OpenOptions::new().read(true).never_follow_nor_wait().open(path);
    opened.ok()?.read_to_end(&mut bytes).ok()?;
    let mut ranges = Ranges::default();
    read(&bytes)?.into_iter().for_each(|range| ranges.add(range.start..range.end.min(held)));
    Some(ranges)
}

/// The records; `None`: these are no notes.
fn read(bytes: &[u8]) -> Option<Vec<Range<u64>>> {
    let records = bytes.strip_prefix(MAGIC)?;
    let number = |bytes: &[u8]| bytes.try_into().ok().map(u64::from_le_bytes);
    let range = |record: &[u8]| Some(number(&record[..8])?..number(&record[8..])?);
    let sound = |range: &Range<u64>| range.start < range.end;
    let ranges = records.chunks_exact(RECORD).map_while(range).take_while(sound);
    Some(ranges.collect())
}

fn append(notes: &Unshared, path: &Path, range: &Range<u64>) -> Result<()> {
    let mut record = [0; RECORD];
    record[..8].copy_from_slice(&range.start.to_le_bytes());
    record[8..].copy_from_slice(&range.end.to_le_bytes());
    (&**notes).write_all(&record).map_err(|e: io::Error| Error::io("write", path, e))
}
