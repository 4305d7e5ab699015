//! A folder, in as many commits as it takes.

use std::collections::HashSet;

use super::change::Change;
use super::deletions::Deletions;
use super::item::Addition;
use super::pace::{CARRIED, CommitPace};
use super::request::{ContentSource, FolderRequest};
use super::run::{Commits, Upload};
use super::stats::Stats;
use super::walk;
use crate::call::progress::Phase;
use crate::call::walk::Walk;
use crate::hub::Names;
use crate::model::error::Result;
use crate::sys::files;

impl Upload {
    /// A folder, batch by batch: while one is committed, the next one is uploaded.
    pub(super) async fn commit_folder(
        &self,
        request: FolderRequest,
        commits: &mut Commits,
        stats: &mut Stats,
    ) -> Result<()> {
        let root = files::absolute(&request.folder)?;
        let (prefix, patterns) = (request.path_in_repo.clone(), request.patterns.clone());
        let call = self.call.clone();
        let (additions, total, left_out) = self
            .call
            .blocking("the names in the folder", move || {
                let each = Walk::new(&call);
                let walk::Found { files: additions, left_out } =
                    walk::files(&root, prefix.as_ref(), &patterns, &each)?;
                additions.iter().try_for_each(|file| walk::check_place(&file.path))?;
                let sizes = each.each(&additions, |file| Ok(size_now(file)))?;
                Ok((additions, sizes.into_iter().sum(), left_out))
            })
            .await?;
        stats.left_out = left_out;
        let files = u32::try_from(additions.len()).unwrap_or(u32::MAX);
        self.call.counters.set_upload_totals(files, total);
        let mut deletions = self.deletions(&request, &additions).await?;
        let mut ready: Option<Vec<Change>> = None;
        let store = self.xet_store();
        let mut pace = CommitPace::default();
        let mut left = additions.into_iter();
        let mut git_ignore = None;
        let is_git_ignore = |file: &&Addition| file.path.as_str() == ".gitignore";
        if let Some(file) = left.as_slice().iter().find(is_git_ignore) {
            let file = std::slice::from_ref(file);
            let items = self.items(file.to_vec(), self.contents(file).await?);
            git_ignore = self.git_ignore(&items).await?;
        }
        loop {
            let next: Vec<Addition> = left.by_ref().take(pace.files()).collect();
            let (first, last) = (ready.is_none(), next.is_empty());
            let batch = ready.take().unwrap_or_default();
            if last && !first {
                self.call.counters.enter(Phase::Committing);
            }
            let mut committing = Stats::default();
            // The first batch has none before it to commit, the last one none behind it.
            let commit = async {
                for changes in split(batch) {
                    let size = changes.len();
                    let took = self.commit(commits, &mut committing, changes).await?;
                    pace.took(size, took);
                }
                Ok(())
            };
            let prepare = async {
                let contents = self.contents(&next).await?;
                let items = self.items(next, contents);
                let deletions = Deletions::default();
                self.prepare(&store, items, git_ignore.as_deref(), &deletions, stats).await
            };
            // Without the commit, nobody needs the next batch. But a commit that has begun is never
            // dropped because of the next batch: nobody would know what became of it.
            let ((), prepared) = tokio::try_join!(commit, async { Ok(prepare.await) })?;
            let mut prepared = prepared?;
            stats.bytes_sent += committing.bytes_sent;
            if last && !first {
                return Ok(());
            }
            // In the first commit, whether there is anything else in it or not.
            deletions.append(&mut prepared);
            prepared = std::mem::take(&mut deletions);
            ready = Some(prepared);
        }
    }

    /// The files of the repo that `request` wants to be deleted.
    async fn deletions(
        &self,
        request: &FolderRequest,
        additions: &[Addition],
    ) -> Result<Vec<Change>> {
        let Some(patterns) = &request.delete else { return Ok(Vec::new()) };
        let counters = &self.call.counters;
        let head = self.head().await?;
        let (repo, names) = (&self.options.repo, Names::Unasked);
        // Only their names matter.
        let files = self.hub.list(repo, &head, names, |_| false, counters).await?;
        let listed = files.entries.into_iter().map(|entry| entry.path);
        let refused = files.refused.into_iter().map(|(path, _)| path);
        let kept: HashSet<&str> = additions.iter().map(|file| file.path.as_str()).collect();
        let prefix = request.path_in_repo.as_ref().map(|path| format!("{path}/"));
        let below = |path: &str| match &prefix {
            Some(prefix) => path.strip_prefix(prefix.as_str()).map(str::to_owned),
            None => Some(path.to_owned()),
        };
        let goes = |path: &String| {
            // Without it, the Hub no longer knows which files are large.
            path != ".gitattributes"
                && !kept.contains(path.as_str())
                && below(path).is_some_and(|relative| patterns.matches(&relative))
        };
        let gone = listed.chain(refused).chain(files.passed_over).filter(goes);
        Ok(gone.map(Change::Delete).collect())
    }
}

/// Parts of which none carries more than the Hub takes in one commit.
fn split(changes: Vec<Change>) -> Vec<Vec<Change>> {
    let mut parts = Vec::new();
    let mut part = Vec::new();
    let mut carried = 0;
    for change in changes {
        let size = change.carried();
        if carried + size > CARRIED && !part.is_empty() {
            parts.push(std::mem::take(&mut part));
            carried = 0;
        }
        carried += size;
        part.push(change);
    }
    if !part.is_empty() {
        parts.push(part);
    }
    parts
}

/// For the progress total only; what is uploaded is looked at again.
fn size_now(file: &Addition) -> u64 {
    match &file.source {
        ContentSource::Path(path) => std::fs::metadata(path).map_or(0, |metadata| metadata.len()),
        ContentSource::Memory(memory) => memory.len() as u64,
        ContentSource::Stream(_) => 0,
    }
}
