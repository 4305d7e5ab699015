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
mod hashing;
mod ingest;
mod input;
mod known;
mod left;
mod own;
mod parts;
mod place;
mod questions;
mod register;
mod session;
mod settings;
mod storage;
mod tree;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::{StreamExt, TryStreamExt, stream};
use xet_core_structures::merklehash::MerkleHash;
use xet_core_structures::metadata_shard::file_structs::FileDataSequenceEntry;
use xet_data::deduplication::DeduplicationMetrics;
use xet_runtime::core::XetContext;

use self::folder::Folder;
pub(crate) use self::hashing::xet_hash;
use self::ingest::{Feeder, Ingested};
use self::input::Fault;
pub(crate) use self::input::{ContentSha256, CutContent, Input, InputSource, Supply, Told};
use self::known::Known;
use self::own::Own;
use self::session::{Outcome, Sent, Session};
pub(crate) use self::storage::Servers;
use self::storage::Storage;
use super::super::item::Item;
use super::super::learn::StoredTerm;
use crate::call::Call;
use crate::cas::shards::{self, KnownShards};
use crate::cas::{Credentials, ExtraHeaders, LocalFolder, Subject};
use crate::config::Config;
use crate::http::Http;
use crate::model::error::{Error, Kind, Result};
use crate::reuse::ChunkRecord;

/// Files that are read at a time.
const FILES: usize = 8;

/// Xet storage, for the files of one call.
pub(crate) struct XetStore {
    config: Arc<Config>,
    http: Arc<Http>,
    servers: Servers,
    subject: Subject,
    credentials: Credentials,
    extra: ExtraHeaders,
    /// Storage is a folder, and no server is asked for anything.
    folder: Option<Arc<LocalFolder>>,
    call: Call,
    shards: Arc<KnownShards>,
}

/// What came of an upload.
pub(crate) struct Stored {
    /// With their numbers, from 0, in their order. Those that failed alone aren't among them.
    pub(crate) files: Vec<(usize, StoredContent)>,
    /// What of the content storage had, and what nobody had; and what was sent, as it was.
    pub(crate) metrics: DeduplicationMetrics,
    /// How many xorbs were sent.
    pub(crate) xorbs: u32,
}

/// A file that a commit can name now.
#[derive(Clone)]
pub(crate) struct StoredContent {
    pub(crate) sha256: Option<String>,
    pub(crate) hash: MerkleHash,
    pub(crate) terms: Vec<StoredTerm>,
    pub(crate) chunks: Vec<ChunkRecord>,
}

