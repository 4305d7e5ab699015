//! Bringing large files to storage: Xet, or LFS where there is no Xet.

mod duplicates;
mod lfs;
mod tally;
mod xet;

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, stream};

pub(super) use self::lfs::LfsStore;
use self::xet::cut;
pub(crate) use self::xet::{
    ContentSha256, CutContent, Input, InputSource, Servers, Supply, Told, XetStore, xet_hash,
};
use super::change::Change;
use super::item::Item;
use super::learn::StoredFile;
use super::request::CommitOptions;
use super::run::Upload;
use super::stats::Stats;
use crate::cas::{ExtraHeaders, Subject};
use crate::hub::Access;
use crate::model::error::{Error, Result};

/// Files that are hashed at a time, to see whether they have changed.
pub(super) const HASHED: usize = 4;

impl Upload {
    pub(super) fn xet_store(&self) -> XetStore {
        let CommitOptions { repo, revision, create_pr, .. } = &self.options;
        let access = Access::Write { revision: revision.clone(), create_pr: *create_pr };
        let credentials = self.tokens.credentials(self.hub.clone(), repo.clone(), access);
        let (config, http) = (Arc::clone(&self.config), Arc::clone(&self.http));
        let shards = Arc::clone(&self.shards);
        let servers = Servers {
            cas: Arc::clone(&self.outages),
            places: Arc::clone(&self.sending_outages),
            newer: Arc::clone(&self.newer_routes),
        };
        let subject = Subject::Repo { repo: repo.clone(), commit: None };
        let (extra, call) = (ExtraHeaders::default(), self.call.clone());
        XetStore::new(config, http, servers, subject, credentials, extra, call, shards)
    }

    /// Brings large files to storage: Xet, or LFS where there is no Xet.
    pub(super) async fn store(
        &self,
        store: &XetStore,
        items: Vec<Item>,
        batch: &mut Vec<Change>,
        stats: &mut Stats,
    ) -> Result<()> {
        let transport = self.config.transport;
        let xet = transport.uses_xet() && (!transport.falls_back() || store.is_there().await?);
        if !xet {
            return self.store_over_lfs(items, batch, stats).await;
        }
        let call = self.call.clone();
        let (items, duplicates) = self
            .call
            .blocking("a look for files with the same content", move || {
                let mut items = items;
                let duplicates = duplicates::find(&mut items, &call)?;
                Ok((items, duplicates))
            })
            .await?;
        // Those that are the same as an earlier one, by the number of that one.
        let mut same: HashMap<usize, Vec<&Item>> = HashMap::new();
        for (item, first) in items.iter().zip(&duplicates) {
            if let Some(first) = first {
                same.entry(*first).or_default().push(item);
            }
        }
        let firsts = items.iter().enumerate().filter(|(number, _)| duplicates[*number].is_none());
        let mut sha256s: HashMap<usize, String> = HashMap::with_capacity(items.len());
        for part in cut::together(firsts) {
            let (numbers, files): (Vec<usize>, Vec<Item>) =
                part.into_iter().map(|(number, item)| (number, item.clone())).unzip();
            let stored = store.store(&files).await?;
            stats.xorbs += stored.xorbs;
            stats.bytes_sent += stored.metrics.total_bytes_uploaded;
            let parts = stored.files.iter().map(|(_, file)| (&file.terms[..], &file.chunks[..]));
            stats.session(parts, stored.metrics.new_bytes);
            let mut learnt = Vec::new();
            for (index, file) in stored.files {
                let (number, item) = (numbers[index], &files[index]);
                let copies = same.get(&number).map_or(&[][..], Vec::as_slice);
                if let Some(sha256) = file.sha256 {
                    sha256s.insert(number, sha256);
                }
                let mut known = Some((file.terms, file.chunks));
                for item in std::iter::once(item).chain(copies.iter().copied()) {
                    let Some((path, identity)) = item.content.file() else { continue };
                    // The content of a copy is known by then.
                    let (terms, chunks) = known.take().unwrap_or_default();
                    let (path, size) = (path.to_owned(), item.content.size());
                    learnt.push(StoredFile {
                        path,
                        identity,
                        size,
                        hash: file.hash,
                        terms,
                        chunks,
                    });
                }
            }
            self.learn(learnt).await?;
        }
        for (number, (item, first)) in items.iter().zip(&duplicates).enumerate() {
            let size = item.content.size();
            if first.is_some() {
                stats.repeated(size);
            }
            if item.progress.is_complete() {
                item.progress.finish();
            } else {
                item.progress.skip();
            }
            let sha256 = sha256s.get(&first.unwrap_or(number)).cloned();
            let sha256 = sha256.ok_or_else(|| Error::internal("a stored file is missing"))?;
            batch.push(Change::Stored { path: item.path.clone(), sha256, size: Some(size) });
        }
        Ok(())
    }

    async fn store_over_lfs(
        &self,
        items: Vec<Item>,
        batch: &mut Vec<Change>,
        stats: &mut Stats,
    ) -> Result<()> {
        let items: Vec<Item> = stream::iter(items)
            .map(|item| self.hashed(item))
            .buffered(HASHED)
            .try_collect()
            .await?;
        let times = LfsStore::of(self).store(&items).await?;
        for (item, times) in items.into_iter().zip(times) {
            let size = item.content.size();
            if times > 0 {
                stats.sent(size);
                stats.bytes_sent += size * u64::from(times);
            } else {
                stats.unchanged(size);
            }
            let sha256 = item.sha256.ok_or_else(|| Error::internal("an item without a hash"))?;
            let path = item.path;
            batch.push(Change::Stored { path, sha256, size: Some(size) });
        }
        Ok(())
    }

    async fn hashed(&self, item: Item) -> Result<Item> {
        if item.sha256.is_some() {
            return Ok(item);
        }
        let content = item.content.clone();
        let call = self.call.clone();
        let sha256 = self
            .call
            .blocking(format!("the disk to hash {}", item.path), move || content.sha256(&call))
            .await?;
        Ok(Item { sha256: Some(sha256), ..item })
    }
}
