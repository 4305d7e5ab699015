//! Parts of a file, of which those that touch are one: a list doesn't grow with the file.

use std::collections::BTreeMap;
use std::ops::Range;

/// Disjoint ranges that don't touch, by where they begin.
#[derive(Default)]
pub(crate) struct Ranges(BTreeMap<u64, u64>);

impl FromIterator<Range<u64>> for Ranges {
    fn from_iter<T: IntoIterator<Item = Range<u64>>>(ranges: T) -> Self {
        let mut all = Self::default();
        ranges.into_iter().for_each(|range| all.add(range));
        all
    }
}

impl Ranges {
    /// Adds a range, which may overlap what is there.
    pub(crate) fn add(&mut self, range: Range<u64>) {
        let (mut start, mut end) = (range.start, range.end);
        while let Some((&before, &last)) = self.0.range(..=end).next_back()
            && last >= start
        {
            self.0.remove(&before);
            (start, end) = (start.min(before), end.max(last));
        }
        if start < end {
            self.0.insert(start, end);
        }
    }

    /// All of them, in order.
    pub(crate) fn to_vec(&self) -> Vec<Range<u64>> {
        self.0.iter().map(|(&start, &end)| start..end).collect()
    }

    /// What of `within` is in none of them, in order.
    pub(crate) fn gaps(&self, within: &Range<u64>) -> Vec<Range<u64>> {
        let mut at = within.start;
        let mut gaps = Vec::new();
        let before = self.0.range(..=at).next_back().map_or(at, |(&start, _)| start);
        for (&start, &end) in self.0.range(before..within.end) {
            if start > at {
                gaps.push(at..start);
            }
            at = at.max(end);
        }
        if at < within.end {
            gaps.push(at..within.end);
        }
        gaps
    }

    /// Where the one ends that has the byte at this offset; if none has, the offset.
    pub(crate) fn end_of(&self, at: u64) -> u64 {
        self.0.range(..=at).next_back().map_or(at, |(_, &end)| end.max(at))
    }

    /// Whether something of this range is in one of them.
    pub(crate) fn touches(&self, range: &Range<u64>) -> bool {
        self.0.range(..range.end).next_back().is_some_and(|(_, &end)| end > range.start)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init, reason = "lists of ranges, of which some hold one")]
mod tests {
    use super::*;

    /// What overlaps or touches becomes one, in whatever order it's added.
    #[test]
    fn ranges_that_touch_are_one() {
        let mut ranges = Ranges::default();
        assert!(ranges.is_empty());
        for range in [10..20, 40..50, 20..25, 60..70, 5..5] {
            ranges.add(range);
        }
        assert_eq!(ranges.to_vec(), [10..25, 40..50, 60..70]);
        let touched = [5..11, 24..26, 12..13, 0..99].map(|range| ranges.touches(&range));
        let untouched = [0..10, 25..40, 70..99].map(|range| ranges.touches(&range));
        assert_eq!((touched, untouched), ([true; 4], [false; 3]));
        assert_eq!(ranges.gaps(&(0..99)), [0..10, 25..40, 50..60, 70..99]);
        assert_eq!(ranges.gaps(&(12..45)), vec![25..40]);
        assert_eq!(ranges.gaps(&(25..30)), vec![25..30]);
        assert!(ranges.gaps(&(10..25)).is_empty() && ranges.gaps(&(41..42)).is_empty());
        assert_eq!([9, 10, 24, 25, 69, 70].map(|at| ranges.end_of(at)), [9, 25, 25, 25, 70, 70]);
        ranges.add(24..60);
        assert_eq!(ranges.to_vec(), [10..70]);
        for i in (10..100_000).rev() {
            ranges.add(i * 10..i * 10 + 10);
        }
        assert_eq!(ranges.to_vec(), [10..70, 100..1_000_000]);
    }
}
