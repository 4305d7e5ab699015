//! The content of one file that is being uploaded: read in blocks, as often as needed, and each
//! time the same, or not at all.
//!
//! A file may be written to while it is read. What was read then is neither the old nor the new
//! content, so it must not be committed: the file has to be the same one, of the same size and
//! modification time, when it is opened and when its last byte was read. And it has to end where its size
//! says: a file that the kernel makes when it's read has no size before, and is read to its end first.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;
use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::borrowed::Borrowed;
use crate::call::Call;
use crate::call::scheduler::OffWorker;
use crate::hub::FileSample;
use crate::model::content::{git_blob, hex};
use crate::model::error::{Error, Kind, Result};
use crate::sys::identity::{FileIdentity, FileStamp};
use crate::sys::open;

/// Bytes that are read at a time. Chunks are slices of such blocks, except those that cross from one
/// to the next, which are copied: small blocks cost copies, and large ones live long for the sake of
/// the one chunk that stays.
pub(super) const BLOCK: usize = 1 << 20;

/// A file's content. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct UploadContent(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    origin: Origin,
    size: u64,
}

#[derive(Debug)]
enum Origin {
    File {
        path: PathBuf,
        identity: FileIdentity,
        stamp: Option<FileStamp>,
        /// Whether some of it is on a disk, as the system says.
        has_blocks: bool,
    },
    Memory(Borrowed),
    /// A stream that was written to files without names.
    Staged(Vec<StagedPart>),
}

/// A file that nobody else has, with a part of a stream.
#[derive(Debug)]
pub(super) struct StagedPart {
    /// As large as that: to close it is to free its blocks.
    pub(super) file: OffWorker<File>,
    /// In bytes, from the file's start.
    pub(super) size: u64,
}

impl UploadContent {
    /// The content of the file at `path`, as it is now. Links are followed.
    pub(crate) fn of_file(path: &Path) -> Result<Self> {
        let metadata = std::fs::metadata(path).map_err(|e| not_there(path, e))?;
        let Some(identity) = FileIdentity::of(&metadata) else {
            let error = io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file");
            return Err(Error::io("upload", path, error));
        };
        let (path, has_blocks) = (path.to_owned(), metadata.blocks() > 0);
        let stamp = FileStamp::of(&metadata);
        let origin = Origin::File { path, identity, stamp, has_blocks };
        Ok(Self(Arc::new(Inner { origin, size: metadata.len() })))
    }

    /// Whether a file may be of another size than the system says: one that is said to be empty, or to be nowhere
    /// on a disk. Looks for its end.
    pub(super) fn may_have_no_size(&self) -> Result<bool> {
        let Origin::File { path, has_blocks, .. } = &self.0.origin else { return Ok(false) };
        let size = self.size();
        if size > 0 && *has_blocks {
            return Ok(false);
        }
        let file = open::to_read(path).map_err(|e| not_there(path, e))?;
        let has = |at| has_byte(&file, at).map_err(|e| Error::io("read", path, e));
        Ok(has(size)? || (size > 0 && !has(size - 1)?))
    }

    pub(crate) fn of_memory(memory: Borrowed) -> Self {
        let size = memory.len() as u64;
        Self(Arc::new(Inner { origin: Origin::Memory(memory), size }))
    }

    /// A stream, in its parts.
    pub(super) fn of_staged(parts: Vec<StagedPart>) -> Self {
        let size = parts.iter().map(|part| part.size).sum();
        Self(Arc::new(Inner { origin: Origin::Staged(parts), size }))
    }

    pub(crate) fn size(&self) -> u64 {
        self.0.size
    }

    /// The error for content that isn't the same each time it is read.
    pub(super) fn changed(&self) -> Error {
        match &self.0.origin {
            Origin::File { path, .. } => changed(path),
            Origin::Memory(_) => changed(Path::new("memory of the caller's")),
            Origin::Staged(_) => changed(Path::new("a staged stream")),
        }
    }

