//! All files of a commit. The tree has what is to be known of each; the names in the answer about the
//! revision show whether it has all of them. What the tree lacks, whole files or something about one,
//! is asked for file by file; without any tree, that is everything.
//!
//! Mirrors answer with less than there is, and nothing in the answer tells: an empty list, the top
//! level only, the first page only. Less than all must not look like all.

use std::collections::{HashMap, HashSet};

use futures_util::{StreamExt, future, stream};
use url::Url;

use super::tree::{Tree, folders};
use super::{AT_ONCE, Hub, Names};
use crate::call::progress::Counters;
use crate::http::RetryPolicy;
use crate::http::body::is_of_another_form;
use crate::http::origin::is_same_origin;
use crate::model::error::{Error, Kind, Result};
use crate::model::repo::{CommitId, Listed, Repo, RepoPath, Revision, Storage};

/// The files of a commit.
#[derive(Debug, Default)]
pub struct Files {
    /// In the Hub's order, under the paths that it says.
    pub entries: Vec<Listed>,
    /// Those of which it can't be found out what they are, each with the reason.
    pub refused: Vec<(String, Error)>,
    /// The paths of those of which nobody wanted to know what they are.
    pub passed_over: Vec<String>,
    /// Whether `entries` are the commit's files as the tree has them, and all of them: they can be kept.
    /// A mirror's word about a file may be one about its own copy.
    pub is_whole: bool,
}

/// A file of which more must be found out, and what the tree says instead.
type Open = (String, Option<Error>);

impl Hub {
    /// All files of a commit; folders are left out. `names` are what the answer about the revision had:
    /// where nobody has asked for that, it's asked for now. `wanted` says by its path whether a file that
    /// the tree doesn't describe is to be asked for by itself.
    pub async fn list(
        &self,
        repo: &Repo,
        commit: &CommitId,
        names: Names,
        wanted: impl Fn(&str) -> bool,
        counters: &Counters,
    ) -> Result<Files> {
        let tree = self.tree(repo, commit, counters);
        let (tree, names) = match names {
            Names::Unasked => {
                // Its failure is none of the listing's.
                let once = self.with_retry(self.retry.once());
                match future::join(tree, once.names_of(repo, commit, counters)).await {
                    // What passes mustn't decide whether the listing is whole.
                    (Ok(tree), Names::Lacking(why)) if may_pass(&why) => {
                        // But there is a tree: the end of a rate limit isn't worth the wait.
                        let policy = RetryPolicy::new(&self.config);
                        let patient = self.with_retry(RetryPolicy { waits_out: false, ..policy });
                        (Ok(tree), patient.names_of(repo, commit, counters).await)
                    }
                    answers => answers,
                }
            }
            names => (tree.await, names),
        };
        let (tree, no_tree) = match tree {
            Ok(tree) => (tree, None),
            Err(why) if self.lacks_route(&why) => (Tree::default(), Some(why)),
            Err(why) => return Err(why),
        };
        let about = self.about(repo, commit.as_str(), None);
        let names = self.confirming(names, &tree, no_tree.as_ref()).map_err(|e| about.locate(e))?;
        let is_named = names.is_some();
        let masked = tree.masked;
        let (mut files, open) = sort_out(tree, names.as_deref().unwrap_or_default());
        files.is_whole = is_named && masked == 0 && open.is_empty() && files.refused.is_empty();
        if masked > 0 {
            tracing::warn!(
                %repo, files = masked,
                "the Hub doesn't tell the Xet hashes of files, as where access hasn't been granted yet"
            );
        }
        let (open, others): (Vec<_>, Vec<_>) = open.into_iter().partition(|(path, _)| wanted(path));
        files.passed_over = others.into_iter().map(|(path, _)| path).collect();
        if let (false, Some(why)) = (open.is_empty(), &no_tree) {
            tracing::info!(%repo, files = open.len(), "no tree here; asking for each file ({why})");
        } else if !open.is_empty() {
            tracing::warn!(%repo, files = open.len(), "files that the listing lacks; asking for each");
        }
        self.look_up_each(repo, commit, open, no_tree.is_none(), &mut files, counters).await?;
        Ok(files)
    }