impl XetStore {
    /// Storage, with the rights to write what `subject` says. `extra` goes along to the CAS.
    #[allow(
        clippy::too_many_arguments,
        reason = "what a client shares, and what one upload is about"
    )]
    pub(crate) fn new(
        config: Arc<Config>,
        http: Arc<Http>,
        servers: Servers,
        subject: Subject,
        credentials: Credentials,
        extra: ExtraHeaders,
        call: Call,
        shards: Arc<KnownShards>,
    ) -> Self {
        let folder = None;
        Self { config, http, servers, subject, credentials, extra, folder, call, shards }
    }

    /// The same for storage that is a folder.
    pub(crate) fn in_folder(self, folder: LocalFolder) -> Self {
        Self { folder: Some(Arc::new(folder)), ..self }
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

    /// Stores the content of `items`, all of it or none.
    pub(super) async fn store(&self, items: &[Item]) -> Result<Stored> {
        self.store_all(&Supply::of_batch(items.iter().map(Input::of_item).collect())).await
    }

    /// Stores what `supply` has, until there is no more; again without the Xet cache, if that may have misled it. What
    /// was sent by then isn't sent again, unless it turns out to be what has misled it.
    pub(crate) async fn store_all(&self, supply: &Supply) -> Result<Stored> {
        let mut first = Attempt::default();
        let misled = match self.attempt(supply, Start::Cache, &mut first).await {
            Ok(stored) => return Ok(stored),
            Err(error) => error,
        };
        let Some(folder) = first.folder.take().filter(|folder| folder.may_mislead(&misled)) else {
            return Err(misled);
        };
        tracing::warn!("uploading again without the Xet cache: {misled}");
        let is_of_cache = fault::is_of_cache(&misled);
        let counted_on = std::mem::take(&mut first.counted_on);
        match self.again(supply, first, &misled).await {
            Ok(stored) => {
                if !is_of_cache {
                    self.discard(folder, counted_on).await?;
                }
                Ok(stored)
            }
            Err((_, error)) if is_of_cache => Err(error),
            Err((how, error)) => Err(Error::cause((Start::Cache.name(), misled), (how, error))),
        }
    }

    /// Stores it without what others have left, after a first attempt that was `misled`. What storage says twice in its
    /// own words isn't due to what an attempt goes by. An error comes with the name of the attempt.
    async fn again(
        &self,
        supply: &Supply,
        first: Attempt,
        misled: &Error,
    ) -> Result<Stored, (&'static str, Error)> {
        let mut sent = first.sent;
        if !first.own.is_empty() {
            let (mut second, start) = (Attempt::default(), Start::Own(first.own));
            let how = start.name();
            match self.attempt(supply, start, &mut second).await {
                Ok(stored) => return Ok(stored.after(sent)),
                Err(error)
                    if fault::is_of_known_chunks(&error) && !fault::agree(&error, misled) =>
                {
                    tracing::warn!("uploading again without what was sent before: {error}");
                    sent = sent.plus(second.sent);
                }
                Err(error) => return Err((how, error)),
            }
        }
        let how = Start::Nothing.name();
        let stored = self.attempt(supply, Start::Nothing, &mut Attempt::default()).await;
        stored.map(|stored| stored.after(sent)).map_err(|error| (how, error))
    }

    /// One attempt from its start to its end.
    async fn attempt(
        &self,
        supply: &Supply,
        start: Start,
        attempt: &mut Attempt,
    ) -> Result<Stored> {
        let (http, servers) = (Arc::clone(&self.http), self.servers.clone());
        let (subject, credentials) = (self.subject.clone(), self.credentials.clone());
        let (extra, call) = (self.extra.clone(), &self.call);
        let storage =
            Storage::new(&self.config, http, servers, subject, credentials, extra, call.clone())?;
        let storage = storage.in_folder(self.folder.clone());
        let cas = storage.reach().await?;
        let context = settings::context();
        let is_asked = context.config.deduplication.global_dedup_query_enabled;
        if !is_asked || !matches!(start, Start::Cache) {
            // What it said of chunks that storage has is among xet-core's files, too.
            storage.ask_no_more();
        }
        if context.config.client.legacy_direct_xorb_upload {
            storage.offers_grants.store(false, Ordering::Relaxed);
        }
        let Begun { folder, read, new } = self.begin(context.clone(), cas, start).await?;
        attempt.folder = Some(Arc::clone(&folder));
        let known = Known::open(folder, call).await?;
        let (session, queue) = Session::new(call.clone(), storage, known, context);
        let ingested = Mutex::default();
        let ran = session.run(queue, self.feed(supply, &session, &ingested)).await;
        (attempt.sent, attempt.own) = session.sent();
        attempt.counted_on = session.counted_on();
        ran?;
        if let Some(read) = read {
            self.shards.keep(read);
        }
        let ingested = ingested.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut stored = stored(ingested, session.outcome())?;
        stored.metrics.new_bytes += new;
        stored.metrics.deduped_bytes = stored.metrics.deduped_bytes.saturating_sub(new);
        Ok(stored)
    }

    /// Feeds a session with all that there is, several files side by side.
    async fn feed(
        &self,
        supply: &Supply,
        session: &Arc<Session>,
        ingested: &Mutex<Vec<(usize, Ingested)>>,
    ) -> Result<()> {
        let feeder = Feeder { session, call: &self.call, cache: &self.config.xet_cache };
        let next = async |number| Some(((number, supply.get(number).await?), number + 1));
        let inputs = stream::unfold(0, next).map(Ok);
        let feed = async |(number, input): (usize, Input)| {
            if input.is_given_up() {
                return Ok(());
            }
            match feeder.ingest(&input).await {
                Ok(file) => {
                    input.is_cut(&file.content);
                    let mut ingested = ingested.lock().unwrap_or_else(PoisonError::into_inner);
                    ingested.push((number, file));
                    Ok(())
                }
                Err(Fault::OfContent(error)) => input.fail(error),
                Err(Fault::OfUpload(error)) => Err(error),
            }
        };
        inputs.try_for_each_concurrent(FILES, feed).await
    }

    /// Makes a place for what is noted.
    async fn begin(&self, context: XetContext, cas: String, start: Start) -> Result<Begun> {
        let (cache, mut read) = (self.config.xet_cache.clone(), self.shards.take());
        let call = self.call.clone();
        let begin = move || {
            if let Start::Cache = start {
                read.lend(&context);
                let folder = Folder::open(&context, &cas, &cache, &mut read, &call)?;
                return Ok(Begun { folder: Arc::new(folder), read: Some(read), new: 0 });
            }
            let folder = Folder::private(&context, &call)?;
            let new = match &start {
                Start::Own(own) => own.copy_to(&folder, &call).unwrap_or_else(|error| {
                    tracing::warn!(%error, "what was sent before is sent again");
                    0
                }),
                _ => 0,
            };
            Ok(Begun { folder: Arc::new(folder), read: None, new })
        };
        self.call.blocking("the disk to open the Xet cache", begin).await
    }

    /// Removes what was noted in the Xet cache of these xorbs, and has misled an upload; others don't learn it again.
    async fn discard(&self, folder: Arc<Folder>, xorbs: HashSet<MerkleHash>) -> Result<()> {
        let discard = move || {
            if let Err(error) = folder.discard(&xorbs) {
                tracing::warn!(%error, "can't clear the Xet cache");
            }
            Ok(())
        };
        self.call.blocking("the disk to clear the Xet cache", discard).await?;
        self.shards.forget();
        Ok(())
    }
}

