//! What one repository is: the state that replaying its journal yields.
//!
//! `State::apply` is the only way that state changes, for a live request as for a restart, so what
//! the server answers after a kill is what it answered before.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use xet_core_structures::merklehash::MerkleHash;

use super::tree::{Content, File, PathConflict, Tree};
use crate::git::Oid;
use crate::ids::RepoKey;

/// The default branch.
pub(crate) const MAIN: &str = "refs/heads/main";

/// How a repository asks for access to its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Gate {
    /// No gate.
    #[default]
    Open,
    /// Access is granted to whoever asks.
    Auto,
    /// Access is granted by the owner.
    Manual,
}

/// The switches of a repository. Absent fields of a change stay as they are.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Settings {
    /// Only members and the access list may see it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) private: Option<bool>,
    /// Content needs granted access.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) gate: Option<Gate>,
    /// Taken down: nobody may read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) disabled: Option<bool>,
    /// Large files are offered over Xet, not only over LFS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) xet: Option<bool>,
}

/// One file change of a commit.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Change {
    /// A file appears or is replaced.
    Put {
        /// Path in the repository.
        path: String,
        /// What it holds.
        content: Content,
    },
    /// A file or a folder disappears.
    Remove {
        /// Path in the repository, without a slash at the end.
        path: String,
    },
}

/// One acknowledged change of a repository.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "lowercase")]
pub(crate) enum Record {
    /// The repository was created. Always the first record.
    Created { key: RepoKey, owner: String, millis: u64 },
    /// It has a new name; the old one redirects.
    Renamed { key: RepoKey },
    /// Its switches changed.
    Settings(Settings),
    /// The users who may see private and gated content.
    Access { users: BTreeSet<String> },
    /// A commit was added and `reference` moved to it.
    Commit {
        reference: String,
        id: Oid,
        parent: Option<Oid>,
        title: String,
        body: String,
        author: String,
        millis: u64,
        changes: Vec<Change>,
    },
    /// A branch or tag was created or moved (`Some`), or deleted (`None`).
    Ref { name: String, target: Option<Oid> },
    /// A discussion or pull request was opened.
    Discussion(Discussion),
    /// A discussion or pull request changed its status.
    Status { number: u64, status: String },
}

/// A commit.
#[derive(Debug)]
pub(crate) struct Commit {
    /// Its id.
    pub(crate) id: Oid,
    /// Sequence number of its parent.
    pub(crate) parent: Option<usize>,
    /// Its files.
    pub(crate) tree: Arc<Tree>,
    /// First line of the message.
    pub(crate) title: String,
    /// Rest of the message, may be empty.
    pub(crate) body: String,
    /// Name of the user who made it.
    pub(crate) author: String,
    /// When, in milliseconds after the Unix epoch.
    pub(crate) millis: u64,
    xet_files: OnceLock<HashSet<MerkleHash>>,
}

impl Commit {
    /// The hashes of its files in the CAS, looked for once.
    pub(crate) fn xet_files(&self) -> &HashSet<MerkleHash> {
        self.xet_files.get_or_init(|| {
            let mut found = HashSet::new();
            self.tree.each_file(&mut |file| found.extend(file.content.xet_hash()));
            found
        })
    }
}

/// A discussion, which is a pull request if it has a base.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Discussion {
    /// Number, from 1.
    pub(crate) number: u64,
    /// Title.
    pub(crate) title: String,
    /// Description, may be empty.
    pub(crate) description: String,
    /// Name of the user who opened it.
    pub(crate) author: String,
    /// When, in milliseconds after the Unix epoch.
    pub(crate) millis: u64,
    /// `draft`, `open`, `closed` or `merged`.
    pub(crate) status: String,
    /// For a pull request: the reference that it wants to change.
    pub(crate) base: Option<String>,
}

