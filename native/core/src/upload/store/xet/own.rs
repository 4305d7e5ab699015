//! What one upload has noted of the content that it has sent itself: that is right, whatever else was noted.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::folder::Folder;
use crate::call::Call;
use crate::sys::files;

/// Shards of xorbs that storage has taken.
#[derive(Clone, Default)]
pub(super) struct Own {
    /// Of each xorb, until that is registered.
    staged: Vec<PathBuf>,
    /// Of those that are.
    registered: Vec<PathBuf>,
    /// Content of all of them, in bytes.
    bytes: u64,
}

impl Own {
    /// A xorb of so many bytes was sent, and is noted at `path`.
    pub(super) fn stage(&mut self, path: PathBuf, bytes: u64) {
        self.staged.push(path);
        self.bytes += bytes;
    }

    /// Xorbs were registered by the shard at `path`, which takes the place of what was staged of them.
    pub(super) fn keep(&mut self, path: PathBuf) {
        self.registered.push(path);
    }

    /// Whether there is nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.staged.is_empty() && self.registered.is_empty()
    }

    /// Has it be known in `folder`, too. Returns how many bytes of content that is. Blocking.
    pub(super) fn copy_to(&self, folder: &Folder, call: &Call) -> io::Result<u64> {
        let copy = |paths: &[PathBuf], to: &Path| {
            for path in paths {
                call.beat();
                let Some(name) = path.file_name() else { continue };
                match fs::copy(path, to.join(name)) {
                    // It's among those that are registered by now.
                    Err(error) if files::is_absent(&error) => {}
                    copied => drop(copied?),
                }
            }
            Ok::<_, io::Error>(())
        };
        copy(&self.staged, &folder.staged)?;
        copy(&self.registered, &folder.cached)?;
        Ok(self.bytes)
    }
}
