//! A part of a content that is read into memory.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use xet_core_structures::merklehash::MerkleHash;
use xet_core_structures::xorb_object::constants::MAX_CHUNK_SIZE;

use crate::call::file_task::FileTask;
use crate::call::tasks::Tasks;
use crate::cas::chunker::Cut;
use crate::cas::resolve::{Resolver, hull};
use crate::cas::sources::{Block, ChunkSink, ChunkSource, LooseChunk, PlacedChunk};
use crate::cas::{Cas, block};
use crate::download::{Ledgers, Ranges};
use crate::model::error::{Error, Result};

/// What the windows of one content share.
pub(super) struct Content {
    pub(super) task: FileTask,
    pub(super) hash: MerkleHash,
    pub(super) cas: Arc<Cas>,
    /// Where chunks are asked for, one after the other.
    pub(super) sources: Vec<Arc<dyn ChunkSource<Window>>>,
    /// What all chunks add up to, where all are read.
    pub(super) ledgers: Option<Ledgers>,
}

impl Content {
    fn resolver(&self) -> Resolver<'_> {
        Resolver::new(&self.cas, self.hash, &self.task)
    }
}

/// Takes the chunks of one part of a content, and holds them.
pub(super) struct Window {
    content: Arc<Content>,
    /// The part, and what chunks at its ends may have besides.
    range: Range<u64>,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    memory: Vec<u8>,
    there: Ranges,
}

impl Window {
    /// Reads a part of a content, which isn't empty.
    pub(super) async fn read(content: &Arc<Content>, part: Range<u64>) -> Result<Bytes> {
        let window = Arc::new(Self::of(content, &part)?);
        // A place on this machine that turns out to be wrong leaves gaps; storage fills them.
        let storage = content.sources.len().saturating_sub(1);
        for sources in [&content.sources[..], &content.sources[storage..]] {
            let gaps = window.missing(part.clone());
            if gaps.is_empty() {
                break;
            }
            window.fill(hull(&gaps), sources).await?;
        }
        let Held { memory, there } = std::mem::take(&mut *window.held());
        if !there.gaps(&part).is_empty() {
            return Err(block::lie("it leaves gaps in the file"));
        }
        let at =
            |offset: u64| usize::try_from(offset - window.range.start).map_err(Error::internal);
        Ok(Bytes::from(memory).slice(at(part.start)?..at(part.end)?))
    }

    /// An empty one. A chunk at an end of `part` may reach over it. What else an answer names is none of the part's
    /// business, and must not decide how much memory it takes.
    fn of(content: &Arc<Content>, part: &Range<u64>) -> Result<Self> {
        let longest = *MAX_CHUNK_SIZE as u64;
        let range = part.start.saturating_sub(longest)
            ..part.end.saturating_add(longest).min(content.task.entry.size);
        let length = usize::try_from(range.end - range.start).map_err(Error::internal)?;
        let held = Held { memory: vec![0; length], there: Ranges::default() };
        Ok(Self { content: Arc::clone(content), range, held: Mutex::new(held) })
    }

    /// Has sources bring what isn't there of these bytes.
    async fn fill(
        self: &Arc<Self>,
        wanted: Range<u64>,
        sources: &[Arc<dyn ChunkSource<Self>>],
    ) -> Result<()> {
        let resolver = self.content.resolver();
        let fetches = resolver.resolve(&wanted, &self.range).await?;
        // From where a chunk begins to where one ends.
        let terms: Vec<_> =
            block::terms(&fetches).iter().map(|term| term.offset..term.end()).collect();
        let gaps = self.missing(hull(&terms));
        let mut running = Tasks::default();
        let mut wanted = Block::new(self, resolver, &gaps, fetches);
        for source in sources {
            Arc::clone(source).begin(&mut wanted, &mut running).await?;
        }
        drop(wanted);
        running.all().await
    }

    fn place_one(&self, chunk: &LooseChunk<'_>) -> Result<Option<PlacedChunk>> {
        let &LooseChunk { offset, hash, content } = chunk;
        let len = u32::try_from(content.len()).map_err(Error::internal)?;
        let placed = PlacedChunk { offset, len, hash, cut: Cut::AsPublished };
        let range = placed.range();
        if range.start < self.range.start || range.end > self.range.end {
            return Ok(None);
        }
        let mut held = self.held();
        if held.memory.is_empty() || held.there.gaps(&range) != [range.clone()] {
            return Ok(None);
        }
        let at = usize::try_from(offset - self.range.start).map_err(Error::internal)?;
        held.memory[at..at + content.len()].copy_from_slice(content);
        held.there.add(range);
        drop(held);
        if let Some(ledgers) = &self.content.ledgers {
            ledgers.insert(&placed)?;
        }
        self.content.task.progress.advance(u64::from(len));
        Ok(Some(placed))
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        // Each change leaves it whole.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ChunkSink for Window {
    fn task(&self) -> &FileTask {
        &self.content.task
    }

    fn hash(&self) -> MerkleHash {
        self.content.hash
    }

    fn missing(&self, within: Range<u64>) -> Vec<Range<u64>> {
        let within = within.start.max(self.range.start)..within.end.min(self.range.end);
        if within.is_empty() { Vec::new() } else { self.held().there.gaps(&within) }
    }

    fn place(&self, chunks: &[LooseChunk<'_>], placed: &mut Vec<PlacedChunk>) -> Result<()> {
        for chunk in chunks {
            placed.extend(self.place_one(chunk)?);
        }
        Ok(())
    }

    fn doubt(&self, _: Range<u64>) {}
}
