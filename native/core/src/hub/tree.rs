//! The tree of a commit: what a server says of its files and folders.

use std::collections::HashSet;

use futures_util::{StreamExt, stream};

use super::loose::Loose;
use super::node::{Node, Seen};
use super::{AT_ONCE, Hub, routes};
use crate::call::progress::Counters;
use crate::http::body::{JsonFrom, nonsense};
use crate::model::error::{Error, Result};
use crate::model::repo::{CommitId, Listed, Repo};

/// Folders that are opened one by one, at most.
const MOST_FOLDERS: usize = 10_000;

/// What a server says of a commit, which needn't be all.
#[derive(Debug, Default)]
pub(super) struct Tree {
    /// In the Hub's order.
    pub(super) files: Vec<Listed>,
    /// How many of them have a Xet hash that isn't told.
    pub(super) masked: usize,
    /// What may be files, and what of each can't be read.
    pub(super) vague: Vec<(String, Error)>,
    pub(super) folders: Vec<String>,
    /// What else there is, such as submodules.
    pub(super) others: Vec<String>,
    /// What has a type that nobody knows here.
    pub(super) unknown: Vec<String>,
    /// How many entries are without a name.
    pub(super) nameless: usize,
    /// The last page has as many entries as a page can have, or none at all: another one may be lost.
    pub(super) is_broken_off: bool,
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
            let mut closed = tree.closed(&[]);
            closed.retain(|folder| asked.insert(folder.clone()));
            if closed.is_empty() {
                return Ok(tree);
            }
            if asked.len() > MOST_FOLDERS {
                let url = routes::tree(&self.config.endpoint, repo, commit.as_str(), "");
                let error = nonsense(&url, 200, "a listing that never ends, folder by folder");
                return Err(self.about(repo, commit.as_str(), None).locate(error));
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
}

impl Tree {
    pub(super) fn add(&mut self, seen: Seen) {
        match seen {
            Seen::File(file) => self.files.push(file),
            Seen::Masked(file) => {
                self.files.push(file);
                self.masked += 1;
            }
            Seen::Vague(path, what) => self.vague.push((path, what)),
            Seen::Folder(path) => self.folders.push(path),
            Seen::Other(path) => self.others.push(path),
            Seen::Unknown(path) => self.unknown.push(path),
            Seen::Nameless => self.nameless += 1,
        }
    }

    /// Adds what another page has.
    pub(super) fn append(&mut self, page: Self) {
        self.files.extend(page.files);
        self.masked += page.masked;
        self.vague.extend(page.vague);
        self.folders.extend(page.folders);
        self.others.extend(page.others);
        self.unknown.extend(page.unknown);
        self.nameless += page.nameless;
    }

    /// Adds what was found in `folder`, as far as it's really below it.
    fn add_below(&mut self, folder: &str, mut found: Self) {
        let is_below =
            |path: &str| path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
        found.files.retain(|file| is_below(&file.path));
        found.vague.retain(|(path, _)| is_below(path));
        found.folders.retain(|path| is_below(path));
        found.others.retain(|path| is_below(path));
        found.unknown.retain(|path| is_below(path));
        self.is_broken_off |= found.is_broken_off;
        self.append(found);
    }

    /// The paths of all that has a name.
    pub(super) fn paths(&self) -> impl Iterator<Item = &str> {
        let files = self.files.iter().map(|file| file.path.as_str());
        let vague = self.vague.iter().map(|(path, _)| path.as_str());
        let rest = self.folders.iter().chain(&self.others).chain(&self.unknown);
        files.chain(vague).chain(rest.map(String::as_str))
    }

    /// The folders in which there is nothing, as in none of git's, also by the `names` of files elsewhere.
    pub(super) fn closed(&self, names: &[String]) -> Vec<String> {
        if self.folders.is_empty() {
            return Vec::new();
        }
        let open = folders(self.paths().chain(names.iter().map(String::as_str)));
        self.folders.iter().filter(|folder| !open.contains(folder.as_str())).cloned().collect()
    }

    /// Why it may not be all that there is, as far as it shows.
    pub(super) fn doubt(&self) -> Option<String> {
        if let Some(folder) = self.closed(&[]).first() {
            return Some(format!("nothing in the folder {folder:?}"));
        }
        if self.nameless > 0 {
            return Some(format!("{} entries without a path", self.nameless));
        }
        if let Some(path) = self.unknown.first() {
            return Some(format!("an unknown type for {path:?}"));
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
