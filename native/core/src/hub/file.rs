//! One file's metadata by one HEAD request.
//!
//! The Hub answers a HEAD of a resolve URL with the metadata of a git file, or with a redirect to
//! storage that carries the metadata of an LFS or Xet file. What storage itself would answer
//! describes something else. A mirror may redirect to a Hub, and leave out, or replace, any of the
//! headers: what it lacks, a listing may have.

use reqwest::Method;
use reqwest::header::{CONTENT_ENCODING, CONTENT_LENGTH, ETAG, HeaderMap};
use url::Url;
use xet_core_structures::merklehash::MerkleHash;

use super::{Hub, node, routes};
use crate::call::progress::Counters;
use crate::http::body::nonsense;
use crate::http::{Answer, Follow, link};
use crate::model::content::{MAX_SIZE, is_of_nothing, pointer_oid};
use crate::model::error::{Error, Kind, Result};
use crate::model::repo::{CommitId, Entry, Repo, RepoPath, Revision, Storage, is_lower_hex};

/// What an answer says of a file.
#[derive(Debug)]
pub enum Looked {
    /// All.
    Found(CommitId, Entry),
    /// Less than is needed, but not that there is no such file.
    Lacking {
        /// What is lacking, or why there was no answer to that question.
        why: Error,
        /// What may be right, if a listing can't be had.
        guess: Option<(CommitId, Entry)>,
    },
}

impl Hub {
    /// The commit that `revision` stands for, and the file's entry in it. For LFS and Xet files the
    /// entry's `oid` is that of the canonical pointer file, computed here, as the answer doesn't
    /// hold it. A failure that may pass is the caller's to deal with if this is to be one attempt.
    pub async fn look_up(
        &self,
        repo: &Repo,
        revision: &Revision,
        path: &RepoPath,
        counters: &Counters,
    ) -> Result<Looked> {
        self.look(Method::HEAD, repo, revision, path, counters).await
    }

    /// The same by the head of the answer to a GET, whose body is left: where a server takes no HEAD.
    async fn look(
        &self,
        method: Method,
        repo: &Repo,
        revision: &Revision,
        path: &RepoPath,
        counters: &Counters,
    ) -> Result<Looked> {
        let about = self.about(repo, revision.as_str(), Some(path));
        let url = routes::resolve(&self.config.endpoint, repo, revision.as_str(), path);
        let what = format!("look up {path} of {repo}");
        let mut request = self.file_request(method, url);
        request.head_timeout = Some(self.config.etag_timeout);
        let read = |answer: Answer| async move {
            let response = &answer.response;
            let head = Head {
                url: response.url(),
                status: response.status().as_u16(),
                headers: response.headers(),
                passed: &answer.passed,
            };
            Ok(head.read(path, revision.as_commit()))
        };
        let follow = Follow::Until(describes_a_file);
        let looked = match self.call(&about, &what, counters, &request, follow, read).await {
            Ok(Looked::Lacking { why, guess }) => Looked::Lacking { why: about.locate(why), guess },
            Ok(found) => found,
            Err(why) if says_nothing(&why) && (self.retry.waits_out || !why.is_transient()) => {
                Looked::Lacking { why, guess: None }
            }
            Err(error) => return Err(error),
        };
        if let (Looked::Found(commit, _), Some(asked)) = (&looked, revision.as_commit())
            && *commit != asked
        {
            let why = nonsense(&request.url, 200, format!("commit {commit} instead of {asked}"));
            return Ok(Looked::Lacking { why: about.locate(why), guess: None });
        }
        Ok(looked)
    }

    /// The same of a file that must be described in full, if need be by a GET.
    pub async fn file_entry(
        &self,
        repo: &Repo,
        revision: &Revision,
        path: &RepoPath,
        counters: &Counters,
    ) -> Result<(CommitId, Entry)> {
        match self.look_up(repo, revision, path, counters).await? {
            Looked::Found(commit, entry) | Looked::Lacking { guess: Some((commit, entry)), .. } => {
                Ok((commit, entry))
            }
            Looked::Lacking { why, guess: None } => {
                self.entry_by_get(repo, revision, path, why, counters).await
            }
        }
    }

    /// The same of a file that nothing else describes, because of `why`.
    pub async fn entry_by_get(
        &self,
        repo: &Repo,
        revision: &Revision,
        path: &RepoPath,
        why: Error,
        counters: &Counters,
    ) -> Result<(CommitId, Entry)> {
        match self.look(Method::GET, repo, revision, path, counters).await {
            Ok(
                Looked::Found(commit, entry) | Looked::Lacking { guess: Some((commit, entry)), .. },
            ) => Ok((commit, entry)),
            Ok(Looked::Lacking { guess: None, .. }) => Err(why),
            Err(error) => Err(Error::cause(("a look at the file", why), ("a GET of it", error))),
        }
    }
}

/// Whether a redirect is the description of the file that it leads to.
fn describes_a_file(headers: &HeaderMap) -> bool {
    ["x-linked-etag", "x-linked-size"].iter().all(|name| headers.contains_key(*name))
}

