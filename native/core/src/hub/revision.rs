//! Which commit a revision stands for, and what its files are called.

use std::borrow::Cow;

use serde::Deserialize;

use super::listing::is_unknown_route;
use super::{HUB, Hub, Looked, loose, routes};
use crate::call::progress::Counters;
use crate::http::Follow;
use crate::http::body::{JsonFrom, MAX_JSON, nonsense, read};
use crate::model::error::{Error, Result};
use crate::model::repo::{CommitId, Repo, Revision};

/// What a revision stands for.
#[derive(Debug)]
pub struct RepoInfo {
    /// The commit.
    pub commit: CommitId,
    /// Its files.
    pub names: Names,
}

/// The names of a commit's files, as the answer about the revision has them. They show whether a
/// listing is whole. Of a very large repo the Hub may leave some out.
#[derive(Debug)]
pub enum Names {
    /// Nobody has asked: the revision is the commit itself.
    Unasked,
    /// At least these.
    Known(Vec<String>),
    /// Why there are none.
    Lacking(Error),
}

/// Of the answer's many fields, the one that matters.
#[derive(Deserialize)]
struct Sha {
    sha: String,
}

#[derive(Deserialize)]
struct Info<'a> {
    #[serde(borrow)]
    siblings: Vec<Sibling<'a>>,
}

#[derive(Deserialize)]
struct Sibling<'a> {
    #[serde(borrow, rename = "rfilename", deserialize_with = "loose::name")]
    path: Option<Cow<'a, str>>,
}

impl Hub {
    /// The commit that `revision` stands for now. A revision that is a commit is its own answer,
    /// without a request.
    pub async fn commit_of(
        &self,
        repo: &Repo,
        revision: &Revision,
        counters: &Counters,
    ) -> Result<CommitId> {
        Ok(self.revision(repo, revision, counters).await?.commit)
    }

    /// The same, and the names of its files if that took a request.
    pub async fn revision(
        &self,
        repo: &Repo,
        revision: &Revision,
        counters: &Counters,
    ) -> Result<RepoInfo> {
        match revision.as_commit() {
            Some(commit) => Ok(RepoInfo { commit, names: Names::Unasked }),
            None => match self.repo_info(repo, revision.as_str(), counters).await {
                Err(why) if is_unknown_route(&why) => {
                    self.revision_by_file(repo, revision, why, counters).await
                }
                answer => answer,
            },
        }
    }

    /// The commit that a mirror names beside a file of the revision, where it doesn't take the question
    /// itself, because of `why`.
    async fn revision_by_file(
        &self,
        repo: &Repo,
        revision: &Revision,
        why: Error,
        counters: &Counters,
    ) -> Result<RepoInfo> {
        let looked = match self.some_file(repo, revision, counters).await {
            Ok(None) => return Err(why),
            Ok(Some(path)) => self.look_up(repo, revision, &path, counters).await,
            Err(error) => Err(error),
        };
        match looked {
            Ok(Looked::Found(commit, _)) => Ok(RepoInfo { commit, names: Names::Lacking(why) }),
            Ok(Looked::Lacking { .. }) => Err(why),
            // The server doesn't know these ways either.
            Err(error) if is_unknown_route(&error) => Err(why),
            Err(error) => Err(error),
        }
    }

    /// The names of the files of `commit`, of which nothing else is to be known.
    pub(super) async fn names_of(
        &self,
        repo: &Repo,
        commit: &CommitId,
        counters: &Counters,
    ) -> Names {
        match self.repo_info(repo, commit.as_str(), counters).await {
            Ok(info) if info.commit == *commit => info.names,
            Ok(info) => {
                let url = routes::revision(&self.config.endpoint, repo, commit.as_str());
                let about = self.about(repo, commit.as_str(), None);
                let problem = format!("commit {} instead of {commit}", info.commit);
                Names::Lacking(about.locate(nonsense(&url, 200, problem)))
            }
            Err(error) => Names::Lacking(error),
        }
    }

    async fn repo_info(
        &self,
        repo: &Repo,
        revision: &str,
        counters: &Counters,
    ) -> Result<RepoInfo> {
        let about = self.about(repo, revision, None);
        let url = routes::revision(&self.config.endpoint, repo, revision);
        let what = format!("resolve revision {revision} of {repo}");
        let request = self.api_request(url.clone());
        let info = self.call(&about, &what, counters, &request, Follow::Any, |answer| async move {
            let from = JsonFrom::of(&answer.response, HUB);
            let body = read(&self.http, answer.response, MAX_JSON, counters).await?;
            let Sha { sha } = from.parse(&body)?;
            let commit = CommitId::parse(&sha).ok_or_else(|| {
                nonsense(&from.url, 200, format!("sha {sha:?}, which is no commit id"))
            })?;
            Ok(RepoInfo { commit, names: names(&from, &body) })
        });
        info.await
    }
}

/// The names in an answer, which needn't have any.
fn names(from: &JsonFrom, body: &[u8]) -> Names {
    let text = String::from_utf8_lossy(body);
    let siblings = match from.parse::<Info<'_>>(text.as_bytes()) {
        Ok(info) => info.siblings,
        Err(error) => return Names::Lacking(error),
    };
    let names = siblings.into_iter().map(|file| file.path.map(Cow::into_owned));
    match names.collect() {
        Some(names) => Names::Known(names),
        None => Names::Lacking(nonsense(&from.url, 200, "files without names")),
    }
}
