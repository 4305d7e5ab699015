//! Turns a reconstruction answer of the CAS into fetches: which bytes of which xorb to get, and
//! where its chunks go in the file.
//!
//! Nothing in an answer is trusted: lengths, ranges and URLs are checked here, so that the executor
//! meets only possible ones. The format is section "reconstruction" of the CAS API (V2; V1 answers
//! are converted by xet-client's types).

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;

use url::Url;
use xet_client::cas_types::{QueryReconstructionResponseV2, XorbReconstructionTerm};
use xet_core_structures::merklehash::MerkleHash;

use super::chunker::SHORTEST;
use crate::http::origin::bare;
use crate::model::content::MAX_SIZE;
use crate::model::error::{Error, Kind, Result};
use crate::reuse::Term;

/// What begins the URLs of what is in a folder that is storage. Nobody makes requests to them.
pub(super) const LOCAL: &str = "local";

/// The most bytes that one fetch may ask for: a xorb holds at most 64 MiB of chunks, each with its
/// header.
const MAX_FETCH: u64 = 80 * 1024 * 1024;

/// The most terms that an answer may have: 1 GiB, which is what is asked for at most, of the smallest
/// chunks, and what reaches over its ends.
const MAX_TERMS: usize = (1 << 30) / SHORTEST + 2;

/// The most ranges that one xorb can be fetched in: it has no more chunks.
const MAX_RANGES: usize = 8192;

/// A URL that carries a signature; it is never printed.
#[derive(Clone)]
pub(crate) struct SignedUrl(pub(crate) Url);

impl fmt::Debug for SignedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&bare(&self.0))
    }
}

/// A run of a xorb's chunks that belongs at one place of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Placement {
    /// Indices in the xorb.
    pub(crate) chunks: Range<u32>,
    /// Where the first chunk goes in the file.
    pub(crate) offset: u64,
    /// Of all its chunks, uncompressed.
    pub(crate) len: u64,
}

impl Placement {
    /// Whether the xorb's chunk with this index is one of these.
    pub(crate) fn holds(&self, index: usize) -> bool {
        (self.chunks.start as usize..self.chunks.end as usize).contains(&index)
    }
}

/// One ranged GET, and what becomes of its chunks.
#[derive(Clone, Debug)]
pub(crate) struct Fetch {
    pub(crate) xorb: MerkleHash,
    pub(crate) url: SignedUrl,
    /// In the serialised xorb; both ends are in it, as in a Range header.
    pub(crate) bytes: (u64, u64),
    /// What those bytes hold.
    pub(crate) chunks: Range<u32>,
    /// Sorted by offset; never empty.
    pub(crate) placements: Vec<Placement>,
    /// The part of the file that may be written to: what lies outside is none of this fetch's
    /// business, though an answer may name whole terms that reach out of it.
    pub(crate) within: Range<u64>,
}

impl Fetch {
    /// Whether the fetch brings all of these chunks of its xorb.
    pub(crate) fn brings(&self, chunks: &Range<u32>) -> bool {
        self.chunks.start <= chunks.start && chunks.end <= self.chunks.end
    }

    /// The part of the file to ask about for all of its chunks: one of its places if that has all of them, else from the
    /// first place to the last.
    pub(crate) fn span(&self) -> Option<Range<u64>> {
        let range = |p: &Placement| p.offset..p.offset + p.len;
        let places = &self.placements;
        let widest = places.iter().max_by_key(|p| p.chunks.len())?;
        let has_all = |p: &Placement| {
            widest.chunks.start <= p.chunks.start && p.chunks.end <= widest.chunks.end
        };
        let span = if places.iter().all(has_all) {
            range(widest)
        } else {
            let starts = places.iter().map(|p| p.offset).min()?;
            starts..places.iter().map(|p| p.offset + p.len).max()?
        };
        let span = span.start.max(self.within.start)..span.end.min(self.within.end);
        (!span.is_empty()).then_some(span)
    }

    /// How many bytes the answer's body has.
    pub(crate) fn body_len(&self) -> u64 {
        self.bytes.1 - self.bytes.0 + 1
    }
}