/// A listing entry that never went through path validation: what a hostile Hub could publish.
#[derive(Debug, Clone)]
pub(crate) struct Planted {
    /// Path as listed, whatever it is.
    pub(crate) path: String,
    /// What the listing claims about it.
    pub(crate) content: Content,
    /// Bytes that resolve serves for it, if any.
    pub(crate) bytes: Option<bytes::Bytes>,
}

/// The replayed state of a repository.
#[derive(Debug)]
pub(crate) struct State {
    /// Its current name.
    pub(crate) key: RepoKey,
    /// Names that it had before, which redirect to the current one.
    pub(crate) former: Vec<RepoKey>,
    /// The user who created it.
    pub(crate) owner: String,
    /// When it was created, in milliseconds after the Unix epoch.
    pub(crate) created: u64,
    /// See [`Settings::private`].
    pub(crate) private: bool,
    /// See [`Settings::gate`].
    pub(crate) gate: Gate,
    /// See [`Settings::disabled`].
    pub(crate) disabled: bool,
    /// See [`Settings::xet`].
    pub(crate) xet: bool,
    /// Users who may see private and gated content although they are not members.
    pub(crate) access: BTreeSet<String>,
    /// All commits in the order in which they were made.
    pub(crate) commits: Vec<Commit>,
    /// Full reference names and the sequence numbers of their commits.
    pub(crate) refs: BTreeMap<String, usize>,
    /// Discussions and pull requests; number n is at n - 1.
    pub(crate) discussions: Vec<Discussion>,
    /// Hostile entries, kept in memory only.
    pub(crate) planted: Vec<Planted>,
    by_id: HashMap<Oid, usize>,
}

/// A journal that contradicts itself.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReplayError {
    /// The first record isn't `Created`, or a later one is.
    #[error("the journal doesn't begin with the creation of the repository")]
    Beginning,
    /// A record names a commit that isn't there.
    #[error("commit {0} is missing")]
    MissingCommit(Oid),
    /// A commit's files don't add up to its id.
    #[error("commit {0} doesn't match its content")]
    WrongId(Oid),
    /// A commit makes a path a file and a folder.
    #[error(transparent)]
    Conflict(#[from] PathConflict),
}

impl State {
    /// The state right after `first`, the creation.
    pub(crate) fn new(first: Record) -> Result<Self, ReplayError> {
        let Record::Created { key, owner, millis } = first else {
            return Err(ReplayError::Beginning);
        };
        Ok(Self {
            key,
            former: Vec::new(),
            owner,
            created: millis,
            private: false,
            gate: Gate::Open,
            disabled: false,
            xet: true,
            access: BTreeSet::new(),
            commits: Vec::new(),
            refs: BTreeMap::new(),
            discussions: Vec::new(),
            planted: Vec::new(),
            by_id: HashMap::new(),
        })
    }

    /// The commit that a branch, tag, full reference, or (abbreviated) commit id stands for.
    pub(crate) fn resolve(&self, revision: &str) -> Option<usize> {
        let named = |name: &str| self.refs.get(name).copied();
        if let Some(found) = named(&format!("refs/heads/{revision}"))
            .or_else(|| named(&format!("refs/tags/{revision}")))
            .or_else(|| revision.starts_with("refs/").then(|| named(revision)).flatten())
        {
            return Some(found);
        }
        if revision == "HEAD" {
            return named(MAIN);
        }
        if let Some(id) = Oid::from_hex(revision) {
            return self.by_id.get(&id).copied();
        }
        let abbreviated = revision.len() >= 7 && revision.chars().all(|c| c.is_ascii_hexdigit());
        let matches = |commit: &Commit| abbreviated && commit.id.to_string().starts_with(revision);
        self.commits.iter().position(matches)
    }

