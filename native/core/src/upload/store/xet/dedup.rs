//! What xet-core's deduplication asks for while it goes through a file, and what it makes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use xet_core_structures::merklehash::MerkleHash;
use xet_core_structures::metadata_shard::file_structs::FileDataSequenceEntry;
use xet_data::deduplication::{DeduplicationDataInterface, RawXorbData};
use xet_data::progress_tracking::upload_tracking::FileXorbDependency;

use super::session::Session;
use crate::model::error::{Error, Result};

/// Questions to storage at a time, about the chunks of one file.
const QUESTIONS: usize = 8;

/// For one file.
pub(super) struct Dedup {
    session: Arc<Session>,
    /// Chunks that storage is to be asked about.
    questions: Vec<MerkleHash>,
    /// Xorbs that were cut from the file.
    xorbs: Arc<AtomicU32>,
}

impl Dedup {
    /// `xorbs` counts those that are cut from the file.
    pub(super) fn new(session: Arc<Session>, xorbs: Arc<AtomicU32>) -> Self {
        Self { session, questions: Vec::new(), xorbs }
    }
}

#[async_trait]
impl DeduplicationDataInterface for Dedup {
    type ErrorType = Error;

    async fn chunk_hash_dedup_query(
        &self,
        chunks: &[MerkleHash],
    ) -> Result<Option<(usize, FileDataSequenceEntry, bool)>> {
        self.session.find(chunks).await
    }

    async fn register_global_dedup_query(&mut self, chunk: MerkleHash) -> Result<()> {
        self.questions.push(chunk);
        Ok(())
    }

    async fn complete_global_dedup_queries(&mut self) -> Result<bool> {
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
