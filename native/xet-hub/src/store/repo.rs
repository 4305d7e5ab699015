//! One repository on disk: its state, and the changes that requests make to it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, RwLock, RwLockReadGuard};

use bytes::Bytes;

use super::NewRepo;
use super::journal::{Journal, Pack, sync_dir};
use super::state::{
    Change, Commit, Discussion, MAIN, Planted, Record, ReplayError, State, message, now_millis,
};
use super::tree::{Content, PathConflict};
use crate::git::Oid;
use crate::ids::valid_file_path;
use crate::sync::{lock, read, write};

const JOURNAL: &str = "journal.ndjson";
const PACK: &str = "blobs.pack";

/// A repository. Reading takes a short shared lock; changes are serialised by the journal's lock.
#[derive(Debug)]
pub(crate) struct Repo {
    /// Name of its folder, fixed for life: a rename moves no files.
    pub(crate) uid: String,
    dir: PathBuf,
    state: RwLock<State>,
    log: Mutex<Log>,
    blobs: File,
}

#[derive(Debug)]
struct Log {
    journal: Journal,
    pack: Pack,
}

/// A repository that can't be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    /// The disk failed, or a record can't be read.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The records contradict each other.
    #[error("damaged journal: {0}")]
    Replay(#[from] ReplayError),
}

