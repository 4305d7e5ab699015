//! Which xorbs a session has sent. xet-core writes each down in a shard of its own as soon as it is
//! stored; a shard that wasn't there before the session is of one that it has sent.

use std::collections::HashSet;
use std::path::PathBuf;

use xet_core_structures::merklehash::MerkleHash;
use xet_core_structures::metadata_shard::file_structs::MDBFileInfo;
use xet_core_structures::metadata_shard::shard_file_handle::{MDBShardFile, new_shard_file_cache};

use crate::call::Call;
use crate::model::error::Result;

/// The shards that were there at some moment.
pub(super) struct Sent {
    folder: PathBuf,
    shards: Vec<PathBuf>,
}

impl Sent {
    pub(super) async fn look(folder: PathBuf, call: &Call) -> Result<Self> {
        call.blocking("a look at the shards of a session", move || {
            // Without the folder there are none; one that can't be read will fail the session.
            let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
            let shards = entries.map(|entry| entry.path()).collect();
            Ok(Self { folder, shards })
        })
        .await
    }

    /// Whether any were written down since: whether the session got on.
    pub(super) async fn has_more_now(&self, call: &Call) -> Result<bool> {
        let now = Self::look(self.folder.clone(), call).await?;
        Ok(now.shards.iter().any(|path| !self.shards.contains(path)))
    }

    /// How many of the xorbs that these files refer to were sent since.
    pub(super) async fn count_new(self, infos: &[MDBFileInfo], call: &Call) -> Result<u32> {
        let now = Self::look(self.folder, call).await?;
        let used: HashSet<MerkleHash> =
            infos.iter().flat_map(|info| &info.segments).map(|s| s.xorb_hash).collect();
        call.blocking("the disk to read the shards of a session", move || {
            let cache = new_shard_file_cache();
            let mut sent = HashSet::new();
            for path in now.shards.iter().filter(|path| !self.shards.contains(path)) {
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