    /// Whether a failure says that this server doesn't know what it's asked for, or keeps it from everybody,
    /// rather than anything of whom it's asked about.
    pub(super) fn lacks_route(&self, error: &Error) -> bool {
        if is_unknown_route(error) {
            return true;
        }
        let context = error.context();
        match error.kind() {
            Kind::Forbidden => !context.from_storage,
            Kind::InvalidResponse if is_of_another_form(error) => {
                let url = context.url.as_deref().and_then(|url| Url::parse(url).ok());
                // Others, to whom it has sent us, speak for themselves.
                url.is_some_and(|url| is_same_origin(self.config.endpoint.url(), &url))
            }
            _ => false,
        }
    }

    /// The names that show whether a tree is whole; `None`: there are none, and it may be by itself.
    /// `no_tree`: why there is no tree.
    fn confirming(
        &self,
        names: Names,
        tree: &Tree,
        no_tree: Option<&Error>,
    ) -> Result<Option<Vec<String>>> {
        let why = match confirming(names, tree, no_tree.is_some()) {
            Ok(names) => return tree.agrees(&names).map(|()| Some(names)),
            Err(why) => why,
        };
        match no_tree {
            None => tree.by_itself(&why).map(|()| None),
            Some(_) if !self.lacks_route(&why) && why.kind() != Kind::InvalidResponse => Err(why),
            Some(no_tree) => Err(lacking(no_tree, why)),
        }
    }

