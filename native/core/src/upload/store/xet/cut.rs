//! How content is cut on its way to Xet storage: a batch of files into those that are stored together, and a large
//! file into parts. What a part holds in memory grows with its chunks.

use super::super::super::item::Item;

/// Content that is stored together, in bytes, of files that are no larger.
const TOGETHER: u64 = 8 << 30;

/// Content of a part, at least, unless it has [`PART_CHUNKS`]: so many on average.
pub(super) const PART: u64 = 2 << 30;

/// Chunks of a part, at most: content of another kind than most may have eight times as many.
pub(super) const PART_CHUNKS: usize = 32 << 10;

/// Cuts a batch into what is stored together. A file that is larger than that is alone.
pub(in crate::upload::store) fn together<'a>(
    items: impl Iterator<Item = (usize, &'a Item)>,
) -> Vec<Vec<(usize, &'a Item)>> {
    let mut parts = Vec::new();
    let (mut part, mut length) = (Vec::new(), 0);
    for (number, item) in items {
        let size = item.content.size();
        if length + size > TOGETHER && !part.is_empty() {
            parts.push(std::mem::take(&mut part));
            length = 0;
        }
        length += size;
        part.push((number, item));
    }
    if !part.is_empty() {
        parts.push(part);
    }
    parts
}
