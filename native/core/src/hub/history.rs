//! What has happened to a repo: its latest commits, and its pull requests.

use reqwest::header::HeaderMap;
use serde::Deserialize;

use super::{Hub, routes};
use crate::call::progress::Counters;
use crate::model::error::Result;
use crate::model::repo::{CommitId, Repo, Revision};

/// A commit of a revision's history.
#[derive(Clone, Debug)]
pub(crate) struct PastCommit {
    pub(crate) id: CommitId,
    pub(crate) title: String,
}

#[derive(Deserialize)]
struct Listed {
    id: String,
    #[serde(default)]
    title: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Refs {
    #[serde(default)]
    pull_requests: Vec<PullRequest>,
}

#[derive(Deserialize)]
struct PullRequest {
    #[serde(rename = "ref")]
    reference: String,
}

impl Hub {
    /// The latest commits of `revision`, newest first: one page.
    pub(crate) async fn latest_commits(
        &self,
        repo: &Repo,
        revision: &str,
        counters: &Counters,
    ) -> Result<Vec<PastCommit>> {
        let about = self.about(repo, revision, None);
        let url = routes::commits(&self.config.endpoint, repo, revision);
        let what = format!("list the commits of {repo}");
        let (listed, _): (Vec<Listed>, HeaderMap) =
            self.call_json(&about, &what, counters, url).await?;
        let known = listed.into_iter().filter_map(|commit| {
            Some(PastCommit { id: CommitId::parse(&commit.id)?, title: commit.title })
        });
        Ok(known.collect())
    }

    /// The numbers of the repo's pull requests, newest first.
    pub(crate) async fn pull_requests(&self, repo: &Repo, counters: &Counters) -> Result<Vec<u64>> {
        let about = self.about(repo, Revision::MAIN, None);
        let url = routes::refs(&self.config.endpoint, repo);
        let what = format!("list the pull requests of {repo}");
        let (refs, _): (Refs, HeaderMap) = self.call_json(&about, &what, counters, url).await?;
        let mut numbers: Vec<u64> = refs
            .pull_requests
            .iter()
            .filter_map(|pr| pr.reference.strip_prefix("refs/pr/")?.parse().ok())
            .collect();
        numbers.sort_unstable_by(|a, b| b.cmp(a));
        Ok(numbers)
    }
}
