//! Xet storage, as an upload speaks with it: which chunks it has, xorbs, and shards that register them.
//!
//! Routes and forms are those of xet-core's `RemoteClient`. Requests are made again as all of ours are, and a
//! server that refuses for now is waited for; none of them is wrong if it's made twice.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::stream;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Method, Request, Response, StatusCode};
use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use url::Url;
use uuid::Uuid;
use xet_client::cas_types::{
    SESSION_ID_HEADER, ShardUploadEvent, UploadShardResponse, UploadXorbResponse,
};
use xet_core_structures::merklehash::MerkleHash;

use super::super::super::sending::counted;
use super::super::super::{answer_patience, storage_patience};
use super::fault;
use crate::call::Call;
use crate::call::scheduler::Gate;
use crate::cas::newer::{Newer, NewerRoutes, is_refused_route, may_lack_route};
use crate::cas::{Credentials, Outages, cas_url};
use crate::config::Config;
use crate::http::origin::authority;
use crate::http::{Http, Outgoing, Patience, Pool, RetryPolicy, Sort, body};
use crate::hub::XetToken;
use crate::model::error::{Error, Kind, Result};
use crate::model::repo::Repo;

/// What storage may limit.
const UPLOADS: Sort = "uploads";
const QUESTIONS: Sort = "questions about chunks";
/// That a knock is answered says nothing about uploads.
const KNOCK: Sort = "requests";

/// Attempts to reach storage where nobody may ever have been.
const KNOCKS: u32 = 2;

/// What xorbs are filed under.
pub(super) const PREFIX: &str = "default";
/// Under what chunks are asked for: xet-core does it by the first, and the published protocol by the second.
const PREFIXES: [&str; 2] = [PREFIX, "default-merkledb"];

/// The longest shard that storage answers with; it makes none that are longer.
const LARGEST_SHARD: usize = 64 << 20;
/// How much of those is read at a time, in bytes.
const ANSWERS: usize = 2 * LARGEST_SHARD;
/// Questions about chunks that fail in a row, until no more are asked.
const FAILURES: u32 = 3;

/// The longest answer that isn't a shard.
const ANSWER: usize = 1 << 20;
/// The longest line of an answer that says how far storage is.
const LINE: usize = 1 << 20;

/// What storage may take longer to check a shard, for each file and each [`UNIT`] of content: that time grows with
/// them, and what is heard of it meanwhile may be nothing at all.
const CHECK: Duration = Duration::from_millis(100);
const UNIT: u64 = 64 << 20;
/// The most that this adds.
const LONGEST_CHECK: Duration = Duration::from_mins(10);

/// How long it may say nothing new: that it's still at it, again and again.
const NOTHING_NEW: Duration = Duration::from_mins(10);

/// What one does with a shard.
const REGISTER: &str = "register content with Xet storage";

/// What we believe to talk to.
const SERVER: &str = "Xet storage";

/// What the calls on one client know of Xet's servers.
#[derive(Clone)]
pub(in super::super) struct Servers {
    /// Of the CAS.
    pub(in super::super) cas: Arc<Outages>,
    /// Of the places behind it that take content.
    pub(in super::super) places: Arc<Outages>,
    /// Of routes that the CAS needn't have.
    pub(in super::super) newer: Arc<NewerRoutes>,
}

/// What storage says of a chunk.
enum Told {
    Nothing,
    Shard(Bytes),
    /// A shard of about so many bytes, for which there was no room.
    Unread(usize),
}

/// Storage for what is to be committed to a repo.
pub(super) struct Storage {
    pub(super) http: Arc<Http>,
    pub(super) servers: Servers,
    pub(super) call: Call,
    pub(super) policy: RetryPolicy,
    repo: Repo,
    credentials: Credentials,
    /// Groups this upload's requests in storage's own logs.
    session: HeaderValue,
    /// It is asked for grants: the way to send xorbs past the CAS.
    pub(super) offers_grants: AtomicBool,
    /// It's asked which chunks it has from others.
    knows_chunks: AtomicBool,
    /// Questions in a row that have failed.
    failures: AtomicU32,
    /// Room in memory for answers that are read, in bytes.
    answers: Arc<Gate>,
    /// The one of [`PREFIXES`] under which it has some, if that was seen.
    chunks_under: AtomicUsize,
}