/// Whether a failure says nothing of the file: storage, which was redirected to, doesn't take the
/// question, or the server doesn't. Some refuse each HEAD with the status of a refusal to the user, who
/// then hears of a real one by the next question.
fn says_nothing(error: &Error) -> bool {
    let status = error.context().http_status;
    match error.kind() {
        Kind::InvalidResponse => status.is_some(),
        Kind::BadRequest
        | Kind::NotFound
        | Kind::Forbidden
        | Kind::Unauthorized
        | Kind::ServerError => true,
        // That of a server which doesn't say why.
        Kind::RepoNotFound => status == Some(401),
        _ => false,
    }
}

/// The head of the answer.
struct Head<'a> {
    url: &'a Url,
    status: u16,
    headers: &'a HeaderMap,
    /// Those of the redirects on the way.
    passed: &'a [HeaderMap],
}

impl Head<'_> {
    /// `asked`: the commit that was asked for, if it was one.
    fn read(&self, path: &RepoPath, asked: Option<CommitId>) -> Looked {
        let said = self.said("x-repo-commit").and_then(CommitId::parse);
        let entry = match self.entry(path) {
            Ok(entry) => entry,
            Err(why) => return Looked::Lacking { why, guess: None },
        };
        // An ETag is a hash of the Hub's if the Hub says so: others have ETags that look like one.
        let is_hubs = self.said("x-linked-etag").is_some() || self.text("x-repo-commit").is_some();
        match said.or(asked) {
            Some(commit) if is_hubs => Looked::Found(commit, entry),
            commit => {
                let why = self.bad("no commit id (X-Repo-Commit); is this a Hugging Face Hub?");
                Looked::Lacking { why, guess: commit.map(|commit| (commit, entry)) }
            }
        }
    }

    fn entry(&self, path: &RepoPath) -> Result<Entry> {
        let etag = self.etag().ok_or_else(|| self.bad("no ETag for the file"))?;
        let size = self.size()?;
        if size == 0 && !is_of_nothing(etag) {
            return Err(self.bad("a length of 0 for a file that isn't empty"));
        }
        if is_lower_hex(etag, 40) {
            Ok(Entry { path: path.clone(), size, oid: etag.to_owned(), storage: Storage::Git })
        } else if is_lower_hex(etag, 64) {
            let storage = node::storage(etag, self.xet_hash());
            Ok(Entry { path: path.clone(), size, oid: pointer_oid(etag, size), storage })
        } else {
            Err(self.bad("an ETag that is neither a git blob id nor a SHA-256"))
        }
    }

    fn is_redirect(&self) -> bool {
        (300..400).contains(&self.status)
    }

    /// `X-Linked-Etag`, else `ETag`; a redirect's own `ETag` belongs to the redirect.
    fn etag(&self) -> Option<&str> {
        let own = || self.text(ETAG.as_str()).filter(|_| !self.is_redirect());
        self.said("x-linked-etag").or_else(own).map(normalize_etag)
    }

    /// `X-Linked-Size`, else `Content-Length`; that of a redirect or of a compressed body is
    /// something else.
    fn size(&self) -> Result<u64> {
        let plain = self.text(CONTENT_ENCODING.as_str()).is_none_or(|e| e == "identity");
        let own = || self.text(CONTENT_LENGTH.as_str()).filter(|_| !self.is_redirect() && plain);
        self.said("x-linked-size")
            .or_else(own)
            .ok_or_else(|| self.bad("no size for the file"))?
            .parse()
            .ok()
            .filter(|&size| size <= MAX_SIZE)
            .ok_or_else(|| self.bad("a bad size for the file"))
    }

    /// A file is in Xet storage only if the Hub also says where its tokens come from.
    fn xet_hash(&self) -> Option<&str> {
        let has_route = self.all().any(|headers| {
            headers.contains_key("x-xet-refresh-route") || link::find(headers, "xet-auth").is_some()
        });
        self.said("x-xet-hash").filter(|_| has_route)
    }

    /// A header that means the same wherever it is: that of the answer, else of a redirect to it.
    fn said(&self, name: &str) -> Option<&str> {
        self.all().find_map(|headers| text(headers, name))
    }

    fn all(&self) -> impl Iterator<Item = &HeaderMap> {
        std::iter::once(self.headers).chain(self.passed)
    }

    fn text(&self, name: &str) -> Option<&str> {
        text(self.headers, name)
    }

    fn bad(&self, what: &str) -> Error {
        nonsense(self.url, self.status, what)
    }
}

/// Whether a redirect says that what it leads to is in Xet storage, too.
pub(super) fn is_in_xet(headers: &HeaderMap) -> bool {
    text(headers, "x-xet-hash").is_some_and(|hash| MerkleHash::from_hex(hash).is_ok())
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim).filter(|text| !text.is_empty())
}

/// Without a leading `W/` and quotes.
fn normalize_etag(etag: &str) -> &str {
    etag.strip_prefix("W/").unwrap_or(etag).trim_matches('"')
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
