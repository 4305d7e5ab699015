//! From the caller's parts to the ranges that are fetched, and back.

use std::ops::Range;

use super::gathered::Chunks;
use crate::cas::parts::joined;

/// A part of a file that somebody wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Where it begins. Behind the end of the file there is nothing.
    pub offset: u64,
    /// In bytes; there may be none.
    pub len: usize,
}

impl Part {
    /// What there is of it in a file of `size` bytes.
    #[must_use]
    pub fn within(&self, size: u64) -> Range<u64> {
        let start = self.offset.min(size);
        start..start.saturating_add(self.len as u64).min(size)
    }
}

/// The parts that a caller wants of a file.
pub(crate) struct Wanted<'a> {
    parts: &'a [Part],
    size: u64,
    /// Numbers of the parts, those of nearly the same length together: class `n` is of less than 2^n bytes, and at
    /// least half of that. Each by where its parts begin.
    classes: Vec<Vec<usize>>,
    /// What they cover, in order and apart.
    ranges: Vec<Range<u64>>,
    bytes: u64,
}

impl<'a> Wanted<'a> {
    pub(crate) fn new(parts: &'a [Part], size: u64) -> Self {
        let mut order: Vec<usize> =
            (0..parts.len()).filter(|&number| !parts[number].within(size).is_empty()).collect();
        order.sort_by_key(|&number| parts[number].offset);
        let ranges = joined(order.iter().map(|&number| parts[number].within(size)), 0);
        let mut classes: Vec<Vec<usize>> = Vec::new();
        let mut bytes = 0;
        for number in order {
            let range = parts[number].within(size);
            let length = range.end - range.start;
            bytes += length;
            let class = (u64::BITS - length.leading_zeros()) as usize;
            if classes.len() <= class {
                classes.resize(class + 1, Vec::new());
            }
            classes[class].push(number);
        }
        Self { parts, size, classes, ranges, bytes }
    }

    /// What the parts cover.
    pub(crate) fn ranges(&self) -> &[Range<u64>] {
        &self.ranges
    }

    /// How many bytes there are of all parts.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Gives what these chunks have to the parts that want it.
    pub(crate) fn place(&self, chunks: &Chunks, place: &mut dyn FnMut(usize, usize, &[u8])) {
        for (&at, chunk) in chunks {
            self.place_piece(at, &chunk.content, place);
        }
    }

    /// The same of a piece of the file that begins at `at`.
    pub(crate) fn place_piece(
        &self,
        at: u64,
        piece: &[u8],
        place: &mut dyn FnMut(usize, usize, &[u8]),
    ) {
        let end = at + piece.len() as u64;
        for (class, numbers) in self.classes.iter().enumerate() {
            // No part of the class that begins earlier reaches as far as here.
            let longest = 1_u64.checked_shl(u32::try_from(class).unwrap_or(u32::MAX));
            let earliest = longest.map_or(0, |longest| at.saturating_sub(longest));
            let from = numbers.partition_point(|&number| self.parts[number].offset < earliest);
            let to = numbers.partition_point(|&number| self.parts[number].offset < end);
            for &number in &numbers[from..to.max(from)] {
                self.place_in(number, at..end, piece, place);
            }
        }
    }

    /// Gives what is in `chunk` of a file to one part.
    fn place_in(
        &self,
        number: usize,
        chunk: Range<u64>,
        content: &[u8],
        place: &mut dyn FnMut(usize, usize, &[u8]),
    ) {
        let range = self.parts[number].within(self.size);
        let (from, to) = (range.start.max(chunk.start), range.end.min(chunk.end));
        if from < to
            && let Ok(first) = usize::try_from(from - chunk.start)
            && let Ok(length) = usize::try_from(to - from)
            && let Ok(goes) = usize::try_from(from - range.start)
        {
            place(number, goes, &content[first..first + length]);
        }
    }
}

#[cfg(test)]
#[allow(clippy::cast_possible_truncation, reason = "small numbers")]
#[allow(clippy::single_range_in_vec_init, reason = "lists of ranges, of which some hold one")]
mod tests {
    use bytes::Bytes;

    use super::super::gathered::Chunk;
    use super::*;

    /// Whatever parts are wanted, in whatever order they overlap, each gets its bytes from chunks that come in any
    /// order.
    #[test]
    fn each_part_gets_its_bytes() {
        let mut random = fastrand::Rng::with_seed(9);
        let content: Vec<u8> = (0..10_000).map(|_| random.u8(..)).collect();
        let size = content.len() as u64;
        for _ in 0..200 {
            let parts: Vec<_> = (0..random.usize(0..30))
                .map(|_| Part { offset: random.u64(0..size + 500), len: random.usize(0..3000) })
                .collect();
            let wanted = Wanted::new(&parts, size);
            let mut buffers: Vec<Vec<u8>> = parts.iter().map(|part| vec![0; part.len]).collect();
            let mut pieces: Vec<(usize, usize)> = Vec::new();
            for range in wanted.ranges() {
                let (mut at, end) = (range.start as usize, range.end as usize);
                // A chunk may begin before what is wanted, and end behind it.
                at = at.saturating_sub(random.usize(0..100));
                while at < end {
                    let next = (at + random.usize(1..800)).min(content.len());
                    pieces.push((at, next));
                    at = next;
                }
            }
            random.shuffle(&mut pieces);
            for (from, to) in pieces {
                let chunk = Chunk::unhashed(Bytes::copy_from_slice(&content[from..to]));
                wanted.place(&Chunks::from([(from as u64, chunk)]), &mut |number, at, bytes| {
                    buffers[number][at..at + bytes.len()].copy_from_slice(bytes);
                });
            }
            let mut bytes = 0;
            for (part, buffer) in parts.iter().zip(&buffers) {
                let range = part.within(size);
                let there = &content[range.start as usize..range.end as usize];
                assert_eq!(&buffer[..there.len()], there);
                bytes += there.len() as u64;
            }
            assert_eq!(wanted.bytes(), bytes);
        }
    }

    /// What is behind the end, however far, is nothing.
    #[test]
    fn nothing_is_behind_the_end() {
        let far = [Part { offset: u64::MAX, len: usize::MAX }, Part { offset: 5, len: usize::MAX }];
        assert_eq!(Wanted::new(&far, 10).ranges(), [5..10]);
        assert!(Wanted::new(&far, 0).ranges().is_empty());
    }
}
