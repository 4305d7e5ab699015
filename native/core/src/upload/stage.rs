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
use crate::sys::{files, open};

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

/// The content of the file at `path`, as it is now. One of which nobody knows the size is read to its end, for which
/// `cache` may be used.
pub(crate) async fn content_of(call: &Call, path: PathBuf, cache: &Path) -> Result<UploadContent> {
    let looking = call.clone();
    let what = format!("a look at {}", path.display());
    let look = move || {
        let path = files::absolute(&path)?;
        let content = UploadContent::of_file(&path)?;
        if content.may_have_no_size()? {
            return Ok(Err(Source::file(&looking, path)?));
        }
        Ok(Ok(content))
    };
    match call.blocking(what, look).await? {
        Ok(content) => Ok(content),
        Err(source) => stage(call, source, cache).await,
    }
}

/// Reads `source` to its end. What is long goes to a file, in the Xet cache if that can be used.
pub(super) async fn stage(call: &Call, source: Source, cache: &Path) -> Result<UploadContent> {
    let mut staging = Staging::new(call.clone(), cache.to_owned());
    loop {
        let piece = source.next(call).await?;
        if piece.is_empty() {
            return staging.finish().await;
        }
        staging.write(&piece).await?;
    }
}

/// Content that comes piece by piece, from its start to its end.
pub(crate) struct Staging {
    call: Call,
    cache: PathBuf,
    /// All of it, or what isn't on the disk yet.
    head: Vec<u8>,
    /// `None`: it's short so far.
    staged: Option<Staged>,
    /// A piece may be missing, or be there only in part.
    is_broken: bool,
}

impl Staging {
    /// Nothing yet. What is long goes to a file, in `cache`, the Xet cache, if that can be used.
    pub(crate) fn new(call: Call, cache: PathBuf) -> Self {
        Self { call, cache, head: Vec::new(), staged: None, is_broken: false }
    }

    /// Adds what comes next. After a failure, or if it isn't waited for, nothing can be added any more.
    pub(crate) async fn write(&mut self, piece: &[u8]) -> Result<()> {
        self.check()?;
        self.head.extend_from_slice(piece);
        let most = if self.staged.is_some() { PIECE } else { IN_MEMORY };
        if self.head.len() > most { self.flush().await } else { Ok(()) }
    }

    /// All of it.
    pub(crate) async fn finish(mut self) -> Result<UploadContent> {
        self.check()?;
        if self.staged.is_none() {
            return Ok(UploadContent::of_memory(Borrowed::owned(Bytes::from(self.head))));
        }
        self.flush().await?;
        let parts = self.staged.map(|staged| staged.parts);
        Ok(UploadContent::of_staged(parts.unwrap_or_default()))
    }

    fn check(&self) -> Result<()> {
        if self.is_broken {
            let message = "a stream of which a piece couldn't be staged can't be gone on with";
            return Err(Error::new(Kind::ReadFailed, message));
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        self.is_broken = true;
        let mut staged = if let Some(staged) = self.staged.take() {
            staged
        } else {
            let (cache, owner) = (self.cache.clone(), self.call.clone());
            let begin = move || Staged::create(&cache, &owner);
            self.call.blocking("the disk to begin staging a stream", begin).await?
        };
        let piece = std::mem::take(&mut self.head);
        let write = move || {
            staged.write(&piece)?;
            Ok(staged)
        };
        self.staged = Some(self.call.blocking("the disk to stage more of a stream", write).await?);
        self.is_broken = false;
        Ok(())
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
