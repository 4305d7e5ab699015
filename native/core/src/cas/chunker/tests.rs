//! That the rules are those that were in use: `cas/vectors.rs`.

use xet_core_structures::merklehash::compute_data_hash;

use super::*;
use crate::cas::vectors::xorshift;

/// What a rule makes of content that comes in pieces of `step` bytes: length and hash.
fn cut(rule: Rule, content: &[u8], step: usize) -> Vec<(u64, MerkleHash)> {
    let mut cutter = Cutter::at(0);
    let (mut chunks, mut at) = (Vec::new(), 0);
    for piece in content.chunks(step) {
        at += piece.len();
        chunks.extend(cutter.push(&Bytes::copy_from_slice(piece), at == content.len()));
    }
    assert_eq!(cutter.agreed(), content.len() as u64);
    chunks.retain(|guess| guess.cut.is_by(rule));
    chunks.sort_by_key(|guess| guess.offset);
    let mut end = 0;
    for guess in &chunks {
        assert_eq!(guess.offset, end, "nothing is left out, or there twice");
        end = guess.end();
        let there = usize::try_from(guess.offset).unwrap()..usize::try_from(end).unwrap();
        assert_eq!(compute_data_hash(&content[there]), guess.hash);
    }
    assert_eq!(end, content.len() as u64);
    chunks.into_iter().map(|guess| (guess.len, guess.hash)).collect()
}

/// The pieces that content comes in make no difference.
#[test]
fn pieces_make_no_difference() {
    let mut content = xorshift(3 << 20);
    content.extend(vec![0; 300_000]);
    for rule in RULES {
        let whole = cut(rule, &content, content.len());
        for step in [1, 63, 8_127, 8_191, 131_072, 200_001] {
            assert_eq!(cut(rule, &content, step), whole, "{rule:?}, {step}");
        }
    }
}

/// What is today's is xet-core's own.
#[test]
fn today_is_what_xet_core_does() {
    let content = xorshift(2 << 20);
    let own = Chunker::default().next_block(&content, true);
    let own: Vec<_> = own.into_iter().map(|chunk| (chunk.data.len() as u64, chunk.hash)).collect();
    assert_eq!(cut(Rule::Today, &content, 65_536), own);
}

/// Chunks wait until the rules agree, and not for ever.
#[test]
fn what_waits_is_let_go_where_the_rules_agree() {
    let content = xorshift(3 << 20);
    let (mut cutter, mut waiting, mut begun) = (Cutter::at(0), Waiting::default(), 0);
    let mut lengths = [0, 0];
    for piece in content.chunks(5_000) {
        for guess in cutter.push(&Bytes::copy_from_slice(piece), false) {
            waiting.add(guess.placed().unwrap());
        }
        for chunk in waiting.take(&cutter) {
            begun = begun.max(chunk.range().end);
            for (rule, len) in RULES.into_iter().zip(&mut lengths) {
                *len += if chunk.cut.is_by(rule) { u64::from(chunk.len) } else { 0 };
            }
        }
        assert_eq!(lengths, [begun; 2], "as far by one rule as by the other");
    }
    assert!(begun > 2_800_000);
    for _ in 0..=Waiting::MOST {
        let guess = Guess { content: Bytes::new(), ..cutter_guess(&content) };
        waiting.add(PlacedChunk { offset: u64::MAX / 2, ..guess.placed().unwrap() });
    }
    assert!(waiting.take(&cutter).len() > Waiting::MOST);
}

/// Some chunk.
fn cutter_guess(content: &[u8]) -> Guess {
    Cutter::at(0).push(&Bytes::copy_from_slice(content), true).remove(0)
}

/// A chunk that only the older rule makes never comes before the content that it's made of.
#[test]
fn guesses_come_behind_their_content() {
    let content = xorshift(3 << 20);
    let (mut cutter, mut written, mut others) = (Cutter::at(7), 7, 0);
    for piece in content.chunks(5_000) {
        for guess in cutter.push(&Bytes::copy_from_slice(piece), false) {
            if guess.cut == Cut::By(Rule::Before202509) {
                others += 1;
                assert!(guess.end() <= written && guess.content.is_empty());
            } else {
                assert_eq!((guess.offset, guess.content.len() as u64), (written, guess.len));
                written = guess.end();
            }
        }
    }
    assert!(others > 0);
}
