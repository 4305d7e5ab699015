//! Other chunk boundaries than those of today's chunker: what clients of other days published.

use std::sync::LazyLock;

use gearhash::{DEFAULT_TABLE, Hasher, Table};

/// The chunker's numbers, of old and of today: the shortest and the longest chunk that it makes
/// before the end of a file, and the bits of the rolling hash that are zero where a chunk ends.
const MIN: usize = 8 << 10;
/// See [`MIN`].
pub(crate) const MAX: usize = 128 << 10;
const MASK: u64 = 0xffff << 48;

/// How many bytes the rolling hash is made of.
const WINDOW: usize = 64;

/// A gear table that nobody used.
static OTHER_TABLE: LazyLock<Table> =
    LazyLock::new(|| DEFAULT_TABLE.map(|entry| entry.rotate_left(29)));

/// Where content is cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cuts {
    /// As xet-core cut before September 2025.
    Older,
    /// By the same rule, but at other places: as if xet-core had had another gear table.
    OtherTable,
    /// After each of these lengths in bytes, again and again until the content ends.
    Lengths(Vec<usize>),
}

impl Cuts {
    /// Reads `before-2025-09`, `other-table`, or lengths between commas.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text {
            "before-2025-09" => Some(Self::Older),
            "other-table" => Some(Self::OtherTable),
            _ => {
                let length = |text: &str| text.parse().ok().filter(|n| (1..=MAX).contains(n));
                text.split(',').map(length).collect::<Option<_>>().map(Self::Lengths)
            }
        }
    }

    /// The lengths of the chunks of `content`.
    pub(crate) fn lengths(&self, content: &[u8]) -> Vec<usize> {
        match self {
            Self::Older => by_content(content, &DEFAULT_TABLE),
            Self::OtherTable => by_content(content, &OTHER_TABLE),
            Self::Lengths(lengths) => by_length(content.len(), lengths),
        }
    }
}

/// The rule of before September 2025. It begins to look for an end `WINDOW` bytes before the shortest
/// chunk is full, and takes one that it finds there, where the hash knows too little of the content
/// yet. Today's rule looks on.
fn by_content(content: &[u8], table: &'static Table) -> Vec<usize> {
    let mut hasher = Hasher::new(table);
    let mut rest = content;
    let mut lengths = Vec::new();
    while !rest.is_empty() {
        let longest = rest.len().min(MAX);
        let skipped = longest.min(MIN - WINDOW - 1);
        hasher.set_hash(0);
        let found = hasher.next_match(&rest[skipped..longest], MASK);
        let length = found.map_or(longest, |found| skipped + found);
        lengths.push(length);
        rest = &rest[length..];
    }
    lengths
}

fn by_length(size: usize, lengths: &[usize]) -> Vec<usize> {
    let mut left = size;
    let lengths = lengths.iter().cycle().map_while(|&length| {
        let length = length.min(left);
        left -= length;
        (length > 0).then_some(length)
    });
    lengths.collect()
}

/// The published vectors are from section 10 ("Vectors") of the project's fact sheet on the protocol,
/// hub-protocol.md.
#[cfg(test)]
mod tests {
    use super::*;

    /// xorshift32 (13, 17, 5), the low byte of each state: the published example of both rules.
    fn example() -> Vec<u8> {
        let mut state = 0x9e37_79b9_u32;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state.to_le_bytes()[0]
        };
        (0..3 << 20).map(|_| next()).collect()
    }

    /// The old rule gives the chunks that are published for it: 55, three of them 8,128 bytes long.
    #[test]
    fn the_older_rule_cuts_as_it_did() {
        let content = example();
        let lengths = Cuts::Older.lengths(&content);
        assert_eq!(lengths.iter().sum::<usize>(), content.len());
        assert_eq!(lengths.len(), 55);
        assert_eq!(lengths.iter().filter(|&&length| length == 8128).count(), 3);
    }

    /// Where no chunk ends early, both rules give what is published: `SplitMix64` from 0, and bytes of 59.
    #[test]
    fn the_older_rule_cuts_like_today_where_it_may() {
        let mut state = 0_u64;
        let next = || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            (z ^ (z >> 31)).to_le_bytes()
        };
        let content: Vec<u8> = std::iter::repeat_with(next).flatten().take(1_000_000).collect();
        let ends: Vec<usize> = Cuts::Older
            .lengths(&content)
            .into_iter()
            .scan(0, |end, length| {
                *end += length;
                Some(*end)
            })
            .collect();
        let published = [
            84_493, 134_421, 144_853, 243_318, 271_793, 336_457, 467_529, 494_581, 582_000,
            596_735, 616_815, 653_164, 678_202, 724_510, 815_591, 827_760, 958_832, 991_092,
            1_000_000,
        ];
        assert_eq!(ends, published);
        let lengths = Cuts::Older.lengths(&vec![59; 1_000_000]);
        assert_eq!(lengths[..7], [131_072; 7]);
        assert_eq!(lengths.len(), 8);
    }

    /// Another table shares almost no boundary with xet-core's, and still cuts by content: what is
    /// put in front moves the boundaries behind it along.
    #[test]
    fn another_table_cuts_elsewhere_but_by_content() {
        let ends = |lengths: Vec<usize>| -> Vec<usize> {
            let sum = |sum: &mut usize, length| {
                *sum += length;
                Some(*sum)
            };
            lengths.into_iter().scan(0, sum).collect()
        };
        let mut content = vec![0; 1000];
        content.extend(example());
        let (moved, older) = (Cuts::OtherTable.lengths(&content), Cuts::Older.lengths(&content));
        let (moved, older) = (ends(moved), ends(older));
        let there = ends(Cuts::OtherTable.lengths(&content[1000..]));
        assert!(there.iter().filter(|&&end| moved.contains(&(end + 1000))).count() > 30);
        assert!(moved.iter().filter(|end| older.contains(end)).count() < 5);
    }

    /// Lengths begin anew when they are used up, and the last chunk is as short as need be.
    #[test]
    fn lengths_repeat() {
        let cuts = Cuts::parse("3,2").unwrap();
        assert_eq!(cuts.lengths(&[0; 9]), [3, 2, 3, 1]);
        assert_eq!(cuts.lengths(&[0; 5]), [3, 2]);
        assert!(cuts.lengths(&[]).is_empty());
    }

    /// What makes no sense is refused.
    #[test]
    fn only_known_cuts_are_read() {
        assert_eq!(Cuts::parse("before-2025-09"), Some(Cuts::Older));
        assert_eq!(Cuts::parse("other-table"), Some(Cuts::OtherTable));
        for wrong in ["", "0", "1,,2", "131073", "-1", "older"] {
            assert_eq!(Cuts::parse(wrong), None, "{wrong}");
        }
    }
}
