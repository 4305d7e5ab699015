//! Reconstructions of a hostile CAS: refused, or fetches that stay within the file and the xorbs.

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::json;
use xet_client::cas_types::QueryReconstructionResponse;

use super::*;
use crate::fuzz::mutated;

const SIZE: u64 = 300;

const ANSWER: &str = r#"{"offset_into_first_range": 10, "terms": [
    {"hash": "AA", "unpacked_length": 100, "range": {"start": 0, "end": 2}},
    {"hash": "BB", "unpacked_length": 50, "range": {"start": 5, "end": 6}},
    {"hash": "AA", "unpacked_length": 40, "range": {"start": 1, "end": 2}}],
  "xorbs": {
    "AA": [{"url": "http://s/a?sig=1", "ranges": [
      {"chunks": {"start": 0, "end": 2}, "bytes": {"start": 0, "end": 99}}]}],
    "BB": [{"url": "https://s/b", "ranges": [
      {"chunks": {"start": 5, "end": 6}, "bytes": {"start": 70, "end": 99}}]}]}}"#;

const WORDS: [&str; 6] = ["file:///x", "[]", "{}", "300", "99999999999", "http:"];

fn sample() -> String {
    ANSWER.replace("AA", &"a".repeat(64)).replace("BB", &"b".repeat(64))
}

/// What the executor relies on.
fn check(fetches: &[Fetch], wanted: &Range<u64>) -> Result<(), TestCaseError> {
    let mut placed = Vec::new();
    for fetch in fetches {
        prop_assert!(fetch.bytes.0 <= fetch.bytes.1);
        prop_assert!(fetch.body_len() <= MAX_FETCH);
        prop_assert!(matches!(fetch.url.0.scheme(), "http" | "https") && fetch.url.0.has_host());
        prop_assert!(!fetch.placements.is_empty());
        for placement in &fetch.placements {
            prop_assert!(placement.len > 0);
            prop_assert!(placement.offset + placement.len <= SIZE);
            prop_assert!(fetch.chunks.start <= placement.chunks.start);
            prop_assert!(placement.chunks.end <= fetch.chunks.end);
            placed.push(placement.offset..placement.offset + placement.len);
        }
    }
    // In file order, without holes, from before the first wanted byte to behind the last.
    placed.sort_by_key(|range| range.start);
    prop_assert!(placed.first().is_some_and(|first| first.start <= wanted.start));
    prop_assert!(placed.windows(2).all(|pair| pair[0].end == pair[1].start));
    prop_assert!(placed.last().is_some_and(|last| last.end >= wanted.end));
    Ok(())
}

/// A reconstruction of numbers that may be anything.
fn numbers() -> impl Strategy<Value = serde_json::Value> {
    let number = || prop_oneof![0_u64..8, 0..=u64::from(u32::MAX)];
    let term =
        (number(), number(), number(), any::<bool>()).prop_map(|(len, start, end, other)| {
            json!({"hash": if other { "b".repeat(64) } else { "a".repeat(64) },
            "unpacked_length": len, "range": {"start": start, "end": end}})
        });
    let range = (number(), number(), any::<u64>(), any::<u64>());
    let range = range.prop_map(|(start, end, first, last)| {
        json!({"chunks": {"start": start, "end": end}, "bytes": {"start": first, "end": last}})
    });
    (any::<u64>(), vec(term, 0..5), vec(range, 0..5)).prop_map(|(offset, terms, ranges)| {
        let offset = if offset % 2 == 0 { 0 } else { offset };
        json!({"offset_into_first_range": offset, "terms": terms,
            "xorbs": {"a".repeat(64): [{"url": "http://s/a", "ranges": ranges}]}})
    })
}

proptest! {
    /// Edited answers are refused, or describe what is possible.
    #[test]
    fn edited_answers_are_possible_or_refused(
        body in mutated(sample(), &WORDS), start in 0..SIZE, len in 1..SIZE,
    ) {
        let wanted = start..SIZE.min(start + len);
        if let Ok(answer) = serde_json::from_slice(&body)
            && let Ok(fetches) = fetches(&answer, &wanted, &wanted, SIZE)
        {
            check(&fetches, &wanted)?;
        }
        // The older form goes the same way.
        if let Ok(answer) = serde_json::from_slice::<QueryReconstructionResponse>(&body)
            && let Ok(fetches) = super::fetches(&answer.into(), &wanted, &wanted, SIZE)
        {
            check(&fetches, &wanted)?;
        }
    }

    /// So are answers of any numbers: no sum or product of them overflows.
    #[test]
    fn any_numbers_are_possible_or_refused(body in numbers()) {
        let answer: QueryReconstructionResponseV2 = serde_json::from_value(body).unwrap();
        if let Ok(fetches) = fetches(&answer, &(0..SIZE), &(0..SIZE), SIZE) {
            check(&fetches, &(0..SIZE))?;
        }
    }
}
