//! Which xorbs the sessions of an upload have sent. xet-core writes each down in a shard of its own as soon as it is
//! stored; a shard that wasn't there before is of one that they have sent.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use xet_core_structures::merklehash::MerkleHash;
use xet_core_structures::metadata_shard::file_structs::MDBFileInfo;
use xet_core_structures::metadata_shard::shard_file_handle::{MDBShardFile, new_shard_file_cache};

use crate::call::Call;
use crate::model::error::Result;

/// The shards that were there at some moment, and the xorbs that were sent since.
pub(super) struct Sent {
    folder: PathBuf,
    shards: HashSet<PathBuf>,
    xorbs: HashSet<MerkleHash>,
}

impl Sent {
    pub(super) async fn look(folder: PathBuf, call: &Call) -> Result<Self> {
        call.blocking("a look at the shards of a session", move || {
            let shards = shards(&folder).collect();
            Ok(Self { folder, shards, xorbs: HashSet::new() })
        })
        .await
    }

    /// Whether any were written down since: whether a session got on.
    pub(super) async fn has_more_now(&self, call: &Call) -> Result<bool> {
        let now = Self::look(self.folder.clone(), call).await?;
        Ok(!self.xorbs.is_empty() || now.shards.iter().any(|path| !self.shards.contains(path)))
    }

    /// Notes what has been written down since. A later session will clear it up.
    pub(super) async fn note(&mut self, call: &Call) -> Result<()> {
        let mut noted = std::mem::take(&mut self.shards);
        let folder = self.folder.clone();
        let read = call.blocking("the disk to read the shards of a session", move || {
            let cache = new_shard_file_cache();
            let mut sent = Vec::new();
            for path in shards(&folder) {
                if noted.contains(&path) {
                    continue;
                }
                let read = MDBShardFile::load_from_file(&path, &cache)
                    .and_then(|shard| shard.read_all_xorb_blocks());
                match read {
                    Ok(blocks) => sent.extend(blocks.into_iter().map(|(b, _)| b.xorb_hash)),
                    // Another session may be clearing up; this is only for the report.
                    Err(error) => tracing::debug!(%error, "can't count xorbs"),
                }
                noted.insert(path);
            }
            Ok((noted, sent))
        });
        let sent;
        (self.shards, sent) = read.await?;
        self.xorbs.extend(sent);
        Ok(())
    }

    /// How many of the xorbs that these files refer to have been noted.
    pub(super) fn count(&self, infos: &[MDBFileInfo]) -> u32 {
        let used: HashSet<MerkleHash> =
            infos.iter().flat_map(|info| &info.segments).map(|s| s.xorb_hash).collect();
        u32::try_from(self.xorbs.intersection(&used).count()).unwrap_or(u32::MAX)
    }
}

/// Without the folder there are none; one that can't be read will fail the session.
fn shards(folder: &Path) -> impl Iterator<Item = PathBuf> {
    std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path())
}
