//! Xorbs that shards name and storage hasn't got, as uploads have found out.
//!
//! Storage says of a chunk which xorb it's in, and says the same again to the next upload, although it has refused what
//! goes by it. A shard that names such a xorb is another one each time (it has a time in it, or a key), so it's the
//! xorb that is noted: its hash in hex, a line each, in a file beside the shards.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use xet_core_structures::merklehash::MerkleHash;

use crate::model::error::Result;
use crate::sys::files::{self, Durability};

/// The name of the file.
const NAME: &str = "xet-ffi-missing-xorbs";
/// The most that are noted; the oldest go. Terabytes may be in so many.
const MOST: usize = 20_000;
/// Bytes of each.
const LINE: u64 = 65;

/// What is noted beside the shards of one storage.
#[derive(Default)]
pub(crate) struct MissingXorbs(HashSet<MerkleHash>);

impl MissingXorbs {
    /// What is noted beside the folder of shards `cached`. One can do without: what can't be read is none.
    pub(crate) fn read(cached: &Path) -> Self {
        let noted = lines(&path(cached)).unwrap_or_else(|error| {
            tracing::warn!("can't read which xorbs storage lacks: {error}");
            Vec::new()
        });
        Self(noted.into_iter().collect())
    }

    /// Whether any of these is noted.
    pub(super) fn has_any_of(&self, xorbs: &[MerkleHash]) -> bool {
        xorbs.iter().any(|xorb| self.0.contains(xorb))
    }

    /// Notes more of them.
    pub(super) fn add(cached: &Path, xorbs: &HashSet<MerkleHash>) -> Result<()> {
        let path = path(cached);
        let mut noted = lines(&path)?;
        let known: HashSet<_> = noted.iter().copied().collect();
        noted.extend(xorbs.difference(&known));
        let last = &noted[noted.len().saturating_sub(MOST)..];
        let text: String = last.iter().map(|xorb| xorb.hex() + "\n").collect();
        files::write(&path, text.as_bytes(), Durability::Lazy)
    }
}

fn path(cached: &Path) -> PathBuf {
    files::parent(cached).join(NAME)
}

/// The hashes in a file; lines that aren't any are passed over.
fn lines(path: &Path) -> Result<Vec<MerkleHash>> {
    let text = files::read_text(path, 2 * MOST as u64 * LINE)?.unwrap_or_default();
    Ok(text.lines().filter_map(|line| MerkleHash::from_hex(line).ok()).collect())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// What was noted is known to the next upload, whatever else is in the file, and there is an end to it.
    #[test]
    fn what_storage_lacks_is_known_for_good() {
        let folder = tempfile::tempdir().unwrap();
        let cached = folder.path().join("shard-cache");
        let xorb = |n: u64| MerkleHash::from([n, 2, 3, 4]);
        assert!(!MissingXorbs::read(&cached).has_any_of(&[xorb(1)]));
        MissingXorbs::add(&cached, &HashSet::from([xorb(1)])).unwrap();
        fs::write(path(&cached), format!("?\n{}\n{}", xorb(1).hex(), &xorb(2).hex()[..9])).unwrap();
        MissingXorbs::add(&cached, &HashSet::from([xorb(1), xorb(3)])).unwrap();
        let read = MissingXorbs::read(&cached);
        assert!(read.has_any_of(&[xorb(9), xorb(1)]) && read.has_any_of(&[xorb(3)]));
        assert!(!read.has_any_of(&[xorb(2)]));
        MissingXorbs::add(&cached, &(10..10 + MOST as u64).map(xorb).collect()).unwrap();
        let read = MissingXorbs::read(&cached);
        assert!(!read.has_any_of(&[xorb(1)]) && read.0.len() == MOST);
    }
}
