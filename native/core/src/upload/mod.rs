//! Uploads: what an upload call does, from the files of a caller to a commit on the Hub.
//!
//! A commit is the only thing that anyone else can see, so it comes last: the Hub says how each
//! file travels, unchanged files are left out, large ones go to storage, and one request names them
//! all. Whatever fails before leaves nothing on the Hub but content without a name.
//!
//! Running a broken upload again is how it is resumed: what was committed is unchanged then, and what
//! was stored is not sent again.

mod borrowed;
mod change;
mod commit;
mod content;
mod deletions;
mod duplicates;
mod folder;
mod item;
mod learn;
mod lfs;
mod pace;
mod request;
mod stage;
mod stats;
mod xet;

use std::collections::HashSet;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use futures_util::{StreamExt, TryStreamExt, stream};

pub use borrowed::{BorrowGuard, Borrowed};
pub use folder::place;
use learn::StoredFile;
pub use request::{
    CommitOptions, CommitReport, CommitRequest, CreateRepoRequest, FolderRequest, Operation,
    ParentId, RepoReport, Source,
};

use self::change::{Change, Header};
use self::commit::{Branch, Committer};
use self::content::Content;
use self::deletions::Gone;
use self::item::{Addition, Item};
use self::pace::{CARRIED, CommitPace};
use self::stats::Stats;
use self::xet::{StoredContent, XetStore};
use crate::call::Call;
use crate::call::progress::Phase;
use crate::config::{Config, Deadlines};
use crate::http::RetryPolicy;
use crate::hub::{Access, Committed, FileSample, Hub, Mode, Preupload};
use crate::model::content::ContentHasher;
use crate::model::error::{Error, Kind, Result};
use crate::model::repo::{CommitId, Entry, RepoPath, Revision, Storage};
use crate::reuse::Index;

/// What a wait for an upload is allowed before the watchdog looks at it: those who send content watch
/// for themselves whether it moves, and a server may take longer to answer than to other requests.
const OWN_DEADLINE: Duration = Duration::from_hours(24);
/// Files that are hashed at a time, to see whether they have changed.
const HASHED: usize = 4;
/// How long it may take to read the names of all files of a folder.
const WALK: Duration = Duration::from_mins(10);
/// Longest `.gitignore` that is sent along.
const MAX_GIT_IGNORE: u64 = 1 << 20;

/// What is to be uploaded.
pub(crate) enum Work {
    Commit(Vec<Operation>),
    Folder(Box<FolderRequest>),
}

/// One upload call.
pub(crate) struct Upload {
    pub(crate) hub: Hub,
    pub(crate) config: Arc<Config>,
    pub(crate) call: Call,
    pub(crate) options: CommitOptions,
    /// What learns of the files that were uploaded.
    pub(crate) reuse: Option<Arc<Index>>,
    pub(crate) head: OnceLock<CommitId>,
    pub(crate) deadlines: Deadlines,
}

/// What has become of a call's commits so far.
struct State {
    branch: Branch,
    committer: Committer,
    title: String,
    made: Vec<Committed>,
    pull_request_url: Option<String>,
}

/// A batch of files that is ready to be committed.
#[derive(Default)]
struct Batch {
    changes: Vec<Change>,
    learnt: Vec<StoredFile>,
}

impl Upload {
    pub(crate) async fn run(self, work: Work, started: Instant) -> Result<CommitReport> {
        let CommitOptions { repo, revision, create_pr, .. } = &self.options;
        let counters = &self.call.counters;
        let title = self.options.message.clone().unwrap_or_else(|| default_title(&work));
        let branch = Branch {
            repo: repo.clone(),
            revision: revision.clone(),
            create_pr: *create_pr,
            head: None,
        };
        let committer = Committer {
            hub: self.hub.clone(),
            call: self.call.clone(),
            policy: RetryPolicy::new(&self.config),
        };
        let mut state =
            State { branch, committer, title, made: Vec::new(), pull_request_url: None };
        let mut tally = Stats::default();
        match work {
            Work::Commit(operations) => {
                self.commit_operations(operations, &mut state, &mut tally).await?;
            }
            Work::Folder(request) => self.commit_folder(*request, &mut state, &mut tally).await?,
        }
        let commits = u32::try_from(state.made.len()).unwrap_or(u32::MAX);
        let (commit, commit_url) = if let Some(last) = state.made.pop() {
            (last.id, last.url)
        } else {
            let head = self.head().await?;
            let url = self.hub.commit_page(repo, &head);
            (head, url)
        };
        Ok(CommitReport {
            commit,
            commit_url,
            pull_request_url: state.pull_request_url,
            commits,
            files: tally.files,
            files_changed: tally.files_changed,
            bytes_total: tally.bytes_total,
            bytes_new: tally.bytes_new,
            bytes_on_hub: tally.bytes_on_hub,
            bytes_repeated: tally.bytes_repeated,
            bytes_sent: tally.bytes_sent,
            xorbs: tally.xorbs,
            retries: counters.retries(),
            duration: started.elapsed(),
        })
    }

