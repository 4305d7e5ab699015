//! The blocking half of a fetch: from pieces of a body to chunks in their places.

use std::sync::Arc;

use bytes::Bytes;
use xet_core_structures::merklehash::{MerkleHash, compute_data_hash, xorb_hash};

use super::recorder::{Recorder, Seen};
use super::{ChunkSink, LooseChunk, PlacedChunk};
use crate::cas::block::{Fetch, Placement};
use crate::cas::decode::{ChunkDecoder, Decoded};
use crate::model::error::{Error, Kind, Result};

/// What is held, in bytes, until it can be written together, or while somebody else writes.
const HELD: usize = 512 << 10;

/// A piece of a body, as it goes to a writer.
pub(super) struct Arrived {
    pub(super) bytes: Bytes,
    pub(super) from: Origin,
}

/// Whom a piece of a body is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// Storage.
    Storage,
    /// What other nodes have left. Such a piece begins and ends where chunks do.
    Tier,
}

/// Places the chunks of one fetch.
pub(super) struct Writer<S> {
    sink: Arc<S>,
    fetch: Fetch,
    /// What has them go to other nodes; `None`: they don't.
    recorder: Option<Recorder>,
    decoder: ChunkDecoder,
    /// The chunks so far, hash and length.
    chunks: Vec<(MerkleHash, u64)>,
    /// Up to where they go.
    seen: Mark,
    /// Those that aren't placed yet.
    held: Held,
    /// Up to where they are placed, each in all of its places.
    done: Mark,
    /// Placed, but not yet entered.
    placed: Vec<PlacedChunk>,
}

/// Chunks that wait to be placed.
#[derive(Default)]
struct Held {
    chunks: Vec<(u64, MerkleHash, Bytes)>,
    bytes: usize,
}

/// Where a fetch has got to.
#[derive(Clone)]
struct Mark {
    /// How many chunks there are before it.
    chunks: usize,
    /// For each placement, where its next chunk goes.
    positions: Vec<u64>,
    /// Where the next chunk begins in the body.
    taken: u64,
}

/// How a writer has ended.
pub(super) struct Ended {
    pub(super) result: Result<()>,
    /// What it hasn't placed, as a fetch of its own.
    pub(super) rest: Fetch,
}

impl Held {
    fn add(&mut self, offset: u64, hash: MerkleHash, content: Bytes) {
        self.bytes += content.len();
        self.chunks.push((offset, hash, content));
    }
}

impl<S: ChunkSink> Writer<S> {
    pub(super) fn new(sink: Arc<S>, fetch: Fetch, recorder: Option<Recorder>) -> Self {
        let positions = fetch.placements.iter().map(|p| p.offset).collect();
        let begin = Mark { chunks: 0, positions, taken: 0 };
        Self {
            sink,
            fetch,
            recorder,
            decoder: ChunkDecoder::default(),
            chunks: Vec::new(),
            seen: begin.clone(),
            held: Held::default(),
            done: begin,
            placed: Vec::new(),
        }
    }

    pub(super) fn run(mut self, pieces: impl Iterator<Item = Arrived>) -> Ended {
        let result = self.drain(pieces);
        if result.is_ok() && self.fetch.chunks.start == 0 && self.is_the_xorb() {
            if let Some(recorder) = &self.recorder {
                recorder.vouch(&self.chunks);
            }
        } else {
            for (placement, &end) in self.fetch.placements.iter().zip(&self.seen.positions) {
                if end > placement.offset {
                    self.sink.doubt(placement.offset..end);
                }
            }
        }
        Ended { result, rest: self.rest() }
    }

    /// Whether the chunks are those of the whole xorb: then each of them is right.
    fn is_the_xorb(&self) -> bool {
        xorb_hash(&self.chunks) == self.fetch.xorb
    }

    fn drain(&mut self, pieces: impl Iterator<Item = Arrived>) -> Result<()> {
        for piece in pieces {
            if self.sink.task().call.is_cancelled() {
                return Err(Error::cancelled());
            }
            self.decoder.push(piece.bytes);
            let taken = self.take_chunks(piece.from);
            // What came before something went wrong counts, too. Once for each piece, if it can be: a
            // kill costs no more than what was on its way.
            if taken.is_err() || !self.sink.is_busy() {
                self.place_held()?;
            }
            taken?;
        }
        self.place_held()?;
        self.check_end()
    }