    /// The file that the content comes from, if it is one of the caller's.
    pub(crate) fn file(&self) -> Option<(&Path, FileIdentity)> {
        match &self.0.origin {
            Origin::File { path, identity, .. } => Some((path, *identity)),
            Origin::Memory(_) | Origin::Staged(_) => None,
        }
    }

    /// The first bytes, by which the Hub tells text from other content.
    pub(crate) fn sample(&self) -> Result<Bytes> {
        let length = self.size().min(FileSample::SAMPLE as u64);
        Ok(self.read_from(0, length)?.next(FileSample::SAMPLE)?.unwrap_or_default())
    }

    /// Begins to read all of it.
    pub(crate) fn read(&self) -> Result<Reader> {
        self.read_from(0, self.size())
    }

    /// Begins to read `length` bytes at `offset`.
    pub(crate) fn read_from(&self, offset: u64, length: u64) -> Result<Reader> {
        let file = match &self.0.origin {
            Origin::File { path, identity, .. } => {
                let file = open::to_read(path).map_err(|e| not_there(path, e))?;
                same(&file, path, identity)?;
                Some(file)
            }
            Origin::Memory(_) | Origin::Staged(_) => None,
        };
        let (position, end, pool) = (offset, offset + length, Arc::default());
        Ok(Reader { content: self.clone(), file, position, end, is_touched: false, pool })
    }

    /// SHA-256 in lower-case hex.
    pub(crate) fn sha256(&self, call: &Call) -> Result<String> {
        self.hashed(Sha256::new(), call)
    }

    /// The id that git has for this content.
    pub(crate) fn git_oid(&self, call: &Call) -> Result<String> {
        self.hashed::<Sha1>(git_blob(self.size()), call)
    }

    /// What `hasher` has come to after all of this content, in lower-case hex.
    fn hashed<H: Digest>(&self, hasher: H, call: &Call) -> Result<String> {
        self.read()?.hashed(hasher, call)
    }
}

/// Reads content from its start to its end. Blocking.
#[derive(Debug)]
pub(crate) struct Reader {
    content: UploadContent,
    file: Option<File>,
    position: u64,
    end: u64,
    /// Whether the inode had changed at the end, be it by a name or by rights alone.
    is_touched: bool,
    pool: Arc<Pool>,
}

impl Reader {
    /// The next block: `most` bytes, fewer at the end, then none. The last one is only given out if
    /// the file is still the one that it was at the beginning: not everyone asks for more after it.
    pub(crate) fn next(&mut self, most: usize) -> Result<Option<Bytes>> {
        let left = self.end - self.position;
        if left == 0 {
            self.check()?;
            return Ok(None);
        }
        let length = usize::try_from(left).map_or(most, |left| left.min(most));
        let block = match (&self.content.0.origin, &self.file) {
            (Origin::File { path, .. }, Some(file)) => {
                let read = |memory: &mut [u8]| file.read_exact_at(memory, self.position);
                self.block(length, read).map_err(|error| match error.kind() {
                    io::ErrorKind::UnexpectedEof => changed(path),
                    _ => Error::io("read", path, error),
                })?
            }
            (Origin::Staged(parts), _) => self
                .block(length, |memory| read_staged(parts, memory, self.position))
                .map_err(|error| Error::io("read", Path::new("a staged stream"), error))?,
            (Origin::Memory(memory), _) => {
                let start = usize::try_from(self.position).map_err(Error::internal)?;
                memory.copy(start, length).ok_or_else(Error::cancelled)?
            }
            (Origin::File { .. }, None) => return Err(Error::internal("a reader without a file")),
        };
        self.position += block.len() as u64;
        if self.position == self.end {
            self.check()?;
        }
        Ok(Some(block))
    }

    /// What `hasher` has come to after the rest, in lower-case hex.
    fn hashed<H: Digest>(&mut self, mut hasher: H, call: &Call) -> Result<String> {
        while let Some(block) = self.next(BLOCK)? {
            if call.is_cancelled() {
                return Err(Error::cancelled());
            }
            hasher.update(&block);
            call.beat();
        }
        Ok(hex(&hasher.finalize()))
    }