    /// What the revision stood for when this call began to ask about it.
    async fn head(&self) -> Result<CommitId> {
        if let Some(head) = self.head.get() {
            return Ok(head.clone());
        }
        let CommitOptions { repo, revision, .. } = &self.options;
        let head = self.hub.commit_of(repo, revision, &self.call.counters).await?;
        Ok(self.head.get_or_init(|| head).clone())
    }

    /// All operations in one commit.
    async fn commit_operations(
        &self,
        operations: Vec<Operation>,
        state: &mut State,
        tally: &mut Stats,
    ) -> Result<()> {
        check(&operations)?;
        let deletions = Gone::of(&operations);
        let mut additions = Vec::new();
        let mut copies = Vec::new();
        let mut changes = Vec::new();
        for operation in operations {
            match operation {
                Operation::Add { path, source } => additions.push(Addition { path, source }),
                Operation::Delete(path) => changes.push(Change::Delete(path)),
                Operation::DeleteFolder(path) => changes.push(Change::DeleteFolder(path)),
                Operation::Copy { from, from_revision, to } => {
                    copies.push((from, from_revision, to));
                }
            }
        }
        changes.extend(self.copies(copies, &deletions).await?);
        let contents = self.contents(&additions).await?;
        let total = contents.iter().map(Content::size).sum();
        let files = u32::try_from(additions.len()).unwrap_or(u32::MAX);
        self.call.counters.set_upload_totals(files, total);
        let items = self.items(additions, contents);
        let store = self.xet_store();
        let git_ignore = self.git_ignore(&items).await?;
        let batch = self.prepare(&store, items, git_ignore.as_deref(), &deletions, tally).await?;
        changes.extend(batch.changes);
        self.call.counters.enter(Phase::Committing);
        self.commit(state, tally, changes).await?;
        self.learn(batch.learnt).await
    }

