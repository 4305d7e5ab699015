//! Parts of a file, of which those that touch are one: a list doesn't grow with the file.

use std::collections::BTreeMap;
use std::ops::Range;

/// Disjoint ranges that don't touch, by where they begin.
#[derive(Default)]
pub(super) struct Ranges(BTreeMap<u64, u64>);

impl Ranges {
    /// Adds a range, which may overlap what is there.
    pub(super) fn add(&mut self, range: Range<u64>) {
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
    pub(super) fn to_vec(&self) -> Vec<Range<u64>> {
        self.0.iter().map(|(&start, &end)| start..end).collect()
    }

    pub(super) fn is_empty(&self) -> bool {
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
        ranges.add(24..60);
        assert_eq!(ranges.to_vec(), [10..70]);
        for i in (10..100_000).rev() {
            ranges.add(i * 10..i * 10 + 10);
        }
        assert_eq!(ranges.to_vec(), [10..70, 100..1_000_000]);
    }
}
