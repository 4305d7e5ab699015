//! Taking an inventory: listing folders, and asking about each file no more than is needed.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, FileType, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::super::layout::Cache;
use super::super::names::{Found, list};
use super::super::refs;
use super::inventory::{Blob, Remains, RepoFolder, SharedBlob, Snapshot, leads_to, used};
use super::verify::Finding;
use crate::call::walk::Walk;
use crate::model::error::{Error, Result};
use crate::model::repo::{Repo, is_lower_hex};
use crate::sys::files;
use crate::sys::small;

/// Looks at the repos in some folders.
pub(super) fn repos(
    root: &Path,
    folders: Vec<(PathBuf, Repo)>,
    walk: &Walk,
) -> Result<Vec<RepoFolder>> {
    let contents = walk.each(&folders, |(folder, _)| Ok(Contents::of(folder)))?;
    let mut snapshots = Vec::new();
    let (mut blobs, mut remains) = (Vec::new(), Vec::new());
    let mut repos = Vec::new();
    for (i, ((folder, repo), contents)) in folders.into_iter().zip(contents).enumerate() {
        snapshots.extend(contents.snapshots.into_iter().map(|found| (i, found)));
        for found in contents.blobs {
            if is_lower_hex(&found.name, 40) || is_lower_hex(&found.name, 64) {
                blobs.push((i, found));
            } else if found.name.ends_with(".incomplete") {
                remains.push((i, found));
            }
        }
        remains.extend(contents.ours.into_iter().map(|found| (i, found)));
        repos.push(RepoFolder {
            folder,
            looked: contents.looked,
            revisions_changed: contents.revisions_changed,
            repo,
            refs: contents.refs,
            snapshots: Vec::new(),
            blobs: BTreeMap::new(),
            remains: Vec::new(),
            has_foreign_revisions: contents.has_foreign_revisions,
            foreign: contents.foreign,
            doubts: contents.doubts,
        });
    }
    let (of, found): (Vec<_>, Vec<_>) = snapshots.into_iter().unzip();
    for (i, snapshot) in of.into_iter().zip(self::snapshots(found, walk)?) {
        repos[i].doubts.extend(snapshot.hidden.iter().cloned());
        repos[i].snapshots.push(snapshot);
    }
    let places = Places::of(root);
    let looked = walk.each(&blobs, |(_, found)| {
        let Ok(metadata) = fs::symlink_metadata(&found.path) else { return Ok(None) };
        if metadata.is_symlink() && places.are_left_by(&found.path) {
            return Ok(Some(Err(leads_out(&found.path))));
        }
        Ok(Blob::new(&found.path, &metadata).map(Ok))
    })?;
    for ((i, found), blob) in blobs.into_iter().zip(looked) {
        match blob {
            Some(Ok(blob)) => drop(repos[i].blobs.insert(found.name, blob)),
            Some(Err(finding)) => repos[i].foreign.push(finding),
            None => {}
        }
    }
    let looked = walk.each(&remains, |(_, found)| {
        let metadata = fs::symlink_metadata(&found.path).ok().filter(Metadata::is_file);
        Ok(metadata.and_then(|metadata| Remains::new(found, &metadata)))
    })?;
    for ((i, _), left) in remains.into_iter().zip(looked) {
        repos[i].remains.extend(left);
    }
    Ok(repos)
}

/// What is directly in a repo's folder.
struct Contents {
    looked: SystemTime,
    revisions_changed: SystemTime,
    refs: BTreeMap<String, PathBuf>,
    snapshots: Vec<Found>,
    blobs: Vec<Found>,
    ours: Vec<Found>,
    has_foreign_revisions: bool,
    foreign: Vec<Finding>,
    doubts: Vec<Finding>,
}

impl Contents {
    /// What can't be looked at is among the doubts, and ends no look at the other repos.
    fn of(folder: &Path) -> Self {
        let [revisions, blobs, ours] = ["snapshots", "blobs", ".xet"].map(|name| folder.join(name));
        let mut contents = Self {
            looked: SystemTime::now(),
            revisions_changed: modified(&revisions),
            refs: BTreeMap::new(),
            snapshots: Vec::new(),
            blobs: Vec::new(),
            ours: Vec::new(),
            has_foreign_revisions: false,
            foreign: Vec::new(),
            doubts: Vec::new(),
        };
        if let Err(error) = contents.fill(folder, &revisions, &blobs, &ours) {
            contents.doubts.push(Finding::hidden(folder, &error));
        }
        contents
    }

