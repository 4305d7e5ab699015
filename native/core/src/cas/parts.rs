//! What of an answer's fetches is wanted, where a file lacks only some of what they bring.
//!
//! An answer about a block names whole terms between its ends. A term of which only a part is wanted
//! is asked about again, for that part, and the answer names the fewest chunks that hold it. Files
//! repeat themselves: chunks that belong at many places of a file are asked about once, and fetched
//! once for all of them.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::Range;

use xet_core_structures::merklehash::MerkleHash;

use super::block::{Fetch, Placement};

/// A part of a file that has to be asked about by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) range: Range<u64>,
    /// Where else in the file the same chunks are wanted: where each of those parts begins.
    pub(crate) repeats: Vec<u64>,
}

impl Part {
    /// Gives the fetches for this part the places of its repeats, too. They may write to `within`.
    pub(crate) fn repeat(&self, fetches: &mut [Fetch], within: &Range<u64>) {
        if self.repeats.is_empty() {
            return;
        }
        for fetch in fetches {
            fetch.within = within.clone();
            let first = fetch.placements.clone();
            for &start in &self.repeats {
                // What begins before the part does so before its repeats, by as much.
                fetch.placements.extend(first.iter().filter_map(|p| {
                    let offset = (start + p.offset).checked_sub(self.range.start)?;
                    Some(Placement { offset, ..p.clone() })
                }));
            }
            fetch.placements.sort_by_key(|p| p.offset);
        }
    }
}

/// What is left of an answer's fetches when not all that they bring is wanted.
#[derive(Debug, Default)]
pub(crate) struct Selected {
    /// Of these every chunk is needed.
    pub(crate) fetches: Vec<Fetch>,
    /// These are less than what their fetches would bring. In order.
    pub(crate) parts: Vec<Part>,
}

/// Joins fetches of the same chunks, which were found by several questions.
pub(crate) fn join(mut fetches: Vec<Fetch>) -> Vec<Fetch> {
    // Those that bring more come first, and take in the others.
    fetches.sort_by_key(|fetch| std::cmp::Reverse(fetch.chunks.len()));
    let mut joined: Vec<Fetch> = Vec::new();
    let mut by_xorb: HashMap<MerkleHash, Vec<usize>> = HashMap::new();
    for fetch in fetches {
        let known = by_xorb.entry(fetch.xorb).or_default();
        if let Some(&number) = known.iter().find(|&&i| joined[i].brings(&fetch.chunks)) {
            let same = &mut joined[number];
            same.within.start = same.within.start.min(fetch.within.start);
            same.within.end = same.within.end.max(fetch.within.end);
            same.placements.extend(fetch.placements);
        } else {
            known.push(joined.len());
            joined.push(fetch);
        }
    }
    for fetch in &mut joined {
        fetch.placements.sort_by_key(|p| p.offset);
    }
    joined.sort_by_key(|fetch| fetch.placements.first().map(|p| p.offset));
    joined
}

/// Leaves out what isn't in `wanted`, which is in order, without overlaps, and begins and ends where
/// chunks do.
pub(crate) fn select(fetches: Vec<Fetch>, wanted: &[Range<u64>]) -> Selected {
    let mut selected = Selected::default();
    let mut parts = Parts::default();
    for mut fetch in fetches {
        let all = std::mem::take(&mut fetch.placements);
        let before = all.len();
        let mut cut = Vec::new();
        for placement in all {
            let range = placement.offset..placement.offset + placement.len;
            let found = intersect(&range, wanted);
            if found == [range] {
                fetch.placements.push(placement);
            } else {
                cut.extend(found.into_iter().map(|range| (placement.clone(), range)));
            }
        }
        let is_untouched = fetch.placements.len() == before;
        if is_untouched || (cut.is_empty() && needs_every_chunk(&fetch)) {
            selected.fetches.push(fetch);
            continue;
        }
        let whole = |p: &Placement| (p.clone(), p.offset..p.offset + p.len);
        for (placement, range) in cut.into_iter().chain(fetch.placements.iter().map(whole)) {
            parts.add(&fetch.xorb, &placement, range);
        }
    }
    selected.fetches.retain(|fetch| !fetch.placements.is_empty());
    selected.parts = parts.joined();
    selected
}

/// Parts, each with its repeats.
#[derive(Default)]
struct Parts {
    found: Vec<Part>,
    /// By where they are in a xorb: how far from the beginning of a chunk.
    after: HashMap<(MerkleHash, u32, Range<u64>), usize>,
    /// The same, by how far from the end of a chunk.
    before: HashMap<(MerkleHash, u32, Range<u64>), usize>,
}

impl Parts {
    fn add(&mut self, xorb: &MerkleHash, placement: &Placement, range: Range<u64>) {
        let end = placement.offset + placement.len;
        let after = range.start - placement.offset..range.end - placement.offset;
        let before = end - range.end..end - range.start;
        let after = self.after.entry((*xorb, placement.chunks.start, after));
        let before = self.before.entry((*xorb, placement.chunks.end, before));
        let known = match (&after, &before) {
            (Entry::Occupied(known), _) | (_, Entry::Occupied(known)) => Some(*known.get()),
            _ => None,
        };
        let number = known.unwrap_or(self.found.len());
        after.or_insert(number);
        before.or_insert(number);
        match self.found.get_mut(number) {
            Some(part) => part.repeats.push(range.start),
            None => self.found.push(Part { range, repeats: Vec::new() }),
        }
    }

    /// In order. Neighbours are one question, unless they are wanted elsewhere, too.
    fn joined(mut self) -> Vec<Part> {
        self.found.sort_by_key(|part| part.range.start);
        self.found.dedup_by(|next, last| {
            let touches = next.range.start == last.range.end
                && next.repeats.is_empty()
                && last.repeats.is_empty();
            if touches {
                last.range.end = next.range.end;
            }
            touches
        });
        self.found
    }
}

