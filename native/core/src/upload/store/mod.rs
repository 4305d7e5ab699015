//! Bringing large files to storage: Xet, or LFS where there is no Xet.

mod duplicates;
mod lfs;
mod xet;

use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, stream};

use super::change::Change;
use super::item::Item;
use super::learn::StoredFile;
use super::request::CommitOptions;
use super::run::{Batch, Upload};
use super::stats::Stats;
use crate::hub::Access;
use crate::model::error::{Error, Result};
use xet::StoredContent;
pub(super) use xet::XetStore;

/// Files that are hashed at a time, to see whether they have changed.
pub(super) const HASHED: usize = 4;

impl Upload {
    pub(super) fn xet_store(&self) -> XetStore {
        let CommitOptions { repo, revision, create_pr, .. } = &self.options;
        let access = Access::Write { revision: revision.clone(), create_pr: *create_pr };
        let (hub, config) = (self.hub.clone(), Arc::clone(&self.config));
        XetStore::new(hub, config, self.deadlines, repo.clone(), access, self.call.clone())
    }

    /// Brings large files to storage: Xet, or LFS where there is no Xet.
    pub(super) async fn store(
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
}
