//! Content to Xet storage: xet-core's upload session, fed block by block.
//!
//! The session chunks, deduplicates, builds xorbs and shards, and sends them; nothing of it is
//! visible on the Hub before a commit names a file. What it lacks is added here: a bound on memory
//! that depends neither on the size nor on the number of files ([`ingest`]), a watch for the session that stands
//! still, and another session in place of one that broke. xet-core writes down each xorb that was
//! stored (`<cache>/<endpoint>/staging`), so the next session, after a kill too, doesn't send it
//! again.

mod fault;
mod ingest;
mod parts;
mod sent;
mod settings;
mod token;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, TryStreamExt, stream};
use reqwest::header::{HeaderMap, HeaderValue, USER_AGENT};
use tokio::runtime::Handle;
use xet_core_structures::merklehash::MerkleHash;
use xet_core_structures::metadata_shard::file_structs::MDBFileInfo;
use xet_data::deduplication::DeduplicationMetrics;
use xet_data::processing::FileUploadSession;
use xet_data::processing::configurations::{SessionContext, TranslatorConfig};
use xet_runtime::core::XetContext;

use self::ingest::{Feeder, Ingested};
use self::sent::Sent;
use self::token::Refresher;
use super::super::item::Item;
use super::super::learn::StoredTerm;
use crate::call::Call;
use crate::cas::Credentials;
use crate::config::{Config, Deadlines};
use crate::http::RetryPolicy;
use crate::model::error::{Error, Kind, Result};
use crate::model::repo::Repo;
use crate::reuse::ChunkRecord;
use crate::sys::fork;

/// Files that are read at a time.
const FILES: usize = 8;

/// Sessions in place of one that broke without having sent anything.
const SESSIONS: u32 = 3;

/// How often the session's counters are looked at.
const LOOK: Duration = Duration::from_millis(50);

/// Xet storage, for the files of one call.
pub(in crate::upload) struct XetStore {
    config: Arc<Config>,
    deadlines: Deadlines,
    repo: Repo,
    credentials: Credentials,
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

impl XetStore {
    /// Storage for what is to be committed to `repo`. xet-core's tasks run on this call's runtime.
    pub(super) fn new(
        config: Arc<Config>,
        deadlines: Deadlines,
        repo: Repo,
        credentials: Credentials,
        call: Call,
    ) -> Self {
        // xet-core has a list of the process's runtimes, and reads its environment once.
        let context = fork::hold_off(|| {
            XetContext::from_external(Handle::current(), settings::of(&config, &deadlines))
        });
        Self { config, deadlines, repo, credentials, call, context }
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
        let token = match refused {
            Some(refused) => self.credentials.replace(refused, counters).await?,
            None => self.credentials.token(counters).await?,
        };
        let credentials = self.credentials.clone();
        let refresher = Refresher::new(credentials, token.clone(), Arc::clone(counters));
        let refresher = Arc::new(refresher);
        let settings = self.settings(&token, &refresher).await?;
        let staged = settings.shard_session_directory.join("xorb_metadata");
        let before = Sent::look(staged, &self.call).await?;
        let fail = |error| fault::explain(error, &refresher, &self.repo);
        let session = FileUploadSession::new(Arc::new(settings)).await.map_err(fail)?;
        let _waiting =
            counters.waits.begin("Xet storage to take content", super::super::OWN_DEADLINE);
        let (repo, call) = (&self.repo, &self.call);
        let feeder = Feeder { session: &session, refresher: &refresher, repo, call };
        let work = async {
            let ingested: Vec<Ingested> = stream::iter(items.to_vec())
                .map(|item| feeder.ingest(item))
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
        let xorbs = before.count_new(&infos, &self.call).await?;
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
