//! The tree of a commit, page by page: what a server says of its files and folders.

use std::collections::HashSet;

use futures_util::{StreamExt, stream};
use url::Url;

use super::loose::Loose;
use super::node::{Node, Seen};
use super::refusal::About;
use super::{AT_ONCE, Hub, routes};
use crate::call::progress::Counters;
use crate::http::body::{JsonFrom, MAX_JSON, nonsense, read};
use crate::http::origin::{bare, is_same_origin};
use crate::http::{Follow, link};
use crate::model::error::{Error, Result};
use crate::model::repo::{CommitId, Listed, Repo, RepoPath, Revision};

/// Entries on a full page of the Hub's.
const PAGE: usize = 1000;

/// What a server says of a commit, which needn't be all.
#[derive(Debug, Default)]
pub(super) struct Tree {
    /// In the Hub's order.
    pub(super) files: Vec<Listed>,
    /// What may be files, and what of each can't be read.
    pub(super) vague: Vec<(String, Error)>,
    pub(super) folders: Vec<String>,
    /// What else there is, such as submodules.
    pub(super) others: Vec<String>,
    /// How many entries are without a name.
    pub(super) nameless: usize,
    /// The last page has as many entries as a page can have, or none at all: another one may be lost.
    pub(super) is_broken_off: bool,
}

/// One page.
struct Page {
    seen: Vec<Seen>,
    next: Option<Url>,
}

impl Hub {
    /// What the tree of a commit has, at all depths. Where it leaves folders closed, they are opened one
    /// by one; those that stay closed are among what [`doubt`](Tree::doubt) tells.
    pub(super) async fn tree(
        &self,
        repo: &Repo,
        commit: &CommitId,
        counters: &Counters,
    ) -> Result<Tree> {
        let mut tree = self.tree_of(repo, commit, "", counters).await?;
        let mut asked = HashSet::new();
        loop {
            let mut closed = tree.closed();
            closed.retain(|folder| asked.insert(folder.clone()));
            if closed.is_empty() {
                return Ok(tree);
            }
            tracing::info!(%repo, folders = closed.len(), "a listing leaves folders closed; opening them");
            let open = |folder: String| async move {
                let found = self.tree_of(repo, commit, &folder, counters).await;
                (folder, found)
            };
            let mut opened = stream::iter(closed).map(open).buffered(AT_ONCE);
            while let Some((folder, found)) = opened.next().await {
                match found {
                    Ok(found) => tree.add_below(&folder, found),
                    Err(error) if error.is_transient() => return Err(error),
                    Err(error) => tracing::warn!(%repo, folder, %error, "can't open a folder"),
                }
            }
        }
    }

    /// What is in a folder, or in all of them if it's the empty one.
    async fn tree_of(
        &self,
        repo: &Repo,
        commit: &CommitId,
        folder: &str,
        counters: &Counters,
    ) -> Result<Tree> {
        let about = self.about(repo, commit.as_str(), None);
        let mut tree = Tree::default();
        let mut next = Some(routes::tree(&self.config.endpoint, repo, commit.as_str(), folder));
        let mut visited = HashSet::new();
        while let Some(url) = next {
            let page = self.page(&about, counters, &url).await?;
            // A listing that ends is made of pages that hold something, none of them twice.
            let stuck = page.seen.is_empty() || !visited.insert(url.clone());
            if page.next.is_some() && stuck {
                return Err(about.locate(nonsense(&url, 200, "a listing that never ends")));
            }
            tree.is_broken_off = page.seen.len() % PAGE == 0;
            page.seen.into_iter().for_each(|seen| tree.add(seen));
            next = page.next;
        }
        Ok(tree)
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
            Seen::File(Listed { path, .. }) | Seen::Vague(path, _) => RepoPath::new(&path).ok(),
            Seen::Folder(_) | Seen::Other(_) | Seen::Nameless => None,
        }))
    }

    async fn page(&self, about: &About<'_>, counters: &Counters, url: &Url) -> Result<Page> {
        let request = self.api_request(url.clone());
        let what = format!("list the files of {}", about.repo);
        self.call(about, &what, counters, &request, Follow::Any, |answer| async move {
            let next = self.next_page(&answer.response)?;
            let from = JsonFrom::of(&answer.response);
            let body = read(&self.http, answer.response, MAX_JSON).await?;
            Ok(Page { seen: seen(&from, &body)?, next })
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

impl Tree {
    fn add(&mut self, seen: Seen) {
        match seen {
            Seen::File(file) => self.files.push(file),
            Seen::Vague(path, what) => self.vague.push((path, what)),
            Seen::Folder(path) => self.folders.push(path),
            Seen::Other(path) => self.others.push(path),
            Seen::Nameless => self.nameless += 1,
        }
    }

    /// Adds what was found in `folder`, as far as it's really below it.
    fn add_below(&mut self, folder: &str, found: Self) {
        let is_below =
            |path: &str| path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
        self.files.extend(found.files.into_iter().filter(|file| is_below(&file.path)));
        self.vague.extend(found.vague.into_iter().filter(|(path, _)| is_below(path)));
        self.folders.extend(found.folders.into_iter().filter(|path| is_below(path)));
        self.others.extend(found.others.into_iter().filter(|path| is_below(path)));
        self.nameless += found.nameless;
        self.is_broken_off |= found.is_broken_off;
    }

    /// The paths of all that has a name.
    pub(super) fn paths(&self) -> impl Iterator<Item = &str> {
        let files = self.files.iter().map(|file| file.path.as_str());
        let vague = self.vague.iter().map(|(path, _)| path.as_str());
        files.chain(vague).chain(self.folders.iter().chain(&self.others).map(String::as_str))
    }

    /// The folders in which there is nothing, as in none of git's.
    fn closed(&self) -> Vec<String> {
        if self.folders.is_empty() {
            return Vec::new();
        }
        let open = folders(self.paths());
        self.folders.iter().filter(|folder| !open.contains(folder.as_str())).cloned().collect()
    }

    /// Why it may not be all that there is, as far as it shows.
    pub(super) fn doubt(&self) -> Option<String> {
        if let Some(folder) = self.closed().first() {
            return Some(format!("nothing in the folder {folder:?}"));
        }
        if self.nameless > 0 {
            return Some(format!("{} entries without a path", self.nameless));
        }
        let entries = self.paths().count();
        self.is_broken_off.then(|| format!("{entries} entries, as if there were more"))
    }
}

/// The folders that `paths` are in.
pub(super) fn folders<'a>(paths: impl Iterator<Item = &'a str>) -> HashSet<&'a str> {
    let mut found = HashSet::new();
    for path in paths {
        // From the nearest one; those above one that is known are, too.
        for (end, _) in path.rmatch_indices('/') {
            if !found.insert(&path[..end]) {
                break;
            }
        }
    }
    found
}

/// What the entries of a page say.
pub(super) fn seen(from: &JsonFrom, body: &[u8]) -> Result<Vec<Seen>> {
    let text = String::from_utf8_lossy(body);
    let nodes: Vec<Loose<'_, Node<'_>>> = from.parse(text.as_bytes())?;
    let read = |node: &Loose<'_, Node<'_>>| node.object().map(|node| node.read(&from.url));
    Ok(nodes.iter().map(|node| read(node).unwrap_or(Seen::Nameless)).collect())
}

#[cfg(test)]
mod tests;
