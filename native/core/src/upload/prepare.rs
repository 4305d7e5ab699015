//! Everything for a batch of files but the commit: the Hub says how each travels, unchanged ones are
//! left out, large ones go to storage.

use std::collections::HashMap;

use futures_util::{StreamExt, TryStreamExt, stream};

use super::change::Change;
use super::content::UploadContent;
use super::deletions::Deletions;
use super::item::{Addition, Item};
use super::request::{CommitOptions, ContentSource};
use super::run::Upload;
use super::stage;
use super::stats::Stats;
use super::store::{HASHED, XetStore};
use crate::call::progress::Phase;
use crate::call::walk::Walk;
use crate::hub::{FileSample, Hub, Mode, Preupload};
use crate::model::error::{Error, Result};
use crate::model::repo::RepoPath;
use crate::sys::files;

/// Files that are looked at before the next streams are read.
const LOOKED_AT: usize = 1024;

/// Longest `.gitignore` that is sent along.
const MAX_GIT_IGNORE: u64 = 1 << 20;

impl Upload {
    /// Opens the sources: looks at files, reads streams to their ends.
    pub(super) async fn contents(&self, additions: &[Addition]) -> Result<Vec<UploadContent>> {
        let mut contents = Vec::with_capacity(additions.len());
        // A stream gives its content once, to however many files.
        let mut streams: HashMap<usize, UploadContent> = HashMap::new();
        for part in additions.chunks(LOOKED_AT) {
            let sources: Vec<_> =
                part.iter().map(|file| (file.source.clone(), file.path.clone())).collect();
            let call = self.call.clone();
            let looked = self.call.blocking("a look at the files to upload", move || {
                let look = |(source, path): &(ContentSource, RepoPath)| match source {
                    ContentSource::Path(file) => {
                        let path = files::absolute(file)?;
                        let content = UploadContent::of_file(&path)?;
                        if content.may_have_no_size()? {
                            return Ok(Err(stage::Source::file(&call, path)?));
                        }
                        Ok(Ok(content))
                    }
                    ContentSource::Memory(memory) => {
                        Ok(Ok(UploadContent::of_memory(memory.clone())))
                    }
                    ContentSource::Stream(stream) => {
                        Ok(Err(stage::Source::of_stream(*stream, path)))
                    }
                };
                Walk::new(&call).each(&sources, look)
            });
            for looked in looked.await? {
                let source = match looked {
                    Ok(content) => {
                        contents.push(content);
                        continue;
                    }
                    Err(source) => source,
                };
                let number = source.stream();
                let known = number.and_then(|number| streams.get(&number).cloned());
                let content = match known {
                    Some(content) => content,
                    None => stage::stage(&self.call, source, &self.config.xet_cache).await?,
                };
                if let Some(number) = number {
                    streams.insert(number, content.clone());
                }
                contents.push(content);
            }
        }
        Ok(contents)
    }

    pub(super) fn items(
        &self,
        additions: Vec<Addition>,
        contents: Vec<UploadContent>,
    ) -> Vec<Item> {
        let item = |(file, content): (Addition, UploadContent)| {
            let progress = self.call.counters.begin_file(file.path.as_str(), content.size());
            Item { path: file.path, content, progress, sha256: None }
        };
        additions.into_iter().zip(contents).map(item).collect()
    }

    /// The `.gitignore` at the root, which already counts for the files that come with it.
    pub(super) async fn git_ignore(&self, items: &[Item]) -> Result<Option<String>> {
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

    /// Does everything for `items` but the commit.
    pub(super) async fn prepare(
        &self,
        store: &XetStore,
        items: Vec<Item>,
        git_ignore: Option<&str>,
        deletions: &Deletions,
        stats: &mut Stats,
    ) -> Result<Vec<Change>> {
        stats.files += u32::try_from(items.len()).unwrap_or(u32::MAX);
        let mut answers = self.preupload(&items, git_ignore).await?;
        for (item, answer) in items.iter().zip(&mut answers) {
            if deletions.covers(&item.path) {
                answer.oid = None;
            }
        }
        let mut regular = Vec::new();
        let mut large = Vec::new();
        for (item, mode) in self.changed(items, answers, stats).await? {
            match mode {
                Mode::Regular => regular.push(item),
                Mode::Lfs => large.push(item),
            }
        }
        stats.files_changed += u32::try_from(regular.len() + large.len()).unwrap_or(u32::MAX);
        self.call.counters.enter(Phase::Uploading);
        let mut batch = Vec::new();
        for item in regular {
            item.progress.finish();
            stats.sent(item.content.size());
            batch.push(Change::Regular { path: item.path, content: item.content });
        }
        if !large.is_empty() {
            self.store(store, large, &mut batch, stats).await?;
        }
        Ok(batch)
    }

    async fn preupload(&self, items: &[Item], git_ignore: Option<&str>) -> Result<Vec<Preupload>> {
        let CommitOptions { repo, revision, create_pr, .. } = &self.options;
        let mut answers = Vec::with_capacity(items.len());
        for items in items.chunks(Hub::MAX_CANDIDATES) {
            let contents: Vec<UploadContent> =
                items.iter().map(|item| item.content.clone()).collect();
            let call = self.call.clone();
            let sample = move || Walk::new(&call).each(&contents, UploadContent::sample);
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
        stats: &mut Stats,
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
                stats.unchanged(item.content.size());
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
        let call = self.call.clone();
        let hash = move || if large { content.sha256(&call) } else { content.git_oid(&call) };
        let hash = self.call.blocking(format!("the disk to hash {}", item.path), hash).await?;
        let same = answer.oid.as_deref() == Some(&hash);
        if large {
            item.sha256 = Some(hash);
        }
        Ok((item, answer, same))
    }
}
