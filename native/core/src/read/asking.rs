//! What is asked about a part of a file before there is room for what it brings. A distance is waited for once then: by
//! the bytes.

use std::collections::BTreeMap;
use std::future::pending;
use std::ops::Range;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::{BoxFuture, MaybeDone, maybe_done};
use futures_util::{FutureExt, StreamExt, stream};
use tokio::sync::oneshot;

use crate::cas::block::Fetch;
use crate::cas::chunks::Proving;
use crate::cas::resolve::Resolver;
use crate::model::error::Result;

/// Questions about ranges that are on their way at a time, for one part.
pub(super) const ASKING: usize = 32;

/// What a proof comes to.
pub(super) type Proof<'a> = Result<Option<Proving<'a>>>;

/// What the CAS says about a range, which isn't empty.
pub(super) struct Answer {
    pub(super) range: Range<u64>,
    pub(super) fetches: Result<Vec<Fetch>>,
}

/// What was asked about a part.
pub(super) struct Asked<'a> {
    wanted: Vec<Range<u64>>,
    answers: Vec<Answer>,
    begun: Instant,
    /// Until somebody takes it.
    proof: Option<MaybeDone<BoxFuture<'a, Proof<'a>>>>,
}

impl<'a> Asked<'a> {
    /// About these ranges, which are going to be proven by `proof`.
    pub(super) fn new(wanted: Vec<Range<u64>>, proof: BoxFuture<'a, Proof<'a>>) -> Self {
        Self { wanted, answers: Vec::new(), begun: Instant::now(), proof: Some(maybe_done(proof)) }
    }

    /// About one range, of which nothing is going to be proven beside this.
    pub(super) fn answered(answer: Answer) -> Self {
        Self { wanted: Vec::new(), answers: vec![answer], begun: Instant::now(), proof: None }
    }

    /// Asks where the ranges are. `around`: what an answer about one may bring in.
    pub(super) async fn resolve(
        &mut self,
        resolver: Resolver<'_>,
        around: impl Fn(&Range<u64>) -> Range<u64>,
    ) {
        let answers = stream::iter(self.wanted.clone()).map(|range| {
            let within = around(&range);
            async move { Answer { fetches: resolver.resolve(&range, &within).await, range } }
        });
        let answers = answers.buffered(ASKING).collect();
        self.answers = self.beside(answers).await;
    }

    /// Does something else while the proof is on its way.
    pub(super) async fn beside<T>(&mut self, work: impl Future<Output = T>) -> T {
        let proof = async {
            if let Some(proof) = &mut self.proof {
                proof.await;
            }
            pending().await
        };
        tokio::select! {
            biased;
            done = work => done,
            done = proof => done,
        }
    }

    /// What the CAS says about the ranges, unless that is too long ago: URLs end.
    pub(super) fn answers(&mut self) -> Vec<Answer> {
        if self.begun.elapsed() >= FRESH {
            self.answers.clear();
        }
        std::mem::take(&mut self.answers)
    }

    /// The proof of these ranges, when it has come; `None`: it's another's, or was taken.
    pub(super) async fn proof_of(&mut self, wanted: &[Range<u64>]) -> Option<Proof<'a>> {
        let mut proof = self.proof.take()?;
        (&mut proof).await;
        Pin::new(&mut proof).take_output().filter(|_| self.wanted == wanted)
    }
}

/// How long an answer is good for. URLs are, for much longer.
const FRESH: Duration = Duration::from_mins(1);

/// The most ranges that are asked about, and not wanted yet.
const OPEN: usize = 64;

/// Questions about ranges that somebody is going to want, on their way or answered.
#[derive(Default)]
pub(super) struct Questions(Mutex<BTreeMap<u64, Open>>);

struct Open {
    range: Range<u64>,
    begun: Instant,
    answer: oneshot::Receiver<Answer>,
}

/// A question that is to be answered. Dropping it leaves it to who wants the range.
pub(super) struct Question {
    range: Range<u64>,
    answer: oneshot::Sender<Answer>,
}

impl Questions {
    /// Begins a question about a range, unless there is one.
    pub(super) fn begin(&self, range: Range<u64>) -> Option<Question> {
        let mut open = self.open();
        open.retain(|_, open| open.begun.elapsed() < FRESH);
        if open.len() >= OPEN || open.get(&range.start).is_some_and(|open| open.range == range) {
            return None;
        }
        let (answer, answered) = oneshot::channel();
        let question = Open { range: range.clone(), begun: Instant::now(), answer: answered };
        open.insert(range.start, question);
        Some(Question { range, answer })
    }

    /// Takes the question about a range, if there is one: to wait for its answer. `None`: it came to nothing.
    pub(super) fn take(
        &self,
        range: &Range<u64>,
    ) -> Option<impl Future<Output = Option<Answer>> + use<>> {
        let open = self.open().remove(&range.start)?;
        let is_good = open.range == *range && open.begun.elapsed() < FRESH;
        is_good.then(|| open.answer.map(std::result::Result::ok))
    }

    fn open(&self) -> MutexGuard<'_, BTreeMap<u64, Open>> {
        // Each change leaves it whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Question {
    pub(super) fn range(&self) -> &Range<u64> {
        &self.range
    }

    /// Hands the answer to who wants the range. A failure is for him to find out.
    pub(super) fn answer(self, fetches: Result<Vec<Fetch>>) {
        let Self { range, answer } = self;
        if fetches.is_ok() {
            // Nobody may want it any more.
            let _ = answer.send(Answer { range, fetches });
        }
    }
}