impl Storage {
    pub(super) fn new(
        config: &Config,
        http: Arc<Http>,
        servers: Servers,
        repo: Repo,
        credentials: Credentials,
        call: Call,
    ) -> Result<Self> {
        let session = HeaderValue::try_from(Uuid::new_v4().to_string()).map_err(Error::internal)?;
        Ok(Self {
            policy: RetryPolicy::new(config),
            http,
            servers,
            call,
            repo,
            credentials,
            session,
            offers_grants: AtomicBool::new(true),
            knows_chunks: AtomicBool::new(true),
            failures: AtomicU32::new(0),
            answers: Gate::new(ANSWERS),
            chunks_under: AtomicUsize::new(PREFIXES.len()),
        })
    }

    /// Finds out whether storage can be reached, before anything is read. Whatever is answered will do. Not asked
    /// again where something came lately. Returns where it is.
    pub(super) async fn reach(&self) -> Result<Url> {
        let counters = &self.call.counters;
        let cas = self.credentials.token(counters).await?.cas_url;
        let host = authority(&cas);
        if self.servers.cas.is_in_reach(&host) {
            return Ok(cas);
        }
        let url = &cas;
        let knock = |_| async move {
            let request = Request::new(Method::GET, url.clone());
            self.http.execute(Pool::Separate, KNOCK, request).await
        };
        let what = format!("reach Xet storage at {host}");
        let mut failures = 0;
        while let Err(error) = self.policy.once().run(counters, &what, knock).await {
            failures += u32::from(error.context().hold.is_none());
            if failures > 1 {
                tracing::warn!(failures, "can't {what} yet: {error}");
            } else {
                tracing::debug!(failures, "can't {what} yet: {error}");
            }
            let policy = RetryPolicy { attempts: knocks(&error, self.policy), ..self.policy };
            let paused = policy.pause(failures, error, counters).await;
            paused.map_err(|error| self.locate(error))?;
        }
        self.servers.cas.came(&host);
        Ok(cas)
    }

    /// No more questions about chunks of others.
    pub(super) fn ask_no_more(&self) {
        self.knows_chunks.store(false, Ordering::Relaxed);
    }

    /// Whether such questions have a chance.
    pub(super) fn is_asked(&self) -> bool {
        self.knows_chunks.load(Ordering::Relaxed)
    }

    /// A shard of others that has this chunk, as storage sent it. One can do without, so any failure is `None`;
    /// silence, or several failures in a row, end the questions.
    pub(super) async fn shard_with(&self, chunk: &MerkleHash) -> Option<Bytes> {
        let known = self.chunks_under.load(Ordering::Relaxed);
        let prefixes = if known < PREFIXES.len() { known..known + 1 } else { 0..PREFIXES.len() };
        let counted = &self.call.counters.dedup;
        let mut refused = None;
        for prefix in prefixes.clone() {
            if !self.is_asked() {
                break;
            }
            if prefix == prefixes.start {
                counted.add_asked();
            }
            match self.shard_under(PREFIXES[prefix], chunk).await {
                Ok(Some(shard)) => {
                    self.failures.store(0, Ordering::Relaxed);
                    self.chunks_under.store(prefix, Ordering::Relaxed);
                    counted.add_answered();
                    return Some(shard);
                }
                Ok(None) => {
                    self.failures.store(0, Ordering::Relaxed);
                    if let Some(error) = &refused {
                        tracing::debug!("Xet storage has chunks under one name only: {error}");
                        self.chunks_under.store(prefix, Ordering::Relaxed);
                    }
                }
                // It may know the other one.
                Err(error) if prefix + 1 < prefixes.end && is_refused_route(&error) => {
                    refused = Some(error);
                }
                Err(error) => {
                    tracing::info!("can't ask Xet storage for chunks that it has: {error}");
                    counted.add_failed();
                    let failures = self.failures.fetch_add(1, Ordering::Relaxed) + 1;
                    if error.is_final() || failures >= FAILURES {
                        self.ask_no_more();
                    }
                    break;
                }
            }
        }
        None
    }

    /// The shard that storage has under this name of its chunks. An answer is read as soon as it's here; for one that
    /// there's no room for, room is made first, and then it's asked for again: nobody sends what nobody reads.
    async fn shard_under(&self, prefix: &str, chunk: &MerkleHash) -> Result<Option<Bytes>> {
        let counters = &self.call.counters;
        let what = "its turn to read what Xet storage says of chunks";
        let policy = RetryPolicy { waits_out: false, attempts: 2, ..self.policy };
        let mut room = None;
        loop {
            let has_room = room.is_some();
            let ask = |token| async move {
                self.ask_for_shard(token, prefix, chunk, has_room).await.map_err(final_if_silent)
            };
            match self.ask(policy, "ask which chunks Xet storage has", ask).await? {
                Told::Nothing => return Ok(None),
                Told::Shard(shard) => return Ok(Some(shard)),
                Told::Unread(size) => room = Some(self.answers.turn(counters, size, what).await?),
            }
        }
    }

