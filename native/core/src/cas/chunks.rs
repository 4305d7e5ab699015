//! Which chunks a file was published with.
//!
//! The chunks of a file don't follow from its content alone: xet-core changed its chunker in 2025, and
//! what was published before has other boundaries. A reconstruction tells the boundaries of terms; those
//! inside of them are in the answers of `/v2/file-chunk-hashes`, which is meant for proving parts of a
//! file and tells them where it's asked cleverly ([`questions`]).
//!
//! That route is optional, and so is all that is learnt from it: it spares fetching. It's given little
//! time and one attempt, and where it fails it's left alone for a while, by all calls of the client.

mod answer;
mod known;
mod proofs;
mod questions;

use std::ops::Range;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use reqwest::header::{ACCEPT_ENCODING, HeaderName, HeaderValue};
use xet_client::cas_types::X_RANGE_DIRTY_HEADER;
use xet_core_structures::merklehash::MerkleHash;

use self::answer::Answer;
use self::questions::questions;
use super::subject::Asked;
use super::{CHUNKS, Cas, LEFT_ALONE, MAX_RECONSTRUCTION, XET_STORAGE};
use crate::call::progress::Counters;
use crate::http::body::{self, JsonFrom};
use crate::hub::XetToken;
use crate::model::error::{Error, Kind, Result};

pub(crate) use answer::are_all_of;
pub(crate) use known::{Chunks, Known};
pub(crate) use proofs::{Proofs, Proving};

/// How long one answer may take.
const ANSWER: Duration = Duration::from_secs(2);

/// How long a file is asked about; what isn't known then stays unknown.
const ALTOGETHER: Duration = Duration::from_secs(5);

/// How often what is still unknown is asked about.
const PASSES: u64 = 6;

/// Questions that are on their way at a time.
const ASKING: usize = 8;

/// When the CAS failed to tell chunks. What the calls on one client share.
#[derive(Default)]
pub(crate) struct ChunksRoute(Mutex<Option<Instant>>);

impl ChunksRoute {
    fn is_left_alone(&self) -> bool {
        let failed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        failed.is_some_and(|at| at.elapsed() < LEFT_ALONE)
    }

    fn leave_alone(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }
}

impl Cas {
    /// The chunks that the file of `size` bytes was published with, inside of `range`, which begins and
    /// ends where chunks do: all of them, or as many as the CAS tells, and of those around it some.
    /// Fails if the CAS does, unless it's left alone: then it tells none.
    pub(crate) async fn published_chunks(
        &self,
        file: &MerkleHash,
        size: u64,
        range: Range<u64>,
        counters: &Counters,
    ) -> Result<Known> {
        if let Some(folder) = &self.folder {
            return folder.chunks(file, size).await;
        }
        let mut known = Known::default();
        if range.is_empty() || self.chunks_route.is_left_alone() {
            return Ok(known);
        }
        let token = self.token(counters).await?;
        self.not_left_alone(&token.cas_url)?;
        let begun = Instant::now();
        for pass in 0..PASSES {
            let questions = questions(&known, std::slice::from_ref(&range), size, pass);
            if questions.is_empty() || begun.elapsed() > ALTOGETHER {
                break;
            }
            let before = known.chunks.len();
            let ask = |marks| self.chunk_hashes(&token, file, marks, counters);
            let mut answers = stream::iter(questions).map(ask).buffered(ASKING);
            while let Some(answer) = answers.next().await {
                if answer.is_ok() {
                    self.came_from(&token.cas_url);
                }
                let added = answer.and_then(|answer| answer.add_to(&mut known, size));
                added.inspect_err(|_| self.chunks_route.leave_alone())?;
            }
            // The same questions would have the same answers. The first are others than the second.
            if pass > 0 && known.chunks.len() == before {
                break;
            }
        }
        Ok(known)
    }

    /// One question, asked once.
    async fn chunk_hashes(
        &self,
        token: &XetToken,
        file: &MerkleHash,
        marks: Vec<u64>,
        counters: &Counters,
    ) -> Result<Answer> {
        let ask = |token| self.chunk_hashes_by(token, file, &marks, counters);
        let asking = self.credentials.ask(token, counters, ask);
        tokio::time::timeout(ANSWER, asking).await.unwrap_or_else(|_| {
            let message = format!("the CAS hasn't told a file's chunks within {ANSWER:?}");
            Err(Error::new(Kind::Timeout, message))
        })
    }

    async fn chunk_hashes_by(
        &self,
        token: XetToken,
        file: &MerkleHash,
        marks: &[u64],
        counters: &Counters,
    ) -> Result<Answer> {
        let mut request = self.get_of_cas(&token, &["v2", "file-chunk-hashes", &file.hex()])?;
        let marks: Vec<String> = marks.iter().map(|mark| format!("{mark}-{mark}")).collect();
        let marks = HeaderValue::try_from(format!("bytes={}", marks.join(",")));
        let name = HeaderName::try_from(X_RANGE_DIRTY_HEADER).map_err(Error::internal)?;
        request.headers_mut().insert(name, marks.map_err(Error::internal)?);
        request.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip, zstd"));
        let response = self.send(request, CHUNKS, Asked::File(file)).await?;
        let from = JsonFrom::of(&response, XET_STORAGE);
        let body = body::read(&self.http, response, MAX_RECONSTRUCTION, counters).await?;
        let answer: Answer = from.parse(&body)?;
        Ok(Answer { weight: body.len() as u64, ..answer })
    }
}

