//! Creating a branch.

use reqwest::Method;
use serde::Serialize;

use super::{Follow, Hub, Payload, routes};
use crate::call::progress::Counters;
use crate::http::RetryPolicy;
use crate::model::error::{Error, Kind, Result};
use crate::model::repo::{Repo, Revision};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Wish<'a> {
    starting_point: &'a str,
}

impl Hub {
    /// Creates a branch at the commit that `from` stands for. One that exists is [`Kind::Conflict`], or with
    /// `exist_ok` as good as a new one; then it stays as it is.
    pub async fn create_branch(
        &self,
        repo: &Repo,
        branch: &Revision,
        from: &Revision,
        exist_ok: bool,
        counters: &Counters,
    ) -> Result<()> {
        let about = self.about(repo, from.as_str(), None).writing();
        let wish = Wish { starting_point: from.as_str() };
        let body = serde_json::to_vec(&wish).map_err(Error::internal)?;
        // A second attempt after a lost answer would meet the branch that the first has made.
        let attempts = if exist_ok { self.retry.attempts } else { 1 };
        let hub = self.with_retry(RetryPolicy { attempts, ..self.retry });
        let url = routes::branch(&self.config.endpoint, repo, branch);
        let request =
            hub.write_request(Method::POST, url, "application/json", Payload::Bytes(body.into()));
        let what = format!("create branch {:?} of {repo}", branch.as_str());
        // The Hub answers with no more than the status.
        let made = hub.call(&about, &what, counters, &request, Follow::Any, |_| async { Ok(()) });
        match made.await {
            Err(error) if error.kind() == Kind::Conflict && exist_ok => Ok(()),
            Err(error) if error.kind() == Kind::Conflict => {
                let context = error.context().clone();
                let message = format!("{repo} has a branch {:?} already", branch.as_str());
                Err(Error::new(Kind::Conflict, message).with(|c| *c = context))
            }
            made => made,
        }
    }
}
