//! What uploads that broke have left: xorbs that storage has, and that nobody has registered.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::runtime::Handle;
use xet_core_structures::metadata_shard::session_directory::merge_shards;
use xet_core_structures::metadata_shard::shard_file_handle::MDBShardFile;
use xet_core_structures::metadata_shard::{
    ChunkIndexSizeEnforcement, MDB_SHARD_TARGET_SIZE, ShardFileManager,
};

use super::fault::of_cache;
use super::folder::Folder;
use super::place::{self, Place, sweep_unwritten};
use crate::call::Call;
use crate::call::scheduler::OffWorker;
use crate::model::error::Result;

/// Xorbs of uploads that broke: storage has them, and nobody has registered them.
pub(super) struct Left {
    pub(super) manager: Arc<ShardFileManager>,
    /// Put together, in a place of their own.
    pub(super) shards: Mutex<Vec<Arc<MDBShardFile>>>,
    /// What those were put together from.
    pub(super) parts: Mutex<Vec<PathBuf>>,
    _place: OffWorker<Place>,
}

impl Left {
    pub(super) fn read(folder: &Folder, runtime: &Handle, call: &Call) -> Result<Option<Self>> {
        let fail = |error| of_cache(&folder.root, &error);
        place::sweep(&folder.sessions);
        for folder in [&folder.cached, &folder.staged] {
            sweep_unwritten(folder);
        }
        if !folder.has_staged() {
            return Ok(None);
        }
        let place = Place::new_in(&folder.sessions).map_err(|e| of_cache(&folder.sessions, &e))?;
        let files = folder.files();
        let merged = merge_shards(
            &folder.context.runtime,
            &folder.staged,
            place.path(),
            *MDB_SHARD_TARGET_SIZE,
            true,
            &files,
        );
        let merged = merged.map_err(fail)?;
        if merged.merged_shards.is_empty() {
            return Ok(None);
        }
        let read = async {
            let in_place =
                ShardFileManager::new_in_session_directory(&folder.context, place.path(), false);
            let manager = in_place.await?;
            let how = ChunkIndexSizeEnforcement::StopAtCap;
            manager.register_shards(&merged.merged_shards, how).await.map(|()| manager)
        };
        let manager = runtime.block_on(read).map_err(fail)?;
        let parts = merged.obsolete_shards.iter().map(|shard| shard.path.clone()).collect();
        let (shards, parts) = (Mutex::new(merged.merged_shards), Mutex::new(parts));
        Ok(Some(Self { manager, shards, parts, _place: call.off_worker(place) }))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Vec<Arc<MDBShardFile>>> {
        // Every change leaves it whole.
        self.shards.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