/// The fetches that together give the bytes `wanted` of a file of `size` bytes, in file order. They
/// may write to what of `within` they bring along; `wanted` is a part of it.
pub(crate) fn fetches(
    answer: &QueryReconstructionResponseV2,
    wanted: &Range<u64>,
    within: &Range<u64>,
    size: u64,
) -> Result<Vec<Fetch>> {
    if answer.terms.len() > MAX_TERMS {
        return Err(lie("more terms than a file of this size has chunks"));
    }
    let mut fetches = candidates(answer, within)?;
    let mut by_xorb: HashMap<MerkleHash, Vec<usize>> = HashMap::new();
    for (i, fetch) in fetches.iter().enumerate() {
        by_xorb.entry(fetch.xorb).or_default().push(i);
    }
    if by_xorb.values().any(|ranges| ranges.len() > MAX_RANGES) {
        return Err(lie("more ranges than a xorb has chunks"));
    }
    let mut offset = wanted
        .start
        .checked_sub(answer.offset_into_first_range)
        .ok_or_else(|| lie("the first term begins before the file"))?;
    for term in &answer.terms {
        let placement = placement(term, offset, size)?;
        offset += placement.len;
        let xorb = MerkleHash::from(&term.hash);
        let holder = by_xorb
            .get(&xorb)
            .into_iter()
            .flatten()
            .find(|&&i| fetches[i].brings(&placement.chunks))
            .ok_or_else(|| lie("a term without a URL that fetches it"))?;
        fetches[*holder].placements.push(placement);
    }
    if offset < wanted.end {
        return Err(lie("its terms end before the range that was asked for"));
    }
    fetches.retain(|f| !f.placements.is_empty());
    fetches.sort_by_key(|f| f.placements[0].offset);
    Ok(fetches)
}

/// The terms that the fetches are for, in file order.
pub(crate) fn terms(fetches: &[Fetch]) -> Vec<Term> {
    let mut terms: Vec<Term> = fetches
        .iter()
        .flat_map(|fetch| {
            fetch.placements.iter().map(|placement| Term {
                xorb: fetch.xorb,
                chunks: placement.chunks.clone(),
                offset: placement.offset,
                len: placement.len,
            })
        })
        .collect();
    terms.sort_by_key(|term| term.offset);
    terms
}

/// Every range that the answer has a URL for, not yet placed. Fetches of one range by several URLs
/// (a V2 URL signs a set of ranges) are asked for one range at a time, as the official client does.
fn candidates(answer: &QueryReconstructionResponseV2, within: &Range<u64>) -> Result<Vec<Fetch>> {
    let mut candidates = Vec::new();
    for (hash, urls) in &answer.xorbs {
        for entry in urls {
            let url = Url::parse(&entry.url)
                .ok()
                .filter(|url| {
                    let is_of_server = matches!(url.scheme(), "http" | "https") && url.has_host();
                    is_of_server || url.scheme() == LOCAL
                })
                .ok_or_else(|| lie("a fetch URL that is no http(s) URL"))?;
            for range in &entry.ranges {
                let (first, last) = (range.bytes.start, range.bytes.end);
                if first > last
                    || last > MAX_SIZE
                    || last - first >= MAX_FETCH
                    || range.chunks.start >= range.chunks.end
                {
                    return Err(lie("a fetch range that is empty or larger than a xorb"));
                }
                candidates.push(Fetch {
                    xorb: hash.into(),
                    url: SignedUrl(url.clone()),
                    bytes: (first, last),
                    chunks: range.chunks.start..range.chunks.end,
                    placements: Vec::new(),
                    within: within.clone(),
                });
            }
        }
    }
    Ok(candidates)
}

fn placement(term: &XorbReconstructionTerm, offset: u64, size: u64) -> Result<Placement> {
    let len = u64::from(term.unpacked_length);
    if len == 0 || term.range.start >= term.range.end {
        return Err(lie("an empty term"));
    }
    if offset.checked_add(len).is_none_or(|end| end > size) {
        return Err(lie("its terms are longer than the file"));
    }
    Ok(Placement { chunks: term.range.start..term.range.end, offset, len })
}

