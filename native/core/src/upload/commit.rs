//! Making a commit, and finding out what became of one whose answer was lost.
//!
//! A commit must neither be lost nor made twice. A request that broke after it was sent may have
//! been carried out, so before it is made again the branch is looked at: if a commit of ours has
//! appeared on it since, that was it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::change::{Change, Header, lines};
use super::outcome::Outcome;
use crate::call::Call;
use crate::http::{Patience, RetryPolicy};
use crate::hub::{Committed, Hub, NewCommit, PastCommit, is_of_a_quota, pull_request_number};
use crate::model::error::{Error, Kind, Result};
use crate::model::repo::{CommitId, Listed, Repo, Revision, Storage};

/// A commit's changes that are compared to recognise it; all of them would take long.
const COMPARED: usize = 100;
/// Pull requests that are looked through for a commit of ours.
const LATEST: usize = 5;

/// Where commits go, and what the next one stands on.
#[derive(Clone, Debug)]
pub(super) struct Branch {
    pub(super) repo: Repo,
    pub(super) revision: Revision,
    /// Whether the next commit opens a pull request.
    pub(super) create_pr: bool,
    /// What `revision` stood for when it was last looked at; known before a commit is made.
    pub(super) head: Option<CommitId>,
}

/// Makes commits.
pub(super) struct Committer {
    pub(super) hub: Hub,
    pub(super) call: Call,
    pub(super) policy: RetryPolicy,
    pub(super) outcome: Outcome,
}

impl Committer {
    /// Commits `changes` and moves `branch` on. Says how long the Hub took for that, other than to let it
    /// wait.
    pub(super) async fn commit(
        &self,
        branch: &mut Branch,
        header: &Header,
        changes: &Arc<Vec<Change>>,
    ) -> Result<(Committed, Duration)> {
        let mut header_now = header.clone();
        let mut failures = 0;
        let mut silences = 0;
        let mut perhaps_made = false;
        let mut begun;
        let committed = loop {
            let new = NewCommit {
                repo: &branch.repo,
                revision: &branch.revision,
                create_pr: branch.create_pr,
            };
            let what = "the Hub to make a commit";
            let waiting = self.call.counters.waits.begin(what, Duration::ZERO);
            let patience = self.patience();
            let body = lines(&header_now, changes, &self.call, &self.outcome, patience).await?;
            let doubted = self.outcome.is_in_doubt();
            begun = Instant::now();
            let error = match self.hub.commit(&new, body, &self.call.counters).await {
                Ok(committed) => break committed,
                Err(error) => error,
            };
            perhaps_made |= may_have_been_made(&error);
            if !doubted && !is_lost(&error) {
                self.outcome.refused();
            }
            drop(waiting);
            // A refusal for now isn't one of the commit.
            failures += u32::from(error.context().hold.is_none());
            let silent = error.kind() == Kind::Timeout;
            silences += u32::from(silent);
            let look_limit = silent.then(|| self.hub.deadlines().longest() * 2 / 3);
            // After a lost answer, a conflict may be with our own commit; and without a parent of
            // the caller's, with a commit that is no concern of ours.
            let own_parent = perhaps_made && header.parent.is_none();
            // Two silences use up the patience, though the looks between them are answered.
            let again = (error.is_transient() && silences < 2)
                || (own_parent && error.kind() == Kind::Conflict);
            let failed = error.clone();
            let paused = if again {
                self.policy.pause(failures, error, &self.call.counters).await
            } else {
                Err(error)
            };
            if perhaps_made {
                let found = self.look(branch, header, changes, look_limit).await;
                let found = found.map_err(|error| {
                    Error::cause(("the commit", failed), ("a look at the branch", error))
                })?;
                match found {
                    Found::Ours(found) => {
                        tracing::warn!(commit = %found.id, "the answer to a commit was lost");
                        break found;
                    }
                    // The lost request may still be on its way: of two, one must fail.
                    Found::Newest(head) if header.parent.is_none() => {
                        header_now.parent = head.map(|head| head.to_string());
                    }
                    Found::Newest(_) => {}
                }
            }
            paused.map_err(|error| describe(error, header))?;
        };
        let took = begun.elapsed();
        self.outcome.made(&committed);
        branch.head = Some(committed.id.clone());
        if branch.create_pr
            && let Some(number) =
                committed.pull_request_url.as_deref().and_then(pull_request_number)
        {
            branch.revision = Revision::new(&format!("refs/pr/{number}"))?;
            branch.create_pr = false;
        }
        Ok((committed, took))
    }

    /// A Hub that checks a commit has all the patience there is; one that doesn't even take it, half.
    fn patience(&self) -> Patience {
        let deadlines = self.hub.deadlines();
        Patience {
            sending: super::storage_patience(deadlines),
            answer: super::answer_patience(deadlines),
        }
    }

    /// As [`find`](Self::find), for `limit` at most: a Hub that has just used up the patience with
    /// silence isn't given as much once more.
    async fn look(
        &self,
        branch: &Branch,
        header: &Header,
        changes: &[Change],
        limit: Option<Duration>,
    ) -> Result<Found> {
        let find = self.find(branch, header, changes);
        let Some(limit) = limit else { return find.await };
        tokio::time::timeout(limit, find).await.unwrap_or_else(|_| {
            let message = format!("{} didn't say within {limit:?}", self.hub.host());
            Err(Error::new(Kind::Timeout, message))
        })
    }