    /// A folder, batch by batch: while one is committed, the next one is uploaded.
    async fn commit_folder(
        &self,
        request: FolderRequest,
        state: &mut State,
        tally: &mut Stats,
    ) -> Result<()> {
        let root = folder::absolute(&request.folder)?;
        let (prefix, patterns) = (request.path_in_repo.clone(), request.patterns.clone());
        let walking = self.call.counters.waits.begin("the names in the folder", WALK);
        let (additions, total) = self
            .call
            .blocking("the names in the folder", move || {
                let additions = folder::files(&root, prefix.as_ref(), &patterns)?;
                additions.iter().try_for_each(|file| folder::check_place(&file.path))?;
                let total: u64 = additions.iter().map(size_now).sum();
                Ok((additions, total))
            })
            .await?;
        drop(walking);
        let files = u32::try_from(additions.len()).unwrap_or(u32::MAX);
        self.call.counters.set_upload_totals(files, total);
        let mut deletions = self.deletions(&request, &additions).await?;
        let mut ready: Option<Batch> = None;
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
                for changes in split(batch.changes) {
                    let (size, started) = (changes.len(), Instant::now());
                    self.commit(state, &mut committing, changes).await?;
                    pace.took(size, started.elapsed());
                }
                self.learn(batch.learnt).await
            };
            let prepare = async {
                let contents = self.contents(&next).await?;
                let items = self.items(next, contents);
                let deletions = Gone::default();
                self.prepare(&store, items, git_ignore.as_deref(), &deletions, tally).await
            };
            // Without the commit, nobody needs the next batch. But a commit that has begun is never
            // dropped because of the next batch: nobody would know what became of it.
            let ((), prepared) = tokio::try_join!(commit, async { Ok(prepare.await) })?;
            let mut prepared = prepared?;
            tally.bytes_sent += committing.bytes_sent;
            if last && !first {
                return Ok(());
            }
            // In the first commit, whether there is anything else in it or not.
            deletions.append(&mut prepared.changes);
            prepared.changes = std::mem::take(&mut deletions);
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
        let entries = self.hub.list_tree(&self.options.repo, &head, counters).await?;
        let kept: HashSet<&str> = additions.iter().map(|file| file.path.as_str()).collect();
        let prefix = request.path_in_repo.as_ref().map(|path| format!("{path}/"));
        let below = |entry: &Entry| match &prefix {
            Some(prefix) => entry.path.as_str().strip_prefix(prefix.as_str()).map(str::to_owned),
            None => Some(entry.path.to_string()),
        };
        let goes = |entry: &Entry| {
            let path = entry.path.as_str();
            // Without it, the Hub no longer knows which files are large.
            path != ".gitattributes"
                && !kept.contains(path)
                && below(entry).is_some_and(|relative| patterns.matches(&relative))
        };
        let deletions = entries.into_iter().filter(goes).map(|entry| Change::Delete(entry.path));
        Ok(deletions.collect())
    }

    /// Opens the sources: looks at files, reads streams to their ends.
    async fn contents(&self, additions: &[Addition]) -> Result<Vec<Content>> {
        let mut contents = Vec::with_capacity(additions.len());
        for part in additions.chunks(64) {
            // Files are only looked at, which takes no thread of its own for each.
            let sources: Vec<Source> = part.iter().map(|file| file.source.clone()).collect();
            let looked = self.call.blocking("a look at the files to upload", move || {
                let look = |source: Source| match source {
                    Source::Path(path) => {
                        folder::absolute(&path).and_then(|path| Content::of_file(&path)).map(Ok)
                    }
                    Source::Memory(memory) => Ok(Ok(Content::of_memory(memory))),
                    Source::Stream(stream) => Ok(Err(stream)),
                };
                sources.into_iter().map(look).collect::<Result<Vec<_>>>()
            });
            for looked in looked.await? {
                contents.push(match looked {
                    Ok(content) => content,
                    Err(stream) => {
                        let folder = self.config.xet_cache.join("xet-ffi").join("staging");
                        stage::stage(&self.call, stream, &folder).await?
                    }
                });
            }
        }
        Ok(contents)
    }

    fn items(&self, additions: Vec<Addition>, contents: Vec<Content>) -> Vec<Item> {
        let item = |(file, content): (Addition, Content)| {
            let progress = self.call.counters.begin_file(file.path.as_str(), content.size());
            Item { path: file.path, content, progress, sha256: None }
        };
        additions.into_iter().zip(contents).map(item).collect()
    }

    /// The `.gitignore` at the root, which already counts for the files that come with it.
    async fn git_ignore(&self, items: &[Item]) -> Result<Option<String>> {
        let file = items.iter().find(|item| item.path.as_str() == ".gitignore");
        let Some(file) = file.filter(|file| file.content.size() <= MAX_GIT_IGNORE) else {
            return Ok(None);
        };
        let content = file.content.clone();
        self.call
            .blocking("the disk to read .gitignore", move || {
                let length = usize::try_from(content.size()).map_err(Error::internal)?;
                let bytes = content.read()?.next(length)?.unwrap_or_default();
                Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
            })
            .await
    }

    fn xet_store(&self) -> XetStore {
        let CommitOptions { repo, revision, create_pr, .. } = &self.options;
        let access = Access::Write { revision: revision.clone(), create_pr: *create_pr };
        let (hub, config) = (self.hub.clone(), Arc::clone(&self.config));
        XetStore::new(hub, config, self.deadlines, repo.clone(), access, self.call.clone())
    }

    /// Does everything for `items` but the commit.
    async fn prepare(
        &self,
        store: &XetStore,
        items: Vec<Item>,
        git_ignore: Option<&str>,
        deletions: &Gone,
        tally: &mut Stats,
    ) -> Result<Batch> {
        tally.files += u32::try_from(items.len()).unwrap_or(u32::MAX);
        let mut answers = self.preupload(&items, git_ignore).await?;
        for (item, answer) in items.iter().zip(&mut answers) {
            if deletions.covers(&item.path) {
                answer.oid = None;
            }
        }
        let mut regular = Vec::new();
        let mut large = Vec::new();
        for (item, mode) in self.changed(items, answers, tally).await? {
            match mode {
                Mode::Regular => regular.push(item),
                Mode::Lfs => large.push(item),
            }
        }
        tally.files_changed += u32::try_from(regular.len() + large.len()).unwrap_or(u32::MAX);
        self.call.counters.enter(Phase::Uploading);
        let mut batch = Batch::default();
        for item in regular {
            item.progress.finish();
            tally.sent(item.content.size());
            batch.changes.push(Change::Regular { path: item.path, content: item.content });
        }
        if !large.is_empty() {
            self.store(store, large, &mut batch, tally).await?;
        }
        Ok(batch)
    }

    async fn preupload(&self, items: &[Item], git_ignore: Option<&str>) -> Result<Vec<Preupload>> {
        let CommitOptions { repo, revision, create_pr, .. } = &self.options;
        let mut answers = Vec::with_capacity(items.len());
        for items in items.chunks(Hub::MAX_CANDIDATES) {
            let contents: Vec<Content> = items.iter().map(|item| item.content.clone()).collect();
            let sample = move || contents.iter().map(Content::sample).collect::<Result<Vec<_>>>();
            let samples = self.call.blocking("the disk to read samples of files", sample).await?;
            let candidates: Vec<FileSample<'_>> = items
                .iter()
                .zip(&samples)
                .map(|(item, sample)| FileSample {
                    path: &item.path,
                    size: item.content.size(),
                    sample,
                })
                .collect();
            let (hub, counters) = (&self.hub, &self.call.counters);
            let asked =
                hub.preupload(repo, revision, *create_pr, &candidates, git_ignore, counters);
            let (answered, head) = asked.await?;
            answers.extend(answered);
            if let Some(head) = head {
                // The first answer counts: no commit of ours was made before it.
                let _ = self.head.set(head);
            }
        }
        Ok(answers)
    }

    /// Leaves out what is ignored, and what the Hub has at its path already.
    async fn changed(
        &self,
        items: Vec<Item>,
        answers: Vec<Preupload>,
        tally: &mut Stats,
    ) -> Result<Vec<(Item, Mode)>> {
        if answers.iter().any(|answer| answer.oid.is_some()) {
            self.call.counters.enter(Phase::Hashing);
        }
        let mut kept = Vec::with_capacity(items.len());
        let mut compared = stream::iter(items.into_iter().zip(answers))
            .map(|(item, answer)| self.compare(item, answer))
            .buffered(HASHED);
        while let Some((item, answer, same)) = compared.try_next().await? {
            if answer.ignored {
                tracing::info!(path = %item.path, "left out: a .gitignore says so");
                item.progress.finish();
            } else if same {
                item.progress.skip();
                tally.unchanged(item.content.size());
            } else {
                kept.push((item, answer.mode));
            }
        }
        Ok(kept)
    }

    /// Whether the Hub has this content at its path. Hashes only what could be the same.
    async fn compare(&self, mut item: Item, answer: Preupload) -> Result<(Item, Preupload, bool)> {
        let large = match answer.oid.as_deref().map(str::len) {
            _ if answer.ignored => return Ok((item, answer, false)),
            Some(40) => false,
            Some(64) => true,
            _ => return Ok((item, answer, false)),
        };
        let content = item.content.clone();
        let counters = Arc::clone(&self.call.counters);
        let hash = move || {
            if large { content.sha256(&counters) } else { content.git_oid(&counters) }
        };
        let hash = self.call.blocking(format!("the disk to hash {}", item.path), hash).await?;
        let same = answer.oid.as_deref() == Some(&hash);
        if large {
            item.sha256 = Some(hash);
        }
        Ok((item, answer, same))
    }

    /// Brings large files to storage: Xet, or LFS where there is no Xet.
    async fn store(
        &self,
        store: &XetStore,
        items: Vec<Item>,
        batch: &mut Batch,
        tally: &mut Stats,
    ) -> Result<()> {
        let transport = self.config.transport;
        let xet = transport.uses_xet() && (!transport.falls_back() || store.is_there().await?);
        if !xet {
            return self.store_over_lfs(items, batch, tally).await;
        }
        let counters = Arc::clone(&self.call.counters);
        let (items, duplicates) = self
            .call
            .blocking("a look for files with the same content", move || {
                let mut items = items;
                let duplicates = duplicates::find(&mut items, &counters)?;
                Ok((items, duplicates))
            })
            .await?;
        let is_first = |(_, twin): &(&Item, &Option<usize>)| twin.is_none();
        let firsts: Vec<Item> =
            items.iter().zip(&duplicates).filter(is_first).map(|(item, _)| item.clone()).collect();
        let stored = store.store(&firsts).await?;
        tally.xorbs += stored.xorbs;
        tally.bytes_sent += stored.bytes_sent;
        let parts = stored.files.iter().map(|file| (&file.terms[..], &file.chunks[..]));
        tally.session(parts, stored.bytes_new);
        let mut stored = stored.files.into_iter();
        let mut files: Vec<StoredContent> = Vec::with_capacity(items.len());
        for twin in duplicates {
            let file = match twin {
                None => stored.next(),
                Some(first) => files.get(first).cloned(),
            };
            files.push(file.ok_or_else(|| Error::internal("a stored file is missing"))?);
            if twin.is_some() {
                tally.repeated(items[files.len() - 1].content.size());
            }
        }
        for (item, file) in items.into_iter().zip(files) {
            let size = item.content.size();
            if item.progress.is_complete() {
                item.progress.finish();
            } else {
                item.progress.skip();
            }
            if let Some((path, identity)) = item.content.file() {
                batch.learnt.push(StoredFile {
                    path: path.to_owned(),
                    identity,
                    size,
                    hash: file.hash,
                    terms: file.terms,
                    chunks: file.chunks,
                });
            }
            let (path, sha256) = (item.path, file.sha256);
            batch.changes.push(Change::Stored { path, sha256, size: Some(size) });
        }
        Ok(())
    }

    async fn store_over_lfs(
        &self,
        items: Vec<Item>,
        batch: &mut Batch,
        tally: &mut Stats,
    ) -> Result<()> {
        let items: Vec<Item> = stream::iter(items)
            .map(|item| self.hashed(item))
            .buffered(HASHED)
            .try_collect()
            .await?;
        let CommitOptions { repo, revision, create_pr, .. } = &self.options;
        let revision = (!create_pr).then_some(revision);
        let sent = lfs::store(&self.hub, repo, revision, &items, &self.call).await?;
        for (item, sent) in items.into_iter().zip(sent) {
            let size = item.content.size();
            if sent {
                tally.sent(size);
                tally.bytes_sent += size;
            } else {
                tally.unchanged(size);
            }
            let sha256 = item.sha256.ok_or_else(|| Error::internal("an item without a hash"))?;
            let path = item.path;
            batch.changes.push(Change::Stored { path, sha256, size: Some(size) });
        }
        Ok(())
    }

    async fn hashed(&self, item: Item) -> Result<Item> {
        if item.sha256.is_some() {
            return Ok(item);
        }
        let content = item.content.clone();
        let counters = Arc::clone(&self.call.counters);
        let sha256 = self
            .call
            .blocking(format!("the disk to hash {}", item.path), move || content.sha256(&counters))
            .await?;
        Ok(Item { sha256: Some(sha256), ..item })
    }

    /// Makes one commit, unless there is nothing to commit.
    async fn commit(
        &self,
        state: &mut State,
        tally: &mut Stats,
        changes: Vec<Change>,
    ) -> Result<()> {
        if changes.is_empty() {
            return Ok(());
        }
        if state.branch.head.is_none() {
            state.branch.head = Some(self.head().await?);
        }
        let carried: u64 = changes.iter().map(Change::carried).sum();
        let first = state.made.is_empty();
        let header = Header {
            title: if first {
                state.title.clone()
            } else {
                format!("{} (part {})", state.title, state.made.len() + 1)
            },
            description: self.options.description.clone(),
            parent: self.options.parent.as_ref().filter(|_| first).map(|p| p.as_str().into()),
        };
        let made = state.committer.commit(&mut state.branch, &header, changes).await?;
        // In base64.
        tally.bytes_sent += carried.div_ceil(3) * 4;
        if made.pull_request_url.is_some() {
            state.pull_request_url.clone_from(&made.pull_request_url);
        }
        state.made.push(made);
        Ok(())
    }

    /// Lets later calls know of files that were committed.
    async fn learn(&self, learnt: Vec<StoredFile>) -> Result<()> {
        let Some(index) = self.reuse.clone().filter(|_| !learnt.is_empty()) else { return Ok(()) };
        let learn = move || {
            for file in learnt {
                file.remember(&index);
            }
            Ok(())
        };
        self.call.blocking("the reuse index to take note of what was uploaded", learn).await
    }

    /// What copies lead to. Small files have to be fetched and sent again; the Hub has no word for
    /// "the same as there".
    async fn copies(
        &self,
        copies: Vec<(RepoPath, Option<Revision>, RepoPath)>,
        deletions: &Gone,
    ) -> Result<Vec<Change>> {
        let (repo, counters) = (&self.options.repo, &self.call.counters);
        let mut changes = Vec::with_capacity(copies.len());
        for (from, revision, to) in copies {
            let revision = revision.unwrap_or_else(|| self.options.revision.clone());
            let commit = self.hub.commit_of(repo, &revision, counters).await?;
            let entry = self.entry_at(commit.as_str(), &from).await?;
            let entry = entry.ok_or_else(|| missing(&from, &revision, repo.id()))?;
            let there = self.entry_at(self.options.revision.as_str(), &to).await?;
            if !deletions.covers(&to) && there.is_some_and(|other| other.oid == entry.oid) {
                continue;
            }
            changes.push(match entry.storage.clone() {
                Storage::Lfs { sha256 } | Storage::Xet { sha256, .. } => {
                    Change::Stored { path: to, sha256, size: Some(entry.size) }
                }
                Storage::Git => {
                    let bytes = self.fetch(&commit, &entry).await?;
                    let content = Content::of_memory(Borrowed::owned(bytes));
                    Change::Regular { path: to, content }
                }
            });
        }
        Ok(changes)
    }

    async fn entry_at(&self, revision: &str, path: &RepoPath) -> Result<Option<Entry>> {
        let paths = [path.as_str()];
        let (repo, counters) = (&self.options.repo, &self.call.counters);
        let found = self.hub.paths_info(repo, revision, &paths, counters).await?;
        Ok(found.into_iter().find(|entry| entry.path == *path))
    }

    /// The content of a small file, which must be what the Hub has published.
    async fn fetch(&self, commit: &CommitId, entry: &Entry) -> Result<bytes::Bytes> {
        let (repo, counters) = (&self.options.repo, &self.call.counters);
        let (path, size) = (&entry.path, entry.size);
        let mut stream = self.hub.open_file(repo, commit, path, 0, None, counters).await?.stream;
        let mut hasher = ContentHasher::new(entry);
        let mut bytes = Vec::new();
        while let Some(piece) = stream.try_next().await? {
            hasher.update(&piece);
            bytes.extend_from_slice(&piece);
            if bytes.len() as u64 > size {
                break;
            }
        }
        if bytes.len() as u64 == size {
            hasher.verify(entry)?;
            return Ok(bytes.into());
        }
        let message = format!("{path}: {} bytes came instead of {size}", bytes.len());
        Err(Error::new(Kind::Connection, message).with(|c| c.file = Some(path.to_string())))
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

/// A commit that changes a path twice means something else to everyone who reads it.
fn check(operations: &[Operation]) -> Result<()> {
    let mut written = HashSet::new();
    for operation in operations {
        let (Operation::Add { path, .. } | Operation::Copy { to: path, .. }) = operation else {
            continue;
        };
        if !written.insert(path.as_str()) {
            return Err(Error::invalid("operations", format!("write {:?} twice", path.as_str())));
        }
    }
    Ok(())
}

fn default_title(work: &Work) -> String {
    match work {
        Work::Folder(request) => match &request.path_in_repo {
            Some(path) => format!("Upload folder {path}"),
            None => "Upload folder".to_owned(),
        },
        Work::Commit(operations) => match &operations[..] {
            [Operation::Add { path, .. }] => format!("Upload {path}"),
            [Operation::Delete(path) | Operation::DeleteFolder(path)] => format!("Delete {path}"),
            [Operation::Copy { from, to, .. }] => format!("Copy {from} to {to}"),
            several => format!("Change {} files", several.len()),
        },
    }
}

/// For the progress total only; what is uploaded is looked at again.
fn size_now(file: &Addition) -> u64 {
    match &file.source {
        Source::Path(path) => std::fs::metadata(path).map_or(0, |metadata| metadata.len()),
        Source::Memory(memory) => memory.len() as u64,
        Source::Stream(_) => 0,
    }
}

fn missing(path: &RepoPath, revision: &Revision, repo: &str) -> Error {
    let message = format!("can't copy {path}: {repo} has no such file at revision {revision}");
    Error::new(Kind::EntryNotFound, message).with(|c| c.file = Some(path.to_string()))
}
