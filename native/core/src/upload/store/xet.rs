//! Content to Xet storage: xet-core's upload session, fed block by block.
//!
//! The session chunks, deduplicates, builds xorbs and shards, and sends them; nothing of it is
//! visible on the Hub before a commit names a file. What it lacks is added here: a bound on memory
//! that depends neither on the size nor on the number of files ([`ingest`]), a watch for the session that stands
//! still, and another session in place of one that broke. xet-core writes down each xorb that was
//! stored (`<cache>/<endpoint>/staging`), so the next session, after a kill too, doesn't send it
//! again.

mod connections;
mod fault;
mod folder;
mod ingest;
mod parts;
mod sent;
pub(super) mod sessions;
mod settings;
mod token;
mod watch;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use futures_util::{StreamExt, TryStreamExt, stream};
use reqwest::header::HeaderMap;
use xet_core_structures::merklehash::MerkleHash;
use xet_core_structures::metadata_shard::file_structs::MDBFileInfo;
use xet_data::deduplication::DeduplicationMetrics;
use xet_data::processing::configurations::SessionContext;
use xet_runtime::core::XetContext;

use self::fault::Whose;
use self::folder::Folder;
use self::ingest::{Feeder, Ingested};
use self::sent::Sent;
use self::sessions::{Outcome, Sessions};
use self::settings::GlobalDedup;
use self::token::Refresher;
use self::watch::Watch;
use super::super::item::Item;
use super::super::learn::StoredTerm;
use crate::call::Call;
use crate::cas::shards::{self, KnownShards};
use crate::cas::{Credentials, Outages};
use crate::config::Config;
use crate::http::origin::authority;
use crate::http::{Http, Line, Pool, RetryPolicy, Sort};
use crate::model::error::{Error, Kind, Result};
use crate::model::repo::Repo;
use crate::reuse::ChunkRecord;

/// Files that are read at a time.
const FILES: usize = 8;

/// Sessions in place of one that broke without having sent anything.
const SESSIONS: u32 = 3;

/// What storage may limit. That a knock is answered says nothing about uploads.
const UPLOADS: Sort = "uploads";
const KNOCK: Sort = "requests";

/// Attempts to reach storage at all.
const KNOCKS: u32 = 2;

/// Xet storage, for the files of one call.
pub(in crate::upload) struct XetStore {
    config: Arc<Config>,
    http: Arc<Http>,
    outages: Arc<Outages>,
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
        outages: Arc<Outages>,
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

    /// Stores the content of `items`. Begins again, as often as that promises something, with what
    /// is still missing.
    pub(super) async fn store(&self, items: &[Item]) -> Result<Stored> {
        let mut failures = 0;
        let mut refused = None;
        let mut sent_in_vain = 0;
        let mut is_first = true;
        let mut global_dedup = GlobalDedup::Asked;
        // The Xet cache, if it isn't to be used, and whether it is what storage found wrong.
        let mut misled: Option<(Arc<Folder>, bool)> = None;
        loop {
            let is_apart = misled.is_some();
            let mut attempt = Attempt { is_first, is_apart, ..Attempt::default() };
            is_first = false;
            let session = self.session(global_dedup, items, refused.as_ref(), &mut attempt);
            let error = match Box::pin(session).await {
                Ok(mut stored) => {
                    if let Some((folder, true)) = misled {
                        self.discard(folder).await?;
                    }
                    stored.bytes_sent += sent_in_vain;
                    return Ok(stored);
                }
                Err(error) => error,
            };
            sent_in_vain += attempt.sent;
            let unauthorized = error.kind() == Kind::Unauthorized && attempt.token.is_some();
            if !unauthorized && !error.is_transient() {
                if let Some(folder) = attempt.folder.filter(|folder| folder.may_mislead(&error)) {
                    tracing::warn!("uploading again without the Xet cache: {error}");
                    misled = Some((folder, !fault::is_of_cache(&error)));
                    // What it said of chunks that storage has is among xet-core's files, too.
                    global_dedup = GlobalDedup::Skipped;
                    continue;
                }
                return Err(error);
            }
            if unauthorized {
                refused = attempt.token;
            }
            if error.kind() == Kind::Timeout {
                global_dedup = GlobalDedup::Skipped;
            }
            if error.context().hold.is_none() {
                failures = if attempt.got_on { 1 } else { failures + 1 };
            }
            tracing::warn!(failures, "an upload session to Xet storage broke: {error}");
            let sessions = self.config.max_attempts.min(SESSIONS);
            let policy = RetryPolicy { attempts: sessions, ..RetryPolicy::new(&self.config) };
            policy.pause(failures, error, &self.call.counters).await?;
        }
    }