#[cfg(test)]
mod tests {
    use xet_client::cas_client::chunk_window_builder::ChunkWindowBuilder;
    use xet_client::cas_types::FileRange;
    use xet_core_structures::merklehash::compute_data_hash;

    use super::questions::QUESTIONS;
    use super::*;

    pub(super) type List = Vec<(MerkleHash, u64)>;

    /// A file of chunks with these lengths.
    pub(super) fn file(lengths: impl IntoIterator<Item = u64>) -> List {
        let chunk = |(i, len): (usize, u64)| (compute_data_hash(&i.to_le_bytes()), len);
        lengths.into_iter().enumerate().map(chunk).collect()
    }

    /// A file of `count` chunks of any length.
    pub(super) fn any(count: u64) -> List {
        let mut random = fastrand::Rng::with_seed(count);
        file((0..count).map(|_| random.u64(8_192..120_000)))
    }

    pub(super) fn size(list: &List) -> u64 {
        list.iter().map(|chunk| chunk.1).sum()
    }

    /// What the CAS answers.
    pub(super) fn answer(list: &List, marks: &[u64]) -> Answer {
        let ranges: Vec<_> = marks.iter().map(|&mark| FileRange::new(mark, mark + 1)).collect();
        let mut builder = ChunkWindowBuilder::new(&ranges);
        let mut end = 0;
        for &(hash, len) in list {
            end += len;
            builder.process_chunk(hash, len, end);
        }
        let (windows, subtrees) = builder.finish();
        let windows: Vec<_> = windows.iter().map(|w| [w.start, w.end]).collect();
        let windows: Vec<_> =
            windows.iter().map(|w| serde_json::json!({ "dirtyByteRange": w })).collect();
        let json = serde_json::json!({
            "fileSize": end, "windows": windows, "hashRanges": subtrees, "totalChunks": list.len(),
        });
        serde_json::from_value(json).unwrap()
    }

    /// What is learnt of a part of a file, and how many questions that takes.
    fn learn(list: &List, range: Range<u64>) -> (Known, usize) {
        let (mut known, mut asked) = (Known::default(), 0);
        for pass in 0..PASSES {
            let before = known.chunks.len();
            for marks in questions(&known, std::slice::from_ref(&range), size(list), pass) {
                answer(list, &marks).add_to(&mut known, size(list)).unwrap();
                asked += 1;
            }
            if pass > 0 && known.chunks.len() == before {
                break;
            }
        }
        (known, asked)
    }

    /// All chunks of a file come out of few answers, and none that it doesn't have.
    #[test]
    fn the_chunks_come_out_of_the_answers() {
        for count in [1, 2, 3, 5, 17, 64, 100, 400, 3_000] {
            let list = any(count);
            let (known, asked) = learn(&list, 0..size(&list));
            let all = known.all(size(&list)).unwrap_or_default();
            assert_eq!(all.len(), list.len());
            for ((hash, len), (told_len, told)) in list.iter().zip(all) {
                assert_eq!(told_len, *len);
                assert!(told.is_none_or(|told| told == *hash));
            }
            assert!(asked <= 4, "{count} chunks: {asked} questions");
        }
    }

    /// So they do where all chunks are of one length, or too long for a window to end.
    #[test]
    fn regular_and_long_chunks_come_out_as_well() {
        for lengths in [
            &[65_536][..],
            &[65_536, 30_000],
            &[20_000, 100_000, 65_000],
            &[131_072],
            &[131_071],
            &[131_072, 8_192],
            &[8_192, 131_072, 70_000],
        ] {
            for mib in [4, 20] {
                let mut left: u64 = mib << 20;
                let cut = lengths.iter().cycle().map_while(|&len| {
                    let len = left.min(len);
                    left -= len;
                    (len > 0).then_some(len)
                });
                let list = file(cut);
                let (known, asked) = learn(&list, 0..size(&list));
                let all = known.all(size(&list)).unwrap_or_default();
                assert_eq!(all.len(), list.len(), "{lengths:?}, {mib} MiB");
                assert!(asked <= QUESTIONS, "{lengths:?}, {mib} MiB: {asked} questions");
            }
        }
    }

    /// A part of a file is asked about with few marks, and its chunks come out, too.
    #[test]
    fn a_part_is_enough() {
        let list = any(3_000);
        let ends: Vec<u64> = list
            .iter()
            .scan(0, |end, chunk| {
                *end += chunk.1;
                Some(*end)
            })
            .collect();
        for (from, to) in [(0, 100), (1_000, 1_003), (1_000, 1_200), (2_900, 2_999)] {
            let range = (if from == 0 { 0 } else { ends[from] })..ends[to];
            let (known, asked) = learn(&list, range.clone());
            let missing: u64 = known.unknown(&range).iter().map(|part| part.end - part.start).sum();
            assert!(missing <= 1 << 17, "{from}-{to}: {missing} bytes");
            assert!(asked <= 4);
        }
    }

    /// What can't be true is refused.
    #[test]
    fn lies_are_refused() {
        let list = any(50);
        let refused = |change: fn(&mut Answer)| {
            let mut answer = answer(&list, &[size(&list) / 2]);
            change(&mut answer);
            answer.add_to(&mut Known::default(), size(&list)).is_err()
        };
        assert!(!refused(|_| ()));
        assert!(refused(|a| a.file_size += 1));
        assert!(refused(|a| a.windows.clear()));
        assert!(refused(|a| a.windows[0].dirty_byte_range[0] = u64::MAX));
        assert!(refused(|a| a.hash_ranges[0].as_mut().unwrap().levels[0].1 = 1_000_000));
    }
}