/// Why a change wasn't made. Nothing has changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChangeError {
    /// The revision doesn't exist.
    #[error("Invalid rev id: {0}")]
    NoRevision(String),
    /// The revision exists, but commits can't be added to it.
    #[error("{0} is not a branch or a pull request")]
    NotMovable(String),
    /// Another commit came first.
    #[error("The branch was updated since you opened this page. Please refresh and try again.")]
    Outdated,
    /// A path to delete isn't there.
    #[error("A file with this name doesn't exist: {0}")]
    NoEntry(String),
    /// A path that must not be in a repository.
    #[error("Invalid path: {0:?}")]
    BadPath(String),
    /// A path would be a file and a folder.
    #[error(transparent)]
    Conflict(#[from] PathConflict),
    /// The reference exists already.
    #[error("Reference {0} already exists")]
    RefExists(String),
    /// The change makes no sense for the state of the repository.
    #[error("{0}")]
    Refused(String),
    /// The disk failed.
    #[error("storage: {0}")]
    Io(#[from] io::Error),
    /// The change contradicts the state: a bug here.
    #[error("internal: {0}")]
    Replay(#[from] ReplayError),
}

/// One file change that a client asks for.
#[derive(Debug)]
pub(crate) enum Edit {
    /// A plain file with its bytes.
    Plain { path: String, bytes: Bytes },
    /// A large file whose content is stored already.
    Large { path: String, content: Content },
    /// A file to delete.
    DeleteFile { path: String },
    /// A folder to delete.
    DeleteFolder { path: String },
}

/// A commit that a client asks for.
#[derive(Debug)]
pub(crate) struct NewCommit {
    /// The revision to commit to, or, with `pull_request`, to start from.
    pub(crate) revision: String,
    /// The commit that must be the current one, as the client gave it (may be abbreviated).
    pub(crate) parent: Option<String>,
    /// First line of the message.
    pub(crate) title: String,
    /// Rest of the message.
    pub(crate) body: String,
    /// Name of the user.
    pub(crate) author: String,
    /// The changes.
    pub(crate) edits: Vec<Edit>,
    /// Open a pull request with this commit instead of moving the revision.
    pub(crate) pull_request: bool,
}

/// A commit that was made.
#[derive(Debug)]
pub(crate) struct Committed {
    /// Its id.
    pub(crate) id: Oid,
    /// The pull request that was opened with it.
    pub(crate) pull_request: Option<u64>,
}

impl Repo {
    /// Writes a new repository with its first commit to `dir`, which must not exist.
    pub(crate) fn create(dir: &Path, new: NewRepo) -> Result<(), OpenError> {
        std::fs::create_dir(dir)?;
        let contents: Vec<&[u8]> = new.files.iter().map(|(_, bytes)| bytes.as_slice()).collect();
        let offsets = Pack::open(&dir.join(PACK))?.append(&contents)?;
        let put = |((path, bytes), offset): (&(String, Vec<u8>), u64)| {
            let content =
                Content::Plain { oid: Oid::of_blob(bytes), size: bytes.len() as u64, offset };
            Change::Put { path: path.clone(), content }
        };
        let changes: Vec<Change> = new.files.iter().zip(offsets).map(put).collect();
        let (millis, title) = (now_millis(), "initial commit");
        let created = Record::Created { key: new.key, owner: new.owner.clone(), millis };
        let tree = State::new(created.clone())?
            .changed_tree(None, &changes)
            .map_err(ReplayError::Conflict)?;
        let commit = Record::Commit {
            reference: MAIN.to_owned(),
            id: Oid::of_commit(tree.oid(), None, &new.owner, millis / 1000, title),
            parent: None,
            title: title.to_owned(),
            body: String::new(),
            author: new.owner,
            millis,
            changes,
        };
        let records = [created, Record::Settings(new.settings), commit];
        Journal::open::<Record>(&dir.join(JOURNAL))?.0.append(&records)?;
        sync_dir(dir)?;
        Ok(())
    }

    /// Opens the repository in `dir`.
    pub(crate) fn open(dir: &Path, uid: String) -> Result<Self, OpenError> {
        let (journal, records) = Journal::open::<Record>(&dir.join(JOURNAL))?;
        let mut records = records.into_iter();
        let mut state = State::new(records.next().ok_or(ReplayError::Beginning)?)?;
        records.try_for_each(|record| state.apply(record))?;
        let pack = Pack::open(&dir.join(PACK))?;
        let blobs = pack.reader()?;
        Ok(Self {
            uid,
            dir: dir.to_owned(),
            state: RwLock::new(state),
            log: Mutex::new(Log { journal, pack }),
            blobs,
        })
    }

    /// Where the repository is stored.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The state, for reading. Don't keep it across an `await`.
    pub(crate) fn state(&self) -> RwLockReadGuard<'_, State> {
        read(&self.state)
    }

    /// The bytes of a plain file.
    pub(crate) fn read_blob(&self, offset: u64, size: u64) -> io::Result<Bytes> {
        let size = usize::try_from(size).map_err(io::Error::other)?;
        let mut bytes = vec![0; size];
        self.blobs.read_exact_at(&mut bytes, offset)?;
        Ok(bytes.into())
    }

    /// Adds a hostile entry to the listings. Kept in memory only.
    pub(crate) fn plant(&self, entries: Vec<Planted>) {
        write(&self.state).planted.extend(entries);
    }

    /// Flips every bit of the byte at `offset` of the pack.
    pub(crate) fn corrupt_blob(&self, offset: u64) -> io::Result<()> {
        let mut byte = [0];
        self.blobs.read_exact_at(&mut byte, offset)?;
        self.blobs.write_all_at(&[!byte[0]], offset)
    }

    /// Makes the change that `plan` reads off the state: on disk first, then in memory.
    fn change<T>(
        &self,
        plan: impl FnOnce(&State, &mut Pack) -> Result<(Vec<Record>, T), ChangeError>,
    ) -> Result<T, ChangeError> {
        let mut log = lock(&self.log);
        let (records, result) = plan(&read(&self.state), &mut log.pack)?;
        log.journal.append(&records)?;
        let mut state = write(&self.state);
        for record in records {
            state.apply(record)?;
        }
        Ok(result)
    }

    /// Appends records that hold whatever the state is.
    pub(crate) fn record(&self, records: Vec<Record>) -> Result<(), ChangeError> {
        self.change(|_, _| Ok((records, ())))
    }

    /// Adds a commit.
    pub(crate) fn commit(&self, new: NewCommit) -> Result<Committed, ChangeError> {
        self.change(|state, pack| plan_commit(state, pack, new))
    }

    /// Opens a discussion; with `base`, a pull request whose reference starts at that revision.
    pub(crate) fn open_discussion(
        &self,
        title: String,
        description: String,
        author: String,
        base: Option<String>,
    ) -> Result<u64, ChangeError> {
        self.change(|state, _| {
            let number = state.discussions.len() as u64 + 1;
            let mut records = Vec::new();
            let mut status = "open";
            if let Some(base) = &base {
                let seq =
                    state.resolve(base).ok_or_else(|| ChangeError::NoRevision(base.clone()))?;
                let target = state.commits.get(seq).map(|commit| commit.id);
                records.push(Record::Ref { name: format!("refs/pr/{number}"), target });
                status = "draft";
            }
            records.push(Record::Discussion(Discussion {
                number,
                title,
                description,
                author,
                millis: now_millis(),
                status: status.to_owned(),
                base,
            }));
            Ok((records, number))
        })
    }

    /// Merges pull request `number` by moving its base to it. Only fast-forward merges are made:
    /// this Hub has no merge commits.
    pub(crate) fn merge(&self, number: u64) -> Result<(), ChangeError> {
        self.change(|state, _| {
            let refused = |why: &str| ChangeError::Refused(why.to_owned());
            let found = state.discussions.iter().find(|d| d.number == number);
            let base =
                found.and_then(|d| d.base.clone()).ok_or_else(|| refused("Not a pull request"))?;
            let base = state.movable_ref(&base).ok_or(ChangeError::NotMovable(base))?;
            let (old, new) = (state.resolve(&base), state.resolve(&format!("refs/pr/{number}")));
            let mut ancestor = new;
            while ancestor.is_some() && ancestor != old {
                ancestor = ancestor.and_then(|seq| state.commits.get(seq)?.parent);
            }
            let target = new.and_then(|seq| state.commits.get(seq)).map(|commit| commit.id);
            if ancestor.is_none() || target.is_none() {
                return Err(refused("This pull request has conflicts and can't be merged"));
            }
            let status = Record::Status { number, status: "merged".to_owned() };
            Ok((vec![Record::Ref { name: base, target }, status], ()))
        })
    }

    /// Creates reference `name` at `revision`.
    pub(crate) fn create_ref(&self, name: String, revision: &str) -> Result<(), ChangeError> {
        self.change(|state, _| {
            let seq = state
                .resolve(revision)
                .ok_or_else(|| ChangeError::NoRevision(revision.to_owned()))?;
            if state.refs.contains_key(&name) {
                return Err(ChangeError::RefExists(name));
            }
            let target = state.commits.get(seq).map(|commit| commit.id);
            Ok((vec![Record::Ref { name, target }], ()))
        })
    }

    /// Deletes reference `name`.
    pub(crate) fn delete_ref(&self, name: String) -> Result<(), ChangeError> {
        self.change(|state, _| {
            if !state.refs.contains_key(&name) {
                return Err(ChangeError::NoRevision(name));
            }
            Ok((vec![Record::Ref { name, target: None }], ()))
        })
    }
}

fn plan_commit(
    state: &State,
    pack: &mut Pack,
    new: NewCommit,
) -> Result<(Vec<Record>, Committed), ChangeError> {
    let missing = || ChangeError::NoRevision(new.revision.clone());
    let parent = state.resolve(&new.revision).ok_or_else(missing)?;
    let base = state.commits.get(parent).ok_or_else(missing)?;
    if let Some(expected) = &new.parent
        && !base.id.to_string().starts_with(expected.as_str())
    {
        return Err(ChangeError::Outdated);
    }
    // Deletions come first: a path that is deleted and written in one commit is kept.
    let mut changes = removals(base, &new.edits)?;
    changes.extend(puts(pack, &new.edits)?);
    let tree = state.changed_tree(Some(parent), &changes)?;
    let millis = now_millis();
    let text = message(&new.title, &new.body);
    let id = Oid::of_commit(tree.oid(), Some(base.id), &new.author, millis / 1000, &text);
    let mut records = Vec::new();
    let (reference, pull_request) = if new.pull_request {
        let number = state.discussions.len() as u64 + 1;
        records.push(Record::Discussion(Discussion {
            number,
            title: new.title.clone(),
            description: new.body.clone(),
            author: new.author.clone(),
            millis,
            status: "open".to_owned(),
            base: Some(new.revision),
        }));
        (format!("refs/pr/{number}"), Some(number))
    } else {
        let reference = state.movable_ref(&new.revision);
        (reference.ok_or(ChangeError::NotMovable(new.revision))?, None)
    };
    records.push(Record::Commit {
        reference,
        id,
        parent: Some(base.id),
        title: new.title,
        body: new.body,
        author: new.author,
        millis,
        changes,
    });
    Ok((records, Committed { id, pull_request }))
}

/// The deletions of a commit, which must name what is there, and a check of all other paths.
fn removals(base: &Commit, edits: &[Edit]) -> Result<Vec<Change>, ChangeError> {
    let mut changes = Vec::new();
    for edit in edits {
        let (path, is_there) = match edit {
            Edit::DeleteFile { path } => (path.as_str(), base.tree.file(path).is_some()),
            Edit::DeleteFolder { path } => {
                let path = path.trim_end_matches('/');
                (path, base.tree.get(path).is_some() && base.tree.file(path).is_none())
            }
            Edit::Plain { path, .. } | Edit::Large { path, .. } => {
                if !valid_file_path(path) {
                    return Err(ChangeError::BadPath(path.clone()));
                }
                continue;
            }
        };
        if !is_there {
            return Err(ChangeError::NoEntry(path.to_owned()));
        }
        changes.push(Change::Remove { path: path.to_owned() });
    }
    Ok(changes)
}

/// The files of a commit. The bytes of plain ones are stored on the way.
fn puts(pack: &mut Pack, edits: &[Edit]) -> Result<Vec<Change>, ChangeError> {
    let mut changes = Vec::new();
    let contents: Vec<&[u8]> = edits
        .iter()
        .filter_map(|edit| match edit {
            Edit::Plain { bytes, .. } => Some(bytes.as_ref()),
            _ => None,
        })
        .collect();
    let mut offsets = pack.append(&contents)?.into_iter();
    for edit in edits {
        let (path, content) = match edit {
            Edit::Plain { path, bytes } => {
                let offset = offsets.next().ok_or_else(|| io::Error::other("pack out of step"))?;
                let oid = Oid::of_blob(bytes);
                (path, Content::Plain { oid, size: bytes.len() as u64, offset })
            }
            Edit::Large { path, content } => (path, content.clone()),
            Edit::DeleteFile { .. } | Edit::DeleteFolder { .. } => continue,
        };
        changes.push(Change::Put { path: path.clone(), content });
    }
    Ok(changes)
}
