//! Which chunks are proven to be in a file.
//!
//! An answer of `/v2/file-chunk-hashes` is a Merkle tree of the file with holes: its windows. Where the chunks of
//! those are known, too, from wherever, it can be folded to one hash, and if that is the file's, all chunks that
//! it has to show are the file's ([`Answer::proves`]). So a part of a file is asked about twice, side by side, with
//! windows in other places: each answer tells what is inside of the other's windows. Nothing of that has to be
//! fetched.
//!
//! What is proven is kept: 40 bytes for 64 KiB of content. The more often somebody asks, the more around it is
//! proven in one go.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::{StreamExt, TryStreamExt, stream};
use xet_core_structures::merklehash::MerkleHash;

use super::answer::Answer;
use super::known::Known;
use super::questions::{MARKS, PAIR_STEP, pairs, questions};
use super::{ASKING, Cas, PASSES};
use crate::call::progress::Counters;
use crate::cas::parts::{joined, length};
use crate::model::error::{Error, Kind, Result};

/// What is proven with a part at first; four times that with the next one, and so on.
const REACH: u64 = 4 << 20;

/// The most that is proven with a part: what two questions can be about. Parts of a file that are proven so begin
/// and end where multiples of this do, so that in the end no slivers are left between them.
const BLOCK: u64 = PAIR_STEP * (MARKS as u64 - 8);

/// Parts at a time of which more is proven than is needed.
const FEW: usize = 4;

/// Parts that are nearer are one: windows around both would run into each other.
const NEAR: u64 = 2 << 20;

/// What is proven of one file. For many readers at a time.
pub(crate) struct Proofs {
    hash: MerkleHash,
    size: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    proven: Known,
    /// How often more was needed.
    asked: u32,
}

impl Proofs {
    pub(crate) fn new(hash: MerkleHash, size: u64) -> Self {
        Self { hash, size, state: Mutex::default() }
    }

    /// Whether the file has a chunk with this hash there; `None`: nothing is proven of what it has there.
    pub(crate) fn has(&self, offset: u64, len: u64, hash: &MerkleHash) -> Option<bool> {
        let state = self.state();
        if let Some(&(is, proven)) = state.proven.chunks.get(&offset) {
            return Some((is, proven) == (len, *hash));
        }
        let is_proven = state.proven.unknown(&(offset..offset.saturating_add(len))).is_empty();
        is_proven.then_some(false)
    }

    /// The proven chunks that hold a range: where each begins, its length and its hash. `None`: not all are proven.
    pub(crate) fn chunks(&self, range: &Range<u64>) -> Option<Vec<(u64, u64, MerkleHash)>> {
        let state = self.state();
        if !state.proven.unknown(range).is_empty() {
            return None;
        }
        let chunks = &state.proven.chunks;
        let first = chunks.range(..=range.start).next_back().map_or(range.start, |(&at, _)| at);
        let chunks = chunks.range(first..range.end.max(first));
        Some(chunks.map(|(&at, &(len, hash))| (at, len, hash)).collect())
    }

    /// What of these ranges isn't proven.
    pub(crate) fn lacking(&self, ranges: &[Range<u64>]) -> Vec<Range<u64>> {
        let state = self.state();
        ranges.iter().flat_map(|range| state.proven.unknown(range)).collect()
    }

    /// How many chunks are proven.
    pub(crate) fn count(&self) -> usize {
        self.state().proven.chunks.len()
    }

    /// The parts to prove so that these are.
    fn parts(&self, ranges: &[Range<u64>]) -> Vec<Range<u64>> {
        let lacking = self.lacking(ranges);
        if lacking.is_empty() {
            return lacking;
        }
        let asked = {
            let mut state = self.state();
            state.asked += 1;
            state.asked - 1
        };
        let reach = REACH << (2 * asked.min(8));
        let widen = |part: Range<u64>| {
            if reach < BLOCK {
                // Who reads on goes forward, mostly.
                part.start.saturating_sub(reach / 8)..(part.end + reach).min(self.size)
            } else {
                let end = part.end.next_multiple_of(BLOCK);
                part.start / BLOCK * BLOCK..end.min(self.size)
            }
        };
        let are_few = lacking.len() <= FEW;
        let wide = lacking.into_iter().map(|part| if are_few { widen(part) } else { part });
        join(self.lacking(&join(wide.collect())))
    }

