//! The pages of a tree, and which comes after which.
//!
//! A page names the next one in its `Link` header, by a URL of whoever wrote it: a mirror may pass on that of the
//! server behind it, a gateway may not know its own name, scheme or path. So of that URL only what says where to
//! go on is taken, the API's path and the query; the place is our endpoint, and a token never goes elsewhere.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use url::Url;

use super::node::Seen;
use super::refusal::About;
use super::tree::{Tree, seen};
use super::{HUB, Hub, routes};
use crate::call::progress::Counters;
use crate::config::Endpoint;
use crate::http::body::{JsonFrom, MAX_JSON, nonsense, read};
use crate::http::{Follow, link};
use crate::model::error::{Error, Kind, Result};
use crate::model::repo::{CommitId, Listed, Repo, RepoPath, Revision};

/// Entries on a full page of the Hub's.
const PAGE: usize = 1000;

/// More entries than any repo has, and than are to be held in memory.
const MOST_ENTRIES: usize = 5_000_000;

/// One page.
struct Page {
    seen: Vec<Seen>,
    next: Option<Url>,
}

impl Page {
    /// Whether it's the last one, and has as many entries as a page can have, or none at all.
    fn may_be_broken_off(&self) -> bool {
        self.next.is_none() && self.seen.len().is_multiple_of(PAGE)
    }
}

impl Hub {
    /// What is in a folder, or in all of them if it's the empty one. A listing that breaks off is begun anew, once;
    /// then what was seen of it is taken for a part.
    pub(super) async fn tree_of(
        &self,
        repo: &Repo,
        commit: &CommitId,
        folder: &str,
        counters: &Counters,
    ) -> Result<Tree> {
        let (tree, why) = self.walk(repo, commit, folder, counters).await?;
        let Some(why) = why else { return Ok(tree) };
        tracing::info!(%repo, "a listing breaks off, and is begun anew: {why}");
        let (again, why) = match self.walk(repo, commit, folder, counters).await {
            Ok((again, None)) => return Ok(again),
            Ok((again, Some(why))) => (again, why),
            Err(why) => (Tree::default(), why),
        };
        if !self.lacks_route(&why) {
            return Err(why);
        }
        tracing::warn!(%repo, "a listing breaks off: {why}");
        let longer = [tree, again].into_iter().max_by_key(|tree| tree.paths().count());
        Ok(Tree { is_broken_off: true, ..longer.unwrap_or_default() })
    }

    /// What the pages have, from the first one on; and why there are no more of them, if there should be.
    async fn walk(
        &self,
        repo: &Repo,
        commit: &CommitId,
        folder: &str,
        counters: &Counters,
    ) -> Result<(Tree, Option<Error>)> {
        let about = self.about(repo, commit.as_str(), None);
        let mut tree = Tree::default();
        let mut next = Some(routes::tree(&self.config.endpoint, repo, commit.as_str(), folder));
        // Of the paths so far: they may be millions.
        let (state, mut hashes) = (RandomState::new(), HashSet::new());
        let mut visited = HashSet::new();
        while let Some(url) = next {
            let is_first = visited.is_empty();
            let page = match self.sure_page(&about, counters, &url, is_first).await {
                Err(why) if !is_first && is_an_answer(&why) => return Ok((tree, Some(why))),
                page => page?,
            };
            tree.is_broken_off = page.may_be_broken_off();
            let mut here = Tree::default();
            page.seen.into_iter().for_each(|seen| here.add(seen));
            // A listing that ends is made of pages that hold something new each, none of them twice.
            let is_stuck = !visited.insert(url.clone()) || hashes.len() > MOST_ENTRIES;
            let news = here.paths().filter(|path| hashes.insert(state.hash_one(path))).count();
            if page.next.is_some() && (news == 0 || is_stuck) {
                return Err(about.locate(nonsense(&url, 200, "a listing that never ends")));
            }
            tree.append(here);
            next = page.next;
        }
        Ok((tree, None))
    }

    /// A page that is asked for once more if it's doubtful: the last one, if another may be lost, and one that is
    /// refused although the same server has just given others. Both may be a hiccup, and all others would
    /// have to be paid for it.
    async fn sure_page(
        &self,
        about: &About<'_>,
        counters: &Counters,
        url: &Url,
        is_first: bool,
    ) -> Result<Page> {
        let page = self.page(about, counters, url).await;
        match &page {
            Ok(page) if !page.may_be_broken_off() => {}
            Ok(_) => {
                return match self.page(about, counters, url).await {
                    Ok(again) => Ok(again),
                    Err(_) => page,
                };
            }
            Err(why) if !is_first && is_an_answer(why) => {
                tracing::info!("a page of a listing is asked for again: {why}");
                return self.page(about, counters, url).await;
            }
            Err(_) => {}
        }
        page
    }