/// The parts of `range` that are in `sorted`.
pub(crate) fn intersect(range: &Range<u64>, sorted: &[Range<u64>]) -> Vec<Range<u64>> {
    let first = sorted.partition_point(|other| other.end <= range.start);
    sorted[first..]
        .iter()
        .take_while(|other| other.start < range.end)
        .map(|other| other.start.max(range.start)..other.end.min(range.end))
        .collect()
}

/// Ranges, which are in order, of which those that overlap, or are no further than `near` from each other, are one.
pub(crate) fn joined(ranges: impl IntoIterator<Item = Range<u64>>, near: u64) -> Vec<Range<u64>> {
    let mut joined: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        match joined.last_mut() {
            Some(last) if range.start <= last.end.saturating_add(near) => {
                last.end = last.end.max(range.end);
            }
            _ => joined.push(range),
        }
    }
    joined
}

/// How many bytes ranges have, which don't overlap.
pub(crate) fn length(ranges: &[Range<u64>]) -> u64 {
    ranges.iter().map(|range| range.end - range.start).sum()
}

/// Whether the placements together use all that the fetch brings.
fn needs_every_chunk(fetch: &Fetch) -> bool {
    let mut runs: Vec<_> = fetch.placements.iter().map(|p| p.chunks.clone()).collect();
    runs.sort_by_key(|run| run.start);
    let reached = runs.iter().fold(fetch.chunks.start, |reached, run| {
        if run.start <= reached { reached.max(run.end) } else { reached }
    });
    reached == fetch.chunks.end
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init, reason = "lists of ranges, of which some hold one")]
mod tests {
    use url::Url;
    use xet_core_structures::merklehash::compute_data_hash;

    use super::super::block::SignedUrl;
    use super::*;

    fn fetch(chunks: Range<u32>, placements: &[(Range<u32>, u64)]) -> Fetch {
        let placements = placements.iter().map(|(chunks, offset)| Placement {
            chunks: chunks.clone(),
            offset: *offset,
            len: chunks.len() as u64 * 10,
        });
        Fetch {
            xorb: compute_data_hash(b"xorb"),
            url: SignedUrl(Url::parse("http://s/x").unwrap()),
            bytes: (0, 99),
            chunks,
            placements: placements.collect(),
            within: 0..1000,
        }
    }

    /// How many places the fetches that are left have, and the parts to ask for.
    fn selected(fetch: Fetch, wanted: &[Range<u64>]) -> (Vec<usize>, Vec<Part>) {
        let selected = select(vec![fetch], wanted);
        (selected.fetches.iter().map(|f| f.placements.len()).collect(), selected.parts)
    }

    fn part(range: Range<u64>, repeats: &[u64]) -> Part {
        Part { range, repeats: repeats.to_vec() }
    }

    /// A fetch is kept if all that it brings is needed; else the needed parts are asked for again.
    #[test]
    fn fetches_bring_only_what_is_needed() {
        let two = || fetch(0..20, &[(0..10, 0), (10..20, 300)]);
        assert_eq!(selected(two(), &[0..400]), (vec![2], vec![]));
        assert_eq!(selected(two(), &[]), (vec![], vec![]));
        let first = vec![part(0..100, &[])];
        assert_eq!(selected(two(), &[0..100]), (vec![], first), "chunks 10..20 aren't needed");
        let both = vec![part(50..100, &[]), part(300..400, &[])];
        assert_eq!(selected(two(), &[50..400]), (vec![], both));
    }

    /// Chunks that are wanted at several places are kept, or asked for, once for all of them.
    #[test]
    fn repeats_are_asked_for_once() {
        let twice = || fetch(0..10, &[(0..10, 0), (0..10, 300)]);
        assert_eq!(selected(twice(), &[0..100]), (vec![1], vec![]), "all of it, in one place");
        assert_eq!(selected(twice(), &[30..100, 330..400]).1, [part(30..100, &[330])]);
        let three = [part(20..40, &[]), part(60..100, &[]), part(300..400, &[])];
        assert_eq!(selected(twice(), &[20..40, 60..400]).1, three);
    }

    /// The same chunks are the same part also where they are at the beginning or the end of another term.
    #[test]
    fn repeats_are_known_from_either_end() {
        let other = || fetch(0..10, &[(0..10, 0), (1..10, 100), (0..9, 300)]);
        assert_eq!(selected(other(), &[30..100, 120..190]).1, [part(30..100, &[120])]);
        assert_eq!(selected(other(), &[20..40, 320..340]).1, [part(20..40, &[320])]);
    }

    /// A fetch whose chunks another one brings anyway is no fetch of its own.
    #[test]
    fn fetches_of_the_same_chunks_are_joined() {
        let other = fetch(10..20, &[(10..20, 300)]);
        let joined = join(vec![fetch(3..5, &[(3..5, 700)]), other, fetch(0..10, &[(0..10, 0)])]);
        let offsets = |f: &Fetch| f.placements.iter().map(|p| p.offset).collect::<Vec<_>>();
        assert_eq!(joined.iter().map(offsets).collect::<Vec<_>>(), [vec![0, 700], vec![300]]);
    }

    /// The places of a part's repeats are as far from their beginnings as the part's own.
    #[test]
    fn repeats_get_places() {
        let part = Part { range: 30..100, repeats: vec![330, 630] };
        let mut fetches = [fetch(3..10, &[(3..10, 30)])];
        part.repeat(&mut fetches, &(0..1000));
        let offsets: Vec<_> = fetches[0].placements.iter().map(|p| p.offset).collect();
        assert_eq!(offsets, [30, 330, 630]);
    }
}
