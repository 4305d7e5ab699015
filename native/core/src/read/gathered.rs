//! Chunks that are brought together from parts of a file, wherever they can be had.

use std::collections::BTreeMap;
use std::ops::{Deref, Range};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use xet_core_structures::merklehash::MerkleHash;
use xet_core_structures::xorb_object::constants::MAX_CHUNK_SIZE;

use super::asking::{ASKING, Answer};
use super::window::Window;
use crate::call::file_task::FileTask;
use crate::call::tasks::Tasks;
use crate::cas::chunker::Cut;
use crate::cas::parts::{intersect, length};
use crate::cas::resolve::Resolver;
use crate::cas::sources::{Block, ChunkSink, ChunkSource, LooseChunk, PlacedChunk};
use crate::cas::{Cas, block, parts};
use crate::download::Ranges;
use crate::model::error::{Error, Result};
use crate::reuse::Term;

/// An answer about a range is taken for what is lacking of it, if that is shorter by no more than this, and by no
/// more than an eighth: what is at the ends of a range may have come with its neighbours.
const NEARLY: u64 = 256 << 10;

/// The most that is fetched at a time, in bytes, with what chunks at the ends have besides.
const LARGEST: u64 = 6 << 20;

/// A chunk that has been hashed.
#[derive(Clone)]
pub(crate) struct Chunk {
    pub(crate) hash: MerkleHash,
    pub(crate) content: Bytes,
    /// The xorb that it came from, and its number there; `None`: it was on this machine, or came another way.
    pub(super) fetched_from: Option<(MerkleHash, u32)>,
    /// It is the published file's.
    pub(super) is_proven: bool,
}

impl Chunk {
    /// A piece that is none of Xet's.
    pub(super) fn unhashed(content: Bytes) -> Self {
        Self { hash: MerkleHash::default(), content, fetched_from: None, is_proven: false }
    }
}

/// Chunks by where they begin in the file.
pub(crate) type Chunks = BTreeMap<u64, Chunk>;

/// Chunks that came, and aren't proven yet. Whoever drops them leaves them for the next one who asks for them: a read
/// that has no time left mustn't begin at nothing again.
pub(super) struct Unproven {
    chunks: Chunks,
    left: Arc<Window>,
}

impl Unproven {
    /// They are the file's now.
    pub(super) fn proven(self) -> Chunks {
        let mut chunks = self.into_chunks();
        for chunk in chunks.values_mut() {
            chunk.is_proven = true;
        }
        chunks
    }

    /// There is no proof to wait for.
    pub(super) fn into_chunks(mut self) -> Chunks {
        std::mem::take(&mut self.chunks)
    }

    /// Something of them isn't the file's.
    pub(super) fn discard(mut self) {
        self.chunks.clear();
    }
}

impl Deref for Unproven {
    type Target = Chunks;

    fn deref(&self) -> &Chunks {
        &self.chunks
    }
}

impl Drop for Unproven {
    fn drop(&mut self) {
        self.left.add(&self.chunks);
    }
}

/// One file, and where its chunks are asked for, one source after the other. The last one is storage.
pub(super) struct Sources {
    pub(super) task: FileTask,
    pub(super) hash: MerkleHash,
    pub(super) cas: Arc<Cas>,
    pub(super) all: Vec<Arc<dyn ChunkSource<Gathered>>>,
    /// What others have left that isn't proven.
    pub(super) left: Arc<Window>,
}

impl Sources {
    /// The chunks that hold these ranges, which are in order, apart from each other and not empty. Nothing says yet
    /// that they are the file's. Unless `from_here`, only storage is asked. `answers`: what the CAS was asked before.
    pub(super) async fn gather(
        self: &Arc<Self>,
        wanted: &[Range<u64>],
        from_here: bool,
        mut answers: Vec<Answer>,
    ) -> Result<Unproven> {
        let (sources, wanted) = (Arc::clone(self), wanted.to_vec());
        let gathered = Arc::new(Gathered { sources, wanted, held: Mutex::default() });
        let _end = LeavesAtOnce(&gathered);
        let has_lefts = from_here && gathered.take_what_was_left();
        let storage = self.all.len().saturating_sub(1);
        let from_here = from_here.then_some(&self.all[..]);
        // A place on this machine that turns out to be wrong leaves gaps; storage fills them.
        for sources in from_here.into_iter().chain([&self.all[storage..]]) {
            if !gathered.lacking().is_empty() {
                gathered.fill(sources, std::mem::take(&mut answers)).await?;
            }
        }
        if !gathered.lacking().is_empty() && has_lefts {
            // What was left may have come by a lie, and stand where the file has something else.
            *gathered.held() = Held::default();
            gathered.fill(&self.all[storage..], Vec::new()).await?;
        }
        if !gathered.lacking().is_empty() {
            *gathered.held() = Held::default();
            return Err(block::lie("it leaves gaps in the file"));
        }
        Ok(gathered.unproven())
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
        let Self { chunks, from_here, terms, .. } = &mut self;
        for term in &*terms {
            let locate = |chunk: &mut Chunk, range: &Range<u64>, number| {
                if !from_here.touches(range) {
                    chunk.fetched_from = Some((term.xorb, number));
                }
            };
            let mut at = term.offset;
            for number in term.chunks.clone() {
                let Some(chunk) = chunks.get_mut(&at) else { break };
                let range = at..at + chunk.content.len() as u64;
                at = range.end;
                locate(chunk, &range, number);
            }
            // What a term begins with, others may have brought: the rest is known by its end.
            let (first, mut end) = (at, term.end());
            for number in term.chunks.clone().rev() {
                let last = chunks.range_mut(first..end.max(first)).next_back();
                let Some((&start, chunk)) = last else { break };
                let range = start..start + chunk.content.len() as u64;
                if range.end != end {
                    break;
                }
                end = start;
                locate(chunk, &range, number);
            }
        }
        self.chunks
    }
}

