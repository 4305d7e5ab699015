//! Making a commit.

use reqwest::Method;
use serde::Deserialize;

use super::{COMMIT, HUB, Hub, routes};
use crate::call::progress::Counters;
use crate::http::body::{self, nonsense};
use crate::http::{Follow, Outgoing, Payload, Request};
use crate::model::error::Result;
use crate::model::repo::{CommitId, Repo, Revision};

/// Where a commit goes.
#[derive(Clone, Copy, Debug)]
pub struct NewCommit<'a> {
    /// To which repo.
    pub repo: &'a Repo,
    /// On top of which branch or pull request.
    pub revision: &'a Revision,
    /// Whether it opens a pull request there.
    pub create_pr: bool,
}

/// A commit that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Its id.
    pub id: CommitId,
    /// Its page.
    pub url: String,
    /// The page of the pull request that it has opened.
    pub pull_request_url: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reply {
    commit_oid: String,
    commit_url: String,
    #[serde(default)]
    pull_request_url: Option<String>,
}

impl Hub {
    /// Makes a commit from NDJSON lines: a header, then one line per change. One attempt: whether
    /// a failed one has made the commit is the caller's to find out, and a rate limit the caller's to
    /// wait out.
    pub async fn commit(
        &self,
        new: &NewCommit<'_>,
        lines: Outgoing,
        counters: &Counters,
    ) -> Result<Committed> {
        let about = self.about(new.repo, new.revision.as_str(), None).writing();
        let url = routes::commit(&self.config.endpoint, new.repo, new.revision, new.create_pr);
        let once = self.with_retry(self.retry.once());
        let request = self.write_request(
            Method::POST,
            url.clone(),
            "application/x-ndjson",
            Payload::Stream(lines),
        );
        let request = Request { sort: COMMIT, ..request };
        let what = format!("commit to {}", new.repo);
        let read = |answer: crate::http::Answer| async move {
            body::read_json(&self.http, answer.response, body::MAX_JSON, HUB, counters).await
        };
        let call = once.call(&about, &what, counters, &request, Follow::Any, read);
        let reply: Reply = call.await?;
        let id = CommitId::parse(&reply.commit_oid).ok_or_else(|| {
            let problem = format!("commitOid {:?}, which is no commit id", reply.commit_oid);
            about.locate(nonsense(&url, 200, problem))
        })?;
        let page = reply.pull_request_url;
        if new.create_pr && page.as_deref().and_then(pull_request_number).is_none() {
            // The next commit would open another one.
            let problem = "no pullRequestUrl with the number of a pull request";
            return Err(about.locate(nonsense(&url, 200, problem)));
        }
        Ok(Committed { id, url: reply.commit_url, pull_request_url: page })
    }

    /// The page of a commit.
    pub(crate) fn commit_page(&self, repo: &Repo, commit: &CommitId) -> String {
        let prefix = repo.url_prefix();
        format!("{}/{prefix}{}/commit/{commit}", self.config.endpoint, repo.id())
    }

    /// The page of a pull request.
    pub(crate) fn pull_request_page(&self, repo: &Repo, number: u64) -> String {
        let prefix = repo.url_prefix();
        format!("{}/{prefix}{}/discussions/{number}", self.config.endpoint, repo.id())
    }
}

/// The number of a pull request, by its page.
pub(crate) fn pull_request_number(url: &str) -> Option<u64> {
    url.rsplit('/').next()?.parse().ok()
}
