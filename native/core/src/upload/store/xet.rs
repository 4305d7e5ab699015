//! Content to Xet storage.
//!
//! xet-core cuts files into chunks, finds those that storage has, and puts the others together as xorbs, so that
//! what is published is what the official client publishes. Reading, memory, the order of things, and all
//! requests are ours ([`ingest`], [`session`], [`storage`]). Nothing is visible on the Hub before a commit names a
//! file. Each xorb that was stored is written down in the Xet cache, so the next upload, after a kill
//! too, doesn't send it again.

pub(super) mod cut;
mod dedup;
mod fault;
mod folder;
mod grants;
mod ingest;
mod known;
mod parts;
mod session;
mod settings;
mod storage;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::{StreamExt, TryStreamExt, stream};
use url::Url;
use xet_core_structures::merklehash::MerkleHash;
use xet_core_structures::metadata_shard::file_structs::FileDataSequenceEntry;
use xet_runtime::core::XetContext;

use self::folder::Folder;
use self::ingest::{Feeder, Ingested};
use self::known::Known;
use self::session::{Outcome, Session};
use self::storage::Storage;
use super::super::item::Item;
use super::super::learn::StoredTerm;
use crate::call::Call;
use crate::cas::shards::{self, KnownShards};
use crate::cas::{Credentials, Outages};
use crate::config::Config;
use crate::http::Http;
use crate::model::error::{Error, Kind, Result};
use crate::model::repo::Repo;
use crate::reuse::ChunkRecord;

/// Files that are read at a time.
const FILES: usize = 8;

/// Xet storage, for the files of one call.
pub(in crate::upload) struct XetStore {
    config: Arc<Config>,
    http: Arc<Http>,
    /// Of the CAS, and of places behind it.
    outages: (Arc<Outages>, Arc<Outages>),
    repo: Repo,
    credentials: Credentials,
    call: Call,
    shards: Arc<KnownShards>,
}

/// What came of a batch of files.
pub(super) struct Stored {
    /// In the order of the items.
    pub(super) files: Vec<StoredContent>,
    /// Content that nobody had.
    pub(super) bytes_new: u64,
    /// As sent.
    pub(super) bytes_sent: u64,
    /// How many xorbs were sent.
    pub(super) xorbs: u32,
}

/// A file that a commit can name now.
#[derive(Clone)]
pub(super) struct StoredContent {
    pub(super) sha256: String,
    pub(super) hash: MerkleHash,
    pub(super) terms: Vec<StoredTerm>,
    pub(super) chunks: Vec<ChunkRecord>,
}

impl XetStore {
    /// Storage for what is to be committed to `repo`.
    pub(super) fn new(
        config: Arc<Config>,
        http: Arc<Http>,
        outages: (Arc<Outages>, Arc<Outages>),
        repo: Repo,
        credentials: Credentials,
        call: Call,
        shards: Arc<KnownShards>,
    ) -> Self {
        Self { config, http, outages, repo, credentials, call, shards }
    }

