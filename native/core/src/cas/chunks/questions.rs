//! What to ask, so that the chunks of a part of a file come to stand in the answer.
//!
//! A question has marks, and its answer a window for each: from the chunk that the mark is in to where
//! two chunks have followed each other that are of usual length. Of a window only its ends are told.
//! What is between two windows is told as a Merkle subtree: where that is a dozen chunks, nearly always
//! none of its nodes is folded yet, so they are the chunks; of more, three at the right end aren't
//! folded, or more. So a file is asked about with marks a dozen chunks apart, and then what was inside
//! windows, between a window that ends where that begins and one that begins where that ends. Where all
//! chunks are as long as they may be, or as short, a window doesn't end. There each mark is a question
//! of its own.

use std::ops::Range;

use super::known::Known;

/// Between two marks: some sixteen chunks.
const STEP: usize = 1 << 20;

/// The same where two questions are asked side by side.
pub(super) const PAIR_STEP: u64 = 3 << 19;

/// How far before an unknown part a mark is of which it isn't known where its window would end.
const BEFORE: u64 = 512 << 10;

/// Between the marks of questions that have only one: three of the longest chunks.
const APART: usize = 3 << 17;

/// Marks of one question, which go into one header: some 5 KB, where many servers take 8.
pub(super) const MARKS: usize = 256;

/// Questions at a time.
pub(super) const QUESTIONS: usize = 64;

/// Two questions about each of these parts of a file of `size` bytes, or two about several of them: what is inside
/// the windows of the one is mostly told by the other. Parts are in order, and not near each other.
pub(super) fn pairs(parts: &[Range<u64>], size: u64) -> Vec<Vec<u64>> {
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for part in parts {
        // The last byte stands for the end of the file.
        let (start, end) = (part.start.saturating_sub(BEFORE), part.end.min(size - 1));
        let steps = (end - start).div_ceil(PAIR_STEP).max(1);
        let mark = |step: u64| start + (end - start) / steps * step;
        second.extend(start.checked_sub(BEFORE));
        for step in 0..steps {
            let (this, next) = (mark(step), if step + 1 == steps { end } else { mark(step + 1) });
            // What begins with the file has no neighbour to be apart from.
            first.extend((this > 0).then_some(this));
            second.extend((next - this > BEFORE * 3 / 2).then_some(this.midpoint(next)));
        }
        first.push(end);
        second.push((end + BEFORE).min(size - 1));
    }
    let marks = [first, second].map(|mut marks| {
        marks.sort_unstable();
        marks.dedup();
        marks
    });
    let questions = marks.iter().flat_map(|marks| marks.chunks(MARKS).map(<[u64]>::to_vec));
    questions.collect()
}

/// Lists of marks, each a question, about the unknown parts of these ranges, which are in order, of a file of `size`
/// bytes.
pub(super) fn questions(
    known: &Known,
    ranges: &[Range<u64>],
    size: u64,
    pass: u64,
) -> Vec<Vec<u64>> {
    let unknown = ranges.iter().flat_map(|range| known.unknown(range));
    let mut together = Vec::new();
    let mut alone = Vec::new();
    for part in unknown {
        // The last byte stands for the end of the file.
        let end = part.end.min(size - 1);
        let before = known.window_before(part.start);
        let is_bounded = part.start == 0 || before.is_some();
        if pass == 0 {
            together.extend(before.or(part.start.checked_sub(BEFORE)));
            together.extend((part.start + STEP as u64 / 2..part.end).step_by(STEP));
            together.push(end);
        } else if is_bounded && part.end - part.start <= STEP as u64 {
            together.extend(before);
            // Behind the window before it there is the rest of the file.
            together.extend((part.end < size || before.is_none()).then_some(end));
        } else {
            let marks = (part.start + APART as u64..end).step_by(APART).chain([end]);
            alone.extend(marks.map(|mark| before.into_iter().chain([mark]).collect::<Vec<_>>()));
        }
    }
    together.sort_unstable();
    together.dedup();
    let mut questions: Vec<_> = together.chunks(MARKS).map(<[u64]>::to_vec).collect();
    let room = QUESTIONS.saturating_sub(questions.len());
    questions.extend(alone.into_iter().take(room));
    questions
}
