//! Asking storage which chunks it has from others. One can do without.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use reqwest::{Method, StatusCode};
use xet_core_structures::merklehash::MerkleHash;

use super::storage::{PREFIX, Storage, final_if_silent};
use crate::cas::cas_url;
use crate::cas::newer::is_refused_route;
use crate::http::{Pool, RetryPolicy, Sort, body};
use crate::hub::XetToken;
use crate::model::error::Result;

/// What storage may limit.
const QUESTIONS: Sort = "questions about chunks";

/// Under what chunks are asked for: xet-core does it by the first, and the published protocol by the second.
pub(super) const PREFIXES: [&str; 2] = [PREFIX, "default-merkledb"];

/// The longest shard that storage answers with; it makes none that are longer.
const LARGEST_SHARD: usize = 64 << 20;
/// How much of those is read at a time, in bytes.
pub(super) const ANSWERS: usize = 2 * LARGEST_SHARD;
/// Questions about chunks that fail in a row, until no more are asked.
const FAILURES: u32 = 3;

/// What storage says of a chunk.
enum Told {
    Nothing,
    Shard(Bytes),
    /// A shard of about so many bytes, for which there was no room.
    Unread(usize),
}

impl Storage {
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
        if let Some(folder) = &self.folder {
            return folder.shard_with(chunk).await;
        }
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
}
