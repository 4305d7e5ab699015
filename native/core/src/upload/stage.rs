//! Content whose size nobody knows beforehand: streams, which can be read only once, and files that the kernel makes
//! when they are read.
//!
//! The Hub wants to know the size before the content, and a session that breaks has to begin again,
//! so it is read to its end first: into memory if it is short, else into a file that has no name, and so is gone
//! with the process however that ends.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::borrowed::Borrowed;
use super::content::{StagedPart, UploadContent};
use super::scratch::{self, Scratch};
use crate::call::Call;
use crate::call::scheduler::OffWorker;
use crate::model::error::{Error, Kind, Result};
use crate::model::repo::RepoPath;
use crate::sys::open;

/// Read from a stream at a time.
const PIECE: usize = 1 << 20;
/// Longest stream that is kept in memory.
const IN_MEMORY: usize = 4 << 20;

/// Where such content comes from.
pub(super) enum Source {
    /// The caller's stream of that number, and what it is waited for as.
    Stream(usize, String),
    File(PathBuf, Arc<OffWorker<File>>),
}

impl Source {
    /// The caller's stream of that number, with the content of the file at `path` in the repo.
    pub(super) fn of_stream(stream: usize, path: &RepoPath) -> Self {
        Self::Stream(stream, format!("the caller's stream to give more of {path}"))
    }

    /// Opens the file at `path`.
    pub(super) fn file(call: &Call, path: PathBuf) -> Result<Self> {
        let file = open::to_read(&path).map_err(|e| Error::io("read", &path, e))?;
        Ok(Self::File(path, Arc::new(call.off_worker(file))))
    }

    /// The number of the caller's stream that it is.
    pub(super) fn stream(&self) -> Option<usize> {
        match self {
            Self::Stream(stream, _) => Some(*stream),
            Self::File(..) => None,
        }
    }

    /// The next bytes; none at the end.
    async fn next(&self, call: &Call) -> Result<Vec<u8>> {
        let (path, file) = match self {
            Self::Stream(stream, what) => return call.read_stream(*stream, what, PIECE).await,
            Self::File(path, file) => (path.clone(), Arc::clone(file)),
        };
        let what = format!("the disk to read {}", path.display());
        let read = move || {
            let mut piece = Vec::new();
            let read = (&**file).take(PIECE as u64).read_to_end(&mut piece);
            read.map(|_| piece).map_err(|e| Error::io("read", &path, e))
        };
        call.blocking(what, read).await
    }
}

/// Reads `source` to its end. What is long goes to a file, in the Xet cache if that can be used.
pub(super) async fn stage(call: &Call, source: Source, cache: &Path) -> Result<UploadContent> {
    let mut head: Vec<u8> = Vec::new();
    loop {
        let piece = source.next(call).await?;
        if piece.is_empty() {
            return Ok(UploadContent::of_memory(Borrowed::owned(Bytes::from(head))));
        }
        head.extend_from_slice(&piece);
        if head.len() > IN_MEMORY {
            break;
        }
    }
    let (cache, owner) = (cache.to_owned(), call.clone());
    let begin = move || Staged::create(&cache, &owner);
    let mut staged = call.blocking("the disk to begin staging a stream", begin).await?;
    let mut piece = head;
    loop {
        staged = call
            .blocking("the disk to stage more of a stream", move || {
                staged.write(&piece)?;
                Ok(staged)
            })
            .await?;
        piece = source.next(call).await?;
        if piece.is_empty() {
            return Ok(UploadContent::of_staged(staged.parts));
        }
    }
}

/// A stream on its way to files without names: one in the Xet cache, and a second one elsewhere if that gets full.
struct Staged {
    cache: PathBuf,
    call: Call,
    folder: PathBuf,
    /// The last one is written to.
    parts: Vec<StagedPart>,
    /// How many bytes the last one may take.
    most: u64,
    /// Why the first one isn't, if there is a second one.
    full: Option<Error>,
}

impl Staged {
    fn create(cache: &Path, call: &Call) -> Result<Self> {
        let Scratch { file, folder, most } = scratch::file(cache)?;
        let (cache, call) = (cache.to_owned(), call.clone());
        let parts = vec![StagedPart { file: call.off_worker(file), size: 0 }];
        Ok(Self { cache, call, folder, parts, most, full: None })
    }

    fn write(&mut self, mut piece: &[u8]) -> Result<()> {
        while !piece.is_empty() {
            let Some(part) = self.parts.last_mut() else {
                return Err(Error::internal("a stream is staged nowhere"));
            };
            if part.size + piece.len() as u64 > self.most {
                return Err(scratch::in_memory(&self.folder, self.full.as_ref()));
            }
            match part.file.write(piece) {
                Ok(0) => return Err(self.fail(io::ErrorKind::WriteZero.into())),
                Ok(written) => {
                    part.size += written as u64;
                    piece = &piece[written..];
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    let error = self.fail(error);
                    self.go_on_elsewhere(error)?;
                }
            }
        }
        Ok(())
    }

    /// After the Xet cache's disk has turned out to be full.
    fn go_on_elsewhere(&mut self, full: Error) -> Result<()> {
        let is_in_cache = self.full.is_none() && self.folder.starts_with(&self.cache);
        if full.kind() != Kind::NoSpace || !is_in_cache {
            return Err(full);
        }
        let Scratch { file, folder, most } =
            scratch::file_apart().map_err(|error| scratch::nowhere(&full, &error))?;
        tracing::warn!("{full}; the rest of it goes to {}", folder.display());
        (self.folder, self.most, self.full) = (folder, most, Some(full));
        self.parts.push(StagedPart { file: self.call.off_worker(file), size: 0 });
        Ok(())
    }

    fn fail(&self, error: io::Error) -> Error {
        let error = scratch::stage_error(&self.folder, error);
        match &self.full {
            Some(full) => scratch::nowhere(full, &error),
            None => error,
        }
    }
}