    /// Adds to `files` what can be found out about each of `open` by itself. With a tree, one of them that
    /// can't be had is no reason for the others.
    async fn look_up_each(
        &self,
        repo: &Repo,
        commit: &CommitId,
        open: Vec<Open>,
        has_tree: bool,
        files: &mut Files,
        counters: &Counters,
    ) -> Result<()> {
        let revision = &Revision::new(commit.as_str())?;
        let ask = |(path, said): Open| async move {
            let asked = match RepoPath::new(&path) {
                Ok(path) => self.file_entry(repo, revision, &path, counters).await,
                // It can't be asked for, nor written: all that is known is its name.
                Err(_) => return (path.clone(), said, Ok(unknown(path))),
            };
            (path, said, asked.map(|(_, entry)| Listed::from(entry)))
        };
        let mut asked = stream::iter(open).map(ask).buffered(AT_ONCE);
        while let Some((path, said, found)) = asked.next().await {
            match found {
                Ok(entry) => files.entries.push(entry),
                Err(error) if is_about_the_file(&error, has_tree) => {
                    let error = match said {
                        Some(said) => Error::cause(("its listing", said), ("a look at it", error)),
                        None => error,
                    };
                    files.refused.push((path, error));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// What the tree has of each file, once, and what it lacks, by `names`, too.
fn sort_out(tree: Tree, names: &[String]) -> (Files, Vec<Open>) {
    let mut described: HashMap<&str, &Listed> = HashMap::with_capacity(tree.files.len());
    let mut contested: HashSet<String> = HashSet::new();
    for file in &tree.files {
        let other = described.insert(&file.path, file);
        // Neither is silently the right one; the same twice is one.
        if other.is_some_and(|other| other != file) {
            contested.insert(file.path.clone());
        }
    }
    let has_twins = described.len() < tree.files.len();
    let open = {
        // What has something in it is a folder, also where the tree doesn't say so.
        let all = || names.iter().map(String::as_str);
        let vague: HashMap<_, _> = tree.vague.iter().map(|(path, said)| (&**path, said)).collect();
        let folders =
            if vague.is_empty() { HashSet::new() } else { folders(tree.paths().chain(all())) };
        let others: HashSet<&str> =
            tree.folders.iter().chain(&tree.others).map(String::as_str).collect();
        let mut asked = HashSet::new();
        let vaguely = tree.vague.iter().map(|(path, _)| path.as_str());
        let open = vaguely.chain(all()).filter(|&path| {
            let is_known = described.contains_key(path) || others.contains(path);
            !is_known && !folders.contains(path) && asked.insert(path)
        });
        let open = open.map(|path| (path.to_owned(), vague.get(path).copied().cloned()));
        open.collect()
    };
    let mut entries = tree.files;
    if has_twins {
        let mut placed = HashSet::new();
        entries.retain(|file| !contested.contains(&file.path) && placed.insert(file.path.clone()));
    }
    let refused = contested.into_iter().map(|path| (path.clone(), twice(&path))).collect();
    (Files { entries, refused, ..Files::default() }, open)
}

fn twice(path: &str) -> Error {
    let message = format!("the listing has {path:?} twice, with different content");
    Error::new(Kind::InvalidResponse, message).with(|c| c.file = Some(path.to_owned()))
}

fn unknown(path: String) -> Listed {
    Listed { path, size: 0, oid: "0".repeat(40), storage: Storage::Git }
}

/// Whether a server doesn't know what it's asked for, by the status of its refusal.
pub(super) fn is_unknown_route(error: &Error) -> bool {
    let status = error.context().http_status;
    match error.kind() {
        Kind::NotFound | Kind::BadRequest => true,
        Kind::InvalidResponse => matches!(status, Some(400..=499)),
        Kind::ServerError => status == Some(501),
        _ => false,
    }
}

/// Whether a failure to find out about a file says nothing of the others. Without a tree, what one file
/// can't be asked, none can.
fn is_about_the_file(error: &Error, has_tree: bool) -> bool {
    match error.kind() {
        Kind::EntryNotFound => true,
        Kind::NotFound | Kind::BadRequest | Kind::Forbidden => has_tree,
        Kind::InvalidResponse => has_tree && !error.is_transient(),
        _ => false,
    }
}

/// The names, if they say anything; else why there are none. Where there is a tree, and both have
/// nothing, that's what they say.
fn confirming(names: Names, tree: &Tree, has_no_tree: bool) -> Result<Vec<String>> {
    let is_empty = !has_no_tree && tree.paths().next().is_none();
    match names {
        Names::Known(names) if !names.is_empty() || is_empty => Ok(names),
        Names::Known(_) => Err(Error::new(Kind::InvalidResponse, "none")),
        Names::Lacking(why) => Err(why),
        Names::Unasked => Err(Error::internal("names that nobody has asked for")),
    }
}

/// Whether names that can't be had now are worth another question. A server that is silent is silent again.
fn may_pass(why: &Error) -> bool {
    why.is_transient() && why.kind() != Kind::Timeout
}

impl Tree {
    /// Fails if the tree has folders in which there is nothing by the names either: both have less than there is.
    fn agrees(&self, names: &[String]) -> Result<()> {
        let closed = self.closed(names);
        let Some(folder) = closed.first() else { return Ok(()) };
        let message = format!(
            "the listing has nothing in the folder {folder:?}, nor have the names (api/.../revision, \
             \"siblings\"): neither is whole; download the files one by one, or from another endpoint"
        );
        Err(Error::new(Kind::InvalidResponse, message).with(|c| c.http_status = Some(200)))
    }

    /// Fails if the tree may not be all there is, and no names tell, because of `why`.
    fn by_itself(&self, why: &Error) -> Result<()> {
        let Some(doubt) = self.doubt() else { return Ok(()) };
        let message = format!(
            "the listing has {doubt}, and there are no names (api/.../revision, \"siblings\": {}) to show \
             that it's whole; download the files one by one, or from another endpoint",
            why.message()
        );
        Err(Error::new(Kind::InvalidResponse, message).with(|c| c.http_status = Some(200)))
    }
}

/// The error where neither the listing can be had nor the names.
fn lacking(why: &Error, other: Error) -> Error {
    if why.kind() == Kind::Forbidden || other.kind() == Kind::Forbidden {
        return Error::cause(("its listing", why.clone()), ("its names", other));
    }
    let message = format!(
        "the mirror has neither a listing of the files (api/.../tree: {}) nor their names \
         (api/.../revision, \"siblings\": {}); download them one by one, or from another endpoint",
        why.message(),
        other.message()
    );
    let context = why.context().clone();
    Error::new(Kind::InvalidResponse, message).with(|c| *c = context)
}

#[cfg(test)]
mod tests;
