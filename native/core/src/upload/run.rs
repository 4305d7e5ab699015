//! An upload call from its start to its report: one commit of listed changes, or a folder.

use std::collections::HashSet;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use super::change::{Change, Header};
use super::commit::{Branch, Committer};
use super::content::UploadContent;
use super::deletions::Deletions;
use super::item::Addition;
use super::learn::StoredFile;
use super::outcome::Outcome;
use super::request::{CommitOptions, CommitReport, FolderRequest, Operation};
use super::stats::Stats;
use super::store::LfsStore;
use crate::call::Call;
use crate::call::progress::Phase;
use crate::cas::newer::NewerRoutes;
use crate::cas::shards::KnownShards;
use crate::cas::{HubTokens, Outages};
use crate::config::Config;
use crate::http::{Http, RetryPolicy};
use crate::hub::{Committed, Hub};
use crate::model::error::{Error, Result};
use crate::model::repo::CommitId;
use crate::reuse::Index;

/// What is to be uploaded.
pub(crate) enum Work {
    Commit(Vec<Operation>),
    Folder(Box<FolderRequest>),
}

/// One upload call.
pub(crate) struct Upload {
    pub(crate) http: Arc<Http>,
    pub(crate) hub: Hub,
    pub(crate) tokens: Arc<HubTokens>,
    pub(crate) outages: Arc<Outages>,
    /// Of places behind the CAS that take content.
    pub(crate) sending_outages: Arc<Outages>,
    /// Of the CAS, which it needn't have.
    pub(crate) newer_routes: Arc<NewerRoutes>,
    pub(crate) config: Arc<Config>,
    pub(crate) call: Call,
    pub(crate) options: CommitOptions,
    /// What learns of the files that were uploaded.
    pub(crate) reuse: Option<Arc<Index>>,
    /// What earlier ones have read in the Xet cache.
    pub(crate) shards: Arc<KnownShards>,
    pub(crate) head: OnceLock<CommitId>,
    /// What is known of its commits, however it ends.
    pub(crate) outcome: Outcome,
}

/// What has become of a call's commits so far.
pub(super) struct Commits {
    branch: Branch,
    committer: Committer,
    title: String,
    made: Vec<Committed>,
    pull_request_url: Option<String>,
}

impl Upload {
    pub(crate) async fn run(self, work: Work, started: Instant) -> Result<CommitReport> {
        let CommitOptions { repo, revision, create_pr, .. } = &self.options;
        let counters = &self.call.counters;
        let title = self.options.message.clone().unwrap_or_else(|| default_title(&work));
        let branch = Branch {
            repo: repo.clone(),
            revision: revision.clone(),
            create_pr: *create_pr,
            head: None,
        };
        let committer = Committer {
            hub: self.hub.clone(),
            call: self.call.clone(),
            policy: RetryPolicy::new(&self.config),
            outcome: self.outcome.clone(),
        };
        let mut commits =
            Commits { branch, committer, title, made: Vec::new(), pull_request_url: None };
        let mut stats = Stats::default();
        match work {
            Work::Commit(operations) => {
                self.commit_operations(operations, &mut commits, &mut stats).await?;
            }
            Work::Folder(request) => {
                Box::pin(self.commit_folder(*request, &mut commits, &mut stats)).await?;
            }
        }
        let made = u32::try_from(commits.made.len()).unwrap_or(u32::MAX);
        let (commit, commit_url) = if let Some(last) = commits.made.pop() {
            (last.id, last.url)
        } else {
            let head = self.head().await?;
            let url = self.hub.commit_page(repo, &head);
            (head, url)
        };
        Ok(CommitReport {
            commit,
            commit_url,
            pull_request_url: commits.pull_request_url,
            commits: made,
            files: stats.files,
            files_changed: stats.files_changed,
            bytes_total: stats.bytes_total,
            bytes_new: stats.bytes_new,
            bytes_on_hub: stats.bytes_on_hub,
            bytes_repeated: stats.bytes_repeated,
            bytes_sent: stats.bytes_sent,
            xorbs: stats.xorbs,
            retries: counters.retries(),
            duration: started.elapsed(),
            left_out: stats.left_out,
            dedup_asked: counters.dedup.asked(),
            dedup_answered: counters.dedup.answered(),
            dedup_failed: counters.dedup.failed(),
        })
    }

    /// What the revision stood for when this call began to ask about it.
    pub(super) async fn head(&self) -> Result<CommitId> {
        if let Some(head) = self.head.get() {
            return Ok(head.clone());
        }
        let CommitOptions { repo, revision, .. } = &self.options;
        let head = self.hub.commit_of(repo, revision, &self.call.counters).await?;
        Ok(self.head.get_or_init(|| head).clone())
    }