    /// A file of a revision, by the first page of its tree, if there is one that can be asked for.
    pub(super) async fn some_file(
        &self,
        repo: &Repo,
        revision: &Revision,
        counters: &Counters,
    ) -> Result<Option<RepoPath>> {
        let about = self.about(repo, revision.as_str(), None);
        let url = routes::tree(&self.config.endpoint, repo, revision.as_str(), "");
        let page = self.page(&about, counters, &url).await?;
        Ok(page.seen.into_iter().find_map(|seen| match seen {
            Seen::File(Listed { path, .. })
            | Seen::Masked(Listed { path, .. })
            | Seen::Vague(path, _) => RepoPath::new(&path).ok(),
            Seen::Folder(_) | Seen::Other(_) | Seen::Unknown(_) | Seen::Nameless => None,
        }))
    }

    async fn page(&self, about: &About<'_>, counters: &Counters, url: &Url) -> Result<Page> {
        let request = self.api_request(url.clone());
        let what = format!("list the files of {}", about.repo);
        self.call(about, &what, counters, &request, Follow::Any, |answer| async move {
            let next = match link::find(answer.response.headers(), "next") {
                Some(link) => Some(self.next_page(about.repo, url, &answer.response, &link)?),
                None => None,
            };
            let from = JsonFrom::of(&answer.response, HUB);
            let body = read(&self.http, answer.response, MAX_JSON, counters).await?;
            Ok(Page { seen: seen(&from, &body)?, next })
        })
        .await
    }

    /// The URL of the page to which `link` leads, which was in the answer to `asked`.
    fn next_page(
        &self,
        repo: &Repo,
        asked: &Url,
        response: &reqwest::Response,
        link: &str,
    ) -> Result<Url> {
        let (here, status) = (response.url(), response.status().as_u16());
        let link =
            here.join(link).map_err(|_| nonsense(here, status, "a next page that is no URL"))?;
        Ok(at_home(&self.config.endpoint, repo, asked, &link))
    }
}

/// Whether a page failed by what a server has answered, which isn't made again by itself, or in vain: neither out of
/// reach, nor overloaded.
fn is_an_answer(why: &Error) -> bool {
    why.context().http_status.is_some()
        && (!why.is_transient()
            || why.kind() == Kind::InvalidResponse
            || why.context().http_status == Some(501))
}

/// Where the page that somebody knows as `link` is at `endpoint`. The path of the API begins with what every
/// client has there; one that has no such path goes on with the listing that was `asked` for, unless it's a place of
/// the endpoint's own server.
fn at_home(endpoint: &Endpoint, repo: &Repo, asked: &Url, link: &Url) -> Url {
    let (path, api) = (link.path(), format!("/api/{}/", repo.repo_type().plural()));
    let mut page = match path.find(&api) {
        Some(begin) => endpoint.join(&path[begin + 1..]),
        None if link.origin() == endpoint.url().origin() => {
            let mut page = endpoint.url().clone();
            page.set_path(path);
            page
        }
        None => asked.clone(),
    };
    page.set_query(link.query());
    page
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::repo::RepoType;

    /// Whoever wrote the link, under whatever name and path: the next page is at the endpoint.
    #[test]
    fn the_next_page_is_at_the_endpoint() {
        let repo = Repo::new(RepoType::Model, "a/b").unwrap();
        for endpoint in [
            "https://mirror.example",
            "https://mirror.example/hf",
            "https://mirror.example/artifactory/api/huggingfaceml/repo",
        ] {
            let home = Endpoint::parse("endpoint", endpoint).unwrap();
            let asked = routes::tree(&home, &repo, "main", "");
            let tree = "api/models/a/b/tree/main";
            for link in [
                format!("{endpoint}/{tree}?cursor=x%3D"),
                format!("https://huggingface.co/{tree}?cursor=x%3D"),
                format!("http://upstream.example:8080/below/here/{tree}?cursor=x%3D"),
                format!("http://user:password@mirror.example/{tree}?cursor=x%3D#f"),
                format!("https://mirror.example:8443/hf/{tree}?cursor=x%3D"),
                format!("//upstream.example/{tree}?cursor=x%3D"),
                format!("/{tree}?cursor=x%3D"),
                format!("/another/path/{tree}?cursor=x%3D"),
                "main?cursor=x%3D".to_owned(),
                "?cursor=x%3D".to_owned(),
                "https://upstream.example/pages?cursor=x%3D".to_owned(),
                "ftp://upstream.example/x?cursor=x%3D".to_owned(),
                "mailto:x?cursor=x%3D".to_owned(),
            ] {
                let next = at_home(&home, &repo, &asked, &asked.join(&link).unwrap());
                assert_eq!(next.as_str(), format!("{endpoint}/{tree}?cursor=x%3D"), "{link}");
            }
            // A repo that has another name by now, and pages of the server's own.
            let renamed = asked.join("/api/models/c/d/tree/main?cursor=x").unwrap();
            let expected = format!("{endpoint}/api/models/c/d/tree/main?cursor=x");
            assert_eq!(at_home(&home, &repo, &asked, &renamed).as_str(), expected);
            let own = asked.join("/pages/2").unwrap();
            assert_eq!(at_home(&home, &repo, &asked, &own), own);
        }
    }
}