    /// One session from its start to its end.
    async fn session(
        &self,
        global_dedup: GlobalDedup,
        items: &[Item],
        refused: Option<&crate::config::Token>,
        attempt: &mut Attempt,
    ) -> Result<Stored> {
        let counters = &self.call.counters;
        let token = match refused {
            Some(refused) => self.credentials.replace(refused, counters).await?,
            None => self.credentials.token(counters).await?,
        };
        self.http.check_hold(&token.cas_url, UPLOADS)?;
        self.reach(&token.cas_url, attempt.is_first).await?;
        let begun = Instant::now();
        let credentials = self.credentials.clone();
        let refresher = Refresher::new(credentials, token.clone(), Arc::clone(counters));
        let refresher = Arc::new(refresher);
        let Line { client, wire } = self.http.new_line(&token.cas_url, connections::adapt).await?;
        let shards = connections::way_of_shards(&token.cas_url, self.http.proxy(&token.cas_url));
        let deadlines = self.http.deadlines();
        let context = settings::context(&self.config, deadlines, global_dedup, shards);
        let headers = connections::headers(&self.config);
        connections::lend(&context, &headers, client)?;
        let (folder, read) =
            self.folder(context, headers, &token, &refresher, attempt.is_apart).await?;
        attempt.folder = Some(Arc::clone(&folder));
        let mut xorbs = Sent::look(folder.staged(), &self.call).await?;
        let host = authority(&token.cas_url);
        let whose = Whose {
            http: &self.http,
            cas: &token.cas_url,
            refresher: &refresher,
            repo: &self.repo,
            shards,
        };
        let fail = |error| whose.explain(error);
        let trusted = Arc::new(self.http.trusted(&token.cas_url)?);
        let first = Sessions::begin(folder.settings.clone(), trusted).await;
        let (sessions, ending) = first.map_err(fail)?;
        let watch = Watch::new(&sessions, &self.call, deadlines, &token.cas_url, wire, items);
        let call = &self.call;
        let feeder = Feeder { sessions: &sessions, whose: &whose, call };
        let feeding = stream::iter(items.to_vec())
            .map(|item| feeder.ingest(item))
            .buffered(FILES)
            .try_collect::<Vec<Ingested>>();
        let outcome = tokio::select! {
            outcome = sessions.run(ending, feeding, &mut xorbs, call, fail) => outcome,
            stalled = watch.run(&mut attempt.sent) => Err(stalled),
        };
        // Since the last look.
        let sent = sessions.sent();
        counters.add_network(sent.saturating_sub(attempt.sent));
        attempt.sent = attempt.sent.max(sent);
        attempt.token = Some(refresher.current());
        if outcome.is_err() {
            attempt.got_on = xorbs.has_more_now(&self.call).await?;
        }
        let limited = (&token.cas_url, UPLOADS);
        let (ingested, Outcome { metrics, infos }) = match outcome {
            Ok(stored) => {
                self.http.note_passed(limited, begun);
                self.outages.came(&host);
                stored
            }
            Err(error) => return Err(self.http.note_refusal(limited, begun, error)),
        };
        let xorbs = xorbs.count(&infos);
        if let Some(read) = read {
            self.shards.keep(read);
        }
        stored(ingested, &metrics, infos, xorbs)
    }

    /// Finds out whether storage can be reached: xet-core would try for half a minute, and say no more than
    /// what the system says. Whatever is answered will do. Not asked again where something came lately.
    async fn reach(&self, cas: &url::Url, is_first: bool) -> Result<()> {
        let host = authority(cas);
        if is_first && self.outages.is_in_reach(&host) {
            return Ok(());
        }
        let policy = RetryPolicy::new(&self.config);
        let policy = RetryPolicy { attempts: policy.attempts.min(KNOCKS), ..policy };
        let what = format!("reach Xet storage at {host}");
        let knock = |_| async move {
            let request = reqwest::Request::new(reqwest::Method::GET, cas.clone());
            self.http.execute(Pool::Storage, KNOCK, request).await
        };
        let answer = policy.run(&self.call.counters, &what, knock).await;
        // Another session would find out the same.
        answer.map_err(|error| error.with(|c| c.is_known = is_first))?;
        self.outages.came(&host);
        Ok(())
    }

    /// A place for a session, and what is known of the shards there; `apart`: not in the Xet cache.
    async fn folder(
        &self,
        context: XetContext,
        headers: HeaderMap,
        token: &crate::hub::XetToken,
        refresher: &Arc<Refresher>,
        apart: bool,
    ) -> Result<(Arc<Folder>, Option<shards::Read>)> {
        let session = SessionContext {
            endpoint: token.cas_url.as_str().trim_end_matches('/').to_owned(),
            auth: Some(refresher.auth(token)),
            custom_headers: Some(Arc::new(headers)),
            repo_paths: Vec::new(),
            session_id: Some(uuid::Uuid::new_v4().to_string()),
            cache_root: None,
        };
        let (cache, mut read) = (self.config.xet_cache.clone(), self.shards.take());
        let call = self.call.clone();
        self.call
            .blocking("the disk to open the Xet cache", move || {
                if apart {
                    return Ok((Arc::new(Folder::private(&context, session, &call)?), None));
                }
                read.lend(&context);
                let folder = Folder::open(&context, session, &cache, &mut read, &call)?;
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

/// What one session leaves behind if it breaks.
#[derive(Default)]
struct Attempt {
    /// None before it broke.
    is_first: bool,
    /// The token that it used last.
    token: Option<crate::config::Token>,
    /// Bytes of xorbs that it has sent, or that the system has taken to send them.
    sent: u64,
    /// Whether storage has a xorb more now.
    got_on: bool,
    /// Whether it's not to use the Xet cache.
    is_apart: bool,
    /// What it has used.
    folder: Option<Arc<Folder>>,
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
