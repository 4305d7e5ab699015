//! How files are to be uploaded: the Hub decides by its rules, a sample and the size.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::{Hub, routes};
use crate::call::progress::Counters;
use crate::http::body::nonsense;
use crate::model::error::Result;
use crate::model::repo::{CommitId, Repo, RepoPath, Revision};

/// A file that somebody wants to upload.
#[derive(Clone, Copy, Debug)]
pub struct FileSample<'a> {
    /// Where it shall be.
    pub path: &'a RepoPath,
    /// Of the content, in bytes.
    pub size: u64,
    /// The content's first bytes, up to [`FileSample::SAMPLE`].
    pub sample: &'a [u8],
}

impl FileSample<'_> {
    /// Most bytes of a sample.
    pub const SAMPLE: usize = 512;
}

/// How a file travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Inside the commit.
    Regular,
    /// To storage (Xet or LFS) first; the commit only names it.
    Lfs,
}

/// What the Hub says about a candidate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preupload {
    /// How it travels.
    pub mode: Mode,
    /// Whether a `.gitignore` leaves it out.
    pub ignored: bool,
    /// What is at this path already: SHA-256 of an LFS or Xet file, git blob id of another.
    pub oid: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Question<'a> {
    files: Vec<Asked<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    git_ignore: Option<&'a str>,
}

#[derive(Serialize)]
struct Asked<'a> {
    path: &'a str,
    size: u64,
    sample: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reply {
    files: Vec<Replied>,
    #[serde(default)]
    commit_oid: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Replied {
    path: String,
    upload_mode: Mode,
    #[serde(default)]
    should_ignore: bool,
    #[serde(default)]
    oid: Option<String>,
}

impl Hub {
    /// Most files of one question.
    pub const MAX_CANDIDATES: usize = 256;

    /// How each of at most [`MAX_CANDIDATES`](Self::MAX_CANDIDATES) files is to be uploaded, in
    /// their order. `git_ignore` is the `.gitignore` that they come with, if any. An empty file is
    /// always regular. Says also which commit the revision stands for, if the Hub does.
    pub async fn preupload(
        &self,
        repo: &Repo,
        revision: &Revision,
        create_pr: bool,
        files: &[FileSample<'_>],
        git_ignore: Option<&str>,
        counters: &Counters,
    ) -> Result<(Vec<Preupload>, Option<CommitId>)> {
        let about = self.about(repo, revision.as_str(), None).writing();
        let url = routes::preupload(&self.config.endpoint, repo, revision, create_pr);
        let what = format!("ask how to upload to {repo}");
        let asked = files.iter().map(|file| Asked {
            path: file.path.as_str(),
            size: file.size,
            sample: STANDARD.encode(file.sample),
        });
        let question = Question { files: asked.collect(), git_ignore };
        let reply: Reply = self.post_json(&about, &what, counters, url.clone(), &question).await?;
        let mut replies: std::collections::HashMap<String, Replied> =
            reply.files.into_iter().map(|file| (file.path.clone(), file)).collect();
        let answer = |file: &FileSample<'_>| {
            let path = file.path.as_str();
            let Some(reply) = replies.remove(path) else {
                let problem = format!("nothing about how to upload {path:?}");
                return Err(about.locate(nonsense(&url, 200, problem)));
            };
            let mode = if file.size == 0 { Mode::Regular } else { reply.upload_mode };
            Ok(Preupload { mode, ignored: reply.should_ignore, oid: reply.oid })
        };
        let answers = files.iter().map(answer).collect::<Result<_>>()?;
        Ok((answers, reply.commit_oid.as_deref().and_then(CommitId::parse)))
    }
}
