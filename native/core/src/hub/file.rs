//! One file's metadata by one HEAD request.
//!
//! The Hub answers a HEAD of a resolve URL with the metadata of a git file, or with a redirect to
//! storage that carries the metadata of an LFS or Xet file. What storage itself would answer
//! describes something else.

use reqwest::Method;
use reqwest::header::{CONTENT_ENCODING, CONTENT_LENGTH, ETAG, HeaderMap};
use url::Url;

use super::{Hub, routes, tree};
use crate::call::progress::Counters;
use crate::http::body::nonsense;
use crate::http::{Answer, Follow, link};
use crate::model::content::pointer_oid;
use crate::model::error::{Error, Result};
use crate::model::repo::{CommitId, Entry, Repo, RepoPath, Revision, Storage, is_lower_hex};

impl Hub {
    /// The commit that `revision` stands for, and the file's entry in it. For LFS and Xet files the
    /// entry's `oid` is that of the canonical pointer file, computed here, as the answer doesn't
    /// hold it.
    pub async fn file_entry(
        &self,
        repo: &Repo,
        revision: &Revision,
        path: &RepoPath,
        counters: &Counters,
    ) -> Result<(CommitId, Entry)> {
        let about = self.about(repo, revision.as_str(), Some(path));
        let url = routes::resolve(&self.config.endpoint, repo, revision.as_str(), path);
        let what = format!("look up {path} of {repo}");
        let mut request = self.file_request(Method::HEAD, url);
        request.head_timeout = Some(self.config.etag_timeout);
        let read = |answer: Answer| async move {
            let response = answer.response;
            let head = Head {
                url: response.url(),
                status: response.status().as_u16(),
                headers: response.headers(),
            };
            head.read(path)
        };
        let call = self.call(&about, &what, counters, &request, Follow::SameOrigin, read);
        let (commit, entry) = call.await?;
        match revision.as_commit() {
            Some(asked) if asked != commit => {
                let problem = format!("commit {commit} instead of {asked}");
                Err(about.locate(nonsense(&request.url, 200, problem)))
            }
            _ => Ok((commit, entry)),
        }
    }
}

/// The head of the answer.
struct Head<'a> {
    url: &'a Url,
    status: u16,
    headers: &'a HeaderMap,
}

impl Head<'_> {
    fn read(&self, path: &RepoPath) -> Result<(CommitId, Entry)> {
        let commit = self
            .text("x-repo-commit")
            .and_then(CommitId::parse)
            .ok_or_else(|| self.bad("no commit id (X-Repo-Commit); is this a Hugging Face Hub?"))?;
        let etag = self.etag().ok_or_else(|| self.bad("no ETag for the file"))?;
        let size = self.size()?;
        let entry = if is_lower_hex(etag, 40) {
            Entry { path: path.clone(), size, oid: etag.to_owned(), storage: Storage::Git }
        } else if is_lower_hex(etag, 64) {
            let storage = tree::storage(etag, self.xet_hash(), path.as_str());
            Entry { path: path.clone(), size, oid: pointer_oid(etag, size), storage }
        } else {
            return Err(self.bad("an ETag that is neither a git blob id nor a SHA-256"));
        };
        Ok((commit, entry))
    }

    fn is_redirect(&self) -> bool {
        (300..400).contains(&self.status)
    }

    /// `X-Linked-Etag`, else `ETag`; a redirect's own `ETag` belongs to the redirect.
    fn etag(&self) -> Option<&str> {
        let own = || self.text(ETAG.as_str()).filter(|_| !self.is_redirect());
        self.text("x-linked-etag").or_else(own).map(normalize_etag)
    }

    /// `X-Linked-Size`, else `Content-Length`; that of a redirect or of a compressed body is
    /// something else.
    fn size(&self) -> Result<u64> {
        let plain = self.text(CONTENT_ENCODING.as_str()).is_none_or(|e| e == "identity");
        let own = || self.text(CONTENT_LENGTH.as_str()).filter(|_| !self.is_redirect() && plain);
        self.text("x-linked-size")
            .or_else(own)
            .ok_or_else(|| self.bad("no size for the file"))?
            .parse()
            .map_err(|_| self.bad("a bad size for the file"))
    }

    /// A file is in Xet storage only if the Hub also says where its tokens come from.
    fn xet_hash(&self) -> Option<&str> {
        let has_route = self.headers.contains_key("x-xet-refresh-route")
            || link::find(self.headers, "xet-auth").is_some();
        self.text("x-xet-hash").filter(|_| has_route)
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok().map(str::trim).filter(|text| !text.is_empty())
    }

    fn bad(&self, what: &str) -> Error {
        nonsense(self.url, self.status, what)
    }
}

/// Without a leading `W/` and quotes.
fn normalize_etag(etag: &str) -> &str {
    etag.strip_prefix("W/").unwrap_or(etag).trim_matches('"')
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
