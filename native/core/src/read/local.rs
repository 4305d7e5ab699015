//! A file that is on this machine, whole.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use crate::call::Call;
use crate::model::error::{Error, Kind, Result};
use crate::sys::open;

/// An open file of the cache. What is removed from there meanwhile can be read all the same.
pub(super) struct LocalFile {
    file: File,
    path: PathBuf,
    size: u64,
}

impl LocalFile {
    /// Opens it; its size has to be this one, if that is known.
    pub(super) fn open(path: PathBuf, size: Option<u64>) -> Result<Self> {
        let file = open::to_read(&path).map_err(|e| Error::io("read", &path, e))?;
        let found = file.metadata().map_err(|e| Error::io("look at", &path, e))?.len();
        if size.is_some_and(|size| size != found) {
            return Err(changed(&path));
        }
        Ok(Self { file, path, size: found })
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// The bytes of a range, which is inside the file.
    pub(super) async fn read(self: &Arc<Self>, range: Range<u64>, call: &Call) -> Result<Bytes> {
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