impl Gathered {
    /// Begins with what others have left, if there is something.
    fn take_what_was_left(&self) -> bool {
        let mut held = self.held();
        for range in &self.wanted {
            for (at, chunk) in self.sources.left.take(range) {
                let len = chunk.content.len() as u64;
                let place = at..at + len;
                // One that was left may be none of the file's, and reach into another.
                if held.there.gaps(&place) == [place.clone()] {
                    held.there.add(place);
                    held.chunks.insert(at, chunk);
                    self.sources.task.progress.advance(len);
                }
            }
        }
        !held.chunks.is_empty()
    }

    /// What came so far.
    fn unproven(&self) -> Unproven {
        let chunks = std::mem::take(&mut *self.held()).located();
        Unproven { chunks, left: Arc::clone(&self.sources.left) }
    }

    /// What isn't there of what is wanted, in order.
    fn lacking(&self) -> Vec<Range<u64>> {
        let held = self.held();
        self.wanted.iter().flat_map(|range| held.there.gaps(range)).collect()
    }

    /// Has sources bring what isn't there. About what has no answer among these the CAS is asked.
    async fn fill(
        self: &Arc<Self>,
        sources: &[Arc<dyn ChunkSource<Self>>],
        answers: Vec<Answer>,
    ) -> Result<()> {
        let (resolver, lacking) = (self.sources.resolver(), self.lacking());
        let mut fetches = Vec::new();
        let mut answered = Ranges::default();
        for Answer { range, fetches: found } in answers {
            let of_it = length(&intersect(&range, &lacking));
            let all = range.end - range.start;
            if of_it + NEARLY >= all && of_it > all / 8 * 7 {
                fetches.extend(found?);
                answered.add(range);
            }
        }
        // An answer about a range names the fewest chunks that hold it.
        let open: Vec<_> = lacking.iter().flat_map(|range| answered.gaps(range)).collect();
        let more = stream::iter(open).map(|range| {
            let within = around(&range, self.sources.task.entry.size);
            async move { resolver.resolve(&range, &within).await }
        });
        let more: Vec<_> = more.buffered(ASKING).try_collect().await?;
        fetches.extend(more.into_iter().flatten());
        let fetches = parts::join(fetches);
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
        held.chunks.insert(offset, Chunk { hash, content, fetched_from: None, is_proven: false });
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

/// Leaves what came as soon as nobody waits for it any more: what is still being written, and holds it, may take a while.
struct LeavesAtOnce<'a>(&'a Gathered);

impl Drop for LeavesAtOnce<'_> {
    fn drop(&mut self) {
        drop(self.0.unproven());
    }
}

impl Drop for Gathered {
    /// Nobody waits for what came any more, unless it was taken.
    fn drop(&mut self) {
        drop(self.unproven());
    }
}

impl ChunkSink for Gathered {
    fn task(&self) -> &FileTask {
        &self.sources.task
    }

    fn hash(&self) -> MerkleHash {
        self.sources.hash
    }

    /// All that a part brings: how many there are is bounded by the memory for them, and each waits for its round trip.
    fn small(&self) -> u64 {
        LARGEST
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

/// A range, and what chunks at its ends may have besides, in a file of `size` bytes.
pub(super) fn around(range: &Range<u64>, size: u64) -> Range<u64> {
    let longest = *MAX_CHUNK_SIZE as u64;
    range.start.saturating_sub(longest)..range.end.saturating_add(longest).min(size)
}

/// Whether they have a byte in common.
pub(super) fn touch(one: &Range<u64>, other: &Range<u64>) -> bool {
    one.start < other.end && other.start < one.end
}
