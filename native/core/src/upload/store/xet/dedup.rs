//! What xet-core's deduplication asks for while it goes through a file, and what it makes.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use tokio::sync::Mutex;
use xet_core_structures::merklehash::MerkleHash;
use xet_core_structures::metadata_shard::file_structs::FileDataSequenceEntry;
use xet_data::deduplication::{DeduplicationDataInterface, RawXorbData};
use xet_data::progress_tracking::upload_tracking::FileXorbDependency;

use super::known::Found;
use super::session::Session;
use crate::model::error::{Error, Result};

/// Questions to storage at a time, about the chunks of one file.
const QUESTIONS: usize = 8;

/// For one file.
pub(super) struct Dedup {
    session: Arc<Session>,
    /// Chunks that storage is to be asked about.
    questions: Vec<MerkleHash>,
    /// What is known of the chunks that are being asked for, all of which are looked for at once: that may need a
    /// disk. By how many there are from each on.
    looked_up: Mutex<HashMap<usize, Found>>,
    /// Xorbs that were cut from the file.
    xorbs: Arc<AtomicU32>,
}

impl Dedup {
    /// `xorbs` counts those that are cut from the file.
    pub(super) fn new(session: Arc<Session>, xorbs: Arc<AtomicU32>) -> Self {
        Self { session, questions: Vec::new(), looked_up: Mutex::default(), xorbs }
    }
}

#[async_trait]
impl DeduplicationDataInterface for Dedup {
    type ErrorType = Error;

    async fn chunk_hash_dedup_query(
        &self,
        chunks: &[MerkleHash],
    ) -> Result<Option<(usize, FileDataSequenceEntry, bool)>> {
        if let Some((count, entry)) = self.session.find(chunks) {
            return Ok(Some((count, entry, false)));
        }
        let mut looked_up = self.looked_up.lock().await;
        if !looked_up.contains_key(&chunks.len()) {
            looked_up.extend(self.session.find_known(chunks.to_vec()).await?);
        }
        let found = looked_up.get(&chunks.len()).cloned().flatten();
        Ok(found.map(|(count, entry)| (count, entry, true)))
    }

    async fn register_global_dedup_query(&mut self, chunk: MerkleHash) -> Result<()> {
        self.questions.push(chunk);
        Ok(())
    }

    async fn complete_global_dedup_queries(&mut self) -> Result<bool> {
        // What was asked for next are other chunks, or the same with something more known.
        self.looked_up.get_mut().clear();
        let session = &self.session;
        let learnt = stream::iter(std::mem::take(&mut self.questions))
            .map(|chunk| async move { session.learn_about(&chunk).await })
            .buffer_unordered(QUESTIONS)
            .fold(false, |any, learnt| async move { any | learnt });
        Ok(learnt.await)
    }

    async fn register_new_xorb(&mut self, xorb: RawXorbData) -> Result<()> {
        self.session.send(xorb, Vec::new()).await?;
        self.xorbs.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Only xet-core's progress goes by that.
    async fn register_xorb_dependencies(&mut self, _: &[FileXorbDependency]) {}
}
