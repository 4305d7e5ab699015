//! Content to Xet storage: xet-core's upload session, fed block by block.
//!
//! The session chunks, deduplicates, builds xorbs and shards, and sends them; nothing of it is
//! visible on the Hub before a commit names a file. What it lacks is added here: a bound on memory
//! that depends neither on the size nor on the number of files ([`parts`]), a watch for the session that stands
//! still, and another session in place of one that broke. xet-core writes down each xorb that was
//! stored (`<cache>/<endpoint>/staging`), so the next session, after a kill too, doesn't send it
//! again.

mod fault;
mod parts;
mod settings;
mod token;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use reqwest::header::{HeaderMap, HeaderValue, USER_AGENT};
use sha2::{Digest, Sha256};
use tokio::runtime::Handle;
use xet_core_structures::merklehash::MerkleHash;
use xet_core_structures::metadata_shard::file_structs::MDBFileInfo;
use xet_core_structures::metadata_shard::shard_file_handle::MDBShardFile;
use xet_data::deduplication::DeduplicationMetrics;
use xet_data::error::DataError;
use xet_data::processing::configurations::{SessionContext, TranslatorConfig};
use xet_data::processing::{FileUploadSession, Sha256Policy};
use xet_runtime::core::XetContext;

use self::parts::{Composed, Cutter};
use self::token::Refresher;
use super::super::content::{BLOCK, Reader};
use super::super::item::Item;
use super::super::learn::{StoredFile, StoredTerm};
use crate::call::Call;
use crate::call::scheduler::{OffWorker, Permit};
use crate::config::{Config, Deadlines};
use crate::http::RetryPolicy;
use crate::hub::{Access, Hub};
use crate::model::content::hex;
use crate::model::error::{Error, Kind, Result};
use crate::model::repo::Repo;
use crate::reuse::ChunkRecord;
use crate::sys::fork;

/// Files that are read at a time.
const FILES: usize = 8;
/// A file holds up to a xorb of its content until it is sent.
const PER_FILE: u64 = 64 << 20;
/// How long before a file's next xorb is full its reader waits for its turn.
const MARGIN: u64 = 4 << 20;

/// Sessions in place of one that broke without having sent anything.
const SESSIONS: u32 = 3;

/// How often the session's counters are looked at.
const LOOK: Duration = Duration::from_millis(50);

/// Xet storage, for the files of one call.
pub(in crate::upload) struct XetStore {
    hub: Hub,
    config: Arc<Config>,
    deadlines: Deadlines,
    repo: Repo,
    access: Access,
    call: Call,
    context: XetContext,
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

/// A file that has been read; its last chunks may still wait for a xorb.
struct Ingested {
    sha256: String,
    hash: MerkleHash,
    chunks: Vec<ChunkRecord>,
}

impl XetStore {
    /// Storage for what is to be committed to `repo`. xet-core's tasks run on this call's runtime.
    pub(super) fn new(
        hub: Hub,
        config: Arc<Config>,
        deadlines: Deadlines,
        repo: Repo,
        access: Access,
        call: Call,
    ) -> Self {
        // xet-core has a list of the process's runtimes, and reads its environment once.
        let context = fork::hold_off(|| {
            XetContext::from_external(Handle::current(), settings::of(&config, &deadlines))
        });
        Self { hub, config, deadlines, repo, access, call, context }
    }

