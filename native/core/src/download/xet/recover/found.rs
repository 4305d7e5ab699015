//! What there is of a file that nobody has noted, and what chunks it is.

use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use bytes::Bytes;
use xet_core_structures::merklehash::compute_data_hash;
use xet_core_structures::xorb_object::constants::MAX_CHUNK_SIZE;

use super::super::file::XetFile;
use crate::cas::chunker::{Cut, Cutter, Rule};
use crate::cas::chunks::Chunks;
use crate::cas::sources::{ChunkSink, PlacedChunk};
use crate::model::error::{Error, Result};
use crate::reuse::Term;
use crate::sys::unshared::Unshared;

/// Bytes that are read at a time.
pub(super) const STEP: usize = 1 << 20;

/// What there is of the file's beginning.
pub(super) struct Found {
    pub(super) source: Unshared,
    /// Not beyond the end of the file.
    pub(super) len: u64,
    /// It's the partial file itself.
    pub(super) in_place: bool,
}

impl Found {
    /// Enters the chunks of those terms that a rule cuts as they were published, and returns where
    /// the others are.
    pub(super) fn cut_terms(&self, file: &XetFile, terms: &[Term]) -> Result<Vec<Range<u64>>> {
        let mut left: Vec<Range<u64>> = Vec::new();
        for term in terms {
            let chunks = self.cut(file, term)?;
            if !chunks.is_empty() {
                self.keep(file, &chunks)?;
            } else if let Some(last) = left.last_mut().filter(|last| last.end == term.offset) {
                last.end = term.end();
            } else {
                left.push(term.offset..term.end());
            }
        }
        Ok(left)
    }

    /// Enters those of the published chunks in `range` that are here.
    pub(super) fn take_chunks(
        &self,
        file: &XetFile,
        chunks: &Chunks,
        range: &Range<u64>,
    ) -> Result<()> {
        let mut buffer = vec![0; *MAX_CHUNK_SIZE];
        for (&offset, &(len, published)) in chunks.range(range.clone()) {
            if offset + len > range.end {
                break;
            }
            file.job().check_alive()?;
            let Some(chunk) = piece(&mut buffer, len)? else { continue };
            if self.source.read_exact_at(chunk, offset).is_ok()
                && compute_data_hash(chunk) == published
            {
                let len = u32::try_from(len).map_err(Error::internal)?;
                let cut = Cut::AsPublished;
                self.keep(file, &[PlacedChunk { offset, len, hash: published, cut }])?;
            }
        }
        Ok(())
    }

    /// Enters chunks that were promised and follow each other, each behind the content that it's of.
    pub(super) fn keep(&self, file: &XetFile, chunks: &[PlacedChunk]) -> Result<()> {
        let mut records = Vec::new();
        let mut buffer = vec![0; *MAX_CHUNK_SIZE];
        // Of what isn't kept here it isn't known what the hashes are of.
        let mut is_all_kept = true;
        for chunk in chunks {
            if !chunk.cut.is_by(Rule::Today) {
                let is_new = is_all_kept && file.enter_older(chunk);
                records.extend(is_new.then_some(*chunk));
                continue;
            }
            let mut content = None;
            if !self.in_place {
                // Somebody may be writing to it.
                let again = self.read_again(&mut buffer, chunk)?;
                let Some(again) = again else { break };
                content = Some(again);
            }
            let is_new = file.keep(*chunk, content)?;
            is_all_kept &= is_new;
            records.extend(is_new.then_some(*chunk));
        }
        file.enter(&mut records)
    }