/// The error for an answer that can't be true.
pub(crate) fn lie(what: impl std::fmt::Display) -> Error {
    Error::new(Kind::InvalidResponse, format!("the CAS sent an impossible reconstruction: {what}"))
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests {
    use super::*;

    fn answer(json: &str) -> QueryReconstructionResponseV2 {
        serde_json::from_str(&json.replace("AA", &"a".repeat(64)).replace("BB", &"b".repeat(64)))
            .unwrap()
    }

    const GOOD: &str = r#"{"offset_into_first_range": 10,
        "terms": [
            {"hash": "AA", "unpacked_length": 100, "range": {"start": 0, "end": 2}},
            {"hash": "BB", "unpacked_length": 50, "range": {"start": 5, "end": 6}},
            {"hash": "AA", "unpacked_length": 40, "range": {"start": 1, "end": 2}}],
        "xorbs": {
            "AA": [{"url": "http://s/a?sig=1", "ranges": [
                {"chunks": {"start": 0, "end": 2}, "bytes": {"start": 0, "end": 99}}]}],
            "BB": [{"url": "http://s/b", "ranges": [
                {"chunks": {"start": 0, "end": 1}, "bytes": {"start": 0, "end": 9}},
                {"chunks": {"start": 5, "end": 6}, "bytes": {"start": 70, "end": 99}}]}]}}"#;

    /// A xorb range that several terms use is fetched once, and each term knows its place.
    #[test]
    fn terms_become_placements_of_the_range_that_holds_them() {
        let fetches = fetches(&answer(GOOD), &(30..200), &(30..200), 300).unwrap();
        assert_eq!(fetches.len(), 2, "the range that no term needs is not fetched");
        assert_eq!(
            fetches[0].placements,
            [
                Placement { chunks: 0..2, offset: 20, len: 100 },
                Placement { chunks: 1..2, offset: 170, len: 40 }
            ]
        );
        assert_eq!(fetches[1].placements, [Placement { chunks: 5..6, offset: 120, len: 50 }]);
        assert_eq!(fetches[1].bytes, (70, 99));
        assert_eq!(fetches[1].body_len(), 30);
    }

    /// A signed URL's query is not in the debug output.
    #[test]
    fn signatures_are_not_printed() {
        let fetches = fetches(&answer(GOOD), &(30..200), &(30..200), 300).unwrap();
        assert!(!format!("{fetches:?}").contains("sig"));
    }

    /// Every lie that could make the executor write outside the file, hang or allocate without
    /// bound is refused.
    #[test]
    fn lies_are_refused() {
        let lies = [
            ("\"offset_into_first_range\": 10", "\"offset_into_first_range\": 31", 30..200, 300),
            ("\"unpacked_length\": 50", "\"unpacked_length\": 0", 30..200, 300),
            ("\"unpacked_length\": 50", "\"unpacked_length\": 5000", 30..200, 300),
            ("{\"start\": 5, \"end\": 6}}", "{\"start\": 5, \"end\": 7}}", 30..200, 300),
            ("{\"start\": 1, \"end\": 2}}]", "{\"start\": 2, \"end\": 2}}]", 30..200, 300),
            ("\"start\": 0, \"end\": 99", "\"start\": 100, \"end\": 99", 30..200, 300),
            ("\"start\": 0, \"end\": 99", "\"start\": 0, \"end\": 99999999999", 30..200, 300),
            ("http://s/a", "file:///etc/passwd#", 30..200, 300),
            ("10,", "10,", 30..250, 300),
        ];
        for (truth, lie, wanted, size) in lies {
            assert!(GOOD.contains(truth), "{truth}");
            let error = fetches(&answer(&GOOD.replacen(truth, lie, 1)), &wanted, &wanted, size)
                .unwrap_err();
            assert_eq!(error.kind(), Kind::InvalidResponse, "{lie}");
        }
    }
}
