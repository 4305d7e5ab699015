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
use crate::model::error::{Error, Kind, Result};
use crate::sys::open;

/// What is read at a time.
const PIECE: u64 = 4 << 20;

/// An open file of the cache. What is removed from there meanwhile can be read all the same.
pub(crate) struct LocalFile {
    file: File,
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
        Ok(Self { file, path, size: found })
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Hands out the bytes of these ranges, in pieces.
    pub(crate) async fn hand_out(
        self: &Arc<Self>,
        wanted: Vec<Range<u64>>,
        call: &Call,
        send: &Sender<Chunks>,
        wake: impl Fn(),
    ) -> Result<()> {
        for range in wanted {
            let mut at = range.start;
            while at < range.end {
                let end = range.end.min(at + PIECE);
                let content = self.read(at..end, call).await?;
                call.counters.add_reused(end - at);
                if send.send(Chunks::from([(at, Chunk::unhashed(content))])).await.is_err() {
                    return Err(Error::cancelled());
                }
                wake();
                at = end;
            }
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

fn changed(path: &Path) -> Error {
    let path = path.display();
    let message = format!(
        "{path} isn't as long as the file that was downloaded; open it again, and it's read from the Hub"
    );
    Error::new(Kind::Io, message)
}