    /// The commit that `changes` have become, if they have.
    async fn find(&self, branch: &Branch, header: &Header, changes: &[Change]) -> Result<Found> {
        let (repo, counters) = (&branch.repo, &self.call.counters);
        if !branch.create_pr {
            let revision = branch.revision.as_str();
            let commits = self.hub.latest_commits(repo, revision, counters).await?;
            let newest = commits.first().map(|commit| commit.id.clone());
            return Ok(match self.find_in(branch, commits, header, changes).await? {
                Some(id) => {
                    let url = self.hub.commit_page(repo, &id);
                    Found::Ours(Committed { id, url, pull_request_url: None })
                }
                None => Found::Newest(newest),
            });
        }
        for number in self.hub.pull_requests(repo, counters).await?.into_iter().take(LATEST) {
            let revision = format!("refs/pr/{number}");
            let commits = self.hub.latest_commits(repo, &revision, counters).await?;
            if let Some(id) = self.find_in(branch, commits, header, changes).await? {
                let url = self.hub.commit_page(repo, &id);
                let pull_request_url = Some(self.hub.pull_request_page(repo, number));
                return Ok(Found::Ours(Committed { id, url, pull_request_url }));
            }
        }
        Ok(Found::Newest(None))
    }

    async fn find_in(
        &self,
        branch: &Branch,
        commits: Vec<PastCommit>,
        header: &Header,
        changes: &[Change],
    ) -> Result<Option<CommitId>> {
        let since =
            commits.into_iter().take_while(|commit| Some(&commit.id) != branch.head.as_ref());
        for commit in since.filter(|commit| commit.title == first_line(&header.title)) {
            if self.is_made_of(&branch.repo, &commit.id, changes).await? {
                return Ok(Some(commit.id));
            }
        }
        Ok(None)
    }

    /// Whether a commit has the files that `changes` make.
    async fn is_made_of(&self, repo: &Repo, commit: &CommitId, changes: &[Change]) -> Result<bool> {
        let compared = changes.iter().filter(|change| !is_undone(change, changes));
        let compared: Vec<Change> = compared.take(COMPARED).cloned().collect();
        let paths: Vec<&str> = compared.iter().map(Change::path).collect();
        let counters = &self.call.counters;
        let entries = self.hub.paths_info(repo, commit.as_str(), &paths, counters).await?;
        let call = self.call.clone();
        self.call
            .blocking("the disk to compare what is committed", move || {
                for change in &compared {
                    let entry = entries.iter().find(|entry| entry.path == change.path());
                    if !is_result_of(change, entry, &call)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            })
            .await
    }
}

/// What a look at the branch shows.
enum Found {
    /// Our commit is on it.
    Ours(Committed),
    /// It isn't; this is the newest one that is.
    Newest(Option<CommitId>),
}

/// Whether `change` deletes what another one of `changes` brings back.
fn is_undone(change: &Change, changes: &[Change]) -> bool {
    if !matches!(change, Change::Delete(_) | Change::DeleteFolder(_)) {
        return false;
    }
    changes.iter().any(|other| {
        let rest = other.path().strip_prefix(change.path());
        let is_there = rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        is_there && matches!(other, Change::Regular { .. } | Change::Stored { .. })
    })
}

/// Whether `entry`, or its absence, is what `change` leads to.
fn is_result_of(change: &Change, entry: Option<&Listed>, call: &Call) -> Result<bool> {
    Ok(match (change, entry) {
        (Change::Delete(_) | Change::DeleteFolder(_), entry) => entry.is_none(),
        (_, None) => false,
        (Change::Regular { content, .. }, Some(entry)) => {
            matches!(entry.storage, Storage::Git) && entry.oid == content.git_oid(call)?
        }
        (Change::Stored { sha256, .. }, Some(entry)) => match &entry.storage {
            Storage::Git | Storage::XetAlone { .. } => false,
            Storage::Lfs { sha256: stored } | Storage::Xet { sha256: stored, .. } => {
                stored == sha256
            }
        },
    })
}

/// Whether a request that failed like this may have been carried out.
fn may_have_been_made(error: &Error) -> bool {
    matches!(
        error.kind(),
        Kind::Connection | Kind::Timeout | Kind::ServerError | Kind::InvalidResponse
    )
}

/// Whether no word of the Hub's came back, only silence, or that of a gateway before it. Its own
/// word that it failed counts as one: if a commit has appeared all the same, it is found.
fn is_lost(error: &Error) -> bool {
    match error.kind() {
        Kind::Connection | Kind::Timeout | Kind::InvalidResponse => true,
        Kind::ServerError => matches!(error.context().http_status, Some(502 | 504)),
        _ => false,
    }
}

/// A conflict in terms of what the caller asked for.
fn describe(error: Error, header: &Header) -> Error {
    if is_of_a_quota(&error) {
        return error.noting(
            "the content of large files is stored: the same call, made then, sends none of it again, and \
             makes the commits that are left",
        );
    }
    let Some(parent) = header.parent.as_deref().filter(|_| error.kind() == Kind::Conflict) else {
        return error;
    };
    let context = error.context().clone();
    let message = format!(
        "the branch has moved on from parent_commit {parent}; nothing was committed. Look at what \
         has changed, then commit on top of it"
    );
    Error::new(Kind::Conflict, message).with(|c| *c = context)
}

/// What the Hub lists as a commit's title.
fn first_line(message: &str) -> &str {
    message.lines().next().unwrap_or_default().trim()
}
