//! Registering shards with storage: what they name can be had then.

use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::Response;
use serde::de::IgnoredAny;
use url::Url;
use xet_client::cas_types::{CommitStage, ShardUploadEvent, UploadShardResponse};

use super::super::super::{answer_patience, storage_patience};
use super::fault;
use super::storage::{SERVER, Storage};
use crate::call::progress::ShardProgress;
use crate::cas::newer::{Newer, may_lack_route};
use crate::http::origin::authority;
use crate::http::{Patience, body};
use crate::hub::XetToken;
use crate::model::error::{Error, Kind, Result};

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

impl Storage {
    /// Registers a shard, and with it `files`, that have so many bytes together: what it names can be had then.
    pub(super) async fn register(&self, shard: &Bytes, files: usize, bytes: u64) -> Result<()> {
        let progress = self.call.counters.shards.begin(shard.len() as u64);
        self.register_now(shard, files, bytes, &progress).await?;
        progress.done();
        Ok(())
    }

    async fn register_now(
        &self,
        shard: &Bytes,
        files: usize,
        bytes: u64,
        progress: &ShardProgress<'_>,
    ) -> Result<()> {
        if let Some(folder) = &self.folder {
            // What isn't there was known from earlier uploads.
            let of_known = |error: Error| match error.kind() {
                Kind::NotFound => fault::of_known_chunks(error),
                _ => error,
            };
            return folder.keep_shard(shard).await.map_err(of_known);
        }
        let units = u32::try_from(files as u64 + bytes / UNIT).unwrap_or(u32::MAX);
        let deadlines = self.http.deadlines();
        let longer = CHECK.saturating_mul(units).min(LONGEST_CHECK);
        let checking = answer_patience(deadlines) + longer;
        let patience = Patience { sending: storage_patience(deadlines), answer: checking };
        let refused = match self.register_by_v2(shard, patience, progress).await? {
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
        progress: &ShardProgress<'_>,
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
            progress.sent();
            let patience = answer_patience(deadlines);
            self.registered(response, patience, &token, progress).await.map(Ok)
        };
        self.ask(self.policy, REGISTER, send).await
    }

    /// Reads how storage gets on with a shard, one JSON object to a line, until it's done. Each whole line is a sign of
    /// life, and comes again while nothing else is to be said, but not for ever; a success is one that says so.
    async fn registered(
        &self,
        response: Response,
        patience: Duration,
        token: &XetToken,
        progress: &ShardProgress<'_>,
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
            match &event {
                ShardUploadEvent::Validating { verified, total } => {
                    progress.validating(*verified, *total);
                }
                ShardUploadEvent::Committing { stage: CommitStage::Syncing } => progress.stored(),
                ShardUploadEvent::Committing { .. } => progress.validated(),
                _ => {}
            }
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

    /// An answer that isn't a refusal of a shard. What it says of content is refused with one of a few statuses;
    /// others, and answers that can't be read, are about something else, however the shard came about.
    async fn agreed(&self, response: Response, token: &XetToken) -> Result<Response> {
        let is_of_content = matches!(response.status().as_u16(), 400 | 404 | 422);
        let accepted = self.accepted(response, token).await;
        accepted.map_err(|e| if is_of_content { fault::of_known_chunks(e) } else { e })
    }
}

/// The error for storage that gets nowhere with what it was sent. It had its time.
fn stuck(url: &Url, patience: Duration) -> Error {
    let (host, seconds) = (authority(url), patience.as_secs());
    let message =
        format!("{SERVER} at {host} got no further with checking an upload for {seconds} s");
    Error::new(Kind::Timeout, message).with(|c| c.is_final = true)
}