    /// All operations in one commit.
    async fn commit_operations(
        &self,
        operations: Vec<Operation>,
        commits: &mut Commits,
        stats: &mut Stats,
    ) -> Result<()> {
        check(&operations)?;
        let deletions = Deletions::of(&operations);
        let mut additions = Vec::new();
        let mut copies = Vec::new();
        let mut changes = Vec::new();
        for operation in operations {
            match operation {
                Operation::Add { path, source } => additions.push(Addition { path, source }),
                Operation::Delete(path) => changes.push(Change::Delete(path.to_string())),
                Operation::DeleteFolder(path) => changes.push(Change::DeleteFolder(path)),
                Operation::Copy { from, from_revision, to } => {
                    copies.push((from, from_revision, to));
                }
            }
        }
        changes.extend(self.copies(copies, &deletions).await?);
        let contents = self.contents(&additions).await?;
        let total = contents.iter().map(UploadContent::size).sum();
        let files = u32::try_from(additions.len()).unwrap_or(u32::MAX);
        self.call.counters.set_upload_totals(files, total);
        let items = self.items(additions, contents);
        let store = self.xet_store();
        let git_ignore = self.git_ignore(&items).await?;
        let batch = self.prepare(&store, items, git_ignore.as_deref(), &deletions, stats).await?;
        changes.extend(batch);
        self.call.counters.enter(Phase::Committing);
        self.commit(commits, stats, changes).await.map(|_| ())
    }

    /// Makes one commit, unless there is nothing to commit. Says how long that took the Hub.
    pub(super) async fn commit(
        &self,
        commits: &mut Commits,
        stats: &mut Stats,
        changes: Vec<Change>,
    ) -> Result<Duration> {
        if changes.is_empty() {
            return Ok(Duration::ZERO);
        }
        if commits.branch.head.is_none() {
            commits.branch.head = Some(self.head().await?);
        }
        let carried: u64 = changes.iter().map(Change::carried).sum();
        let first = commits.made.is_empty();
        let header = Header {
            title: if first {
                commits.title.clone()
            } else {
                format!("{} (part {})", commits.title, commits.made.len() + 1)
            },
            description: self.options.description.clone(),
            parent: self.options.parent.as_ref().filter(|_| first).map(|p| p.as_str().into()),
        };
        let changes = Arc::new(changes);
        let committed = commits.committer.commit(&mut commits.branch, &header, &changes).await;
        let (made, took) = match committed {
            Ok(committed) => committed,
            Err(error) => return Err(LfsStore::of(self).explain(error, &changes).await),
        };
        // In base64.
        stats.bytes_sent += carried.div_ceil(3) * 4;
        if made.pull_request_url.is_some() {
            commits.pull_request_url.clone_from(&made.pull_request_url);
        }
        commits.made.push(made);
        Ok(took)
    }

    /// Lets later calls know of files that were stored. That they have these chunks is true before
    /// they are committed, and if they never are.
    pub(super) async fn learn(&self, learnt: Vec<StoredFile>) -> Result<()> {
        let Some(index) = self.reuse.clone().filter(|_| !learnt.is_empty()) else { return Ok(()) };
        let call = self.call.clone();
        let learn = move || {
            for file in learnt {
                call.beat();
                file.remember(&index);
            }
            Ok(())
        };
        self.call.blocking("the reuse index to take note of what was uploaded", learn).await
    }
}

/// A commit that changes a path twice means something else to everyone who reads it.
fn check(operations: &[Operation]) -> Result<()> {
    let mut written = HashSet::new();
    for operation in operations {
        let (Operation::Add { path, .. } | Operation::Copy { to: path, .. }) = operation else {
            continue;
        };
        if !written.insert(path.as_str()) {
            return Err(Error::invalid("operations", format!("write {:?} twice", path.as_str())));
        }
    }
    Ok(())
}

fn default_title(work: &Work) -> String {
    match work {
        Work::Folder(request) => match &request.path_in_repo {
            Some(path) => format!("Upload folder {path}"),
            None => "Upload folder".to_owned(),
        },
        Work::Commit(operations) => match &operations[..] {
            [Operation::Add { path, .. }] => format!("Upload {path}"),
            [Operation::Delete(path) | Operation::DeleteFolder(path)] => format!("Delete {path}"),
            [Operation::Copy { from, to, .. }] => format!("Copy {from} to {to}"),
            several => format!("Change {} files", several.len()),
        },
    }
}
