//! Listing: all files of a commit, by the recursive tree, page by page.

use std::borrow::Cow;
use std::collections::HashSet;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer};
use url::Url;

use super::refusal::About;
use super::{Hub, routes};
use crate::call::progress::Counters;
use crate::http::body::{JsonFrom, MAX_JSON, nonsense, read};
use crate::http::origin::{bare, is_same_origin};
use crate::http::{Follow, link};
use crate::model::error::{Error, Result};
use crate::model::repo::{CommitId, Listed, Repo, Storage, is_lower_hex};
use xet_core_structures::merklehash::MerkleHash;

/// The largest size that a file can have on any file system: an offset is a signed 64-bit number.
const MAX_SIZE: u64 = i64::MAX as u64;

/// An entry as the Hub sends it. Strings are borrowed from the page unless they hold escapes.
#[derive(Deserialize)]
struct Node<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow, deserialize_with = "text")]
    path: Cow<'a, str>,
    #[serde(borrow)]
    oid: Cow<'a, str>,
    #[serde(default)]
    size: u64,
    #[serde(borrow, default)]
    lfs: Option<Lfs<'a>>,
    #[serde(borrow, default, rename = "xetHash")]
    xet_hash: Option<Cow<'a, str>>,
}

/// `oid` is the SHA-256 of the content here; repo info calls the same thing `sha256`.
#[derive(Deserialize)]
struct Lfs<'a> {
    #[serde(borrow)]
    oid: Cow<'a, str>,
    size: u64,
}

/// A string whose bytes may be none of UTF-8, as those of a path in git: what is wrong in it becomes
/// U+FFFD.
fn text<'de, D: Deserializer<'de>>(json: D) -> std::result::Result<Cow<'de, str>, D::Error> {
    struct Lossy;
    impl<'de> Visitor<'de> for Lossy {
        type Value = Cow<'de, str>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a string")
        }

        fn visit_borrowed_bytes<E>(self, bytes: &'de [u8]) -> std::result::Result<Self::Value, E> {
            Ok(String::from_utf8_lossy(bytes))
        }

        fn visit_bytes<E>(self, bytes: &[u8]) -> std::result::Result<Self::Value, E> {
            Ok(Cow::Owned(String::from_utf8_lossy(bytes).into_owned()))
        }
    }
    json.deserialize_bytes(Lossy)
}

/// One page.
struct Page {
    nodes: usize,
    entries: Vec<Listed>,
    next: Option<Url>,
}

impl Hub {
    /// All files of a commit, in the Hub's order and under the paths that it says; folders are left
    /// out. A hash or size of a wrong form fails the listing. Where a mirror has no tree, the files are
    /// asked for one by one.
    pub async fn list_tree(
        &self,
        repo: &Repo,
        commit: &CommitId,
        counters: &Counters,
    ) -> Result<Vec<Listed>> {
        match self.tree(repo, commit, counters).await {
            Err(why) => self.list_siblings(repo, commit, why, counters).await,
            listed => listed,
        }
    }

    /// The same where there is a tree: what it says can be kept.
    pub(crate) async fn tree(
        &self,
        repo: &Repo,
        commit: &CommitId,
        counters: &Counters,
    ) -> Result<Vec<Listed>> {
        let about = self.about(repo, commit.as_str(), None);
        let mut entries: Vec<Listed> = Vec::new();
        let mut next = Some(routes::tree(&self.config.endpoint, repo, commit));
        let mut visited = HashSet::new();
        while let Some(url) = next {
            let page = self.page(&about, counters, &url).await?;
            // A listing that ends is made of pages that hold something, none of them twice.
            let stuck = page.nodes == 0 || !visited.insert(url.clone());
            if page.next.is_some() && stuck {
                return Err(about.locate(nonsense(&url, 200, "a listing that never ends")));
            }
            entries.extend(page.entries);
            next = page.next;
        }
        match first_duplicate(&entries) {
            None => Ok(entries),
            Some(path) => {
                let url = routes::tree(&self.config.endpoint, repo, commit);
                let error = nonsense(&url, 200, format!("{path:?} twice"));
                Err(about.locate(error.with(|c| c.file = Some(path.to_owned()))))
            }
        }
    }