    fn add(&self, proven: Known) {
        self.state().proven.chunks.extend(proven.chunks);
    }

    /// What is proven, and what is beside it, to ask about more.
    fn known(&self, parts: &[Range<u64>]) -> Known {
        let state = self.state();
        let mut known = Known::default();
        for part in parts {
            let near = part.start.saturating_sub(NEAR)..part.end.saturating_add(NEAR);
            known.chunks.extend(state.proven.chunks.range(near).map(|(&at, &chunk)| (at, chunk)));
        }
        known
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change leaves it whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cas {
    /// Asks for proofs until there is nothing more to prove, or to ask. False: the CAS has no such route.
    pub(crate) async fn prove(
        &self,
        proving: &mut Proving<'_>,
        counters: &Counters,
    ) -> Result<bool> {
        while let Some(questions) = proving.questions() {
            let hash = proving.proofs.hash;
            let asked = stream::iter(questions)
                .map(|marks| self.proof(&hash, marks, counters))
                .buffer_unordered(ASKING);
            match asked.try_collect().await {
                Err(error) if is_no_route(&error) => return Ok(false),
                answers => proving.add(answers?)?,
            }
        }
        Ok(true)
    }

    async fn proof(
        &self,
        file: &MerkleHash,
        marks: Vec<u64>,
        counters: &Counters,
    ) -> Result<Answer> {
        let ask = |_| async {
            let token = self.token(counters).await?;
            self.in_reach(&token.cas_url, counters)?;
            let ask = |token| self.chunk_hashes_by(token, file, &marks, counters);
            self.credentials.ask(&token, counters, ask).await
        };
        self.policy.run(counters, "ask the CAS for a proof", ask).await
    }
}

/// Parts of a file on their way to be proven: by questions to the CAS first ([`Cas::prove`]), and where those don't
/// tell enough, with chunks that somebody [brings](Self::learn).
pub(crate) struct Proving<'a> {
    proofs: &'a Proofs,
    /// What answers weigh, in bytes, is added to this.
    weight: &'a AtomicU64,
    /// What is needed.
    ranges: Vec<Range<u64>>,
    /// What is asked about: that, and more around it.
    parts: Vec<Range<u64>>,
    told: Told,
    passes: u64,
    /// Whether the last answers told anything new.
    goes_on: bool,
}

impl<'a> Proving<'a> {
    /// Begins to prove these ranges, which are in order. What answers weigh is added to `weight`, in bytes.
    pub(crate) fn begin(
        proofs: &'a Proofs,
        ranges: Vec<Range<u64>>,
        weight: &'a AtomicU64,
    ) -> Self {
        let parts = proofs.parts(&ranges);
        let told = Told::new(proofs.known(&parts));
        Self { proofs, weight, ranges, parts, told, passes: 0, goes_on: true }
    }

    /// What is asked about.
    pub(crate) fn parts(&self) -> &[Range<u64>] {
        &self.parts
    }

    /// Whether all is proven.
    pub(crate) fn is_done(&self) -> bool {
        self.proofs.lacking(&self.ranges).is_empty()
    }

    /// Lists of marks, each a question; `None`: there is nothing more to ask.
    fn questions(&self) -> Option<Vec<Vec<u64>>> {
        if !self.goes_on || self.passes == PASSES || self.is_done() {
            return None;
        }
        let size = self.proofs.size;
        if self.passes == 0 {
            return Some(pairs(&self.parts, size));
        }
        // A window that reaches out of a part has to be known, too.
        let open = join(self.told.open().chain(self.proofs.lacking(&self.parts)).collect());
        let known = &self.told.known;
        let next = questions(known, &open, size, self.passes);
        (!next.is_empty()).then_some(next)
    }

