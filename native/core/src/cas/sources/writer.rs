//! The blocking half of a fetch: from pieces of a body to chunks in their places.

use std::sync::Arc;

use bytes::Bytes;
use xet_core_structures::merklehash::{MerkleHash, compute_data_hash, xorb_hash};

use super::{ChunkSink, PlacedChunk};
use crate::cas::block::{Fetch, Placement};
use crate::cas::decode::ChunkDecoder;
use crate::model::error::{Error, Kind, Result};

/// Places the chunks of one fetch.
pub(super) struct Writer<S> {
    sink: Arc<S>,
    fetch: Fetch,
    decoder: ChunkDecoder,
    /// The chunks so far, hash and length.
    chunks: Vec<(MerkleHash, u64)>,
    /// For each placement, where its next chunk goes.
    positions: Vec<u64>,
    /// Where the chunks that are placed end in the body.
    taken: u64,
    /// Placed, but not yet entered.
    placed: Vec<PlacedChunk>,
}

/// How a writer has ended.
pub(super) struct Ended {
    pub(super) result: Result<()>,
    /// What it hasn't placed, as a fetch of its own.
    pub(super) rest: Fetch,
}

impl<S: ChunkSink> Writer<S> {
    pub(super) fn new(sink: Arc<S>, fetch: Fetch) -> Self {
        let positions = fetch.placements.iter().map(|p| p.offset).collect();
        Self {
            sink,
            fetch,
            decoder: ChunkDecoder::default(),
            chunks: Vec::new(),
            positions,
            taken: 0,
            placed: Vec::new(),
        }
    }

    pub(super) fn run(mut self, pieces: impl Iterator<Item = Bytes>) -> Ended {
        let result = self.drain(pieces);
        if result.is_err() || self.fetch.chunks.start > 0 || !self.is_the_xorb() {
            for (placement, &end) in self.fetch.placements.iter().zip(&self.positions) {
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

    fn drain(&mut self, pieces: impl Iterator<Item = Bytes>) -> Result<()> {
        for piece in pieces {
            if self.sink.task().call.is_cancelled() {
                return Err(Error::cancelled());
            }
            self.decoder.push(piece);
            let placed = self.place_chunks();
            // What was placed before something went wrong counts, too. Once for each piece: a kill
            // costs no more than what was on its way.
            self.sink.enter(&mut self.placed)?;
            placed?;
        }
        self.check_end()
    }

    fn place_chunks(&mut self) -> Result<()> {
        while let Some(chunk) = self.decoder.next()? {
            if self.chunks.len() >= self.fetch.chunks.len() {
                return Err(self.wrong_end());
            }
            let index = self.fetch.chunks.start as usize + self.chunks.len();
            let (hash, len) = (compute_data_hash(&chunk), chunk.len() as u64);
            for (placement, position) in self.fetch.placements.iter().zip(&self.positions) {
                if !placement.holds(index) {
                    continue;
                }
                if *position + len > placement.offset + placement.len {
                    return Err(Error::new(
                        Kind::InvalidResponse,
                        "the chunks of a xorb are longer than their term",
                    ));
                }
                let within = &self.fetch.within;
                if *position < within.end && *position + len > within.start {
                    self.placed.extend(self.sink.place(*position, hash, &chunk)?);
                }
            }
            // Only a chunk that is in all of its places is done.
            for (placement, position) in self.fetch.placements.iter().zip(&mut self.positions) {
                if placement.holds(index) {
                    *position += len;
                }
            }
            self.chunks.push((hash, len));
            self.taken = self.decoder.taken();
        }
        Ok(())
    }

    /// The body must end exactly where its last chunk and every placement end.
    fn check_end(&self) -> Result<()> {
        let ended = |(p, position): (&Placement, &u64)| *position == p.offset + p.len;
        if self.decoder.is_at_boundary()
            && self.chunks.len() == self.fetch.chunks.len()
            && self.fetch.placements.iter().zip(&self.positions).all(ended)
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
        let done = u32::try_from(self.chunks.len()).unwrap_or(u32::MAX);
        let next = self.fetch.chunks.start.saturating_add(done);
        let left = self.fetch.placements.iter().zip(self.positions).filter_map(|(p, position)| {
            let chunks = p.chunks.start.max(next)..p.chunks.end;
            let len = (p.offset + p.len).saturating_sub(position);
            (!chunks.is_empty() && len > 0).then_some(Placement { chunks, offset: position, len })
        });
        Fetch {
            placements: left.collect(),
            chunks: next..self.fetch.chunks.end,
            bytes: (self.fetch.bytes.0 + self.taken, self.fetch.bytes.1),
            ..self.fetch
        }
    }
}
