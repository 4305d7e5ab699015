//! How a xorb is cut into what is shared: by the numbers of its chunks, so that all nodes cut it alike, whatever they
//! know of it.

use std::ops::Range;

/// So many chunks of a xorb are a cell, from a multiple of it on: some 4 MiB of content, and at most 8. Redis takes
/// twice the time for a byte of values that are larger (`bench/RESULTS.md`, "A fleet").
pub(super) const CHUNKS: u32 = 64;

/// The parts of these chunks of a xorb that are in one cell each, in order. One is less than a cell at either end: who
/// has a right to some chunks of a xorb hasn't to their neighbours.
pub(crate) fn cells(chunks: &Range<u32>) -> impl Iterator<Item = Range<u32>> + use<> {
    let (mut at, end) = (chunks.start, chunks.end);
    std::iter::from_fn(move || {
        (at < end).then(|| {
            let start = at;
            at = whole(start).end.min(end);
            start..at
        })
    })
}

/// All of the cell that the chunk with this number is in.
pub(super) fn whole(chunk: u32) -> Range<u32> {
    let start = chunk / CHUNKS * CHUNKS;
    start..start.saturating_add(CHUNKS)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cells cover the chunks, each once and in order, and only the first and the last are less than whole.
    #[test]
    fn cells_cover_the_chunks() {
        for chunks in [0..0, 0..1, 0..64, 63..65, 5..300, 128..192, u32::MAX - 3..u32::MAX] {
            let cells: Vec<_> = cells(&chunks).collect();
            assert!(cells.iter().all(|cell| cell.start / CHUNKS == (cell.end - 1) / CHUNKS));
            assert!(cells.windows(2).all(|two| two[0].end == two[1].start));
            let ends = cells.first().map(|cell| cell.start).zip(cells.last().map(|cell| cell.end));
            assert_eq!(ends, (!chunks.is_empty()).then_some((chunks.start, chunks.end)));
        }
    }
}