    fn fill(&mut self, folder: &Path, revisions: &Path, blobs: &Path, ours: &Path) -> Result<()> {
        look(revisions)?;
        let refs = refs::All::of(&folder.join("refs"));
        self.refs = refs.commits;
        self.doubts.extend(refs.odd.into_iter().map(|(path, why)| Finding::new(&path, why)));
        // They may be on another disk, and yet this repo's alone.
        self.has_foreign_revisions = revisions.is_symlink()
            && (is_of_another_repo(revisions, folder) || !holds_revisions_only(revisions)?);
        if self.has_foreign_revisions {
            self.doubts.push(leads_out(revisions));
        }
        self.snapshots = revision_folders(revisions)?;
        if blobs.is_symlink() && is_of_another_repo(blobs, folder) {
            self.doubts.push(leads_out(blobs));
        } else {
            self.blobs = list(blobs)?;
        }
        // A link in a place of ours was put there by somebody else, and what lies behind it isn't the
        // cache's to remove.
        if fs::symlink_metadata(ours).is_ok_and(|found| found.is_dir()) {
            self.ours = list(ours)?;
        }
        Ok(())
    }
}

/// Whether what a linked folder of the repo in `folder` leads to has a repo's other folders beside it, and they
/// aren't this one's: then it's they that hold on to what is there, under their own locks.
fn is_of_another_repo(link: &Path, folder: &Path) -> bool {
    let Ok(end) = fs::canonicalize(link) else { return false };
    ["refs", "snapshots", "blobs"].iter().any(|name| {
        let (theirs, ours) = (end.with_file_name(name), folder.join(name));
        theirs != end
            && theirs.is_dir()
            && fs::canonicalize(&theirs).ok() != fs::canonicalize(&ours).ok()
    })
}

fn holds_revisions_only(folder: &Path) -> Result<bool> {
    Ok(list(folder)?.iter().all(|found| is_lower_hex(&found.name, 40)))
}

fn leads_out(path: &Path) -> Finding {
    Finding::new(path, "is a link that leads out of the cache, and isn't followed")
}

/// Where a cache keeps content: in its folder, or where links to other disks that stand for its folders lead.
struct Places(Vec<PathBuf>);

impl Places {
    fn of(root: &Path) -> Self {
        let folders = [root.to_path_buf(), root.join("blobs")];
        Self(folders.iter().filter_map(|folder| fs::canonicalize(folder).ok()).collect())
    }

    /// Whether a link in a repo's folder of blobs leads elsewhere. One that leads nowhere doesn't.
    fn are_left_by(&self, link: &Path) -> bool {
        let Ok(end) = fs::canonicalize(link) else { return false };
        let is_beside = || {
            let folder = fs::canonicalize(files::parent(link));
            folder.is_ok_and(|folder| end.starts_with(folder))
        };
        !self.0.iter().any(|place| end.starts_with(place)) && !is_beside()
    }
}

/// The revisions of a repo: folders, and not links to some. Where they are elsewhere, others may have put folders
/// beside them.
pub(super) fn revision_folders(folder: &Path) -> Result<Vec<Found>> {
    let mut found = list(folder)?;
    let are_elsewhere = folder.is_symlink();
    found.retain(|found| found.kind.is_dir() && (!are_elsewhere || is_lower_hex(&found.name, 40)));
    Ok(found)
}

/// One of them, if it's still there.
pub(super) fn revision_folder(folder: &Path) -> Result<Option<Found>> {
    let found = look(folder)?.filter(Metadata::is_dir);
    let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(found.map(|found| Found { name, path: folder.to_path_buf(), kind: found.file_type() }))
}

/// Looks at revisions: folders level by level, then at what is in them. What can't be looked at is said of each.
pub(super) fn snapshots(folders: Vec<Found>, walk: &Walk) -> Result<Vec<Snapshot>> {
    let mut pending: Vec<_> = folders.iter().map(|found| found.path.clone()).enumerate().collect();
    let mut snapshots: Vec<_> = folders.into_iter().map(Snapshot::new).collect();
    let mut found = Vec::new();
    while !pending.is_empty() {
        // The time first: what is made after it shows.
        let lists = walk.each(&pending, |(_, path)| Ok((modified(path), list(path))))?;
        let mut below = Vec::new();
        for ((i, path), (changed, list)) in pending.into_iter().zip(lists) {
            let snapshot = &mut snapshots[i];
            snapshot.changed = snapshot.changed.max(changed);
            let list = list.unwrap_or_else(|error| snapshot.hide(&path, &error));
            snapshot.folders.push((path, changed));
            for item in list {
                if item.kind.is_dir() {
                    below.push((i, item.path));
                } else {
                    found.push((i, item.path, item.kind));
                }
            }
        }
        pending = below;
    }
    let looked = walk.each(&found, |(_, path, kind)| Ok(Item::look(path, *kind)))?;
    for ((i, path, _), item) in found.into_iter().zip(looked) {
        let snapshot = &mut snapshots[i];
        match item.unwrap_or_else(|error| snapshot.hide(&path, &error)) {
            Some(Item::Pointer(etag)) => snapshot.pointers.push((path, etag)),
            Some(Item::File(size, changed)) => {
                snapshot.changed = snapshot.changed.max(changed);
                snapshot.files.push((path, size));
            }
            None => {}
        }
    }
    Ok(snapshots)
}

/// Something in a revision.
enum Item {
    /// To the blob of this etag.
    Pointer(String),
    File(u64, SystemTime),
}