/// What an attempt goes by. It notes what it has sent in the Xet cache, or in a folder of its own.
enum Start {
    /// All that the Xet cache has.
    Cache,
    /// What an earlier attempt has sent.
    Own(Own),
    Nothing,
}

impl Start {
    /// As errors have it.
    fn name(&self) -> &'static str {
        match self {
            Self::Cache => "going by earlier uploads",
            Self::Own(_) => "going by nothing but what it had sent itself",
            Self::Nothing => "without what is known of earlier uploads",
        }
    }
}

/// Where it notes that.
struct Begun {
    folder: Arc<Folder>,
    /// What is known of the shards there, for the next upload.
    read: Option<shards::Read>,
    /// Content that an earlier attempt has sent, and that nobody had before, in bytes.
    new: u64,
}

/// What one attempt leaves behind if it breaks.
#[derive(Default)]
struct Attempt {
    /// What it has sent.
    sent: Sent,
    /// What it has noted of that.
    own: Own,
    /// The xorbs that it has counted on, since they were said to be there.
    counted_on: HashSet<MerkleHash>,
    /// What it has used.
    folder: Option<Arc<Folder>>,
}

impl Stored {
    /// The same for an attempt before which others have sent something.
    fn after(mut self, sent: Sent) -> Self {
        self.add(sent);
        self
    }

    fn add(&mut self, sent: Sent) {
        self.xorbs += sent.xorbs;
        self.metrics.xorb_bytes_uploaded += sent.xorb_bytes;
        self.metrics.shard_bytes_uploaded += sent.shard_bytes;
        self.metrics.total_bytes_uploaded += sent.xorb_bytes + sent.shard_bytes;
    }
}

fn term(segment: &FileDataSequenceEntry) -> StoredTerm {
    StoredTerm {
        xorb: segment.xorb_hash,
        chunks: (segment.chunk_index_start, segment.chunk_index_end),
        length: segment.unpacked_segment_bytes,
    }
}

/// What came of an attempt.
fn stored(mut ingested: Vec<(usize, Ingested)>, outcome: Outcome) -> Result<Stored> {
    let terms: HashMap<MerkleHash, Vec<StoredTerm>> = outcome
        .files
        .into_iter()
        .map(|info| (info.metadata.file_hash, info.segments.iter().map(term).collect()))
        .collect();
    ingested.sort_by_key(|(number, _)| *number);
    let mut files = Vec::with_capacity(ingested.len());
    for (number, Ingested { content, chunks }) in ingested {
        let (hash, sha256) = (content.hash, content.sha256);
        let terms = terms.get(&hash).cloned();
        let terms = terms.ok_or_else(|| Error::internal("an upload has lost a file"))?;
        files.push((number, StoredContent { sha256, hash, terms, chunks }));
    }
    let mut stored = Stored { files, metrics: outcome.metrics, xorbs: 0 };
    stored.add(outcome.sent);
    Ok(stored)
}