    /// The full name of the reference that commits to `revision` move, if it can be moved.
    pub(crate) fn movable_ref(&self, revision: &str) -> Option<String> {
        let branch = format!("refs/heads/{revision}");
        if self.refs.contains_key(&branch) {
            return Some(branch);
        }
        let movable = revision.starts_with("refs/heads/") || revision.starts_with("refs/pr/");
        (movable && self.refs.contains_key(revision)).then(|| revision.to_owned())
    }

    /// Sequence number of the commit with `id`.
    pub(crate) fn commit_of(&self, id: Oid) -> Option<usize> {
        self.by_id.get(&id).copied()
    }

    /// The tree of commit `seq`, or of nothing.
    fn tree_of(&self, seq: Option<usize>) -> Arc<Tree> {
        seq.and_then(|seq| self.commits.get(seq)).map(|c| Arc::clone(&c.tree)).unwrap_or_default()
    }

    /// The files that `changes` make of the files of commit `parent`.
    pub(crate) fn changed_tree(
        &self,
        parent: Option<usize>,
        changes: &[Change],
    ) -> Result<Arc<Tree>, PathConflict> {
        let commit = self.commits.len();
        let mut tree = self.tree_of(parent);
        let new = Arc::make_mut(&mut tree);
        for change in changes {
            match change {
                Change::Remove { path } => {
                    new.remove(path, commit);
                }
                Change::Put { path, content } => {
                    new.insert(path, Arc::new(File { content: content.clone(), commit }))?;
                }
            }
        }
        Ok(tree)
    }

    /// Makes `record` part of the state. On an error nothing has changed.
    pub(crate) fn apply(&mut self, record: Record) -> Result<(), ReplayError> {
        match record {
            Record::Created { .. } => return Err(ReplayError::Beginning),
            Record::Renamed { key } => {
                self.former.retain(|former| *former != key);
                self.former.push(std::mem::replace(&mut self.key, key));
            }
            Record::Settings(settings) => {
                self.private = settings.private.unwrap_or(self.private);
                self.gate = settings.gate.unwrap_or(self.gate);
                self.disabled = settings.disabled.unwrap_or(self.disabled);
                self.xet = settings.xet.unwrap_or(self.xet);
            }
            Record::Access { users } => self.access = users,
            Record::Commit { reference, id, parent, title, body, author, millis, changes } => {
                let parent_seq = match parent {
                    None => None,
                    Some(id) => Some(self.commit_of(id).ok_or(ReplayError::MissingCommit(id))?),
                };
                let tree = self.changed_tree(parent_seq, &changes)?;
                let message = message(&title, &body);
                if Oid::of_commit(tree.oid(), parent, &author, millis / 1000, &message) != id {
                    return Err(ReplayError::WrongId(id));
                }
                let seq = self.commits.len();
                self.commits.push(Commit {
                    id,
                    parent: parent_seq,
                    tree,
                    title,
                    body,
                    author,
                    millis,
                    xet_files: OnceLock::new(),
                });
                self.by_id.insert(id, seq);
                self.refs.insert(reference, seq);
            }
            Record::Ref { name, target: Some(id) } => {
                let seq = self.commit_of(id).ok_or(ReplayError::MissingCommit(id))?;
                self.refs.insert(name, seq);
            }
            Record::Ref { name, target: None } => {
                self.refs.remove(&name);
            }
            Record::Discussion(discussion) => self.discussions.push(discussion),
            Record::Status { number, status } => {
                let index = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
                if let Some(found) = index.and_then(|index| self.discussions.get_mut(index)) {
                    found.status = status;
                }
            }
        }
        Ok(())
    }
}

/// A commit message in git's form.
pub(crate) fn message(title: &str, body: &str) -> String {
    if body.is_empty() { title.to_owned() } else { format!("{title}\n\n{body}") }
}

/// Now, in milliseconds after the Unix epoch.
pub(crate) fn now_millis() -> u64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}

/// A time as the Hub prints it: `2026-01-31T12:00:00.000Z`.
pub(crate) fn iso(millis: u64) -> String {
    humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(millis)).to_string()
}
