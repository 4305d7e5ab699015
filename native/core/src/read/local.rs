//! A file that is on this machine, whole.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc::Sender;

use super::gathered::{Chunk, Chunks};
use crate::call::Call;
use crate::call::ending::Aside;
use crate::cas::parts::length;
use crate::model::error::{Error, Kind, Result};
use crate::sys::{at_hand, open};

/// What is read at a time.
const PIECE: u64 = 4 << 20;

/// The most bytes that are copied from the system's memory in the caller's thread.
const FEW: u64 = 1 << 20;

/// The most ranges of them, each of which is a call of the system at least.
const FEW_RANGES: usize = 64;

/// How much of that is copied at a time: little enough for the processor's cache.
const COPIED: u64 = 64 << 10;

/// An open file of the cache. What is removed from there meanwhile can be read all the same.
pub(crate) struct LocalFile {
    file: Aside<File>,
    path: PathBuf,
    size: u64,
}

impl LocalFile {
    /// Opens it; its size has to be this one, if that is known.
    pub(crate) fn open(path: PathBuf, size: Option<u64>) -> Result<Self> {
        let file = open::to_read(&path).map_err(|e| Error::io("read", &path, e))?;
        let found = file.metadata().map_err(|e| Error::io("look at", &path, e))?.len();
        if size.is_some_and(|size| size != found) {
            return Err(changed(&path));
        }
        Ok(Self { file: Aside::new(file), path, size: found })
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Hands out the bytes of these ranges, which are inside the file, if they are few and the system has them in memory:
    /// no thread is worth that, and nothing is waited for. False: not all were.
    pub(crate) fn hand_out_at_hand(
        &self,
        wanted: &[Range<u64>],
        mut place: impl FnMut(u64, &[u8]),
    ) -> bool {
        if length(wanted) > FEW || wanted.len() > FEW_RANGES {
            return false;
        }
        let mut buffer = Vec::new();
        pieces(wanted, COPIED).all(|piece| {
            let Ok(length) = usize::try_from(piece.end - piece.start) else { return false };
            buffer.resize(length, 0);
            let is_there = at_hand::read_exact_at(&self.file, &mut buffer, piece.start);
            if is_there {
                place(piece.start, &buffer);
            }
            is_there
        })
    }

    /// Hands out the bytes of these ranges, in pieces.
    pub(crate) async fn hand_out(
        self: &Arc<Self>,
        wanted: Vec<Range<u64>>,
        call: &Call,
        send: &Sender<Chunks>,
        wake: impl Fn(),
    ) -> Result<()> {
        for piece in pieces(&wanted, PIECE) {
            let content = self.read(piece.clone(), call).await?;
            call.counters.add_reused(piece.end - piece.start);
            if send.send(Chunks::from([(piece.start, Chunk::unhashed(content))])).await.is_err() {
                return Err(Error::cancelled());
            }
            wake();
        }
        Ok(())
    }

    /// The bytes of a range, which is inside the file.
    async fn read(self: &Arc<Self>, range: Range<u64>, call: &Call) -> Result<Bytes> {
        let this = Arc::clone(self);
        let what = format!("the disk to read {}", self.path.display());
        let read = move || {
            let length = usize::try_from(range.end - range.start).map_err(Error::internal)?;
            let mut bytes = vec![0; length];
            let read = this.file.read_exact_at(&mut bytes, range.start);
            read.map_err(|error| match error.kind() {
                std::io::ErrorKind::UnexpectedEof => changed(&this.path),
                _ => Error::io("read", &this.path, error),
            })?;
            Ok(Bytes::from(bytes))
        };
        call.blocking(what, read).await
    }
}

/// Ranges, cut into pieces of at most so many bytes, in order.
fn pieces(ranges: &[Range<u64>], most: u64) -> impl Iterator<Item = Range<u64>> {
    ranges.iter().flat_map(move |range| {
        let end = range.end;
        let starts = std::iter::successors(Some(range.start), move |start| start.checked_add(most));
        starts.take_while(move |&at| at < end).map(move |at| at..end.min(at.saturating_add(most)))
    })
}

fn changed(path: &Path) -> Error {
    let path = path.display();
    let message = format!(
        "{path} isn't as long as the file that was downloaded; open it again, and it's read from the Hub"
    );
    Error::new(Kind::Io, message)
}
