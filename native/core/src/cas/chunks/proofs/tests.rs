//! Proofs of files that a CAS as xet-core's tells truly, and of some that it doesn't.

use super::super::tests::{List, answer, any, file, size};
use super::*;
use crate::cas::chunks::are_all_of;
use xet_core_structures::merklehash::{compute_data_hash, file_hash};

fn proofs(list: &List) -> Proofs {
    Proofs::new(file_hash(list), size(list))
}

/// Has these ranges proven by a CAS whose answers are changed so, and with chunks that are brought. How many answers it took, and how many bytes had to be brought.
fn prove_by(
    proofs: &Proofs,
    list: &List,
    ranges: &[Range<u64>],
    mut answers: impl FnMut(&[u64]) -> Answer,
) -> Result<(usize, u64)> {
    let (weight, mut asked) = (AtomicU64::new(0), 0);
    let mut proving = Proving::begin(proofs, ranges.to_vec(), &weight);
    while let Some(questions) = proving.questions() {
        asked += questions.len();
        proving.add(questions.iter().map(|marks| answers(marks)).collect())?;
    }
    let mut brought = 0;
    while !proving.is_done() {
        let wanted = proving.wanted()?;
        brought += length(&wanted);
        let mut at = 0;
        let placed = list.iter().map(|&(hash, len)| {
            at += len;
            (at - len, len, hash)
        });
        let is_wanted = |&(at, len, _): &(u64, u64, MerkleHash)| {
            wanted.iter().any(|range| range.start < at + len && at < range.end)
        };
        proving.learn(placed.filter(is_wanted));
    }
    Ok((asked, brought))
}

fn prove(proofs: &Proofs, list: &List, ranges: &[Range<u64>]) -> (usize, u64) {
    prove_by(proofs, list, ranges, |marks| answer(list, marks)).unwrap()
}

/// Every chunk of the ranges is proven, and nothing that the file doesn't have.
fn check(proofs: &Proofs, list: &List, ranges: &[Range<u64>]) {
    let mut at = 0;
    for (hash, len) in list {
        let is_wanted = ranges.iter().any(|range| range.start < at + len && at < range.end);
        let has = proofs.has(at, *len, hash);
        assert!(has == Some(true) || (!is_wanted && has.is_none()), "{at}: {has:?}");
        if has.is_some() {
            let other = compute_data_hash(b"other");
            assert_eq!(proofs.has(at, *len, &other), Some(false));
            assert_eq!(proofs.has(at + 1, *len - 1, hash), Some(false));
        }
        at += len;
    }
}

/// Parts of files of all sizes are proven, with few questions.
#[test]
fn parts_are_proven() {
    for count in [1, 2, 3, 5, 17, 64, 100, 400, 3_000, 20_000] {
        let list = any(count);
        let all = size(&list);
        let (mut questions, mut most) = (0, 0);
        for part in [
            0..1,
            0..all,
            all - 1..all,
            all / 2..(all / 2 + 65_536).min(all),
            all / 3..(all / 3 + (8 << 20)).min(all),
        ] {
            let proofs = proofs(&list);
            let (asked, brought) = prove(&proofs, &list, std::slice::from_ref(&part));
            check(&proofs, &list, &[part]);
            assert!(brought == 0 || count < 20, "{count}: {brought} bytes were needed");
            questions += asked;
            most = most.max(asked);
        }
        // Some 7 MiB are one question; the whole of the largest file has 1.3 GiB.
        let large = usize::try_from(all >> 26).unwrap();
        assert!(
            questions <= 4 * (5 + large) && most <= 8 + 3 * large,
            "{count}: {questions}, {most}"
        );
    }
}

/// Most small parts take two questions, which can be asked side by side.
#[test]
fn small_parts_take_one_round() {
    let list = any(10_000);
    let mut random = fastrand::Rng::with_seed(7);
    let mut twice = 0;
    for _ in 0..200 {
        let at = random.u64(0..size(&list) - 65_536);
        let ranges = [at..at + 65_536];
        let proofs = proofs(&list);
        let (asked, _) = prove(&proofs, &list, &ranges);
        check(&proofs, &list, &ranges);
        twice += usize::from(asked > 2);
    }
    assert!(twice <= 50, "{twice} of 200 took more");
}