    /// Whether all that was read has to be [looked at](Self::still_has) again: whoever writes to a file and sets its
    /// time back can't set that of its inode's last change.
    pub(super) fn is_touched(&self) -> bool {
        self.is_touched
    }

    /// Fails if all that was read, which has this SHA-256, isn't what the file has, by reading it once more.
    /// Blocking.
    pub(super) fn still_has(&mut self, sha256: &str, call: &Call) -> Result<()> {
        self.position = 0;
        if self.hashed(Sha256::new(), call)? == sha256 {
            Ok(())
        } else {
            Err(self.content.changed())
        }
    }

    /// Gives up memory of blocks that nobody has any more.
    pub(crate) fn trim(&self) {
        *self.pool.0.lock().unwrap_or_else(PoisonError::into_inner) = Vec::new();
    }

    /// Fails if the file isn't what it was, or doesn't end where it should.
    fn check(&mut self) -> Result<()> {
        let (Some(file), Origin::File { path, identity, stamp, .. }) =
            (&self.file, &self.content.0.origin)
        else {
            return Ok(());
        };
        let metadata = same(file, path, identity)?;
        self.is_touched = FileStamp::of(&metadata) != *stamp;
        let goes_on = self.end == self.content.size()
            && has_byte(file, self.end).map_err(|e| Error::io("read", path, e))?;
        if goes_on { Err(changed(path)) } else { Ok(()) }
    }

    fn block(
        &self,
        length: usize,
        read: impl FnOnce(&mut [u8]) -> io::Result<()>,
    ) -> io::Result<Bytes> {
        let mut memory = self.pool.take(length);
        read(&mut memory)?;
        Ok(Bytes::from_owner(Block { memory, pool: Arc::downgrade(&self.pool) }))
    }
}

/// Memory of a file's blocks, used again while it's read. They live for some time and die in any order on
/// many threads, which would leave the allocator's arenas full of holes, and the system busy with
/// bringing pages and taking them back.
#[derive(Debug, Default)]
struct Pool(Mutex<Vec<Vec<u8>>>);

/// A block that goes back to its pool, if somebody still reads.
struct Block {
    memory: Vec<u8>,
    pool: Weak<Pool>,
}

impl Pool {
    /// Memory for `length` bytes, with anything in it.
    fn take(&self, length: usize) -> Vec<u8> {
        let used = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut memory = used.unwrap_or_default();
        memory.resize(length, 0);
        memory
    }
}

impl AsRef<[u8]> for Block {
    fn as_ref(&self) -> &[u8] {
        &self.memory
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.upgrade() {
            let memory = std::mem::take(&mut self.memory);
            pool.0.lock().unwrap_or_else(PoisonError::into_inner).push(memory);
        }
    }
}