    /// Takes the chunks that have come whole, and holds them.
    fn take_chunks(&mut self, from: Origin) -> Result<()> {
        while let Some(Decoded { raw, content: chunk }) = self.decoder.next()? {
            if self.chunks.len() >= self.fetch.chunks.len() {
                return Err(self.wrong_end());
            }
            let index = self.fetch.chunks.start as usize + self.chunks.len();
            let (hash, len) = (compute_data_hash(&chunk), chunk.len() as u64);
            let places = self.fetch.placements.iter().zip(&mut self.seen.positions);
            let mut places: Vec<_> = places.filter(|(p, _)| p.holds(index)).collect();
            if places.iter().any(|(p, position)| **position + len > p.offset + p.len) {
                return Err(Error::new(
                    Kind::InvalidResponse,
                    "the chunks of a xorb are longer than their term",
                ));
            }
            let place = places.first().map(|(_, position)| **position);
            for (_, position) in &mut places {
                let offset = std::mem::replace(*position, **position + len);
                if offset < self.fetch.within.end && offset + len > self.fetch.within.start {
                    self.held.add(offset, hash, chunk.clone());
                }
            }
            if let Some(recorder) = &mut self.recorder {
                let index = u32::try_from(index).map_err(Error::internal)?;
                let offset = self.fetch.bytes.0 + self.decoder.taken() - raw.len() as u64;
                match from {
                    Origin::Storage => {
                        recorder.note(&Seen { index, offset, raw: &raw, hash, len, place });
                    }
                    Origin::Tier => recorder.skip(),
                }
            }
            self.chunks.push((hash, len));
            self.seen.chunks += 1;
            self.seen.taken = self.decoder.taken();
            if self.held.bytes >= HELD {
                self.place_held()?;
            }
        }
        Ok(())
    }

    /// Places what is held. If that fails, it counts as not having come: it's `done` no more than before.
    fn place_held(&mut self) -> Result<()> {
        let held = std::mem::take(&mut self.held).chunks;
        let loose = held.iter().map(|(offset, hash, content)| {
            let (offset, hash) = (*offset, *hash);
            LooseChunk { offset, hash, content }
        });
        let placed = self.sink.place(&loose.collect::<Vec<_>>(), &mut self.placed);
        self.sink.enter(&mut self.placed)?;
        placed?;
        self.done = self.seen.clone();
        Ok(())
    }

    /// The body must end exactly where its last chunk and every placement end.
    fn check_end(&self) -> Result<()> {
        let ended = |(p, position): (&Placement, &u64)| *position == p.offset + p.len;
        if self.decoder.is_at_boundary()
            && self.chunks.len() == self.fetch.chunks.len()
            && self.fetch.placements.iter().zip(&self.seen.positions).all(ended)
        {
            return Ok(());
        }
        Err(self.wrong_end())
    }

    fn wrong_end(&self) -> Error {
        Error::new(
            Kind::InvalidResponse,
            format!(
                "chunks {:?} of xorb {} came with other lengths or in another number (at {})",
                self.fetch.chunks,
                self.fetch.xorb.hex(),
                self.chunks.len()
            ),
        )
    }

    fn rest(self) -> Fetch {
        let Mark { chunks, positions, taken } = self.done;
        let done = u32::try_from(chunks).unwrap_or(u32::MAX);
        let next = self.fetch.chunks.start.saturating_add(done);
        let left = self.fetch.placements.iter().zip(positions).filter_map(|(p, position)| {
            let chunks = p.chunks.start.max(next)..p.chunks.end;
            let len = (p.offset + p.len).saturating_sub(position);
            (!chunks.is_empty() && len > 0).then_some(Placement { chunks, offset: position, len })
        });
        Fetch {
            placements: left.collect(),
            chunks: next..self.fetch.chunks.end,
            bytes: (self.fetch.bytes.0 + taken, self.fetch.bytes.1),
            ..self.fetch
        }
    }
}