/// Many parts are asked about together; and what is proven isn't asked about again.
#[test]
fn many_parts_are_proven_together() {
    let list = any(60_000);
    let mut random = fastrand::Rng::with_seed(3);
    let mut ranges: Vec<_> =
        (0..200).map(|_| random.u64(0..size(&list) - 65_536)).map(|at| at..at + 65_536).collect();
    ranges.sort_by_key(|range| range.start);
    let proofs = proofs(&list);
    let (asked, _) = prove(&proofs, &list, &ranges);
    check(&proofs, &list, &ranges);
    assert!(asked <= 60, "{asked} questions");
    assert_eq!(prove(&proofs, &list, &ranges), (0, 0));
}

/// What it takes to prove a large file, in one go and here and there.
#[test]
#[ignore = "prints figures"]
fn figures() {
    let list = any(65_536);
    let mut weight = 0;
    let ask = |marks: &[u64]| {
        let answer = answer(&list, marks);
        weight += serde_json::to_string(&answer.hash_ranges).unwrap().len();
        answer
    };
    let whole = proofs(&list);
    let (asked, _) = prove_by(&whole, &list, &[0..size(&list) - 1], ask).unwrap();
    println!("whole: {asked} questions, {weight} bytes");
    let mut random = fastrand::Rng::with_seed(3);
    let proofs = proofs(&list);
    let (mut asked, mut rounds) = (0, 0);
    for _ in 0..200 {
        let at = random.u64(0..size(&list) - 65_536);
        let (more, _) = prove(&proofs, &list, &[at..at + 65_536]);
        asked += more;
        rounds += usize::from(more > 0);
    }
    println!("one by one: {asked} questions in {rounds} rounds");
}

/// Who reads on and on has ever more proven at a time.
#[test]
fn who_reads_on_asks_seldom() {
    let list = any(20_000);
    let proofs = proofs(&list);
    let mut rounds = 0;
    for at in (0..size(&list)).step_by(1 << 20) {
        let part = [at..(at + (1 << 20)).min(size(&list))];
        rounds += usize::from(prove(&proofs, &list, &part).0 > 0);
        check(&proofs, &list, &part);
    }
    assert!(rounds <= 14, "{rounds} rounds for {} MiB", size(&list) >> 20);
}

/// Chunks of one length are proven as well; so are those after which no window ends, which then have to be brought.
#[test]
fn regular_chunks_are_proven() {
    for lengths in [&[65_536][..], &[65_536, 30_000], &[131_072], &[8_192, 131_072, 70_000]] {
        let list = file((0..200).map(|i| lengths[i % lengths.len()]));
        let all = size(&list);
        for part in [0..1, all / 2..all / 2 + 1, all - 1..all] {
            let proofs = proofs(&list);
            prove(&proofs, &list, std::slice::from_ref(&part));
            check(&proofs, &list, &[part]);
        }
    }
}

/// The same answer with something changed, by way of its JSON.
fn changed(answer: &Answer, change: impl FnOnce(&mut serde_json::Value)) -> Answer {
    let windows: Vec<_> = answer.windows().map(|w| [w.start, w.end]).collect();
    let windows: Vec<_> =
        windows.iter().map(|w| serde_json::json!({ "dirtyByteRange": w })).collect();
    let mut json = serde_json::json!({
        "fileSize": answer.file_size, "windows": windows, "hashRanges": answer.hash_ranges,
        "totalChunks": answer.total_chunks,
    });
    change(&mut json);
    serde_json::from_value(json).unwrap()
}

/// Answers about another file prove nothing, nor does any in which a hash or a length is another.
#[test]
fn lies_prove_nothing() {
    let (list, other) = (any(500), any(501));
    let middle = size(&list) / 2;
    let part = [middle..middle + 65_536];
    let refused = |answers: &mut dyn FnMut(&[u64]) -> Answer| {
        let proofs = proofs(&list);
        let error = prove_by(&proofs, &list, &part, answers).unwrap_err();
        assert_eq!(error.kind(), Kind::ChecksumMismatch, "{error}");
        assert_eq!(proofs.lacking(&part), part, "nothing is proven");
    };
    refused(&mut |marks| answer(&other, marks));
    // The same size, but for one chunk the same chunks.
    let mut swapped = list.clone();
    swapped[250].0 = compute_data_hash(b"another");
    refused(&mut |marks| answer(&swapped, marks));
    let mut shifted = list.clone();
    (shifted[240].1, shifted[260].1) = (shifted[240].1 - 1, shifted[260].1 + 1);
    refused(&mut |marks| answer(&shifted, marks));
    for field in ["at_start", "at_end"] {
        refused(&mut |marks| {
            changed(&answer(&list, marks), |json| {
                let flag = &mut json["hashRanges"][1][field];
                *flag = serde_json::json!(!flag.as_bool().unwrap());
            })
        });
    }
}

