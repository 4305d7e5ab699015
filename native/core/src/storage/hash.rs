//! The Xet hash of content, without a network.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::{StreamExt, stream};
use xet_core_structures::merklehash::MerkleHash;

use crate::call::Call;
use crate::call::progress::Phase;
use crate::model::error::Result;
use crate::upload::{InputSource, UploadContent, content_of, xet_hash};

/// Content to hash.
pub(crate) struct ToHash {
    /// What it is called, for people.
    pub(crate) name: Arc<str>,
    pub(crate) source: InputSource,
    /// How many bytes of it the call's counters expect.
    pub(crate) expected: u64,
}

/// What content would be stored as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hashed {
    pub(crate) hash: MerkleHash,
    /// In bytes.
    pub(crate) size: u64,
}

/// Files to hash, of which the call's counters know from now on how many there are, and how many bytes.
pub(crate) async fn look(call: &Call, paths: Vec<PathBuf>) -> Result<Vec<ToHash>> {
    let inner = call.clone();
    let look = move || {
        let look = |path: PathBuf| {
            inner.beat();
            // One that isn't there is an error when it's read.
            let expected = fs::metadata(&path).map_or(0, |found| found.len());
            let name = path.display().to_string().into();
            ToHash { name, source: InputSource::Path(path), expected }
        };
        Ok(paths.into_iter().map(look).collect::<Vec<_>>())
    };
    let files = call.blocking("a look at the files to hash", look).await?;
    let count = u32::try_from(files.len()).unwrap_or(u32::MAX);
    let bytes = files.iter().fold(0u64, |sum, file| sum.saturating_add(file.expected));
    call.counters.set_upload_totals(count, bytes);
    Ok(files)
}

/// Hashes contents, several side by side, and gives what came of each, in their order. `cache` is where content may be
/// staged whose size nobody knows. Memory doesn't grow with their sizes.
pub(crate) async fn hash_all(
    call: &Call,
    contents: Vec<ToHash>,
    cache: &Path,
) -> Vec<Result<Hashed>> {
    call.counters.enter(Phase::Hashing);
    let side_by_side = std::thread::available_parallelism().map_or(2, usize::from);
    let hash = |content| hash(call, content, cache);
    stream::iter(contents).map(hash).buffered(side_by_side).collect().await
}

async fn hash(call: &Call, to_hash: ToHash, cache: &Path) -> Result<Hashed> {
    let ToHash { name, source, expected } = to_hash;
    let content = match source {
        InputSource::Path(path) => content_of(call, path, cache).await?,
        InputSource::Memory(memory) => UploadContent::of_memory(memory),
        InputSource::Content(content) => content,
    };
    let (size, inner) = (content.size(), call.clone());
    // It has grown, or the system makes it as it's read.
    call.counters.add_total(size.saturating_sub(expected));
    let progress = call.counters.begin_file(&name, size);
    let what = format!("the disk to hash {name}");
    let hash = move || {
        let hash = xet_hash(&content, &inner, |bytes| progress.advance(bytes))?;
        progress.finish();
        Ok(hash)
    };
    let hash = call.blocking(what, hash).await?;
    call.counters.take_ended(&name);
    Ok(Hashed { hash, size })
}