    async fn page(&self, about: &About<'_>, counters: &Counters, url: &Url) -> Result<Page> {
        let request = self.api_request(url.clone());
        let what = format!("list the files of {}", about.repo);
        self.call(about, &what, counters, &request, Follow::Any, |answer| async move {
            let next = self.next_page(&answer.response)?;
            let from = JsonFrom::of(&answer.response);
            let body = read(&self.http, answer.response, MAX_JSON).await?;
            let nodes: Vec<Node<'_>> = from.parse(&body)?;
            Ok(Page { nodes: nodes.len(), entries: entries(url, &nodes)?, next })
        })
        .await
    }

    /// The URL of the next page. The token goes there, so it must be on the Hub.
    fn next_page(&self, response: &reqwest::Response) -> Result<Option<Url>> {
        let Some(link) = link::find(response.headers(), "next") else { return Ok(None) };
        let (here, status) = (response.url(), response.status().as_u16());
        let next =
            here.join(&link).map_err(|_| nonsense(here, status, "a next page that is no URL"))?;
        let next = self.config.endpoint.localize(next);
        if !is_same_origin(self.config.endpoint.url(), &next) {
            let problem = format!("a next page on another host, {}", bare(&next));
            return Err(nonsense(here, status, problem));
        }
        Ok(Some(next))
    }
}

/// The files of a listing's JSON; folders are left out.
pub(super) fn files(url: &Url, json: &[u8]) -> Result<Vec<Listed>> {
    entries(url, &nodes(url, json)?)
}

fn nodes<'a>(url: &Url, json: &'a [u8]) -> Result<Vec<Node<'a>>> {
    serde_json::from_slice(json)
        .map_err(|e| nonsense(url, 200, format!("JSON that is no listing ({e})")))
}

fn entries(url: &Url, nodes: &[Node<'_>]) -> Result<Vec<Listed>> {
    nodes.iter().filter(|node| node.kind == "file").map(|node| node.entry(url)).collect()
}

impl Node<'_> {
    fn entry(&self, url: &Url) -> Result<Listed> {
        let path = self.path.clone().into_owned();
        let bad = |what: &str| -> Error {
            nonsense(url, 200, format!("{what} for file {path:?}"))
                .with(|c| c.file = Some(path.clone()))
        };
        if !is_lower_hex(&self.oid, 40) {
            return Err(bad("a bad oid"));
        }
        let (size, storage) = match (&self.lfs, &self.xet_hash) {
            (None, None) => (self.size, Storage::Git),
            (None, Some(_)) => return Err(bad("a Xet hash but no SHA-256")),
            (Some(lfs), _) if !is_lower_hex(&lfs.oid, 64) => return Err(bad("a bad SHA-256")),
            (Some(lfs), hash) => (lfs.size, storage(&lfs.oid, hash.as_deref(), &path)),
        };
        if size > MAX_SIZE {
            return Err(bad("a size that no file has"));
        }
        let oid = self.oid.clone().into_owned();
        Ok(Listed { path, size, oid, storage })
    }
}

/// How a file with a SHA-256 is stored. A Xet hash of a wrong form makes it an LFS file, with a
/// warning: `huggingface_hub` distrusts such a listing too and asks for the file by itself, and the
/// SHA-256 checks the content either way.
pub(super) fn storage(sha256: &str, xet_hash: Option<&str>, path: &str) -> Storage {
    let sha256 = sha256.to_owned();
    match xet_hash.map(MerkleHash::from_hex) {
        Some(Ok(hash)) => Storage::Xet { sha256, hash },
        Some(Err(_)) => {
            tracing::warn!("the Hub's Xet hash of {path} has a wrong form; using plain HTTP");
            Storage::Lfs { sha256 }
        }
        None => Storage::Lfs { sha256 },
    }
}

fn first_duplicate(entries: &[Listed]) -> Option<&str> {
    let mut seen = HashSet::with_capacity(entries.len());
    entries.iter().map(|entry| entry.path.as_str()).find(|path| !seen.insert(*path))
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