    /// Whether the Hub has Xet storage for this repo at all.
    pub(super) async fn is_there(&self) -> Result<bool> {
        let token = self.hub.xet_token_for(&self.repo, &self.access, None, &self.call.counters);
        match token.await {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == Kind::NotFound => Ok(false),
            Err(error) if error.context().http_status == Some(501) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Stores the content of `items`. Begins again, as often as that promises something, with what
    /// is still missing.
    pub(super) async fn store(&self, items: &[Item]) -> Result<Stored> {
        let mut failures = 0;
        let mut refused = None;
        let mut sent_in_vain = 0;
        loop {
            let mut attempt = Attempt { token: None, sent: 0 };
            let error = match self.session(items, refused.as_ref(), &mut attempt).await {
                Ok(mut stored) => {
                    stored.bytes_sent += sent_in_vain;
                    return Ok(stored);
                }
                Err(error) => error,
            };
            sent_in_vain += attempt.sent;
            let unauthorized = error.kind() == Kind::Unauthorized && attempt.token.is_some();
            if !unauthorized && !error.is_transient() {
                return Err(error);
            }
            if unauthorized {
                refused = attempt.token;
            }
            failures = if attempt.sent > 0 { 1 } else { failures + 1 };
            tracing::warn!(failures, "an upload session to Xet storage broke: {error}");
            let sessions = self.config.max_attempts.min(SESSIONS);
            let policy = RetryPolicy { attempts: sessions, ..RetryPolicy::new(&self.config) };
            policy.pause(failures, error, &self.call.counters).await?;
        }
    }

    /// One session from its start to its end.
    async fn session(
        &self,
        items: &[Item],
        refused: Option<&crate::config::Token>,
        attempt: &mut Attempt,
    ) -> Result<Stored> {
        let counters = &self.call.counters;
        let token = self.hub.xet_token_for(&self.repo, &self.access, refused, counters).await?;
        let refresher = Refresher::new(
            self.hub.clone(),
            self.repo.clone(),
            self.access.clone(),
            token.clone(),
            Arc::clone(counters),
        );
        let refresher = Arc::new(refresher);
        let settings = self.settings(&token, &refresher).await?;
        let staged = settings.shard_session_directory.join("xorb_metadata");
        let before = self.names(staged.clone()).await?;
        let fail = |error| fault::explain(error, &refresher, &self.repo);
        let session = FileUploadSession::new(Arc::new(settings)).await.map_err(fail)?;
        let _waiting =
            counters.waits.begin("Xet storage to take content", super::super::OWN_DEADLINE);
        let work = async {
            let ingested: Vec<Ingested> = stream::iter(items.to_vec())
                .map(|item| self.ingest(&session, &refresher, item))
                .buffered(FILES)
                .try_collect()
                .await?;
            let ended = Arc::clone(&session).finalize_with_file_info().await;
            let (metrics, infos) = ended.map_err(fail)?;
            Ok::<_, Error>((ingested, metrics, infos))
        };
        let outcome = tokio::select! {
            outcome = work => outcome,
            stalled = self.watch(&session, attempt) => Err(stalled),
        };
        attempt.token = Some(refresher.current());
        let (ingested, metrics, infos) = outcome?;
        let xorbs = self.count_xorbs(staged, before, &infos).await?;
        stored(ingested, &metrics, infos, xorbs)
    }

    async fn settings(
        &self,
        token: &crate::hub::XetToken,
        refresher: &Arc<Refresher>,
    ) -> Result<TranslatorConfig> {
        let mut headers = HeaderMap::new();
        if let Ok(agent) = HeaderValue::from_str(&self.config.user_agent) {
            headers.insert(USER_AGENT, agent);
        }
        let session = SessionContext {
            endpoint: token.cas_url.as_str().trim_end_matches('/').to_owned(),
            auth: Some(refresher.auth(token)),
            custom_headers: Some(Arc::new(headers)),
            repo_paths: Vec::new(),
            session_id: Some(uuid::Uuid::new_v4().to_string()),
            cache_root: Some(self.config.xet_cache.clone()),
        };
        let (context, cache) = (self.context.clone(), self.config.xet_cache.clone());
        self.call
            .blocking("the disk to open the Xet cache", move || {
                TranslatorConfig::new(&context, session)
                    .map_err(|error| fault::of_disk(error, "use the Xet cache", &cache))
            })
            .await
    }

    /// Feeds one file to the session.
    async fn ingest(
        &self,
        session: &Arc<FileUploadSession>,
        refresher: &Refresher,
        item: Item,
    ) -> Result<Ingested> {
        let fail = |error| fault::explain(error, refresher, &self.repo);
        let size = item.content.size();
        if size > parts::PART {
            return self.ingest_parts(session, refresher, item).await;
        }
        let _held = self.memory(&item).await?;
        let policy = match &item.sha256 {
            Some(sha256) => Sha256Policy::from_hex(sha256),
            None => Sha256Policy::Compute,
        };
        let name = Arc::from(item.path.as_str());
        let (_, mut cleaner) = session.start_clean(Some(name), Some(size), policy).map_err(fail)?;
        let mut reader = self.open(&item).await?;
        let mut block;
        let mut fed = 0;
        (reader, block) = self.next(reader).await?;
        while let Some(bytes) = block {
            let length = bytes.len() as u64;
            self.take_turn(session, fed, length).await.map_err(fail)?;
            fed += length;
            let fed = async { cleaner.add_data_from_bytes(bytes).await.map_err(fail) };
            ((), (reader, block)) = tokio::try_join!(fed, self.next(reader))?;
            item.progress.advance(length);
        }
        let (info, chunks, _) = cleaner.finish_with_chunks().await.map_err(fail)?;
        let unusable = || Error::internal("a Xet session left out the hashes of a file");
        let hash = MerkleHash::from_hex(&info.hash).map_err(|_| unusable())?;
        let sha256 = item.sha256.clone().or(info.sha256).ok_or_else(unusable)?;
        Ok(Ingested { sha256, hash, chunks: records(&chunks).collect() })
    }

    /// Feeds a large file to the session, in parts.
    async fn ingest_parts(
        &self,
        session: &Arc<FileUploadSession>,
        refresher: &Refresher,
        item: Item,
    ) -> Result<Ingested> {
        let fail = |error| fault::explain(error, refresher, &self.repo);
        let size = item.content.size();
        let _held = self.memory(&item).await?;
        let name: Arc<str> = Arc::from(item.path.as_str());
        let begin = || {
            let begun = session.start_clean(Some(Arc::clone(&name)), None, Sha256Policy::Skip);
            begun.map(|(_, cleaner)| cleaner).map_err(fail)
        };
        let mut reader = self.open(&item).await?;
        let mut block;
        (reader, block) = self.next(reader).await?;
        let mut work = PartsWork { cutter: Cutter::new(parts::PART), sha256: Sha256::new() };
        let mut composed = Composed::default();
        let mut noted = Vec::new();
        let (mut total, mut fed) = (0, 0);
        let mut cleaner = begin()?;
        while let Some(bytes) = block {
            let length = bytes.len() as u64;
            let hash = item.sha256.is_none();
            let cut = self.call.blocking("a processor to look for chunks", move || {
                let pieces = work.take(&bytes, hash);
                Ok((work, pieces))
            });
            let next;
            ((work, next), (reader, block)) = tokio::try_join!(cut, self.next(reader))?;
            let pieces = next.len();
            for (number, piece) in next.into_iter().enumerate() {
                let long = piece.len() as u64;
                self.take_turn(session, fed, long).await.map_err(fail)?;
                cleaner.add_data_from_bytes(piece).await.map_err(fail)?;
                (total, fed) = (total + long, fed + long);
                let last = total == size;
                if !last && number + 1 == pieces {
                    break;
                }
                // After the last one, too, which is as good as none.
                let ended = std::mem::replace(&mut cleaner, begin()?);
                let ended = ended.finish_with_chunks_detached().await;
                let (_, chunks, part, _) = ended.map_err(fail)?;
                composed.add(&chunks, part, last)?;
                if size <= StoredFile::LARGEST {
                    noted.extend(records(&chunks));
                }
                fed = 0;
                if last {
                    item.progress.advance(length);
                    return self.compose(session, refresher, composed, work, &item, noted).await;
                }
            }
            item.progress.advance(length);
        }
        Err(Error::internal("a file ended before its end"))
    }

    /// Puts together what `ingest_parts` has stored.
    async fn compose(
        &self,
        session: &Arc<FileUploadSession>,
        refresher: &Refresher,
        composed: Composed,
        work: PartsWork,
        item: &Item,
        chunks: Vec<ChunkRecord>,
    ) -> Result<Ingested> {
        let sha256 = item.sha256.clone().unwrap_or_else(|| hex(&work.sha256.finalize()));
        let (hash, info) = composed.finish(&sha256)?;
        let registered = session.register_composed_file(info).await;
        registered.map_err(|error| fault::explain(error, refresher, &self.repo))?;
        Ok(Ingested { sha256, hash, chunks })
    }

    /// Room for what a file's content takes until it is sent.
    async fn memory(&self, item: &Item) -> Result<Permit> {
        let size = usize::try_from(item.content.size().min(PER_FILE)).map_err(Error::internal)?;
        let what = format!("its turn to take memory for {}", item.path);
        self.call.scheduler.content.turn(&self.call.counters, size, what).await
    }

    /// Before `length` bytes of a file that has got `fed` so far: if its next xorb is about to be put
    /// together, which takes its size once more, waits until one of those on their way has arrived.
    async fn take_turn(
        &self,
        session: &Arc<FileUploadSession>,
        fed: u64,
        length: u64,
    ) -> std::result::Result<(), DataError> {
        if (fed % PER_FILE) + length > PER_FILE - MARGIN {
            drop(session.client().acquire_upload_permit().await?);
        }
        Ok(())
    }

    async fn open(&self, item: &Item) -> Result<OffWorker<Reader>> {
        let content = item.content.clone();
        let what = format!("the disk to open {}", item.path);
        let reader = self.call.blocking(what, move || content.read()).await?;
        Ok(self.call.off_worker(reader))
    }

    async fn next(
        &self,
        mut reader: OffWorker<Reader>,
    ) -> Result<(OffWorker<Reader>, Option<Bytes>)> {
        self.call
            .blocking("the disk to read content", move || {
                let block = reader.next(BLOCK)?;
                Ok((reader, block))
            })
            .await
    }

    /// Passes the session's progress on, and returns once it has made none for too long.
    async fn watch(&self, session: &FileUploadSession, attempt: &mut Attempt) -> Error {
        // At the end, the CAS checks and stores what it got, and may be silent for longer.
        let limits = (self.deadlines.stall * 4, self.deadlines.stall * 20);
        let mut moved = Instant::now();
        let mut last = (0, 0, 0);
        loop {
            tokio::time::sleep(LOOK).await;
            let report = session.report();
            let sent = report.total_transfer_bytes_completed;
            self.call.counters.add_network(sent.saturating_sub(attempt.sent));
            attempt.sent = attempt.sent.max(sent);
            let read = self.call.counters.snapshot().bytes_completed;
            let now = (sent, read, report.total_transfer_bytes);
            if now != last {
                (last, moved) = (now, Instant::now());
            }
            let all_sent = sent >= report.total_transfer_bytes;
            let limit = if all_sent { limits.1 } else { limits.0 };
            if moved.elapsed() >= limit {
                // All that has been read is there, and what hasn't may be waiting for others' files.
                if all_sent && self.call.is_behind_others() {
                    continue;
                }
                let message = format!("the upload to Xet storage has not moved for {limit:?}");
                return Error::new(Kind::Timeout, message);
            }
        }
    }

    /// The shards in which xet-core has written down the xorbs that it has sent.
    async fn names(&self, folder: PathBuf) -> Result<Vec<PathBuf>> {
        self.call
            .blocking("a look at the shards of a session", move || {
                // Without the folder there are none; one that can't be read will fail the session.
                let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
                Ok(entries.map(|entry| entry.path()).collect())
            })
            .await
    }

    /// How many of the xorbs that the files refer to were sent by this session.
    async fn count_xorbs(
        &self,
        folder: PathBuf,
        before: Vec<PathBuf>,
        infos: &[MDBFileInfo],
    ) -> Result<u32> {
        let now = self.names(folder).await?;
        let used: std::collections::HashSet<MerkleHash> =
            infos.iter().flat_map(|info| &info.segments).map(|s| s.xorb_hash).collect();
        self.call
            .blocking("the disk to read the shards of a session", move || {
                let cache =
                    xet_core_structures::metadata_shard::shard_file_handle::new_shard_file_cache();
                let mut sent = std::collections::HashSet::new();
                for path in now.iter().filter(|path| !before.contains(path)) {
                    let read = MDBShardFile::load_from_file(path, &cache)
                        .and_then(|shard| shard.read_all_xorb_blocks());
                    match read {
                        Ok(blocks) => sent.extend(blocks.into_iter().map(|(b, _)| b.xorb_hash)),
                        // Another session may be clearing up; this is only for the report.
                        Err(error) => tracing::debug!(%error, "can't count xorbs"),
                    }
                }
                Ok(u32::try_from(sent.intersection(&used).count()).unwrap_or(u32::MAX))
            })
            .await
    }
}

/// What is made of a large file's blocks beside feeding them to the session.
struct PartsWork {
    cutter: Cutter,
    sha256: Sha256,
}

impl PartsWork {
    /// The pieces of a block, which is hashed with `hash`.
    fn take(&mut self, block: &Bytes, hash: bool) -> Vec<Bytes> {
        if hash {
            self.sha256.update(block);
        }
        self.cutter.cut(block)
    }
}

/// What the reuse index keeps of chunks. None is longer than 128 KiB.
fn records(chunks: &[(MerkleHash, u64)]) -> impl Iterator<Item = ChunkRecord> {
    chunks.iter().map_while(|(hash, length)| {
        u32::try_from(*length).ok().map(|length| ChunkRecord::new(length, hash))
    })
}

/// What one session leaves behind if it breaks.
struct Attempt {
    /// The token that it used last.
    token: Option<crate::config::Token>,
    /// Bytes of xorbs that it has sent.
    sent: u64,
}

fn term(
    segment: &xet_core_structures::metadata_shard::file_structs::FileDataSequenceEntry,
) -> StoredTerm {
    StoredTerm {
        xorb: segment.xorb_hash,
        chunks: (segment.chunk_index_start, segment.chunk_index_end),
        length: segment.unpacked_segment_bytes,
    }
}

/// What came of the session, put together from its parts.
fn stored(
    ingested: Vec<Ingested>,
    metrics: &DeduplicationMetrics,
    infos: Vec<MDBFileInfo>,
    xorbs: u32,
) -> Result<Stored> {
    let mut terms: HashMap<MerkleHash, Vec<StoredTerm>> = infos
        .into_iter()
        .map(|info| (info.metadata.file_hash, info.segments.iter().map(term).collect()))
        .collect();
    let mut files: Vec<StoredContent> = Vec::with_capacity(ingested.len());
    for Ingested { sha256, hash, chunks } in ingested {
        // Equal files are one to the session.
        let terms = match terms.remove(&hash) {
            Some(terms) => terms,
            None => match files.iter().find(|file| file.hash == hash) {
                Some(file) => file.terms.clone(),
                None => return Err(Error::internal("a Xet session has lost a file")),
            },
        };
        files.push(StoredContent { sha256, hash, terms, chunks });
    }
    Ok(Stored {
        files,
        bytes_new: metrics.new_bytes,
        bytes_sent: metrics.total_bytes_uploaded,
        xorbs,
    })
}
