//! Which chunks storage has, as is known on this machine and asked of storage: xet-core's files in the Xet cache, in
//! its formats, so that it and we find what the other has noted.
//!
//! ```text
//! <cache>/<endpoint>/shard-cache/<hash>.mdb                    of whole uploads, and of others' content
//! <cache>/<endpoint>/staging/shard-session/xorb_metadata/      of each xorb that was sent, until it's registered
//! ```

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::Handle;
use xet_core_structures::error::CoreError;
use xet_core_structures::merklehash::MerkleHash;
use xet_core_structures::metadata_shard::file_structs::FileDataSequenceEntry;
use xet_core_structures::metadata_shard::shard_file_handle::MDBShardFile;
use xet_core_structures::metadata_shard::shard_in_memory::MDBInMemoryShard;
use xet_core_structures::metadata_shard::xorb_structs::MDBXorbInfo;
use xet_core_structures::metadata_shard::{
    ChunkIndexSizeEnforcement, MDB_SHARD_LOCAL_CACHE_EXPIRATION, ShardFileManager,
};

use super::fault::of_cache;
use super::folder::Folder;
use super::left::Left;
use super::own::Own;
use crate::call::Call;
use crate::cas::shards::{self, MissingXorbs};
use crate::model::error::{Error, Kind, Result};
use crate::sys::files;
use crate::sys::refused::warn_once;

/// How long it may take, for each shard that there is, to open and read it, and put those of xorbs together. After
/// a large upload that broke there are thousands, and on a home over NFS each takes milliseconds.
const SHARD: Duration = Duration::from_millis(50);

/// Where a chunk is, and how many of those that follow are behind it there.
pub(super) type Found = Option<(usize, FileDataSequenceEntry)>;

/// What is known of chunks during one upload.
pub(super) struct Known {
    folder: Arc<Folder>,
    call: Call,
    cached: Arc<ShardFileManager>,
    left: Option<Left>,
    /// Of xorbs that were sent and aren't registered yet.
    staged: Mutex<Vec<PathBuf>>,
    own: Mutex<Own>,
    /// The xorbs of all chunks that were found.
    counted_on: Mutex<HashSet<MerkleHash>>,
    /// What storage is known not to have, whatever it says.
    missing: Arc<MissingXorbs>,
}

