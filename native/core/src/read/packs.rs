//! What was read is kept on this machine: for later reads, of whatever process, and for downloads.
//!
//! Chunks that were fetched, and proven, are written one behind the other into files, the packs, in a folder of ours
//! in the Xet cache. The reuse index remembers a pack as it does any file with Xet content, and there whoever needs
//! its chunks finds them; who takes them hashes them, so a pack that is damaged costs bytes. A pack is written
//! under another name first, and named by the Xet hash of what is in it. When all of them are too large, the
//! oldest go.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use tempfile::NamedTempFile;
use xet_core_structures::merklehash::{MerkleHash, file_hash};

use super::gathered::{Chunk, Chunks};
use crate::cache::gc::packs::{self, Pack, WRITING};
use crate::call::Call;
use crate::call::walk::Walk;
use crate::model::error::Result;
use crate::reuse::{ChunkRecord, Finished, Index, Term};

/// What waits to be written, in bytes, before it's enough for a pack.
const PACK: u64 = 8 << 20;

/// How much is written between two looks at what all packs take, as a part of what they may take.
const LOOK: u64 = 32;

/// The packs of one Xet cache, and what goes into the next one.
pub(super) struct Packs {
    folder: PathBuf,
    /// The most bytes that all of them may take.
    limit: u64,
    index: Arc<Index>,
    waiting: Mutex<Waiting>,
    /// Whose turn it is to write.
    turn: Mutex<()>,
}

#[derive(Default)]
struct Waiting {
    /// By xorb and number.
    chunks: BTreeMap<(MerkleHash, u32), Chunk>,
    bytes: u64,
    /// Written since all packs were looked at.
    written: u64,
}

impl Waiting {
    /// What waits; and whether `many` bytes were written since that was last so.
    fn take(&mut self, many: u64) -> (BTreeMap<(MerkleHash, u32), Chunk>, bool) {
        self.written += std::mem::take(&mut self.bytes);
        let is_due = self.written >= many;
        if is_due {
            self.written = 0;
        }
        (std::mem::take(&mut self.chunks), is_due)
    }
}

impl Packs {
    /// Those in `xet_cache`. Nothing is made before there is something to keep.
    pub(super) fn new(xet_cache: &Path, limit: u64, index: Arc<Index>) -> Self {
        let folder = packs::folder(xet_cache);
        let written = limit / LOOK;
        let waiting = Mutex::new(Waiting { written, ..Waiting::default() });
        Self { folder, limit, index, waiting, turn: Mutex::default() }
    }

    /// Takes chunks that were fetched, and are proven; or leaves them, where they come faster than the disk takes them.
    /// True: there is enough for a pack, which is to be [written](Self::write_by).
    pub(super) fn add(&self, chunks: &Chunks) -> bool {
        let mut waiting = self.waiting();
        if waiting.bytes >= 2 * PACK {
            // Whoever was to write it may have been stopped.
            return !self.is_being_written();
        }
        for chunk in chunks.values() {
            let Some(from) = chunk.fetched_from else { continue };
            if waiting.chunks.insert(from, chunk.clone()).is_none() {
                waiting.bytes += chunk.content.len() as u64;
            }
        }
        // Who writes now goes on with it.
        waiting.bytes >= PACK && !self.is_being_written()
    }

    /// Whether something waits to be written, or is being written.
    pub(super) fn has_some(&self) -> bool {
        self.waiting().bytes > 0 || self.is_being_written()
    }

    fn is_being_written(&self) -> bool {
        matches!(self.turn.try_lock(), Err(TryLockError::WouldBlock))
    }

    /// Writes what waits, for the work of `call`. When this returns, what others were writing is written, too.
    pub(super) async fn write_by(self: Arc<Self>, call: &Call) -> Result<()> {
        let write = move || {
            self.write();
            Ok(())
        };
        call.blocking("the disk to keep what was read", write).await
    }

    /// Blocks on the disk. What can't be written is only fetched again.
    fn write(&self) {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let (chunks, is_due) = self.waiting().take(self.limit / LOOK);
            if !chunks.is_empty()
                && let Err(error) = self.write_pack(&chunks)
            {
                let folder = self.folder.display();
                tracing::debug!(%folder, %error, "can't keep what was read");
            }
            if is_due && let Err(error) = self.make_room() {
                let folder = self.folder.display();
                tracing::debug!(%folder, %error, "can't remove what was read long ago");
            }
            if self.waiting().bytes < PACK {
                return;
            }
        }
    }

    fn write_pack(&self, chunks: &BTreeMap<(MerkleHash, u32), Chunk>) -> std::io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        let mut terms: Vec<Term> = Vec::new();
        let (mut list, mut size) = (Vec::with_capacity(chunks.len()), 0);
        let mut pack = NamedTempFile::with_prefix_in(WRITING, &self.folder)?;
        for (&(xorb, number), chunk) in chunks {
            pack.write_all(&chunk.content)?;
            let len = chunk.content.len() as u64;
            terms.push(Term { xorb, chunks: number..number + 1, offset: size, len });
            list.push((chunk.hash, len));
            size += len;
        }
        let hash = file_hash(&list);
        let path = self.folder.join(hash.hex());
        pack.persist(&path)?;
        let records = list
            .iter()
            .filter_map(|(hash, len)| Some(ChunkRecord::new(u32::try_from(*len).ok()?, hash)));
        self.index.remember_pack(Finished { hash: &hash, size, path: &path, terms }, records);
        Ok(())
    }

    /// Removes the oldest packs while there are too many bytes of them, and what was left half-written.
    fn make_room(&self) -> Result<()> {
        let mut packs = Pack::all_in(&self.folder, &Walk::default())?;
        let mut bytes: u64 = packs.iter().map(|pack| pack.size).sum();
        packs.retain(|pack| !pack.is_being_written());
        packs.sort_by_key(|pack| (pack.is_whole, pack.changed));
        for pack in packs {
            if pack.is_whole && bytes <= self.limit {
                break;
            }
            if fs::remove_file(&pack.path).is_ok() {
                self.index.forget_path(&pack.path);
            }
            bytes -= pack.size;
        }
        Ok(())
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // Each change leaves it whole.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