    async fn ask_for_shard(
        &self,
        token: XetToken,
        prefix: &str,
        chunk: &MerkleHash,
        has_room: bool,
    ) -> Result<Told> {
        let counters = &self.call.counters;
        let url = cas_url(&token.cas_url, &["v1", "chunks", prefix, &chunk.hex()])?;
        let request = self.request(Method::GET, url, &token);
        let response = self.http.execute(Pool::Separate, QUESTIONS, request).await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(Told::Nothing);
        }
        let response = self.accepted(response, &token).await?;
        let size = response.content_length().and_then(|size| usize::try_from(size).ok());
        let size = size.map_or(LARGEST_SHARD, |size| size.clamp(1, LARGEST_SHARD));
        let room = if has_room { None } else { self.answers.try_turn(counters, size) };
        if room.is_none() && !has_room {
            return Ok(Told::Unread(size));
        }
        body::read(&self.http, response, LARGEST_SHARD, counters).await.map(Told::Shard)
    }

    /// Sends a xorb to the CAS, which brings it where it belongs.
    pub(super) async fn send_through_cas(&self, xorb: &MerkleHash, content: &Bytes) -> Result<()> {
        let path = ["v1", "xorbs", PREFIX, &xorb.hex()];
        let limit = storage_patience(self.http.deadlines());
        let patience = Patience { sending: limit, answer: limit };
        let path = &path;
        let send = |token: XetToken| async move {
            let response = self.post(&token, path, content, patience).await?;
            let response = self.accepted(response, &token).await?;
            self.json::<UploadXorbResponse>(response).await
        };
        self.ask(self.policy, "send content to Xet storage", send).await?;
        Ok(())
    }

    /// Registers a shard, and with it `files`, that have so many bytes together: what it names can be had then.
    pub(super) async fn register(&self, shard: &Bytes, files: usize, bytes: u64) -> Result<()> {
        let units = u32::try_from(files as u64 + bytes / UNIT).unwrap_or(u32::MAX);
        let deadlines = self.http.deadlines();
        let longer = CHECK.saturating_mul(units).min(LONGEST_CHECK);
        let checking = answer_patience(deadlines) + longer;
        let patience = Patience { sending: storage_patience(deadlines), answer: checking };
        let refused = match self.register_by_v2(shard, patience).await? {
            Ok(()) => return Ok(()),
            Err(refused) => refused,
        };
        let send = |token: XetToken| async move {
            let response = self.post(&token, &["v1", "shards"], shard, patience).await?;
            let response = self.agreed(response, &token).await?;
            self.json::<UploadShardResponse>(response).await
        };
        match (self.ask(self.policy, REGISTER, send).await, refused) {
            (Ok(_), Some(refused)) => self.does_without(Newer::Shards, &refused).await,
            (Ok(_), None) => Ok(()),
            (Err(error), Some(refused)) => {
                // So content is refused, too: it isn't known then which of the two it was.
                let is_of_content = refused.context().http_status == Some(400);
                let is_of_known_chunks = is_of_content || fault::is_of_known_chunks(&error);
                let both = Error::cause(("by version 2", refused), ("by version 1", error));
                Err(both.with(|c| c.is_of_known_chunks = is_of_known_chunks))
            }
            (Err(error), None) => Err(error),
        }
    }

    /// `Ok(Err(..))`: it has to be registered by version 1, since version 2 was refused, now or some time ago.
    async fn register_by_v2(
        &self,
        shard: &Bytes,
        patience: Patience,
    ) -> Result<Result<(), Option<Error>>> {
        if !self.is_open(Newer::Shards).await? {
            return Ok(Err(None));
        }
        let deadlines = self.http.deadlines();
        let send = |token: XetToken| async move {
            let response = self.post(&token, &["v2", "shards"], shard, patience).await?;
            if may_lack_route(response.status().as_u16()) {
                return Ok(Err(Some(self.refusal(response, &token).await)));
            }
            let response = self.agreed(response, &token).await?;
            self.registered(response, answer_patience(deadlines), &token).await.map(Ok)
        };
        self.ask(self.policy, REGISTER, send).await
    }

    /// Whether the CAS may be asked by a route that it needn't have.
    pub(super) async fn is_open(&self, route: Newer) -> Result<bool> {
        Ok(self.servers.newer.is_open(&self.host().await?, route))
    }

    /// The CAS has refused a newer route, and served by the older one.
    pub(super) async fn does_without(&self, route: Newer, refused: &Error) -> Result<()> {
        self.servers.newer.refused(&self.host().await?, route, refused);
        Ok(())
    }

    /// Where the CAS is, for whoever reads it, and for what is known of it.
    async fn host(&self) -> Result<String> {
        Ok(authority(&self.credentials.token(&self.call.counters).await?.cas_url))
    }

    /// Reads how storage gets on with a shard, one JSON object to a line, until it's done. Each whole line is a sign of
    /// life, and comes again while nothing else is to be said, but not for ever; a success is one that says so.
    async fn registered(
        &self,
        response: Response,
        patience: Duration,
        token: &XetToken,
    ) -> Result<()> {
        let counters = &self.call.counters;
        let url = response.url().clone();
        let what = format!("{} to check what it was sent", authority(&url));
        let waiting = counters.waits.begin(what, patience);
        let mut lines = body::lines(&self.http, response, patience, LINE);
        let (mut last, mut since) = (None, Instant::now());
        loop {
            let next = tokio::time::timeout(patience, lines.next(counters)).await;
            let Some(line) = next.map_err(|_| stuck(&url, patience))?? else { break };
            waiting.allow(patience);
            let event = serde_json::from_slice(&line).map_err(|error| {
                let words = String::from_utf8_lossy(&line);
                let what = format!("what can't be understood ({words})");
                let what = fault::quoted(&what, token);
                let is_json = serde_json::from_slice::<IgnoredAny>(&line).is_ok();
                let make = if is_json { fault::nonsense } else { fault::garbled };
                make(&url, 200, &what).caused_by(error)
            })?;
            match event {
                ShardUploadEvent::Result => return Ok(()),
                ShardUploadEvent::Error { message, retryable } => {
                    if !retryable {
                        let rejected = fault::rejected(&url, &message, token);
                        return Err(fault::of_known_chunks(rejected));
                    }
                    let (host, what) = (authority(&url), fault::quoted(&message, token));
                    let message = format!("{SERVER} at {host} failed for now ({what})");
                    return Err(Error::new(Kind::ServerError, message));
                }
                ShardUploadEvent::Validating { .. } | ShardUploadEvent::Committing { .. }
                    if last.as_ref() != Some(&event) =>
                {
                    (last, since) = (Some(event), Instant::now());
                }
                ShardUploadEvent::Validating { .. }
                | ShardUploadEvent::Committing { .. }
                | ShardUploadEvent::Unknown => {
                    if since.elapsed() > NOTHING_NEW {
                        return Err(stuck(&url, NOTHING_NEW));
                    }
                }
            }
        }
        // Cut by somebody on the way, perhaps.
        Err(fault::garbled(&url, 200, "an answer without an end"))
    }

    /// Asks the CAS for something in a few words, as `path`, with a body of JSON or none, and gives the answer
    /// whatever its status.
    pub(super) async fn ask_cas(
        &self,
        token: &XetToken,
        path: &[&str],
        question: Option<&(impl Serialize + Sync)>,
    ) -> Result<Response> {
        let mut request = self.request(Method::POST, cas_url(&token.cas_url, path)?, token);
        if let Some(question) = question {
            let json = HeaderValue::from_static("application/json");
            request.headers_mut().insert(CONTENT_TYPE, json);
            let body = serde_json::to_vec(question).map_err(Error::internal)?;
            *request.body_mut() = Some(body.into());
        }
        self.http.execute_harmless(Pool::Separate, UPLOADS, request).await
    }

    /// Makes a request of the CAS until it is answered, or there is no hope; with another token, if the first one is
    /// refused: clocks differ, or it was revoked.
    pub(super) async fn ask<T, F>(
        &self,
        policy: RetryPolicy,
        what: &str,
        ask: impl Fn(XetToken) -> F,
    ) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let counters = &self.call.counters;
        let token = self.credentials.token(counters).await?;
        let (token, ask) = (&token, &ask);
        let attempt = |_| self.credentials.ask(token, counters, ask);
        let asked = policy.run(counters, what, attempt).await;
        if asked.is_ok() {
            self.servers.cas.came(&authority(&token.cas_url));
        }
        asked.map_err(|error| {
            let is_of_network = matches!(error.kind(), Kind::Connection | Kind::Timeout);
            let error =
                if is_of_network { error.noting(&format!("that was to {what}")) } else { error };
            self.locate(error)
        })
    }

    /// Sends content to the CAS, and gives the answer whatever its status.
    async fn post(
        &self,
        token: &XetToken,
        path: &[&str],
        content: &Bytes,
        patience: Patience,
    ) -> Result<Response> {
        let request = self.request(Method::POST, cas_url(&token.cas_url, path)?, token);
        self.send(request, content, patience).await
    }

    /// Sends content, which counts as sent when a connection takes it.
    pub(super) async fn send(
        &self,
        request: Request,
        content: &Bytes,
        patience: Patience,
    ) -> Result<Response> {
        let (bytes, counters) = (content.clone(), Arc::clone(&self.call.counters));
        let body = Outgoing::new(Some(content.len() as u64), patience, move || {
            counted(stream::iter([Ok(bytes.clone())]), Arc::clone(&counters))
        });
        let body = body.harmless();
        self.http.execute_content(request, UPLOADS, &body, &self.call.counters).await
    }

    /// A request of the CAS.
    fn request(&self, method: Method, url: Url, token: &XetToken) -> Request {
        let mut request = Request::new(method, url);
        request.headers_mut().insert(SESSION_ID_HEADER, self.session.clone());
        request.headers_mut().insert(AUTHORIZATION, token.token.bearer());
        request
    }

    /// An answer that isn't a refusal.
    pub(super) async fn accepted(&self, response: Response, token: &XetToken) -> Result<Response> {
        if response.status().is_success() {
            return Ok(response);
        }
        Err(self.refusal(response, token).await)
    }

    /// The error for an answer that is a refusal.
    pub(super) async fn refusal(&self, response: Response, token: &XetToken) -> Error {
        fault::refused(&self.http, response, Some(&token.token)).await
    }

    /// An answer that isn't a refusal of a shard. What it says of content is refused with one of a few statuses;
    /// others, and answers that can't be read, are about something else, however the shard came about.
    async fn agreed(&self, response: Response, token: &XetToken) -> Result<Response> {
        let is_of_content = matches!(response.status().as_u16(), 400 | 404 | 422);
        let accepted = self.accepted(response, token).await;
        accepted.map_err(|e| if is_of_content { fault::of_known_chunks(e) } else { e })
    }

    pub(super) async fn json<T: DeserializeOwned>(&self, response: Response) -> Result<T> {
        body::read_json(&self.http, response, ANSWER, SERVER, &self.call.counters).await
    }

    pub(super) async fn read(&self, response: Response) -> Result<Bytes> {
        body::read(&self.http, response, ANSWER, &self.call.counters).await
    }

    /// Reads what is of no use, so that its connection is.
    pub(super) async fn pass(&self, response: Response) {
        if let Err(error) = self.read(response).await {
            tracing::debug!("gave up on an answer that is of no use: {error}");
        }
    }

    /// Whose content it is about.
    fn locate(&self, error: Error) -> Error {
        error.with(|c| {
            c.repo.get_or_insert_with(|| self.repo.id().to_owned());
        })
    }
}

/// How often storage may be knocked at that hasn't opened because of `error`. One that is being restarted has all
/// the patience that its other requests have; a wrong address is told at once.
fn knocks(error: &Error, policy: RetryPolicy) -> u32 {
    let context = error.context();
    let is_there = context.is_away || !context.is_unconnected;
    match error.kind() {
        _ if !error.is_transient() => 1,
        // The system has tried again and again by then.
        Kind::Timeout if context.is_unconnected => 1,
        Kind::Timeout => policy.attempts.min(KNOCKS),
        _ if is_there => policy.attempts,
        _ => policy.attempts.min(KNOCKS),
    }
}

/// The error for storage that gets nowhere with what it was sent. It had its time.
fn stuck(url: &Url, patience: Duration) -> Error {
    let (host, seconds) = (authority(url), patience.as_secs());
    let message =
        format!("{SERVER} at {host} got no further with checking an upload for {seconds} s");
    Error::new(Kind::Timeout, message).with(|c| c.is_final = true)
}

/// For what there is another way to, or that one can do without: who was waited for in silence isn't waited for
/// again.
pub(super) fn final_if_silent(error: Error) -> Error {
    let is_silent = error.kind() == Kind::Timeout;
    error.with(|c| c.is_final |= is_silent)
}
