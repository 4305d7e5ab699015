//! What a caller asks of an upload, and what it gets to know at the end.

use std::path::PathBuf;
use std::time::Duration;

use super::borrowed::Borrowed;
use crate::config::options::DeadlineOptions;
use crate::hub::Visibility;
use crate::model::error::{Error, Result};
use crate::model::pattern::PatternSet;
use crate::model::repo::{CommitId, Repo, RepoPath, Revision};

/// Where the content of a file comes from.
#[derive(Clone, Debug)]
pub enum ContentSource {
    /// A file on this machine. Links are followed.
    Path(PathBuf),
    /// Memory of the caller's.
    Memory(Borrowed),
    /// The caller's stream of this number, read once through [`Observer::read`], however many files it is the content of.
    ///
    /// [`Observer::read`]: crate::call::Observer::read
    Stream(usize),
}

/// One change of a commit.
#[derive(Clone, Debug)]
pub enum Operation {
    /// Adds a file, or replaces it.
    Add {
        /// Where in the repo.
        path: RepoPath,
        /// Its content.
        source: ContentSource,
    },
    /// Deletes a file.
    Delete(RepoPath),
    /// Deletes a folder and all that is in it.
    DeleteFolder(RepoPath),
    /// Copies a file of the same repo.
    Copy {
        /// The file.
        from: RepoPath,
        /// At which revision; `None`: where the commit goes.
        from_revision: Option<Revision>,
        /// Where to.
        to: RepoPath,
    },
}

/// How a commit is made, whatever is in it.
#[derive(Clone, Debug)]
pub struct CommitOptions {
    /// To which repo.
    pub repo: Repo,
    /// On top of which branch or pull request.
    pub revision: Revision,
    /// The commit's title; `None`: one that says what it does.
    pub message: Option<String>,
    /// The rest of the message.
    pub description: String,
    /// Open a pull request instead.
    pub create_pr: bool,
    /// The commit that the revision must still stand for.
    pub parent: Option<ParentId>,
    /// Limit for the whole call.
    pub timeout: Option<Duration>,
    /// Limits of its requests, where not the client's.
    pub deadlines: DeadlineOptions,
}

/// One commit of listed changes.
#[derive(Clone, Debug)]
pub struct CommitRequest {
    /// How.
    pub options: CommitOptions,
    /// What.
    pub operations: Vec<Operation>,
}

/// A folder, in as many commits as it takes.
#[derive(Clone, Debug)]
pub struct FolderRequest {
    /// How.
    pub options: CommitOptions,
    /// The folder on this machine.
    pub folder: PathBuf,
    /// Where it goes; `None`: the root of the repo.
    pub path_in_repo: Option<RepoPath>,
    /// Which of its files are taken, by their paths in the folder.
    pub patterns: PatternSet,
    /// Which files of the repo are deleted, by their paths below `path_in_repo`, unless the folder
    /// brings them again.
    pub delete: Option<PatternSet>,
}

/// A repo to create.
#[derive(Clone, Debug)]
pub struct CreateRepoRequest {
    /// Its type and id.
    pub repo: Repo,
    /// Who may see it.
    pub visibility: Visibility,
    /// One that exists is as good.
    pub exist_ok: bool,
    /// What a space is made with, such as `static`.
    pub space_sdk: Option<String>,
    /// Limit for the whole call.
    pub timeout: Option<Duration>,
    /// Limits of its requests, where not the client's.
    pub deadlines: DeadlineOptions,
}

/// A branch to create.
#[derive(Clone, Debug)]
pub struct CreateBranchRequest {
    /// The repo.
    pub repo: Repo,
    /// Its name.
    pub branch: Revision,
    /// What it begins with.
    pub from: Revision,
    /// One that exists is as good.
    pub exist_ok: bool,
    /// Limit for the whole call.
    pub timeout: Option<Duration>,
    /// Limits of its requests, where not the client's.
    pub deadlines: DeadlineOptions,
}

/// A commit id that may be abbreviated: 5 to 40 hex digits, as the Hub has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParentId(String);

impl ParentId {
    /// Validates an id.
    pub fn new(text: &str) -> Result<Self> {
        let hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if hex && (5..=40).contains(&text.len()) {
            Ok(Self(text.to_ascii_lowercase()))
        } else {
            Err(Error::invalid("parent_commit", "is not a commit id of 5 to 40 hex digits"))
        }
    }

    /// The digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a finished upload did.
#[derive(Clone, Debug)]
pub struct CommitReport {
    /// The last commit; with nothing to commit, the one that the revision stands for.
    pub commit: CommitId,
    /// Its page.
    pub commit_url: String,
    /// The page of the pull request that was opened.
    pub pull_request_url: Option<String>,
    /// Commits that were made; 0: there was nothing to commit.
    pub commits: u32,
    /// Files that the call was about.
    pub files: u32,
    /// Those among them that the commits add or replace.
    pub files_changed: u32,
    /// Content of all of them.
    pub bytes_total: u64,
    /// Content that neither the Hub nor an earlier file of the call had.
    pub bytes_new: u64,
    /// Content that the Hub had.
    pub bytes_on_hub: u64,
    /// Content that stood earlier in the same call.
    pub bytes_repeated: u64,
    /// Sent as content, as sent: compressed, or in base64; with what describes it to the CAS.
    pub bytes_sent: u64,
    /// Xorbs that were sent.
    pub xorbs: u32,
    /// Requests, or whole Xet sessions, made again.
    pub retries: u32,
    /// Wall time of the call.
    pub duration: Duration,
    /// What was in the folder, selected, and no file: sockets, links that lead nowhere or in a loop.
    pub left_out: u64,
    /// Chunks of which storage was asked whether it has them from others.
    pub dedup_asked: u64,
    /// Those of which it has told where it has them.
    pub dedup_answered: u64,
    /// Those of which it hasn't said anything. The rest it doesn't have.
    pub dedup_failed: u64,
}

/// What a call that created a repo did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepoReport {
    /// The repo's page.
    pub url: String,
    /// `namespace/name`.
    pub id: String,
}