/// Fills `memory` from a stream's parts, beginning at `position` in all of them.
fn read_staged(parts: &[StagedPart], mut memory: &mut [u8], mut position: u64) -> io::Result<()> {
    for part in parts {
        let left = usize::try_from(part.size.saturating_sub(position)).unwrap_or(usize::MAX);
        let (here, rest) = memory.split_at_mut(left.min(memory.len()));
        part.file.read_exact_at(here, position)?;
        memory = rest;
        position = position.saturating_sub(part.size);
    }
    if memory.is_empty() { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// What the system says of a file that is the expected one.
fn same(file: &File, path: &Path, expected: &FileIdentity) -> Result<Metadata> {
    let metadata = file.metadata().map_err(|e| Error::io("look at", path, e))?;
    if FileIdentity::of(&metadata) == Some(*expected) { Ok(metadata) } else { Err(changed(path)) }
}

/// Whether a file has a byte at `at`.
fn has_byte(file: &File, at: u64) -> io::Result<bool> {
    loop {
        match file.read_at(&mut [0], at) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            read => return read.map(|n| n > 0),
        }
    }
}

fn changed(path: &Path) -> Error {
    let message = format!(
        "{} changed while it was being uploaded, or isn't as long as the system says; nothing of it was \
         committed. Try again when nobody writes to it",
        path.display()
    );
    Error::new(Kind::SourceChanged, message).with(|c| c.file = Some(path.display().to_string()))
}

/// A file of the caller's that can't be opened. That it isn't there is the caller's mistake.
fn not_there(path: &Path, error: io::Error) -> Error {
    Error::io("read", path, error)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn file_of(bytes: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    /// The hashes are those of `sha256sum` and `git hash-object`, from a file and from memory.
    #[test]
    fn content_hashes_like_the_tools() {
        let call = Call::default();
        let file = file_of(b"hello\n");
        let of_file = UploadContent::of_file(file.path()).unwrap();
        let of_memory = UploadContent::of_memory(Borrowed::owned(Bytes::from_static(b"hello\n")));
        for content in [of_file, of_memory] {
            assert_eq!(
                content.sha256(&call).unwrap(),
                "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"
            );
            assert_eq!(content.git_oid(&call).unwrap(), "ce013625030ba8dba906f756967f9e9ca394464a");
        }
    }

    /// Whoever writes to a file and sets its time back is noticed; a new name is none of our business.
    #[test]
    fn a_time_that_was_set_back_hides_nothing() {
        let (call, file) = (Call::default(), file_of(b"hello\n"));
        let content = UploadContent::of_file(file.path()).unwrap();
        let mut reader = content.read().unwrap();
        let read = reader.hashed(Sha256::new(), &call).unwrap();
        assert!(!reader.is_touched());
        reader.still_has(&read, &call).unwrap();
        let before = file.as_file().metadata().unwrap().modified().unwrap();
        let twin = file.path().with_extension("twin");
        std::fs::hard_link(file.path(), &twin).unwrap();
        std::fs::remove_file(&twin).unwrap();
        reader.still_has(&read, &call).unwrap();
        assert!(reader.is_touched());
        std::os::unix::fs::FileExt::write_all_at(file.as_file(), b"H", 0).unwrap();
        file.as_file().set_modified(before).unwrap();
        let noticed = reader.still_has(&read, &call).unwrap_err();
        assert_eq!(noticed.kind(), Kind::SourceChanged);
        assert!(reader.is_touched());
    }

    /// What is left of a file's blocks doesn't keep those that are free.
    #[test]
    fn free_blocks_go_with_the_reader() {
        let file = file_of(&[1; 10]);
        let mut reader = UploadContent::of_file(file.path()).unwrap().read().unwrap();
        let (first, last) = (reader.next(5).unwrap(), reader.next(5).unwrap());
        let pool = Arc::downgrade(&reader.pool);
        drop(first);
        assert_eq!(reader.pool.0.lock().unwrap().len(), 1);
        reader.trim();
        assert_eq!(reader.pool.0.lock().unwrap().capacity(), 0);
        drop(reader);
        assert!(pool.upgrade().is_none());
        assert_eq!(last.as_deref(), Some(&[1; 5][..]));
    }

    /// The last block of a file that grows or shrinks while it is read isn't given out. One that is
    /// replaced is noticed when it is opened again.
    #[test]
    fn a_file_that_changes_is_noticed() {
        type Tamper = fn(&Path);
        let changes: [(Tamper, bool); 3] = [
            (|path| std::fs::write(path, "longer than before").unwrap(), true),
            (|path| File::options().write(true).open(path).unwrap().set_len(2).unwrap(), true),
            (
                |path| {
                    let other = path.with_extension("new");
                    std::fs::write(&other, "hello!").unwrap();
                    std::fs::rename(other, path).unwrap();
                },
                false,
            ),
        ];
        for (change, at_once) in changes {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("f");
            std::fs::write(&path, "hello!").unwrap();
            let content = UploadContent::of_file(&path).unwrap();
            let mut reader = content.read().unwrap();
            reader.next(3).unwrap();
            change(&path);
            // Whoever replaces a file leaves the old one to those who have it open.
            let rest = reader.next(3).err().map(|error| error.kind());
            assert_eq!(rest, at_once.then_some(Kind::SourceChanged));
            let again = content.read().err().map(|error| error.kind());
            assert_eq!(again, Some(Kind::SourceChanged));
        }
    }
}
