//! The shared blob store: content of Xet files, once for all repos of a cache.
//!
//! ```text
//! blobs/.huggingface-shared-blobs   "1\n": the layout; with anything else the store isn't touched
//! blobs/<xx>/<xet hash>             content, read-only
//! blobs/<xx>/<xet hash>.refs        which repos' blobs link to it, one path a line; append only
//! blobs/<xx>/<xet hash>.lock        held to add content, to add a link, and to delete
//! ```
//!
//! A line in `.refs` reaches the disk before its link is visible: deleting looks at the lines only,
//! so a link without a line would lose its content.
//!
//! Sharing is a bonus. When it fails, content stays in its repo, and the reason goes to the log.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{
    DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown, symlink,
};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::model::error::{Error, Result};
use crate::sys::copy;
use crate::sys::files;
use crate::sys::lock::FileLock;
use crate::sys::names::NewNames;
use crate::sys::open::Wary;
use crate::sys::rename;
use crate::sys::small;

const MARKER: &str = ".huggingface-shared-blobs";
const LAYOUT: &str = "1\n";

/// How often to try to mark a store while others keep removing the temporary marker.
const MARK_ATTEMPTS: u32 = 4;

/// Locks of the store are held for a few renames; whoever holds one longer is stuck.
const LOCK_LIMIT: Duration = Duration::from_secs(10);

/// The blob of a repo that is to be a link into the store.
pub(super) struct BlobLink {
    /// `<root>/models--org--name/blobs/<etag>`.
    pub(super) path: PathBuf,
    /// The same, from the root: the line in the manifest.
    pub(super) reference: String,
    /// Of the content.
    pub(super) size: u64,
}

/// The store of one cache.
pub(super) struct Store<'a> {
    root: &'a Path,
    folder: PathBuf,
}

impl<'a> Store<'a> {
    pub(super) fn new(root: &'a Path) -> Self {
        Self { root, folder: root.join("blobs") }
    }

    /// Content of that hash and size, to copy from. It may be deleted at any time.
    pub(super) fn find(&self, hash: &str, size: u64) -> Option<PathBuf> {
        let content = self.content_path(hash);
        (self.is_ours() && is_usable(&content, size)).then_some(content)
    }

    /// Makes a repo's blob a link to content that is in the store. False: there is none, or it
    /// can't be used.
    pub(super) fn link(&self, hash: &str, blob: &BlobLink, names: &NewNames) -> Result<bool> {
        if !self.is_ours() || !is_usable(&self.content_path(hash), blob.size) {
            return Ok(false);
        }
        names.create_folder(files::parent(&blob.path))?;
        let linked = self.with_lock(hash, || {
            // Once more: it may have been deleted before we had the lock.
            let usable = is_usable(&self.content_path(hash), blob.size);
            if usable {
                let link = NewLink::make(&blob.path, &self.content_path(hash))?;
                self.add_reference(hash, &blob.reference)?;
                link.replace(&blob.path)?;
                names.add(&blob.path);
                names.add(&self.beside_content(hash, "refs"));
            }
            Ok(usable)
        });
        Ok(linked.unwrap_or_else(|e| {
            tracing::debug!(blob = %blob.path.display(), error = %e, "can't use the shared store");
            false
        }))
    }

    /// Moves a verified file into the store and makes a repo's blob a link to it. False: `partial`
    /// is still there; its permissions may have changed.
    ///
    /// It replaces content that is there. This was checked against the hash; of that, one knows the
    /// size.
    pub(super) fn publish(
        &self,
        hash: &str,
        blob: &BlobLink,
        partial: &Path,
        names: &NewNames,
    ) -> Result<bool> {
        let mut moved = false;
        let published = self.prepare(hash, names).and_then(|()| {
            self.with_lock(hash, || {
                let link = NewLink::make(&blob.path, &self.content_path(hash))?;
                self.add_reference(hash, &blob.reference)?;
                self.set_permissions(hash, partial)?;
                rename::replace(partial, &self.content_path(hash))?;
                moved = true;
                names.add(&self.content_path(hash));
                link.replace(&blob.path)?;
                names.add(&blob.path);
                Ok(true)
            })
        });
        match published {
            Ok(published) => Ok(published),
            Err(e) if moved => {
                tracing::debug!(blob = %blob.path.display(), error = %e, "can't link a blob");
                // Another repo may have linked to it already, so it stays there.
                copy::to_name(&self.content_path(hash), &blob.path, &CancellationToken::new())?;
                names.add(&blob.path);
                Ok(true)
            }
            Err(e) => {
                tracing::debug!(blob = %blob.path.display(), error = %e, "can't share a blob");
                Ok(false)
            }
        }
    }

