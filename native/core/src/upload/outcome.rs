//! What an upload has done so far, known however it ends: to a caller whose call failed, was cancelled
//! or ran out of time, too.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::hub::Committed;
use crate::model::error::{Error, MadeCommit};

/// The commits of one call. Clones are about the same call.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    made: Mutex<Made>,
    /// Whether a commit was sent and nobody knows what became of it.
    in_doubt: AtomicBool,
}

#[derive(Clone, Debug, Default)]
struct Made {
    commits: Vec<MadeCommit>,
    pull_request_url: Option<String>,
}

impl Outcome {
    /// A commit has left this machine, or a part of it.
    pub(super) fn sent(&self) {
        self.0.in_doubt.store(true, Ordering::Relaxed);
    }

    /// The commit that was sent isn't there, and won't be.
    pub(super) fn refused(&self) {
        self.0.in_doubt.store(false, Ordering::Relaxed);
    }

    /// Whether a commit was sent of which nobody knows what became.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.0.in_doubt.load(Ordering::Relaxed)
    }

    /// The commit that was sent is there.
    pub(super) fn made(&self, commit: &Committed) {
        let mut made = self.0.made.lock().unwrap_or_else(PoisonError::into_inner);
        let (oid, url) = (commit.id.to_string(), commit.url.clone());
        made.commits.push(MadeCommit { oid, url });
        if commit.pull_request_url.is_some() {
            made.pull_request_url.clone_from(&commit.pull_request_url);
        }
        self.refused();
    }

    /// The error of a call that has failed: with the commits that it made before, and of the kind
    /// that says so if there may be one more.
    pub(crate) fn explain(&self, error: Error) -> Error {
        let error = if self.is_in_doubt() { Error::commit_unknown(&error) } else { error };
        let made = self.0.made.lock().unwrap_or_else(PoisonError::into_inner).clone();
        error.with(|context| {
            context.commits = made.commits;
            context.pull_request_url = made.pull_request_url;
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::error::Kind;
    use crate::model::repo::CommitId;

    /// An error says which commits were made before it, and whether there may be another one: only
    /// from the moment at which it was sent until it is known what became of it.
    #[test]
    fn errors_say_what_was_done() {
        let outcome = Outcome::default();
        let commit = |digit: &str| Committed {
            id: CommitId::parse(&digit.repeat(40)).unwrap(),
            url: format!("http://hub/{digit}"),
            pull_request_url: (digit == "a").then(|| "http://hub/pr".to_owned()),
        };
        let failed = || outcome.explain(Error::cancelled());
        assert_eq!(failed().kind(), Kind::Cancelled);
        assert!(failed().context().commits.is_empty());
        outcome.sent();
        assert_eq!(
            (failed().kind(), failed().code()),
            (Kind::CommitUnknown, Error::cancelled().code())
        );
        outcome.made(&commit("a"));
        outcome.sent();
        outcome.refused();
        outcome.made(&commit("b"));
        assert_eq!(failed().kind(), Kind::Cancelled);
        let context = failed().context().clone();
        let urls: Vec<&str> = context.commits.iter().map(|commit| commit.url.as_str()).collect();
        assert_eq!(urls, ["http://hub/a", "http://hub/b"]);
        assert_eq!(context.pull_request_url.as_deref(), Some("http://hub/pr"));
    }
}