impl Item {
    /// `None`: it has gone meanwhile.
    fn look(path: &Path, kind: FileType) -> Result<Option<Self>> {
        if !kind.is_symlink() {
            let time = |found: &Metadata| found.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            return Ok(look(path)?.map(|found| Self::File(found.len(), time(&found))));
        }
        match fs::read_link(path) {
            Ok(target) => {
                let etag = target.file_name().unwrap_or_default().to_string_lossy().into_owned();
                Ok(Some(Self::Pointer(etag)))
            }
            Err(e) if files::is_absent(&e) => Ok(None),
            // A link that can't be seen may be the one that a blob is kept for.
            Err(e) => Err(Error::io("look at", path, e)),
        }
    }
}

impl Snapshot {
    fn new(found: Found) -> Self {
        Self {
            folder: found.path,
            commit: found.name,
            pointers: Vec::new(),
            files: Vec::new(),
            changed: SystemTime::UNIX_EPOCH,
            folders: Vec::new(),
            hidden: Vec::new(),
        }
    }

    /// Notes that something in it can't be looked at, and goes on as if nothing were there.
    fn hide<T: Default>(&mut self, path: &Path, error: &Error) -> T {
        self.hidden.push(Finding::hidden(path, error));
        T::default()
    }
}

impl Remains {
    fn new(found: &Found, metadata: &Metadata) -> Option<Self> {
        let etag = found.name.split('.').next().unwrap_or_default().to_owned();
        let (path, changed) = (found.path.clone(), metadata.modified().ok()?);
        Some(Self { path, etag, size: metadata.len(), changed })
    }
}

/// Looks at the content in the shared store.
pub(super) fn shared(cache: &Cache, repos: &[RepoFolder], walk: &Walk) -> Result<Vec<SharedBlob>> {
    // Which blobs are known to lead where.
    let mut known = HashMap::new();
    for repo in repos {
        known.extend(repo.blobs.values().map(|blob| (blob.path.as_path(), blob.inode)));
    }
    let folders = list(&cache.root().join("blobs"))?;
    let lists =
        walk.each(
            &folders,
            |found| {
                if found.kind.is_dir() { list(&found.path) } else { Ok(Vec::new()) }
            },
        )?;
    let mut contents: Vec<Found> = lists.into_iter().flatten().collect();
    contents.retain(|found| is_lower_hex(&found.name, 64));
    let looked = walk.each(&contents, |found| {
        let Some(metadata) = look(&found.path)?.filter(Metadata::is_file) else { return Ok(None) };
        let inode = (metadata.dev(), metadata.ino());
        let references = References::of(cache.root(), &found.path, |blob| {
            known.get(blob).map(|&at| at == inode)
        });
        Ok(Some(SharedBlob {
            path: found.path.clone(),
            hash: found.name.clone(),
            size: metadata.len(),
            is_referenced: references.here || references.elsewhere,
            used: used(&metadata),
            inode,
            has_other_names: metadata.nlink() > 1,
            is_needed_elsewhere: references.elsewhere,
        }))
    })?;
    Ok(looked.into_iter().flatten().collect())
}

/// More bytes than the manifest has of what a million blobs lead to.
const LARGEST_MANIFEST: u64 = 256 << 20;

/// What the manifest of shared content says, as far as it's true.
#[derive(Default)]
pub(super) struct References {
    /// A blob that is known leads to it.
    pub(super) here: bool,
    /// Something else does, or one can't know: without a manifest, or where one can't look.
    pub(super) elsewhere: bool,
}

impl References {
    /// `known` tells of a blob whether it leads there, if it's known. Whatever a line says, it's
    /// compared, and nothing is done to what it names.
    pub(super) fn of(root: &Path, content: &Path, known: impl Fn(&Path) -> Option<bool>) -> Self {
        let mut manifest = content.as_os_str().to_owned();
        manifest.push(".refs");
        let read = small::read(Path::new(&manifest), LARGEST_MANIFEST);
        let Some(lines) = read.ok().and_then(|(lines, _)| String::from_utf8(lines).ok()) else {
            return Self { here: false, elsewhere: true };
        };
        let mut references = Self::default();
        for line in lines.lines() {
            let blob = root.join(line);
            match known(&blob) {
                Some(leads_there) => references.here |= leads_there,
                None => references.elsewhere |= leads_to(&blob, content),
            }
        }
        references
    }
}

/// When a name in a folder was last made or removed.
pub(super) fn modified(folder: &Path) -> SystemTime {
    let found = fs::symlink_metadata(folder).and_then(|found| found.modified());
    found.unwrap_or(SystemTime::UNIX_EPOCH)
}

/// What `lstat` says; `None`: there is nothing.
fn look(path: &Path) -> Result<Option<Metadata>> {
    match fs::symlink_metadata(path) {
        Ok(found) => Ok(Some(found)),
        Err(e) if files::is_absent(&e) => Ok(None),
        Err(e) => Err(Error::io("look at", path, e)),
    }
}