    /// A chunk, if it still has that hash.
    fn read_again<'a>(
        &self,
        buffer: &'a mut [u8],
        chunk: &PlacedChunk,
    ) -> Result<Option<&'a [u8]>> {
        let Some(content) = piece(buffer, chunk.len.into())? else { return Ok(None) };
        let is_same = self.source.read_exact_at(content, chunk.offset).is_ok()
            && compute_data_hash(content) == chunk.hash;
        Ok(is_same.then_some(&*content))
    }

    /// The chunks of a term, if a rule cuts it as it was published; none if neither does.
    fn cut(&self, file: &XetFile, term: &Term) -> Result<Vec<PlacedChunk>> {
        let count = term.chunks.len();
        let is_last = term.end() == file.job().task.entry.size;
        let mut cutter = Cutter::at(term.offset);
        let mut chunks = Vec::new();
        let mut at = term.offset;
        while at < term.end() {
            file.job().check_alive()?;
            let take = (STEP as u64).min(term.end() - at);
            let mut buffer = vec![0; usize::try_from(take).map_err(Error::internal)?];
            if !self.read(file, &mut buffer, at) {
                return Ok(Vec::new());
            }
            at += take;
            // One chunk is cut where the term is. Of more, the last must end there by itself.
            let ends = at == term.end() && (is_last || count == 1);
            for guess in cutter.push(&Bytes::from(buffer), ends) {
                chunks.push(guess.placed()?);
            }
        }
        Ok(as_published(chunks, term))
    }

    pub(super) fn read(&self, file: &XetFile, buffer: &mut [u8], at: u64) -> bool {
        match self.source.read_exact_at(buffer, at) {
            Ok(()) => true,
            Err(error) => {
                if error.kind() != io::ErrorKind::UnexpectedEof {
                    let path = &file.job().task.entry.path;
                    tracing::warn!(file = %path, %error, "can't read an interrupted download");
                }
                false
            }
        }
    }
}

/// Those of a term's guesses that are as many chunks as it has: of one rule, or, if that doesn't tell, of both.
fn as_published(mut guesses: Vec<PlacedChunk>, term: &Term) -> Vec<PlacedChunk> {
    let fits = |rule| {
        let chunks = || guesses.iter().filter(|chunk| chunk.cut.is_by(rule));
        let len: u64 = chunks().map(|chunk| u64::from(chunk.len)).sum();
        chunks().count() == term.chunks.len() && len == term.len
    };
    let differ = guesses.iter().any(|chunk| matches!(chunk.cut, Cut::By(_)));
    let rule = match (fits(Rule::Today), fits(Rule::Before202509)) {
        (false, false) => return Vec::new(),
        (true, true) if differ => return guesses,
        (true, _) => Rule::Today,
        (false, true) => Rule::Before202509,
    };
    guesses.retain(|chunk| chunk.cut.is_by(rule));
    for chunk in &mut guesses {
        chunk.cut = Cut::AsPublished;
    }
    guesses.sort_by_key(|chunk| chunk.offset);
    guesses
}

/// So much of a buffer, if it has that.
fn piece(buffer: &mut [u8], len: u64) -> Result<Option<&mut [u8]>> {
    Ok(buffer.get_mut(..usize::try_from(len).map_err(Error::internal)?))
}

#[cfg(test)]
mod tests {
    use xet_core_structures::merklehash::MerkleHash;

    use super::*;

    const OLDER: Cut = Cut::By(Rule::Before202509);
    const TODAY: Cut = Cut::By(Rule::Today);

    fn taken(guesses: &[(u64, u32, Cut)], count: u32) -> Vec<(u64, u32, Cut)> {
        let (hash, xorb) = (MerkleHash::default(), MerkleHash::default());
        let placed = |&(offset, len, cut)| PlacedChunk { offset, len, hash, cut };
        let term = Term { xorb, chunks: 0..count, offset: 0, len: 30 };
        let taken = as_published(guesses.iter().map(placed).collect(), &term);
        taken.iter().map(|chunk| (chunk.offset, chunk.len, chunk.cut)).collect()
    }

    /// A term's number of chunks tells the rule, if the rules don't make the same number of them.
    #[test]
    fn a_rule_counts_if_it_makes_as_many_chunks() {
        let more = [(0, 20, TODAY), (20, 10, Cut::ByAnyRule), (0, 8, OLDER), (8, 12, OLDER)];
        let published = |list: &[(u64, u32)]| -> Vec<_> {
            list.iter().map(|&(offset, len)| (offset, len, Cut::AsPublished)).collect()
        };
        assert_eq!(taken(&more, 2), published(&[(0, 20), (20, 10)]));
        assert_eq!(taken(&more, 3), published(&[(0, 8), (8, 12), (20, 10)]));
        assert_eq!(taken(&more, 4), []);
        let as_many = [(0, 20, TODAY), (20, 10, TODAY), (0, 8, OLDER), (8, 22, OLDER)];
        assert_eq!(taken(&as_many, 2), as_many);
        let same = [(0, 20, Cut::ByAnyRule), (20, 10, Cut::ByAnyRule)];
        assert_eq!(taken(&same, 2), published(&[(0, 20), (20, 10)]));
    }
}
