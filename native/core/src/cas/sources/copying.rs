//! One copy at work: chunks from another file on this machine to their places.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use xet_core_structures::merklehash::compute_data_hash;
use xet_core_structures::xorb_object::constants::MAX_CHUNK_SIZE;

use super::copies::Copy;
use super::{ChunkSink, LooseChunk, PlacedChunk};
use crate::model::error::{Error, Result};
use crate::reuse::ChunkRecord;

/// Chunks that a copy may have placed before it enters them.
const ENTER_EVERY: usize = 256;

/// Copies chunks from `source`. False: it isn't what it was.
pub(super) fn copy_chunks<S: ChunkSink>(copy: &Copy, source: File, sink: &S) -> Result<bool> {
    let mut copying = Copying { copy, source, sink, placed: Vec::new(), good: true };
    let copied = copying.run();
    sink.enter(&mut copying.placed)?;
    copied?;
    Ok(copying.good)
}

struct Copying<'a, S> {
    copy: &'a Copy,
    source: File,
    sink: &'a S,
    /// Not yet entered.
    placed: Vec<PlacedChunk>,
    /// No chunk so far was another than expected.
    good: bool,
}

impl<S: ChunkSink> Copying<'_, S> {
    fn run(&mut self) -> Result<()> {
        let target = self.copy.range();
        // Shared first and hashed then: what counts is what is in the new file.
        // Not where somebody has put a chunk already: it would be replaced by what isn't known yet.
        let is_free = self.sink.missing(target.clone()) == [target.clone()];
        let is_shared = is_free && self.sink.share(&self.source, self.copy.at, &target)?;
        let mut buffer = vec![0; *MAX_CHUNK_SIZE];
        let mut offset = target.start;
        for note in &self.copy.records {
            if self.sink.task().call.is_cancelled() {
                return Err(Error::cancelled());
            }
            let Some(chunk) = buffer.get_mut(..note.len as usize) else { break };
            let is_read = if is_shared {
                self.sink.read_at(chunk, offset)?
            } else {
                self.read_source(chunk, offset)
            };
            if !is_read {
                self.good = false;
                break;
            }
            self.place(note, chunk, offset, is_shared)?;
            offset += u64::from(note.len);
        }
        Ok(())
    }

    /// Reads what belongs at `offset` of the new file.
    fn read_source(&self, buffer: &mut [u8], offset: u64) -> bool {
        let at = self.copy.at + (offset - self.copy.offset);
        match self.source.read_exact_at(buffer, at) {
            Ok(()) => true,
            Err(error) => {
                if error.kind() != io::ErrorKind::UnexpectedEof {
                    let path = self.copy.local.path().display();
                    tracing::warn!(%path, %error, "can't read a file that was to be reused");
                }
                false
            }
        }
    }

    fn place(
        &mut self,
        note: &ChunkRecord,
        chunk: &[u8],
        offset: u64,
        is_there: bool,
    ) -> Result<()> {
        let hash = compute_data_hash(chunk);
        if !note.matches(&hash) {
            if self.good {
                let path = self.copy.local.path().display();
                tracing::warn!(%path, "a cached file has changed or is damaged; it isn't reused");
            }
            self.good = false;
            return Ok(());
        }
        let (progress, before) = (&self.sink.task().progress, self.placed.len());
        if is_there {
            let claimed = self.sink.claim(offset, hash, chunk.len())?;
            progress.advance(claimed.as_ref().map_or(0, |chunk| chunk.len.into()));
            self.placed.extend(claimed);
        } else {
            let loose = LooseChunk { offset, hash, content: chunk };
            self.sink.place(&[loose], &mut self.placed)?;
        }
        for chunk in &self.placed[before..] {
            progress.reused(chunk.len.into());
        }
        if self.placed.len() >= ENTER_EVERY { self.sink.enter(&mut self.placed) } else { Ok(()) }
    }
}