    /// Whether the Hub has Xet storage for this repo at all.
    pub(super) async fn is_there(&self) -> Result<bool> {
        match self.credentials.token(&self.call.counters).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == Kind::NotFound => Ok(false),
            Err(error) if error.context().http_status == Some(501) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Stores the content of `items`; once more without the Xet cache, if that may have misled it.
    pub(super) async fn store(&self, items: &[Item]) -> Result<Stored> {
        let mut attempt = Attempt::default();
        let misled = match self.attempt(items, Place::Cache, &mut attempt).await {
            Ok(stored) => return Ok(stored),
            Err(error) => error,
        };
        let Some(folder) = attempt.folder.filter(|folder| folder.may_mislead(&misled)) else {
            return Err(misled);
        };
        tracing::warn!("uploading again without the Xet cache: {misled}");
        let sent_in_vain = attempt.sent;
        let again = self.attempt(items, Place::Apart, &mut Attempt::default()).await;
        let is_of_cache = fault::is_of_cache(&misled);
        match again {
            Ok(mut stored) => {
                if !is_of_cache {
                    self.discard(folder).await?;
                }
                stored.bytes_sent += sent_in_vain;
                Ok(stored)
            }
            Err(error) if is_of_cache => Err(error),
            Err(error) => Err(Error::cause(
                ("going by earlier uploads", misled),
                ("without what is known of earlier uploads", error),
            )),
        }
    }

    /// One attempt from its start to its end.
    async fn attempt(&self, items: &[Item], place: Place, attempt: &mut Attempt) -> Result<Stored> {
        let (http, outages) = (Arc::clone(&self.http), self.outages.clone());
        let (repo, credentials) = (self.repo.clone(), self.credentials.clone());
        let call = &self.call;
        let storage = Storage::new(&self.config, http, outages, repo, credentials, call.clone())?;
        let cas = storage.reach().await?;
        let context = settings::context();
        if !context.config.deduplication.global_dedup_query_enabled || place == Place::Apart {
            // What it said of chunks that storage has is among xet-core's files, too.
            storage.ask_no_more();
        }
        if context.config.client.legacy_direct_xorb_upload {
            storage.offers_grants.store(false, Ordering::Relaxed);
        }
        let (folder, read) = self.folder(context.clone(), cas, place).await?;
        attempt.folder = Some(Arc::clone(&folder));
        let known = Known::open(folder, call).await?;
        let (session, queue) = Session::new(call.clone(), storage, known, context);
        let feeder = Feeder { session: &session, call };
        let feeding = stream::iter(items.to_vec())
            .map(|item| feeder.ingest(item))
            .buffered(FILES)
            .try_collect::<Vec<Ingested>>();
        let ran = session.run(queue, feeding).await;
        attempt.sent = session.sent();
        let ingested = ran?;
        if let Some(read) = read {
            self.shards.keep(read);
        }
        stored(ingested, session.outcome())
    }

    /// A place for what is noted, and what is known of the shards there.
    async fn folder(
        &self,
        context: XetContext,
        cas: Url,
        place: Place,
    ) -> Result<(Arc<Folder>, Option<shards::Read>)> {
        let (cache, mut read) = (self.config.xet_cache.clone(), self.shards.take());
        let call = self.call.clone();
        self.call
            .blocking("the disk to open the Xet cache", move || {
                if place == Place::Apart {
                    return Ok((Arc::new(Folder::private(&context, &cas, &call)?), None));
                }
                read.lend(&context);
                let folder = Folder::open(&context, &cas, &cache, &mut read, &call)?;
                Ok((Arc::new(folder), Some(read)))
            })
            .await
    }

    /// Removes what was noted in the Xet cache, and has misled an upload.
    async fn discard(&self, folder: Arc<Folder>) -> Result<()> {
        let discard = move || {
            if let Err(error) = folder.discard() {
                tracing::warn!(%error, "can't clear the Xet cache");
            }
            Ok(())
        };
        self.call.blocking("the disk to clear the Xet cache", discard).await
    }
}

/// Where an attempt notes what it has sent, and finds what others have.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Cache,
    /// A folder of its own.
    Apart,
}

/// What one attempt leaves behind if it breaks.
#[derive(Default)]
struct Attempt {
    /// Bytes of xorbs that it has sent.
    sent: u64,
    /// What it has used.
    folder: Option<Arc<Folder>>,
}

fn term(segment: &FileDataSequenceEntry) -> StoredTerm {
    StoredTerm {
        xorb: segment.xorb_hash,
        chunks: (segment.chunk_index_start, segment.chunk_index_end),
        length: segment.unpacked_segment_bytes,
    }
}

/// What came of an attempt.
fn stored(ingested: Vec<Ingested>, outcome: Outcome) -> Result<Stored> {
    let Outcome { files: infos, new, sent, xorbs } = outcome;
    let mut terms: HashMap<MerkleHash, Vec<StoredTerm>> = infos
        .into_iter()
        .map(|info| (info.metadata.file_hash, info.segments.iter().map(term).collect()))
        .collect();
    let mut files: Vec<StoredContent> = Vec::with_capacity(ingested.len());
    for Ingested { sha256, hash, chunks } in ingested {
        // Equal files are one.
        let terms = match terms.remove(&hash) {
            Some(terms) => terms,
            None => match files.iter().find(|file| file.hash == hash) {
                Some(file) => file.terms.clone(),
                None => return Err(Error::internal("an upload has lost a file")),
            },
        };
        files.push(StoredContent { sha256, hash, terms, chunks });
    }
    Ok(Stored { files, bytes_new: new, bytes_sent: sent, xorbs })
}