    pub(super) fn content_path(&self, hash: &str) -> PathBuf {
        self.folder.join(&hash[..2]).join(hash)
    }

    fn beside_content(&self, hash: &str, extension: &str) -> PathBuf {
        self.folder.join(&hash[..2]).join(format!("{hash}.{extension}"))
    }

    /// Whether the folder is a store of the layout that we know, and not, say, a link to elsewhere.
    pub(super) fn is_ours(&self) -> bool {
        let marker = self.folder.join(MARKER);
        let is = |path: &Path, test: fn(&fs::Metadata) -> bool| {
            fs::symlink_metadata(path).is_ok_and(|found| test(&found))
        };
        is(&self.folder, fs::Metadata::is_dir)
            && is(&marker, fs::Metadata::is_file)
            && is_marker(&marker, |content| content == LAYOUT.as_bytes())
    }

    /// Makes the store, if there is none, and the folder for a hash.
    fn prepare(&self, hash: &str, names: &NewNames) -> io::Result<()> {
        if !self.is_ours() {
            self.make_folder(&self.folder, names)?;
            self.mark()?;
            names.add(&self.folder.join(MARKER));
        }
        self.make_folder(&self.folder.join(&hash[..2]), names)
    }

    /// Marks an empty folder as a store. One with other content belongs to somebody else.
    ///
    /// The first files of a cache arrive side by side, so several may do this at once, here and in
    /// other processes; huggingface_hub also removes temporary markers that it meets. A failure
    /// counts only if there is no store afterwards.
    fn mark(&self) -> io::Result<()> {
        let mut attempt = 1;
        loop {
            match self.try_mark() {
                Err(_) if self.is_ours() => return Ok(()),
                Err(e) if e.kind() == io::ErrorKind::NotFound && attempt < MARK_ATTEMPTS => {
                    attempt += 1;
                }
                done => return done,
            }
        }
    }

    fn try_mark(&self) -> io::Result<()> {
        let mut abandoned = Vec::new();
        for found in fs::read_dir(&self.folder)? {
            let found = found?;
            if !is_abandoned_marker(&found)? {
                return Err(io::Error::other("the folder isn't empty and has no marker"));
            }
            abandoned.push(found.path());
        }
        let temporary = self.folder.join(format!("{MARKER}.{}.tmp", files::random_hex()));
        let marked = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&temporary)
            .and_then(|mut file| {
                file.write_all(LAYOUT.as_bytes())?;
                file.set_permissions(fs::Permissions::from_mode(self.content_mode()?))
            })
            .and_then(|()| fs::rename(&temporary, self.folder.join(MARKER)));
        marked.inspect_err(|_| files::discard(&temporary))?;
        // Not before: one that is still being written looks the same.
        for path in &abandoned {
            files::discard(path);
        }
        Ok(())
    }

    /// Makes a folder that can be used by whoever can use the cache.
    fn make_folder(&self, folder: &Path, names: &NewNames) -> io::Result<()> {
        let wanted = fs::metadata(self.root)?.mode() & 0o3777;
        match DirBuilder::new().mode(wanted).create(folder) {
            Ok(()) => names.add(folder),
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
            Err(_) => {}
        }
        let found = fs::symlink_metadata(folder)?;
        if !found.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        if found.mode() & 0o7777 != wanted {
            fs::set_permissions(folder, fs::Permissions::from_mode(wanted))?;
        }
        Ok(())
    }

    /// Read-only, for whoever can enter the cache folder.
    fn content_mode(&self) -> io::Result<u32> {
        let root = fs::metadata(self.root)?.mode();
        let may_enter = |bit, read| if root & bit == 0 { 0 } else { read };
        Ok(0o400 | may_enter(0o010, 0o040) | may_enter(0o001, 0o004))
    }

    fn set_permissions(&self, hash: &str, file: &Path) -> io::Result<()> {
        let mode = self.content_mode()?;
        fs::set_permissions(file, fs::Permissions::from_mode(mode))?;
        let group = fs::metadata(files::parent(&self.content_path(hash)))?.gid();
        if fs::metadata(file)?.gid() == group {
            return Ok(());
        }
        match chown(file, None, Some(group)) {
            // It matters only where the group may read and others may not.
            Err(e) if mode & 0o044 == 0o040 => Err(e),
            _ => Ok(()),
        }
    }

    fn add_reference(&self, hash: &str, reference: &str) -> io::Result<()> {
        let mut manifest = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o666)
            .never_follow_nor_wait()
            .open(self.beside_content(hash, "refs"))?;
        if !manifest.metadata()?.is_file() {
            return Err(io::Error::other("the manifest isn't a regular file"));
        }
        // Only its owner can; other users then find it as its owner left it.
        let _ = manifest.set_permissions(fs::Permissions::from_mode(0o666));
        // One write: whoever reads meanwhile sees the line or doesn't.
        let line = format!("{reference}\n");
        if manifest.write(line.as_bytes())? != line.len() {
            return Err(io::ErrorKind::WriteZero.into());
        }
        manifest.sync_all()
    }

    fn with_lock<T>(&self, hash: &str, act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let path = self.beside_content(hash, "lock");
        let lock = FileLock::acquire_within(&path, 0o666, LOCK_LIMIT)
            .map_err(|e: Error| io::Error::other(e))?
            .ok_or_else(|| io::Error::from(io::ErrorKind::TimedOut))?;
        // Not where another machine may be at it: a finished file would be replaced, or a line lost.
        if !lock.keeps_all_out() {
            return Err(io::ErrorKind::Unsupported.into());
        }
        act()
    }
}