    /// Adds what the questions were answered with.
    fn add(&mut self, answers: Vec<Answer>) -> Result<()> {
        let weight = answers.iter().map(|answer| answer.weight).sum();
        self.weight.fetch_add(weight, Ordering::Relaxed);
        let is_news = self.told.add(answers, self.proofs).map_err(|error| self.fails(&error))?;
        // The first questions were others than the next ones.
        self.goes_on = is_news || self.passes == 0;
        self.passes += 1;
        Ok(())
    }

    /// What has to be brought to prove all, in order: the least of which the chunks would do. Fails if nothing would.
    pub(crate) fn wanted(&self) -> Result<Vec<Range<u64>>> {
        let mut wanted = Vec::new();
        for lacking in self.proofs.lacking(&self.ranges) {
            let open = self.told.answers.iter().filter(|answer| answer.is_about(&lacking));
            let open = open.map(|answer| self.told.open_of(answer));
            let least = open.filter(|open| !open.is_empty()).min_by_key(|open| length(open));
            let least =
                least.ok_or_else(|| self.fails(&"its answers don't add up to that hash"))?;
            wanted.extend(least);
        }
        wanted.sort_by_key(|range| range.start);
        wanted.dedup();
        Ok(wanted)
    }

    /// Takes chunks into account that came: where each begins, its length and its hash. They are proven, or not, as those
    /// that were told.
    pub(crate) fn learn(&mut self, chunks: impl Iterator<Item = (u64, u64, MerkleHash)>) {
        for (at, len, hash) in chunks {
            self.told.known.chunks.entry(at).or_insert((len, hash));
        }
        self.told.prove(self.proofs);
    }

    fn fails(&self, why: &dyn std::fmt::Display) -> Error {
        let hash = self.proofs.hash.hex();
        let message = format!(
            "what the CAS sends to prove parts of the file with the Xet hash {hash} isn't true of it: {why}"
        );
        Error::new(Kind::ChecksumMismatch, message)
    }
}

/// What was told about one file, and the answers that may still prove something.
struct Told {
    known: Known,
    answers: Vec<Answer>,
}

impl Told {
    fn new(known: Known) -> Self {
        Self { known, answers: Vec::new() }
    }

    /// Adds answers; what can be proven now is. Returns whether there was anything new.
    fn add(&mut self, answers: Vec<Answer>, proofs: &Proofs) -> Result<bool> {
        let before = self.known.chunks.len();
        for answer in answers {
            answer.add_to(&mut self.known, proofs.size)?;
            self.answers.push(answer);
        }
        let is_news = self.known.chunks.len() > before;
        Ok(self.prove(proofs) || is_news)
    }

    /// Proves what can be. Returns whether anything could.
    fn prove(&mut self, proofs: &Proofs) -> bool {
        let (known, before) = (&self.known, self.answers.len());
        self.answers.retain(|answer| {
            let Some(proven) = answer.proves(known, &proofs.hash, proofs.size) else { return true };
            proofs.add(proven);
            false
        });
        self.answers.len() < before
    }

    /// What has to be known to prove anything by the answers so far.
    fn open(&self) -> impl Iterator<Item = Range<u64>> {
        self.answers.iter().flat_map(|answer| self.open_of(answer))
    }

    /// The same by this one.
    fn open_of(&self, answer: &Answer) -> Vec<Range<u64>> {
        answer.windows().flat_map(|window| self.known.unknown(&window)).collect()
    }
}

/// In order, and those that are near each other as one.
fn join(mut ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    ranges.sort_by_key(|range| range.start);
    joined(ranges, NEAR)
}

/// Whether a refusal is that of a CAS that doesn't know the question.
fn is_no_route(error: &Error) -> bool {
    matches!(error.context().http_status, Some(404 | 405 | 501))
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init, reason = "lists of ranges, of which some hold one")]
mod tests;
