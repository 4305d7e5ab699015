//! Chunks that are brought together from parts of a file, wherever they can be had.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use xet_core_structures::merklehash::MerkleHash;
use xet_core_structures::xorb_object::constants::MAX_CHUNK_SIZE;

use crate::call::file_task::FileTask;
use crate::call::tasks::Tasks;
use crate::cas::chunker::Cut;
use crate::cas::resolve::Resolver;
use crate::cas::sources::{Block, ChunkSink, ChunkSource, LooseChunk, PlacedChunk};
use crate::cas::{Cas, block, parts};
use crate::download::Ranges;
use crate::model::error::{Error, Result};
use crate::reuse::Term;

/// Questions about ranges that are on their way at a time.
const ASKING: usize = 16;

/// A chunk that has been hashed.
#[derive(Clone)]
pub(crate) struct Chunk {
    pub(crate) hash: MerkleHash,
    pub(crate) content: Bytes,
    /// The xorb that it came from, and its number there; `None`: it was on this machine, or came another way.
    pub(super) fetched_from: Option<(MerkleHash, u32)>,
}

impl Chunk {
    /// A piece that is none of Xet's.
    pub(super) fn unhashed(content: Bytes) -> Self {
        Self { hash: MerkleHash::default(), content, fetched_from: None }
    }
}

/// Chunks by where they begin in the file.
pub(crate) type Chunks = BTreeMap<u64, Chunk>;

/// One file, and where its chunks are asked for, one source after the other. The last one is storage.
pub(super) struct Sources {
    pub(super) task: FileTask,
    pub(super) hash: MerkleHash,
    pub(super) cas: Arc<Cas>,
    pub(super) all: Vec<Arc<dyn ChunkSource<Gathered>>>,
}

impl Sources {
    /// The chunks that hold these ranges, which are in order, apart from each other and not empty. Nothing says yet
    /// that they are the file's. Unless `from_here`, only storage is asked.
    pub(super) async fn gather(
        self: &Arc<Self>,
        wanted: &[Range<u64>],
        from_here: bool,
    ) -> Result<Chunks> {
        if wanted.is_empty() {
            return Ok(Chunks::new());
        }
        let (sources, wanted) = (Arc::clone(self), wanted.to_vec());
        let gathered = Arc::new(Gathered { sources, wanted, held: Mutex::default() });
        let storage = self.all.len().saturating_sub(1);
        let from_here = from_here.then_some(&self.all[..]);
        // A place on this machine that turns out to be wrong leaves gaps; storage fills them.
        for sources in from_here.into_iter().chain([&self.all[storage..]]) {
            if !gathered.lacking().is_empty() {
                gathered.fill(sources).await?;
            }
        }
        if !gathered.lacking().is_empty() {
            return Err(block::lie("it leaves gaps in the file"));
        }
        Ok(std::mem::take(&mut *gathered.held()).located())
    }

    fn resolver(&self) -> Resolver<'_> {
        Resolver::new(&self.cas, self.hash, &self.task)
    }
}

/// Takes chunks, and holds them.
pub(super) struct Gathered {
    sources: Arc<Sources>,
    /// What an answer names besides is none of its business, and must not decide how much memory it takes.
    wanted: Vec<Range<u64>>,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    chunks: Chunks,
    there: Ranges,
    /// What comes from this machine, if it comes.
    from_here: Ranges,
    terms: Vec<Term>,
}

impl Held {
    /// The chunks, each with where it was fetched from.
    fn located(mut self) -> Chunks {
        for term in &self.terms {
            let mut at = term.offset;
            for number in term.chunks.clone() {
                let Some(chunk) = self.chunks.get_mut(&at) else { break };
                let range = at..at + chunk.content.len() as u64;
                at = range.end;
                if !self.from_here.touches(&range) {
                    chunk.fetched_from = Some((term.xorb, number));
                }
            }
        }
        self.chunks
    }
}

impl Gathered {
    /// What isn't there of what is wanted, in order.
    fn lacking(&self) -> Vec<Range<u64>> {
        let held = self.held();
        self.wanted.iter().flat_map(|range| held.there.gaps(range)).collect()
    }

    /// Has sources bring what isn't there.
    async fn fill(self: &Arc<Self>, sources: &[Arc<dyn ChunkSource<Self>>]) -> Result<()> {
        let (resolver, lacking) = (self.sources.resolver(), self.lacking());
        // An answer about a range names the fewest chunks that hold it.
        let answers = stream::iter(lacking).map(|range| {
            let within = self.around(&range);
            async move { resolver.resolve(&range, &within).await }
        });
        let answers: Vec<_> = answers.buffered(ASKING).try_collect().await?;
        let fetches = parts::join(answers.into_iter().flatten().collect());
        let terms = block::terms(&fetches);
        self.held().terms.extend(terms.iter().cloned());
        let there: Ranges = terms.iter().map(|term| term.offset..term.end()).collect();
        // From where a chunk begins to where one ends.
        let gaps = there.to_vec();
        let mut running = Tasks::default();
        let mut block = Block::new(self, resolver, &gaps, fetches);
        for source in sources {
            Arc::clone(source).begin(&mut block, &mut running).await?;
        }
        drop(block);
        running.all().await
    }

    /// A range, and what chunks at its ends may have besides.
    fn around(&self, range: &Range<u64>) -> Range<u64> {
        let longest = *MAX_CHUNK_SIZE as u64;
        let size = self.sources.task.entry.size;
        range.start.saturating_sub(longest)..range.end.saturating_add(longest).min(size)
    }

    fn place_one(&self, chunk: &LooseChunk<'_>) -> Result<Option<PlacedChunk>> {
        let &LooseChunk { offset, hash, content } = chunk;
        let len = u32::try_from(content.len()).map_err(Error::internal)?;
        let placed = PlacedChunk { offset, len, hash, cut: Cut::AsPublished };
        let range = placed.range();
        let next = self.wanted.partition_point(|wanted| wanted.end <= range.start);
        if self.wanted.get(next).is_none_or(|wanted| !touch(wanted, &range)) {
            return Ok(None);
        }
        // Copied before anybody waits for it.
        let content = Bytes::copy_from_slice(content);
        let mut held = self.held();
        if held.there.gaps(&range) != [range.clone()] {
            return Ok(None);
        }
        held.chunks.insert(offset, Chunk { hash, content, fetched_from: None });
        held.there.add(range);
        drop(held);
        self.sources.task.progress.advance(u64::from(len));
        Ok(Some(placed))
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        // Each change leaves it whole.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ChunkSink for Gathered {
    fn task(&self) -> &FileTask {
        &self.sources.task
    }

    fn hash(&self) -> MerkleHash {
        self.sources.hash
    }

    fn missing(&self, within: Range<u64>) -> Vec<Range<u64>> {
        if within.is_empty() { Vec::new() } else { self.held().there.gaps(&within) }
    }

    fn place(&self, chunks: &[LooseChunk<'_>], placed: &mut Vec<PlacedChunk>) -> Result<()> {
        for chunk in chunks {
            placed.extend(self.place_one(chunk)?);
        }
        Ok(())
    }

    /// Nobody is believed without a proof. Who copies from this machine says so first; who fetches says it afterwards.
    fn doubt(&self, range: Range<u64>) {
        let mut held = self.held();
        if !held.there.touches(&range) {
            held.from_here.add(range);
        }
    }
}

/// Whether they have a byte in common.
pub(super) fn touch(one: &Range<u64>, other: &Range<u64>) -> bool {
    one.start < other.end && other.start < one.end
}