/// A link into the store that hasn't got its name yet. Removed unless it gets it.
struct NewLink(PathBuf);

impl NewLink {
    /// One that leads to `content`, as seen from where the blob really is: a repo's folder may be a link to
    /// elsewhere, and then there is none.
    fn make(blob: &Path, content: &Path) -> io::Result<Self> {
        let (folder, hash) = (files::parent(content), content.file_name().unwrap_or_default());
        let way = Path::new("../../blobs").join(folder.file_name().unwrap_or_default());
        let place = |folder: &Path| fs::metadata(folder).map(|found| (found.dev(), found.ino()));
        if place(&files::parent(blob).join(&way))? != place(folder)? {
            return Err(io::Error::other("the repo's folder is a link to elsewhere"));
        }
        let name = blob.file_name().unwrap_or_default().to_string_lossy();
        let temporary = blob.with_file_name(format!(".{name}.{}.shared", files::random_hex()));
        symlink(way.join(hash), &temporary)?;
        Ok(Self(temporary))
    }

    fn replace(self, blob: &Path) -> io::Result<()> {
        rename::replace(&self.0, blob)
    }
}

impl Drop for NewLink {
    fn drop(&mut self) {
        files::discard(&self.0);
    }
}

/// Whether it's a regular, readable file of the expected size.
fn is_usable(content: &Path, size: u64) -> bool {
    match fs::symlink_metadata(content) {
        Ok(found)
            if found.is_file() && files::file_size(content).is_ok_and(|is| is == Some(size)) =>
        {
            OpenOptions::new().read(true).never_follow_nor_wait().open(content).is_ok()
        }
        Ok(found) => {
            tracing::warn!(
                path = %content.display(), size = found.len(), expected = size,
                "a shared blob has the wrong size and isn't used"
            );
            false
        }
        Err(_) => false,
    }
}

/// Whether it's what a process that was killed while marking left: `<marker>.<8 hex>.tmp`, with a
/// beginning of the marker's content.
fn is_abandoned_marker(found: &fs::DirEntry) -> io::Result<bool> {
    let name = found.file_name();
    let random = name
        .to_str()
        .and_then(|name| name.strip_prefix(MARKER)?.strip_prefix('.')?.strip_suffix(".tmp"));
    Ok(random.is_some_and(|hex| crate::model::repo::is_lower_hex(hex, 8))
        && found.file_type()?.is_file()
        && is_marker(&found.path(), |content| LAYOUT.as_bytes().starts_with(content)))
}

fn is_marker(path: &Path, is_right: impl Fn(&[u8]) -> bool) -> bool {
    small::read(path, LAYOUT.len() as u64).is_ok_and(|(content, _)| is_right(&content))
}