/// Whoever knows the top of the tree can't pass it for proof of a chunk of his own: neither beside it, nor below it.
#[test]
fn the_top_alone_proves_nothing() {
    let list = any(500);
    let (hash, all) = (file_hash(&list), size(&list));
    let tree = xet_core_structures::merklehash::MerkleHashSubtree::from_chunks(true, &list, true);
    let top = tree.final_hash().unwrap();
    let forged = compute_data_hash(b"forged");
    for levels in [serde_json::json!([[0, 0], [1, 0]]), serde_json::json!([[0, 0], [0, 1]])] {
        let json = serde_json::json!({
            "fileSize": all, "totalChunks": 2, "windows": [{"dirtyByteRange": [0, 65_536]}],
            "hashRanges": [null, {
                "nodes": [{"hash": top.hex(), "size": all - 65_536}], "levels": levels,
                "at_start": false, "at_end": true}],
        });
        let answer: Answer = serde_json::from_value(json).unwrap();
        let mut known = Known::default();
        known.add_all(0, &[(forged, 65_536)]);
        assert!(answer.proves(&known, &hash, all).is_none());
    }
}

/// Answers that are garbled anywhere do no harm: they are refused, or prove what is true.
#[test]
fn garbled_answers_are_refused() {
    let list = any(300);
    let middle = size(&list) / 2;
    let mut random = fastrand::Rng::with_seed(11);
    for _ in 0..3_000 {
        let proofs = proofs(&list);
        let part = [middle..middle + 200_000];
        let proven = prove_by(&proofs, &list, &part, |marks| {
            changed(&answer(&list, marks), |json| garble(json, &mut random))
        });
        if proven.is_ok() {
            check(&proofs, &list, &part);
        }
        let state = proofs.state();
        for (&at, &(len, hash)) in &state.proven.chunks {
            let mut begin = 0;
            let true_one = list.iter().find(|(_, len)| {
                begin += len;
                begin > at
            });
            assert_eq!((true_one, begin - len), (Some(&(hash, len)), at));
        }
    }
}

/// Changes a number, a length of a list, or an order somewhere in it.
fn garble(json: &mut serde_json::Value, random: &mut fastrand::Rng) {
    use serde_json::Value;
    match json {
        Value::Object(fields) => {
            let number = random.usize(0..fields.len());
            if let Some((_, field)) = fields.iter_mut().nth(number) {
                garble(field, random);
            }
        }
        Value::Array(items) if items.is_empty() => {}
        Value::Array(items) => {
            let (one, other) = (random.usize(0..items.len()), random.usize(0..items.len()));
            match random.u8(0..8) {
                0 => items.swap(one, other),
                1 if matches!(items[one], Value::Object(_)) => drop(items.remove(one)),
                2 if matches!(items[one], Value::Object(_)) => items.push(items[one].clone()),
                _ => garble(&mut items[one], random),
            }
        }
        Value::Number(_) => {
            let wild = [0, 1, 2, 65_536, 1 << 40, u64::MAX / 2, u64::MAX];
            *json = wild[random.usize(0..wild.len())].into();
        }
        Value::Bool(is) => *is = !*is,
        Value::String(text) if text.len() == 64 => {
            let hash = compute_data_hash(text.as_bytes());
            *text = hash.hex();
        }
        _ => {}
    }
}

/// A file of which all chunks are known needs no answer.
#[test]
fn all_chunks_prove_themselves() {
    let list = any(20);
    assert!(are_all_of(&list, &file_hash(&list)));
    assert!(!are_all_of(&list[1..], &file_hash(&list)));
}
