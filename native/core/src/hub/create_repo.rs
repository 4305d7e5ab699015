//! Creating a repo.

use reqwest::header::HeaderMap;
use serde::{Deserialize, Serialize};

use super::{Hub, routes};
use crate::call::progress::Counters;
use crate::http::RetryPolicy;
use crate::model::error::{Error, Kind, Result};
use crate::model::repo::{Repo, RepoType};

/// Who may see a new repo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visibility {
    /// As the namespace has it.
    Default,
    /// Everyone.
    Public,
    /// Those who may read it.
    Private,
}

/// A repo that is there now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreatedRepo {
    /// Its page.
    pub url: String,
    /// `namespace/name`, where the caller may have left out the namespace.
    pub id: String,
}

#[derive(Serialize)]
struct Wish<'a> {
    name: &'a str,
    organization: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none", rename = "type")]
    kind: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    visibility: Option<&'static str>,
    /// Spaces only.
    #[serde(skip_serializing_if = "Option::is_none")]
    sdk: Option<&'a str>,
}

#[derive(Deserialize)]
struct Reply {
    url: String,
    name: Option<String>,
}

impl Hub {
    /// Creates a repo. One that exists is [`Kind::Conflict`], or with `exist_ok` as good as a new
    /// one; then its visibility stays as it is. `space_sdk` is for spaces, which need one.
    pub async fn create_repo(
        &self,
        repo: &Repo,
        visibility: Visibility,
        exist_ok: bool,
        space_sdk: Option<&str>,
        counters: &Counters,
    ) -> Result<CreatedRepo> {
        let about = self.about(repo, "", None).writing();
        let about = super::refusal::About { revision: None, ..about };
        let (organization, name) = match repo.id().split_once('/') {
            Some((namespace, name)) => (Some(namespace), name),
            None => (None, repo.id()),
        };
        let wish = Wish {
            name,
            organization,
            kind: (repo.repo_type() != RepoType::Model).then(|| repo.repo_type().singular()),
            visibility: match visibility {
                Visibility::Default => None,
                Visibility::Public => Some("public"),
                Visibility::Private => Some("private"),
            },
            sdk: space_sdk,
        };
        // A second attempt after a lost answer would meet the repo that the first has made.
        let attempts = if exist_ok { self.retry.attempts } else { 1 };
        let hub = self.with_retry(RetryPolicy { attempts, ..self.retry });
        let url = routes::create_repo(&self.config.endpoint);
        let what = format!("create {repo}");
        let made: Result<Reply> = hub.post_json(&about, &what, counters, url, &wish).await;
        match made {
            Ok(reply) => Ok(CreatedRepo {
                url: reply.url,
                id: reply.name.unwrap_or_else(|| repo.id().to_owned()),
            }),
            Err(error) if error.kind() == Kind::Conflict && exist_ok => Ok(self.existing(repo)),
            Err(error) if error.kind() == Kind::Conflict => {
                let context = error.context().clone();
                let message = format!("{repo} exists already (exist_ok is for that)");
                Err(Error::new(Kind::Conflict, message).with(|c| *c = context))
            }
            // Those who may write to a repo need not be allowed to create one.
            Err(error) if exist_ok && is_refusal(&error) => {
                let info = routes::info(&self.config.endpoint, repo);
                let seen: Result<(serde_json::Value, HeaderMap)> =
                    self.call_json(&about, &what, counters, info).await;
                seen.map(|_| self.existing(repo)).map_err(|_| error)
            }
            Err(error) => Err(error),
        }
    }

    fn existing(&self, repo: &Repo) -> CreatedRepo {
        let url = format!("{}/{}{}", self.config.endpoint, repo.url_prefix(), repo.id());
        CreatedRepo { url, id: repo.id().to_owned() }
    }
}

fn is_refusal(error: &Error) -> bool {
    matches!(error.context().http_status, Some(401..=403))
}
