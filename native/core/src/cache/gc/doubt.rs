//! What makes it impossible to tell what a repo needs. Removing by a guess loses what somebody has, keeping
//! costs space; so nothing goes from such a repo, and it's said why. `huggingface_hub` leaves out of its
//! pruning what it can't read, too.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use super::inventory::RepoFolder;
use super::verify::Finding;

/// Adds to the doubts about each repo those that show once all of them have been looked at.
pub(super) fn raise(repos: &mut [RepoFolder]) {
    let strays: Vec<_> = repos.iter().map(Strays::of).collect();
    let in_common = in_common(repos);
    let linked = linked_by_others(repos, &strays);
    let found = strays.into_iter().zip(in_common).zip(linked);
    for (repo, ((strays, in_common), linked)) in repos.iter_mut().zip(found) {
        let lost = lost_revisions(repo);
        let known: HashSet<_> = repo.doubts.iter().map(|doubt| doubt.path.clone()).collect();
        let new = lost.into_iter().chain(in_common);
        repo.doubts.extend(new.filter(|doubt| !known.contains(&doubt.path)));
        // One reason is enough, and the most telling is said.
        if repo.doubts.is_empty() {
            repo.doubts.extend(linked.into_iter().chain(strays.doubt()));
        }
    }
}

/// Device and inode of the folders that one repo may have in common with another.
struct Places([Option<(u64, u64)>; 2]);

impl Places {
    const NAMES: [&str; 2] = ["snapshots", "blobs"];

    fn of(repo: &RepoFolder) -> Self {
        Self(Self::NAMES.map(|name| {
            let found = fs::metadata(repo.folder.join(name)).ok()?;
            Some((found.dev(), found.ino()))
        }))
    }
}

impl RepoFolder {
    /// Whether a ref may need something of it. One that has none, and only links to what is another's, needs nothing.
    fn has_refs(&self) -> bool {
        let is_link =
            |doubt: &Finding| Places::NAMES.iter().any(|name| doubt.path == self.folder.join(name));
        !self.refs.is_empty() || !self.doubts.iter().all(is_link)
    }
}

/// Refs that lead to no revision. Which of the others they stood for, nobody can tell.
fn lost_revisions(repo: &RepoFolder) -> Vec<Finding> {
    let known: HashSet<_> =
        repo.snapshots.iter().map(|snapshot| snapshot.commit.as_str()).collect();
    let lost = repo.refs.iter().filter(|(commit, _)| !known.contains(commit.as_str()));
    lost.map(|(commit, reference)| {
        let folder = repo.folder.join("snapshots").join(commit);
        if folder.is_symlink() {
            Finding::new(
                &folder,
                "is a revision that a ref names, and a link, which isn't followed",
            )
        } else {
            Finding::new(reference, "is a ref to a revision that isn't in the cache")
        }
    })
    .collect()
}

/// For each repo, what it has in common with another one that may need what is there.
fn in_common(repos: &[RepoFolder]) -> Vec<Vec<Finding>> {
    let places: Vec<_> = repos.iter().map(Places::of).collect();
    let mut users: HashMap<_, Vec<usize>> = HashMap::new();
    for (i, places) in places.iter().enumerate() {
        for (at, place) in places.0.iter().enumerate() {
            users.entry((at, *place)).or_default().extend(place.is_some().then_some(i));
        }
    }
    let found = |i: usize| {
        let name = |(at, place): (usize, &Option<_>)| {
            let other = users[&(at, *place)].iter().find(|&&j| j != i && repos[j].has_refs())?;
            let other = name_of(&repos[*other]);
            let reason = format!("is that of {other}, too, which may need what is there");
            Some(Finding::new(&repos[i].folder.join(Places::NAMES[at]), reason))
        };
        places[i].0.iter().enumerate().filter_map(name).collect()
    };
    (0..repos.len()).map(found).collect()
}

/// For each repo, whether files of its own are what links of another one lead to.
fn linked_by_others(repos: &[RepoFolder], strays: &[Strays]) -> Vec<Option<Finding>> {
    let mut ends = HashMap::new();
    for (i, (repo, strays)) in repos.iter().zip(strays).enumerate() {
        let links = repo.blobs.values().filter(|blob| blob.is_link).map(|blob| blob.inode);
        ends.extend(links.chain(strays.ends.iter().copied()).map(|end| (end, i)));
    }
    let found = |(i, repo): (usize, &RepoFolder)| {
        let mut own = repo.blobs.values().filter(|blob| !blob.is_link);
        let other = own.find_map(|blob| ends.get(&blob.inode).filter(|&&other| other != i))?;
        let reason = format!("has content to which links in {} lead", name_of(&repos[*other]));
        Some(Finding::new(&repo.folder, reason))
    };
    repos.iter().enumerate().map(found).collect()
}

/// Links in revisions which a ref names, to something that is there and isn't a blob of the repo: a folder whose
/// files may be links to some, or another link.
struct Strays {
    first: Option<PathBuf>,
    /// Device and inode of what is at their ends.
    ends: Vec<(u64, u64)>,
}

impl Strays {
    fn of(repo: &RepoFolder) -> Self {
        // One may have come meanwhile, and what leads out of the cache is said already.
        let blobs = repo.folder.join("blobs");
        let is_known = |etag: &str| {
            repo.blobs.contains_key(etag) || fs::symlink_metadata(blobs.join(etag)).is_ok()
        };
        let mut strays = Self { first: None, ends: Vec::new() };
        let named =
            repo.snapshots.iter().filter(|snapshot| repo.refs.contains_key(&snapshot.commit));
        for (path, _) in
            named.flat_map(|snapshot| &snapshot.pointers).filter(|(_, etag)| !is_known(etag))
        {
            if let Ok(end) = fs::metadata(path) {
                strays.first.get_or_insert_with(|| path.clone());
                strays.ends.push((end.dev(), end.ino()));
            }
        }
        strays
    }

    /// The first stands for all: there may be thousands.
    fn doubt(self) -> Option<Finding> {
        let others = match self.ends.len() {
            0 | 1 => String::new(),
            all => format!(", as are {} more", all - 1),
        };
        let reason = format!("is a link to something else than a blob of its repo{others}");
        Some(Finding::new(&self.first?, reason))
    }
}

fn name_of(repo: &RepoFolder) -> String {
    repo.folder.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
