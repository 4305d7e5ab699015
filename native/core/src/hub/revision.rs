//! Which commit a revision stands for.

use serde::Deserialize;

use super::{Hub, routes};
use crate::call::progress::Counters;
use crate::http::body::nonsense;
use crate::model::error::Result;
use crate::model::repo::{CommitId, Repo, Revision};

impl Hub {
    /// The commit that `revision` stands for now. A revision that is a commit is its own answer,
    /// without a request.
    pub async fn commit_of(
        &self,
        repo: &Repo,
        revision: &Revision,
        counters: &Counters,
    ) -> Result<CommitId> {
        /// Of the answer's many fields, the one that matters.
        #[derive(Deserialize)]
        struct Info {
            sha: String,
        }
        if let Some(commit) = revision.as_commit() {
            return Ok(commit);
        }
        let about = self.about(repo, revision.as_str(), None);
        let url = routes::revision(&self.config.endpoint, repo, revision.as_str());
        let what = format!("resolve revision {revision} of {repo}");
        let (info, _): (Info, _) = self.call_json(&about, &what, counters, url.clone()).await?;
        CommitId::parse(&info.sha).ok_or_else(|| {
            about.locate(nonsense(&url, 200, format!("sha {:?}, which is no commit id", info.sha)))
        })
    }
}
