//! The Xet hash of content, without a network.

use std::path::Path;
use std::sync::Arc;

use futures_util::{StreamExt, stream};
use tokio_util::sync::CancellationToken;
use xet_core_structures::merklehash::MerkleHash;

use crate::call::Call;
use crate::model::error::{Error, Result};
use crate::upload::{InputSource, UploadContent, content_of, xet_hash};

/// What content would be stored as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hashed {
    pub(crate) hash: MerkleHash,
    /// In bytes.
    pub(crate) size: u64,
}

/// Hashes contents, several side by side, and gives what came of each, in their order. `cache` is where content may be
/// staged whose size nobody knows; `name` is what each is called. Memory doesn't grow with their sizes.
pub(crate) async fn hash_all(
    call: &Call,
    sources: Vec<(Arc<str>, InputSource)>,
    cache: &Path,
) -> Vec<Result<Hashed>> {
    let side_by_side = std::thread::available_parallelism().map_or(2, usize::from);
    let never = CancellationToken::new();
    let hash = |(name, source): (Arc<str>, InputSource)| {
        let never = never.clone();
        async move { hash(call, &name, source, cache, &never).await }
    };
    stream::iter(sources).map(hash).buffered(side_by_side).collect().await
}

/// Hashes one content, until `cancel` ends that.
pub(crate) async fn hash(
    call: &Call,
    name: &str,
    source: InputSource,
    cache: &Path,
    cancel: &CancellationToken,
) -> Result<Hashed> {
    let content = match source {
        InputSource::Path(path) => content_of(call, path, cache).await?,
        InputSource::Memory(memory) => UploadContent::of_memory(memory),
        InputSource::Content(content) => content,
    };
    let (size, inner, cancel) = (content.size(), call.clone(), cancel.clone());
    let goes_on = move || if cancel.is_cancelled() { Err(Error::cancelled()) } else { Ok(()) };
    let what = format!("the disk to hash {name}");
    let hash = call.blocking(what, move || xet_hash(&content, &inner, goes_on)).await?;
    Ok(Hashed { hash, size })
}