impl Known {
    /// Reads what is there.
    pub(super) async fn open(folder: Arc<Folder>, call: &Call) -> Result<Self> {
        let listed = Arc::clone(&folder);
        let list = move || Ok(listed.count());
        let count = call.blocking("the disk to list the shards of the Xet cache", list).await?;
        let what = format!("the disk to read {count} shards of the Xet cache");
        let allowed = SHARD.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX));
        let _waiting = call.counters.waits.begin(what, allowed);
        let (runtime, opener) = (Handle::current(), call.clone());
        let read = move || {
            let cached = runtime
                .block_on(ShardFileManager::new_in_cache_directory(&folder.context, &folder.cached))
                .map_err(|error| of_cache(&folder.root, &error))?;
            let left = Left::read(&folder, &runtime, &opener)?;
            let missing = Arc::new(MissingXorbs::read(&folder.cached));
            let (call, staged, own) = (opener, Mutex::default(), Mutex::default());
            let counted_on = Mutex::default();
            Ok(Self { folder, call, cached, left, staged, own, counted_on, missing })
        };
        call.blocking("what is known of earlier uploads", read).await
    }

    /// Looks for all of these chunks, which follow each other: what is known of where each is, by how many there are
    /// from it on.
    pub(super) async fn find(&self, chunks: Vec<MerkleHash>) -> Result<HashMap<usize, Found>> {
        let left = self.left.as_ref().map(|left| Arc::clone(&left.manager));
        let managers: Vec<_> = left.into_iter().chain([Arc::clone(&self.cached)]).collect();
        let (runtime, folder) = (Handle::current(), Arc::clone(&self.folder));
        let find = move || {
            let mut found = HashMap::with_capacity(chunks.len());
            let mut rest = &chunks[..];
            while !rest.is_empty() {
                let mut first = None;
                for manager in &managers {
                    let asked = runtime.block_on(manager.chunk_hash_dedup_query(rest));
                    first = asked.map_err(|error| of_cache(&folder.root, &error))?;
                    if first.is_some() {
                        break;
                    }
                }
                // Nobody asks for what is behind another one.
                let count = first.as_ref().map_or(1, |(count, _)| *count).max(1);
                found.insert(rest.len(), first);
                rest = rest.get(count..).unwrap_or_default();
            }
            Ok(found)
        };
        let found =
            self.call.blocking("the disk to look for chunks in the Xet cache", find).await?;
        let xorbs = found.values().flatten().map(|(_, entry)| entry.xorb_hash);
        self.lock_counted_on().extend(xorbs);
        Ok(found)
    }

    /// The xorbs of all chunks that were found.
    pub(super) fn counted_on(&self) -> HashSet<MerkleHash> {
        std::mem::take(&mut *self.lock_counted_on())
    }

    /// Takes a shard that storage has sent. False: it's of no use.
    pub(super) async fn learn(&self, shard: Bytes) -> bool {
        let (cached, runtime) = (Arc::clone(&self.cached), Handle::current());
        let missing = Arc::clone(&self.missing);
        let learn = move || {
            if let Some(problem) = shards::problem_of(&shard, &missing) {
                tracing::warn!("a shard from Xet storage is of no use: {problem}");
                return Ok(false);
            }
            let kept = cached.import_shard_from_bytes(&shard, ChunkIndexSizeEnforcement::Eviction);
            runtime.block_on(kept).map_err(Error::internal).map(|()| true)
        };
        let learnt = self.call.blocking("the disk to keep a shard", learn).await;
        let learnt = learnt.unwrap_or_else(|error| {
            tracing::warn!("can't keep what Xet storage says about chunks: {error}");
            false
        });
        if learnt {
            self.folder.has_learnt();
        }
        learnt
    }

    /// Notes a xorb that storage has, so that no kill makes it be sent again. That this can't be noted is no
    /// reason to fail. `was_sent`: storage hadn't got it before.
    pub(super) async fn stage(&self, xorb: Arc<MDBXorbInfo>, was_sent: bool) {
        let folder = Arc::clone(&self.folder);
        let bytes = u64::from(xorb.metadata.num_bytes_in_xorb);
        let stage = move || {
            let mut shard = MDBInMemoryShard::default();
            let noted = shard.add_xorb_block(xorb).and_then(|()| {
                shard.write_to_directory(&folder.staged, Some(*MDB_SHARD_LOCAL_CACHE_EXPIRATION))
            });
            noted.map_err(|error| of_cache(&folder.staged, &error))
        };
        match self.call.blocking("the disk to note what was sent", stage).await {
            Ok(path) => {
                if was_sent {
                    self.lock_own().stage(path.clone(), bytes);
                }
                self.staged().push(path);
            }
            Err(error) => self.forgets(&error),
        }
    }

    /// What this upload has sent so far.
    pub(super) fn own(&self) -> Own {
        self.lock_own().clone()
    }

    /// Shards of what was left behind, which count as registered then.
    pub(super) fn take_left(&self) -> Vec<Arc<MDBShardFile>> {
        self.left.as_ref().map(|left| std::mem::take(&mut *left.lock())).unwrap_or_default()
    }

    /// One of those, as it is sent, and how many bytes its xorbs have.
    pub(super) async fn read_left(&self, shard: Arc<MDBShardFile>) -> Result<(Bytes, u64)> {
        let root = self.folder.root.clone();
        let read = move || {
            let footer = &shard.shard.metadata;
            let bytes = footer.stored_bytes.max(footer.materialized_bytes);
            let read = shard.read_shard_to_bytes_remove_footer();
            read.map(|content| (content, bytes)).map_err(|error| of_cache(&root, &error))
        };
        self.call.blocking("the disk to read what was left of earlier uploads", read).await
    }

    /// Keeps one of those that storage has registered. If that can't be noted, what they were put together from stays
    /// for the next upload.
    pub(super) async fn keep_left(&self, shard: Arc<MDBShardFile>) -> Result<()> {
        let (cached, runtime) = (Arc::clone(&self.cached), Handle::current());
        let folder = Arc::clone(&self.folder);
        let keep = move || {
            let valid = *MDB_SHARD_LOCAL_CACHE_EXPIRATION;
            let kept = shard
                .export_with_expiration(&folder.cached, valid, cached.shard_file_cache())
                .and_then(|shard| enter(&runtime, &cached, shard));
            kept.map_err(|error| of_cache(&folder.cached, &error))
        };
        match self.call.blocking("the disk to keep what was left of uploads", keep).await {
            Err(error) if error.kind() != Kind::Cancelled => {
                self.forgets(&error);
                drop(self.take_parts());
                Ok(())
            }
            kept => kept,
        }
    }

    /// All that was left is registered, and what it was put together from is of no more use.
    pub(super) async fn forget_parts(&self) -> Result<()> {
        self.discard(self.take_parts()).await
    }

    fn take_parts(&self) -> Vec<PathBuf> {
        let Some(left) = &self.left else { return Vec::new() };
        std::mem::take(&mut *left.parts.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn discard(&self, paths: Vec<PathBuf>) -> Result<()> {
        if paths.is_empty() {
            return Ok(());
        }
        let call = self.call.clone();
        let discard = move || {
            for path in &paths {
                call.beat();
                files::discard(path);
            }
            Ok(())
        };
        self.call.blocking("the disk to remove what is registered", discard).await
    }

    /// What has been staged so far.
    pub(super) fn take_staged(&self) -> Vec<PathBuf> {
        std::mem::take(&mut *self.staged())
    }

    /// Keeps a shard that storage has registered, in place of what was staged of it.
    pub(super) async fn keep(
        &self,
        shard: Arc<MDBInMemoryShard>,
        staged: Vec<PathBuf>,
    ) -> Result<()> {
        let (cached, runtime) = (Arc::clone(&self.cached), Handle::current());
        let folder = Arc::clone(&self.folder);
        let keep = move || {
            let kept = shard
                .write_to_directory(&folder.cached, Some(*MDB_SHARD_LOCAL_CACHE_EXPIRATION))
                .and_then(|path| {
                    let shard = MDBShardFile::load_from_file(&path, cached.shard_file_cache())?;
                    enter(&runtime, &cached, shard).map(|()| path)
                });
            kept.map_err(|error| of_cache(&folder.cached, &error))
        };
        match self.call.blocking("the disk to keep what was sent", keep).await {
            Ok(path) => {
                self.lock_own().keep(path);
                self.discard(staged).await
            }
            // What is staged tells the next upload then.
            Err(error) if error.kind() == Kind::Cancelled => Err(error),
            Err(error) => {
                self.forgets(&error);
                Ok(())
            }
        }
    }

    fn forgets(&self, error: &Error) {
        warn_once("the Xet cache can't remember what was uploaded", &self.folder.root, error);
    }

    fn lock_own(&self) -> MutexGuard<'_, Own> {
        // Every change leaves it whole.
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_counted_on(&self) -> MutexGuard<'_, HashSet<MerkleHash>> {
        // Every change leaves it whole.
        self.counted_on.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn staged(&self) -> MutexGuard<'_, Vec<PathBuf>> {
        // Every change leaves it whole.
        self.staged.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Has a shard's chunks be found, in place of the oldest if there are too many.
fn enter(
    runtime: &Handle,
    cached: &ShardFileManager,
    shard: Arc<MDBShardFile>,
) -> std::result::Result<(), CoreError> {
    runtime.block_on(cached.register_shards(&[shard], ChunkIndexSizeEnforcement::Eviction))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use futures_util::poll;

    use super::super::session::tests::block;
    use super::super::settings;
    use super::*;

    /// A place in which so many xorbs were left.
    fn left_behind(xorbs: u64, call: &Call) -> Arc<Folder> {
        let folder = Folder::private(&settings::context(), call).unwrap();
        for xorb in 0..xorbs {
            let mut shard = MDBInMemoryShard::default();
            shard.add_xorb_block(block(xorb, 2)).unwrap();
            shard.write_to_directory(&folder.staged, None).unwrap();
        }
        Arc::new(folder)
    }

    /// How many of these chunks, from the first on, are behind each other somewhere.
    async fn behind(known: &Known, chunks: Vec<MerkleHash>) -> Option<usize> {
        let count = chunks.len();
        known.find(chunks).await.unwrap()[&count].as_ref().map(|(behind, _)| *behind)
    }

    /// The more a broken upload has left, the longer another one may take to begin, before anything that it does
    /// is to be seen.
    #[tokio::test]
    async fn what_is_read_first_has_its_time() {
        let call = Call::default();
        let mut opened = std::pin::pin!(Known::open(left_behind(30, &call), &call));
        let mut allowed = String::new();
        while poll!(opened.as_mut()).is_pending() {
            if call.counters.waits.is_any_allowed() {
                allowed = call.counters.waits.describe();
            }
            tokio::task::yield_now().await;
        }
        assert!(allowed.contains("the disk to read 30 shards of the Xet cache"), "{allowed}");
    }

    /// What was left is known, registered once, and then kept with the rest in place of its parts.
    #[tokio::test]
    async fn what_was_left_behind_is_registered_once() {
        let call = Call::default();
        let folder = left_behind(3, &call);
        let known = Known::open(Arc::clone(&folder), &call).await.unwrap();
        let chunks: Vec<_> = block(1, 2).chunks.iter().map(|chunk| chunk.chunk_hash).collect();
        assert_eq!(behind(&known, chunks).await, Some(2));
        let [left] = &known.take_left()[..] else { panic!("not one shard") };
        assert!(known.take_left().is_empty());
        let (_, bytes) = known.read_left(Arc::clone(left)).await.unwrap();
        assert_eq!(bytes, 600);
        known.stage(Arc::new(block(7, 2)), true).await;
        let list = |folder: &std::path::Path| fs::read_dir(folder).unwrap().count();
        assert_eq!((list(&folder.staged), list(&folder.cached)), (4, 0));
        let mut shard = MDBInMemoryShard::default();
        shard.add_xorb_block(block(7, 2)).unwrap();
        known.keep(Arc::new(shard), known.take_staged()).await.unwrap();
        assert_eq!((list(&folder.staged), list(&folder.cached)), (3, 1));
        known.keep_left(Arc::clone(left)).await.unwrap();
        known.forget_parts().await.unwrap();
        assert_eq!((list(&folder.staged), list(&folder.cached)), (0, 2));
        // For the next upload, too.
        drop(known);
        let known = Known::open(Arc::clone(&folder), &call).await.unwrap();
        for xorb in [0, 1, 2, 7] {
            let chunks: Vec<_> = block(xorb, 2).chunks.iter().map(|c| c.chunk_hash).collect();
            assert_eq!(behind(&known, chunks).await, Some(2), "{xorb}");
        }
    }

    /// What can't be noted as registered stays noted as sent, also when more is registered after it.
    #[tokio::test]
    async fn what_cannot_be_kept_is_not_forgotten() {
        let call = Call::default();
        let folder = left_behind(3, &call);
        let known = Known::open(Arc::clone(&folder), &call).await.unwrap();
        let [left] = &known.take_left()[..] else { panic!("not one shard") };
        fs::remove_dir(&folder.cached).unwrap();
        known.keep_left(Arc::clone(left)).await.unwrap();
        for _ in 0..2 {
            known.forget_parts().await.unwrap();
            assert_eq!(fs::read_dir(&folder.staged).unwrap().count(), 3);
        }
    }

    /// All chunks of a block are looked for at once: those that are known, and what is between them.
    #[tokio::test]
    async fn a_block_of_chunks_is_looked_for_at_once() {
        let call = Call::default();
        let known = Known::open(left_behind(2, &call), &call).await.unwrap();
        let of = |xorb, chunk: usize| block(xorb, 2).chunks[chunk].chunk_hash;
        let chunks = vec![of(9, 0), of(1, 0), of(1, 1), of(9, 1), of(0, 1)];
        let found = known.find(chunks).await.unwrap();
        let mut counts: Vec<_> =
            found.into_iter().map(|(left, found)| (left, found.map(|(count, _)| count))).collect();
        counts.sort_unstable();
        assert_eq!(counts, [(1, Some(1)), (2, None), (4, Some(2)), (5, None)]);
    }

    /// Storage may send anything: what isn't a shard isn't read as one.
    #[tokio::test]
    async fn what_is_no_shard_is_not_learnt() {
        let call = Call::default();
        let known = Known::open(left_behind(0, &call), &call).await.unwrap();
        let mut shard = MDBInMemoryShard::default();
        shard.add_xorb_block(block(1, 2)).unwrap();
        let bytes = shard.to_bytes().unwrap();
        assert!(!known.learn(Bytes::from_static(b"<html>")).await);
        assert!(!known.learn(Bytes::from(bytes[..bytes.len() - 9].to_vec())).await);
        assert!(known.learn(Bytes::from(bytes)).await);
        assert_eq!(behind(&known, vec![block(1, 2).chunks[0].chunk_hash]).await, Some(1));
    }
}
