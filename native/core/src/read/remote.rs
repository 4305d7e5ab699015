//! A file that is elsewhere: its parts come over Xet, proven, or over plain HTTP.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::Either;
use futures_util::{FutureExt, StreamExt, TryStreamExt, poll, stream};
use tokio::runtime;
use tokio::sync::mpsc::Sender;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use xet_core_structures::merklehash::{MerkleHash, compute_data_hash};

use super::Proven;
use super::asking::{ASKING, Asked, Questions};
use super::contents::{Content, Contents, Identity, Of, Seat};
use super::gathered::{Chunk, Chunks, Sources, Unproven, around, touch};
use super::in_flight::landed;
use super::plain::Plain;
use super::readahead::{GRID, MOST, Readahead};
use super::window::{gaps, unproven};
use super::xet::{Asker, Xet};
use crate::call::file_task::FileTask;
use crate::call::scheduler::Permit;
use crate::call::tasks::Tasks;
use crate::call::{Call, CallLimits, Running};
use crate::cas::Cas;
use crate::cas::chunks::{Proving, are_all_of};
use crate::cas::parts::{intersect, joined, length};
use crate::cas::resolve::Resolver;
use crate::cas::sources::{ChunkSource, Storage, ThisMachine};
use crate::download::{Ranges, Session, is_of_the_servers};
use crate::http::RetryPolicy;
use crate::model::error::{Error, Kind, Result};
use crate::model::repo::{CommitId, Entry, Repo, RepoPath};

/// What is brought at a time: so many bytes, of so many ranges.
const BATCH: u64 = 4 << 20;
const BATCH_RANGES: usize = 64;

/// What chunks at the ends of a range may have besides, mostly.
const BESIDES: u64 = 64 << 10;

/// Batches of one read that are asked about at a time, or on their way: the latter as many as there is memory for.
const BEGUN: usize = 24;

/// Parts of one read that come over plain HTTP at a time.
const PLAINLY: usize = 4;

/// What is read ahead is brought by so much at a time, between multiples of this: little enough that whoever needs a part
/// of it doesn't wait long.
const AHEAD_BATCH: u64 = GRID;

/// Batches that are read ahead at a time: all of them, mostly.
const AHEAD_BATCHES: usize = 16;

/// What is claimed begins and ends where multiples of this do: two who want parts of one chunk mostly claim the same.
const CELL: u64 = 128 << 10;

/// Ranges that are nearer than this are one: what is between them is in the same chunks, mostly.
const NEAR: u64 = 32 << 10;

/// So much more than what is read ahead is to be proven.
const PROVEN_AHEAD: u64 = 64 << 20;

/// A file that is no larger is fetched whole: that proves itself.
const WHOLE: u64 = 1 << 20;

/// How often chunks are brought for a proof alone.
const FOR_PROOF: usize = 3;

/// Which file somebody reads, and how.
pub(crate) struct Handle {
    pub(crate) repo: Repo,
    pub(crate) commit: CommitId,
    pub(crate) entry: Arc<Entry>,
    /// The most bytes to keep in memory.
    pub(crate) window: u64,
    pub(crate) reads_ahead: bool,
    /// Give nothing out that isn't proven.
    pub(crate) requires_proof: bool,
}

/// A file on the Hub that somebody reads, as one process does.
pub(crate) struct Remote {
    session: Session,
    plain: Plain,
    /// What all who read this content have in common.
    content: Seat,
    readahead: Readahead,
    /// What is read ahead, and written, now.
    ahead: Mutex<Vec<Running<()>>>,
    asker: Asker,
    /// About what is going to be read ahead.
    questions: Questions,
    /// Something was given out that isn't proven.
    is_unproven: AtomicBool,
    requires_proof: bool,
}

impl Remote {
    /// `contents`: those that are open in this process.
    pub(crate) fn new(session: Session, contents: &Contents, handle: Handle) -> Self {
        let Handle { repo, commit, entry, window, reads_ahead, requires_proof } = handle;
        let uses_xet = session.config.transport.uses_xet();
        let hash = entry.xet_hash().filter(|_| uses_xet).copied();
        let of = match hash {
            Some(hash) => Of::Xet(hash, repo.clone()),
            None => Of::Plain(repo.clone(), commit.clone(), entry.path.clone()),
        };
        let identity = Identity { of, size: entry.size, requires_proof };
        let content = contents
            .join(identity, window, || Content::new(hash.map(|hash| Xet::new(hash, entry.size))));
        let (hub, policy) = (session.hub.clone(), RetryPolicy::new(&session.config));
        Self {
            session,
            plain: Plain { hub, repo, commit, entry, policy, storage: Arc::default() },
            content,
            readahead: if reads_ahead { Readahead::new(window) } else { Readahead::off() },
            ahead: Mutex::default(),
            asker: Asker::default(),
            questions: Questions::default(),
            is_unproven: AtomicBool::new(false),
            requires_proof,
        }
    }

    /// Its name in the repo.
    pub(crate) fn path(&self) -> &RepoPath {
        &self.plain.entry.path
    }

    /// What vouches for all that was given out so far.
    pub(crate) fn proof(&self) -> Proven {
        let is_proven = !self.is_unproven.load(Ordering::Relaxed)
            && self.content.xet.is_some()
            && !self.asker.has_no_route();
        if is_proven { Proven::ByTree } else { Proven::No }
    }

    /// Whether plain HTTP brings what Xet doesn't.
    fn falls_back(&self) -> bool {
        self.session.config.transport.falls_back()
    }

    /// What proofs weighed, in bytes.
    pub(crate) fn proof_bytes(&self) -> u64 {
        self.asker.weight()
    }

    /// The chunks that hold a range, if all of them are in memory.
    pub(crate) fn in_memory(&self, range: &Range<u64>) -> Option<Chunks> {
        let chunks = self.content.window.of(range);
        let is_all = gaps(&chunks, range).is_empty();
        is_all.then(|| self.given_out(chunks))
    }

    /// Notes what vouches for them.
    fn given_out(&self, chunks: Chunks) -> Chunks {
        if chunks.values().any(|chunk| !chunk.is_proven) {
            self.is_unproven.store(true, Ordering::Relaxed);
        }
        chunks
    }

    /// How long somebody else may stand still who is waited for.
    fn patience(&self) -> Duration {
        self.session.http.deadlines().longest() / 2
    }

    /// Whether its parts come over Xet, as far as that brings them.
    pub(crate) fn is_in_xet(&self) -> bool {
        self.content.xet.is_some()
    }

    /// Has the token fetched that the first read needs, unless there is one, in one attempt: what fails, that read says,
    /// which has more of them.
    pub(crate) async fn fetch_token(&self, call: &Call) -> Result<()> {
        let cas = self.session.asking_once().cas(&self.plain.repo, &self.plain.commit)?;
        cas.token(&call.counters).await.map(drop)
    }

    /// Somebody reads this range, which isn't empty. What to [fetch](Self::fetch_ahead) ahead of that, in order.
    pub(crate) fn ahead_of(&self, range: &Range<u64>) -> Vec<Range<u64>> {
        self.readahead.note(range, self.plain.entry.size)
    }

    /// Whether something of what was read isn't on this machine's disk yet, and is to be: nobody else is going to write it.
    pub(crate) fn has_some_to_keep(&self) -> bool {
        let contents = self.content.contents();
        contents.packs().is_some_and(|packs| packs.has_some()) && contents.is_last()
    }

    /// Writes that.
    pub(crate) async fn keep_the_rest(&self, call: &Call) -> Result<()> {
        match self.content.contents().packs() {
            Some(packs) => Arc::clone(packs).write_by(call).await,
            None => Ok(()),
        }
    }

    /// Hands out the chunks that hold these ranges, which are in order, apart from each other and not empty.
    pub(crate) async fn read(
        self: Arc<Self>,
        wanted: Vec<Range<u64>>,
        call: Call,
        send: &Sender<Chunks>,
        wake: impl Fn(),
    ) -> Result<()> {
        let wanted = coalesce(&wanted);
        let mut proving = Tasks::default();
        let proof = Arc::clone(&self).prove_all(wanted.clone(), call.clone());
        let mut proof = Box::pin(proof);
        // Begins before the first part is asked about, which then waits for this.
        if poll!(&mut proof).is_pending() {
            proving.spawn(proof);
        }
        let mut batches = batches(&wanted, BATCH).into_iter();
        // Tasks of their own: what they have claimed comes in, however slowly the caller takes what came.
        let mut running = JoinSet::new();
        let own = Arc::new(Semaphore::new(1));
        loop {
            while running.len() < BEGUN
                && let Some(batch) = batches.next()
            {
                let (this, call, own) = (Arc::clone(&self), call.clone(), Arc::clone(&own));
                running.spawn(async move {
                    let mut asked = this.ask(&batch, &call).await?;
                    let memory = this.memory_for(&batch, &own, &call);
                    let memory = match &mut asked {
                        Some(asked) => asked.beside(memory).await?,
                        None => memory.await?,
                    };
                    let chunks = this.bring(&batch, asked.as_mut(), &call).await?;
                    Ok((chunks, memory))
                });
            }
            let Some(brought) = running.join_next().await else { return Ok(()) };
            let brought = brought.unwrap_or_else(|_| Err(Error::internal("a part panicked")));
            let (chunks, memory) = brought?;
            if send.send(self.given_out(chunks)).await.is_err() {
                return Err(Error::cancelled());
            }
            wake();
            drop(memory);
        }
    }

    /// Has all of these ranges proven, much of them at a time: parts that do so each for itself wait for each other. They see
    /// what comes of it.
    async fn prove_all(self: Arc<Self>, wanted: Vec<Range<u64>>, call: Call) -> Result<()> {
        let Some(xet) = self.content.xet.as_ref().filter(|_| length(&wanted) > BATCH) else {
            return Ok(());
        };
        let cas = self.session.cas(&self.plain.repo, &self.plain.commit)?;
        call.counters.set_another_way(self.falls_back() && !self.requires_proof);
        for part in batches(&wanted, PROVEN_AHEAD) {
            self.prove(xet, &cas, &part, &call).await?;
        }
        Ok(())
    }

    /// Waits until there is memory for what these ranges bring. Each read has room for a part of its own: what others
    /// hold for callers who take it slowly keeps nobody waiting for ever.
    async fn memory_for(
        &self,
        wanted: &[Range<u64>],
        own: &Arc<Semaphore>,
        call: &Call,
    ) -> Result<Either<OwnedSemaphorePermit, Permit>> {
        let bytes = length(wanted) + wanted.len() as u64 * BESIDES;
        let bytes = usize::try_from(bytes).map_err(Error::internal)?;
        let what = format!("memory for a part of {}", self.plain.entry.path);
        let shared = &call.scheduler.reads;
        tokio::select! {
            biased;
            own = Arc::clone(own).acquire_owned() => own.map(Either::Left).map_err(Error::internal),
            shared = shared.turn(&call.counters, bytes, what) => shared.map(Either::Right),
        }
    }

    /// Asks about what nobody has of these ranges, or brings. Nothing is claimed yet: what is claimed is to come in,
    /// whatever memory others have.
    async fn ask<'a>(&'a self, wanted: &[Range<u64>], call: &'a Call) -> Result<Option<Asked<'a>>> {
        let Some(xet) = &self.content.xet else { return Ok(None) };
        let window = &self.content.window;
        let lacking: Vec<_> =
            wanted.iter().flat_map(|range| gaps(&window.of(range), range)).collect();
        let is_open = self.content.in_flight.others(&self.cells(&lacking)).is_empty();
        if lacking.is_empty() || !is_open {
            return Ok(None);
        }
        call.counters.set_another_way(self.falls_back() && !self.requires_proof);
        let cas = Arc::new(self.session.cas(&self.plain.repo, &self.plain.commit)?);
        let wanted = self.to_fetch(&lacking);
        let (to_prove, prover) = (wanted.clone(), Arc::clone(&cas));
        let proof = async move {
            match &to_prove[..] {
                all if self.is_whole(all) => Ok(None),
                parts => self.prove(xet, &prover, parts, call).await,
            }
        };
        let mut asked = Asked::new(wanted, proof.boxed());
        let (hash, size, counters) = (xet.hash, self.plain.entry.size, &*call.counters);
        let resolver = Resolver { cas: &cas, hash, size, call, counters };
        asked.resolve(resolver, |range| around(range, size)).await;
        Ok(Some(asked))
    }

    /// What to fetch for what is lacking: the whole of a small file, and what is between parts that are near each other.
    fn to_fetch(&self, lacking: &[Range<u64>]) -> Vec<Range<u64>> {
        let size = self.plain.entry.size;
        if size <= WHOLE { Vec::from_iter([whole(size)]) } else { coalesce(lacking) }
    }

    fn is_whole(&self, wanted: &[Range<u64>]) -> bool {
        wanted == [whole(self.plain.entry.size)]
    }

    /// Has these ranges brought into the window.
    pub(crate) async fn fetch_ahead(
        self: &Arc<Self>,
        wanted: Vec<Range<u64>>,
        call: &Call,
    ) -> Result<()> {
        call.counters.set_another_way(self.falls_back() && !self.requires_proof);
        let batches = stream::iter(on_grid(&wanted)).map(|batch| {
            let answer = self.questions.take(&batch);
            async move {
                let mut asked = match answer {
                    Some(answer) => answer.await.map(Asked::answered),
                    None => None,
                };
                let asked = asked.as_mut();
                self.bring(std::slice::from_ref(&batch), asked, call).await.map(drop)
            }
        });
        let end = wanted.last().map_or(0, |last| last.end);
        let (brought, proven, ()) = tokio::join!(
            batches.buffer_unordered(AHEAD_BATCHES).try_collect::<()>(),
            self.prove_ahead(end, call),
            self.ask_ahead(&wanted, call)
        );
        brought.and(proven)
    }

    /// Asks about what is going to be read ahead next, several times as much as now.
    async fn ask_ahead(&self, wanted: &[Range<u64>], call: &Call) {
        let ([now], Some(xet)) = (wanted, &self.content.xet) else { return };
        let Ok(cas) = self.session.cas(&self.plain.repo, &self.plain.commit) else { return };
        let size = self.plain.entry.size;
        let most = ((now.end - now.start) * 4).clamp(2 * AHEAD_BATCH, MOST);
        let next = now.end..(now.end + most).next_multiple_of(AHEAD_BATCH).min(size);
        let (hash, counters) = (xet.hash, &*call.counters);
        let resolver = Resolver { cas: &cas, hash, size, call, counters };
        let open = on_grid(&[next]).into_iter().filter_map(|range| self.questions.begin(range));
        let asked = stream::iter(open.collect::<Vec<_>>()).map(|question| async move {
            let range = question.range().clone();
            let answer = resolver.resolve(&range, &around(&range, size)).await;
            question.answer(answer);
        });
        asked.buffer_unordered(ASKING).collect::<()>().await;
    }

    /// Has proven what is going to be read when all up to `end` is, so that nobody waits for that.
    async fn prove_ahead(&self, end: u64, call: &Call) -> Result<()> {
        let size = self.plain.entry.size;
        let next = end.min(size)..end.saturating_add(PROVEN_AHEAD).min(size);
        let Some(xet) = self.content.xet.as_ref().filter(|_| !next.is_empty()) else {
            return Ok(());
        };
        let lacking = xet.proofs.lacking(std::slice::from_ref(&next));
        if lacking.is_empty() || !xet.proving.others(&lacking).is_empty() {
            return Ok(());
        }
        let cas = self.session.cas(&self.plain.repo, &self.plain.commit)?;
        self.prove(xet, &cas, &lacking, call).await.map(drop)
    }

    /// Lets what nobody waits for go on, until the file is closed.
    pub(crate) fn keep(&self, running: Running<()>) {
        let mut ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
        ahead.retain(|running| running.result().is_none());
        ahead.push(running);
    }

    /// Ends what reads ahead.
    pub(crate) fn end_readahead(&self) {
        let ahead = std::mem::take(&mut *self.ahead.lock().unwrap_or_else(PoisonError::into_inner));
        drop(ahead);
    }

    /// The chunks that hold these ranges, about which was `asked` before.
    async fn bring<'a>(
        &'a self,
        wanted: &[Range<u64>],
        mut asked: Option<&mut Asked<'a>>,
        call: &Call,
    ) -> Result<Chunks> {
        let mut have = Chunks::new();
        for range in wanted {
            have.append(&mut self.content.window.of(range));
        }
        let mut lacking: Vec<_> = wanted.iter().flat_map(|range| gaps(&have, range)).collect();
        call.counters.add_reused(length(wanted) - length(&lacking));
        let mut alone = false;
        while !lacking.is_empty() {
            let cells = self.cells(&lacking);
            let (claim, others) = self.content.in_flight.claim(&cells, alone, &call.counters);
            let mine: Vec<_> =
                lacking.iter().flat_map(|range| intersect(range, claim.parts())).collect();
            if mine.is_empty() {
                drop(claim);
            } else {
                let came = self.fetch(&mine, asked.take(), call).await?;
                self.content.window.add(&came);
                self.keep_on_disk(&came);
                have.extend(came.iter().map(|(&at, chunk)| (at, chunk.clone())));
                claim.land(came);
            }
            if !others.is_empty() {
                let what = format!("another reader's part of {}", self.plain.entry.path);
                let _waiting = call.counters.waits.begin(what, Duration::ZERO);
                let waiting = landed(others, &call.counters, self.patience());
                // They may be waiting for what was asked here: it mustn't stand still meanwhile.
                let (came, is_all) = match asked.as_deref_mut() {
                    Some(asked) => asked.beside(waiting).await,
                    None => waiting.await,
                };
                alone = !is_all;
                let is_wanted = |at: u64, chunk: &Chunk| {
                    let range = at..at + chunk.content.len() as u64;
                    lacking.iter().any(|lacking| touch(lacking, &range))
                };
                have.extend(came.into_iter().filter(|(at, chunk)| is_wanted(*at, chunk)));
            }
            for range in &lacking {
                have.append(&mut self.content.window.of(range));
            }
            let still: Vec<_> = wanted.iter().flat_map(|range| gaps(&have, range)).collect();
            let by_others = length(&lacking).saturating_sub(length(&mine) + length(&still));
            call.counters.add_reused(by_others);
            lacking = still;
        }
        Ok(have)
    }

    /// What to claim for these ranges, in order: more than is fetched for them.
    fn cells(&self, ranges: &[Range<u64>]) -> Vec<Range<u64>> {
        let size = self.plain.entry.size;
        if self.content.xet.is_some() && size <= WHOLE {
            return Vec::from_iter([whole(size)]);
        }
        let cell = |range: &Range<u64>| {
            range.start / CELL * CELL..range.end.next_multiple_of(CELL).min(size)
        };
        let cells: Ranges = ranges.iter().map(cell).collect();
        cells.to_vec()
    }

    /// Has chunks kept for later, which nobody waits for.
    fn keep_on_disk(&self, chunks: &Chunks) {
        let Some(packs) = self.content.contents().packs().filter(|packs| packs.add(chunks)) else {
            return;
        };
        let packs = Arc::clone(packs);
        let call = Call::new(Arc::clone(&self.session.scheduler));
        let limits = CallLimits { timeout: None, deadlines: *self.session.http.deadlines() };
        let inner = call.clone();
        let write = async move { packs.write_by(&inner).await };
        self.keep(Running::begin(&runtime::Handle::current(), &call, limits, write));
    }

    async fn fetch<'a>(
        &'a self,
        wanted: &[Range<u64>],
        asked: Option<&mut Asked<'a>>,
        call: &Call,
    ) -> Result<Chunks> {
        let Some(xet) = &self.content.xet else { return self.fetch_plainly(wanted, call).await };
        let wanted = self.to_fetch(wanted);
        call.counters.set_another_way(self.falls_back() && !self.requires_proof);
        let fetched = match self.fetch_over_xet(xet, &wanted, true, asked, call).await {
            Err(error) if error.kind() == Kind::ChecksumMismatch => {
                let file = &self.plain.entry.path;
                tracing::warn!(%file, %error, "a part of a file isn't what was published; fetching it again");
                call.counters.add_refetch();
                self.fetch_over_xet(xet, &wanted, false, None, call).await
            }
            fetched => fetched,
        };
        match fetched {
            Err(error) if self.falls_back() && is_of_the_servers(&error) => {
                self.fall_back(xet, &wanted, error, call).await
            }
            fetched => fetched,
        }
    }

    /// Parts of the file over Xet, and the proof that they are: side by side. Unless `from_here`, nothing of what is
    /// on this machine is taken.
    async fn fetch_over_xet<'a>(
        &'a self,
        xet: &'a Xet,
        wanted: &[Range<u64>],
        from_here: bool,
        mut asked: Option<&mut Asked<'a>>,
        call: &Call,
    ) -> Result<Chunks> {
        let sources = self.sources(xet, call)?;
        let cas = Arc::clone(&sources.cas);
        let is_whole = self.is_whole(wanted);
        let answers = asked.as_mut().map_or_else(Vec::new, |asked| asked.answers());
        let proving = async {
            let asked = match asked {
                Some(asked) => asked.proof_of(wanted).await,
                None => None,
            };
            match asked {
                Some(proof) => proof,
                None if is_whole => Ok(None),
                None => self.prove(xet, &cas, wanted, call).await,
            }
        };
        let gathering = sources.gather(wanted, from_here, answers);
        let (proving, chunks) = tokio::try_join!(proving, gathering)?;
        if is_whole {
            let all: Vec<_> =
                chunks.values().map(|chunk| (chunk.hash, chunk.content.len() as u64)).collect();
            if are_all_of(&all, &xet.hash) {
                return Ok(chunks.proven());
            }
            chunks.discard();
            return Err(self.mismatch(0));
        }
        let Some(mut proving) = proving else { return self.without_proof(chunks) };
        proving.learn(listed(&chunks));
        for _ in 0..FOR_PROOF {
            if proving.is_done() {
                break;
            }
            let more = sources.gather(&proving.wanted()?, from_here, Vec::new()).await?;
            proving.learn(listed(&more));
            more.discard();
        }
        match unproven(&chunks, &xet.proofs).first() {
            Some(&at) => {
                chunks.discard();
                Err(self.mismatch(at))
            }
            None => Ok(chunks.proven()),
        }
    }

    async fn prove<'a>(
        &'a self,
        xet: &'a Xet,
        cas: &Cas,
        wanted: &[Range<u64>],
        call: &Call,
    ) -> Result<Option<Proving<'a>>> {
        let may_give_up = self.falls_back() && !self.requires_proof;
        xet.prove(cas, wanted, call, &self.asker, self.patience(), may_give_up).await
    }

    /// Where the chunks of a call come from.
    fn sources(&self, xet: &Xet, call: &Call) -> Result<Arc<Sources>> {
        let Plain { repo, commit, entry, .. } = &self.plain;
        let cas = Arc::new(self.session.cas(repo, commit)?);
        let what = format!("the memory of a reader of {}", entry.path);
        let task = FileTask::begin(Arc::clone(entry), call.clone(), what);
        let mut sources: Vec<Arc<dyn ChunkSource<_>>> = Vec::new();
        if let Some(index) = &self.session.reuse {
            sources.push(Arc::new(ThisMachine::new(index)));
        }
        sources.push(Arc::new(Storage::alone(&cas)));
        let left = Arc::clone(&self.content.left);
        Ok(Arc::new(Sources { task, hash: xet.hash, cas, all: sources, left }))
    }

    /// What there is where the CAS has no proofs.
    fn without_proof(&self, chunks: Unproven) -> Result<Chunks> {
        if self.requires_proof {
            let message = format!(
                "{}: this CAS tells no proofs for parts of files, which was asked for; download the file, which checks \
                 all of it, or read it without require_proof",
                self.plain.entry.path
            );
            let (file, repo) = (self.path().to_string(), self.plain.repo.id().to_owned());
            return Err(Error::new(Kind::InvalidResponse, message)
                .with(|c| (c.file, c.repo) = (Some(file), Some(repo))));
        }
        let mut chunks = chunks.into_chunks();
        for chunk in chunks.values_mut() {
            // Nobody else is to take it for what it may not be.
            chunk.fetched_from = None;
        }
        Ok(chunks)
    }

    fn mismatch(&self, at: u64) -> Error {
        let path = &self.plain.entry.path;
        let message = format!(
            "{path}: what storage sends for the part at byte {at} isn't in the file that was published"
        );
        Error::new(Kind::ChecksumMismatch, message).with(|c| c.file = Some(path.to_string()))
    }

    /// The same parts over plain HTTP, since Xet failed with `error`. They are proven as well, if the CAS tells proofs:
    /// by the chunks that the file has there. Where something was a lie, nothing is taken without that.
    async fn fall_back(
        &self,
        xet: &Xet,
        wanted: &[Range<u64>],
        error: Error,
        call: &Call,
    ) -> Result<Chunks> {
        let cas = self.session.cas(&self.plain.repo, &self.plain.commit)?;
        let needs_proof = self.requires_proof || error.kind() == Kind::ChecksumMismatch;
        match self.prove(xet, &cas, wanted, call).await {
            Err(no_proof) if no_proof.kind() == Kind::ChecksumMismatch => return Err(no_proof),
            Err(_) if needs_proof => return Err(error),
            Ok(Some(proving)) if !proving.is_done() && needs_proof => return Err(error),
            Ok(None) if self.requires_proof => return Err(error),
            _ => {}
        }
        let file = &self.plain.entry.path;
        tracing::warn!(%file, %error, "Xet failed; going on over plain HTTP");
        call.counters.add_fallback();
        let both = |plain| Error::cause(("Xet", error.clone()), ("plain HTTP", plain));
        let mut chunks = Chunks::new();
        for range in wanted {
            let Some(proven) = xet.proofs.chunks(range) else {
                let part = std::slice::from_ref(range);
                chunks.append(&mut self.fetch_plainly(part, call).await.map_err(both)?);
                continue;
            };
            let start = proven.first().map_or(range.start, |first| first.0);
            let end = proven.last().map_or(range.end, |last| last.0 + last.1);
            let bytes = self.plain.read(start..end, call).await.map_err(both)?;
            for (at, len, hash) in proven {
                let from = usize::try_from(at - start).map_err(Error::internal)?;
                let to = from + usize::try_from(len).map_err(Error::internal)?;
                let content = bytes.slice(from..to);
                if compute_data_hash(&content) != hash {
                    return Err(self.mismatch(at));
                }
                chunks.insert(at, Chunk { hash, content, fetched_from: None, is_proven: true });
            }
        }
        Ok(chunks)
    }

    /// Parts over plain HTTP, of which nothing is proven.
    async fn fetch_plainly(&self, wanted: &[Range<u64>], call: &Call) -> Result<Chunks> {
        let name = &self.plain.entry.path;
        if self.requires_proof {
            let message = format!(
                "{name}: nothing smaller than the whole file has a hash that would prove a part of it, which was asked \
                 for; download it, or read it without require_proof"
            );
            return Err(Error::new(Kind::InvalidArgument, message)
                .with(|c| c.field = Some("require_proof".to_owned())));
        }
        let parts = stream::iter(coalesce(wanted)).map(|range| async move {
            let content = self.plain.read(range.clone(), call).await?;
            Ok::<_, Error>((range.start, Chunk::unhashed(content)))
        });
        parts.buffer_unordered(PLAINLY).try_collect().await
    }
}

/// Chunks as a proof takes them.
fn listed(chunks: &Chunks) -> impl Iterator<Item = (u64, u64, MerkleHash)> {
    chunks.iter().map(|(&at, chunk)| (at, chunk.content.len() as u64, chunk.hash))
}

/// Ranges, in order, of which those that are near each other are one.
fn coalesce(ranges: &[Range<u64>]) -> Vec<Range<u64>> {
    joined(ranges.iter().cloned(), NEAR)
}

/// What is brought at a time: so many bytes at the most.
fn batches(wanted: &[Range<u64>], most: u64) -> Vec<Vec<Range<u64>>> {
    let mut batches: Vec<Vec<Range<u64>>> = Vec::new();
    let mut left = 0;
    for range in wanted {
        let mut at = range.start;
        while at < range.end {
            // What would fit as a whole isn't cut: each part is a question, and a fetch.
            let fits_later = range.end - at <= most && range.end - at > left;
            if left == 0
                || fits_later
                || batches.last().is_none_or(|batch| batch.len() >= BATCH_RANGES)
            {
                batches.push(Vec::new());
                left = most;
            }
            let end = range.end.min(at + left);
            left -= end - at;
            if let Some(batch) = batches.last_mut() {
                batch.push(at..end);
            }
            at = end;
        }
    }
    batches
}

/// The ranges, cut where multiples of [`AHEAD_BATCH`] are.
fn on_grid(wanted: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut cut = Vec::new();
    for range in wanted {
        let mut at = range.start;
        while at < range.end {
            let end = (at + 1).next_multiple_of(AHEAD_BATCH).min(range.end);
            cut.push(at..end);
            at = end;
        }
    }
    cut
}

/// All of a file of `size` bytes.
fn whole(size: u64) -> Range<u64> {
    0..size
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init, reason = "lists of ranges, of which some hold one")]
mod tests {
    use super::*;

    /// Neighbours come together, and so does what is nearly one.
    #[test]
    fn what_is_near_is_fetched_together() {
        assert_eq!(coalesce(&[0..10, 10..20, NEAR..NEAR + 5]), [0..NEAR + 5]);
        assert_eq!(coalesce(&[0..10, NEAR + 11..NEAR + 12]), [0..10, NEAR + 11..NEAR + 12]);
        assert!(coalesce(&[]).is_empty());
    }

    /// A batch has no more bytes and no more ranges than it may; together they are all that is wanted, in order.
    #[test]
    fn batches_are_bounded() {
        let small: Vec<_> = (0..1000).map(|n| n * 1_000_000..n * 1_000_000 + 1000).collect();
        let large = [5..3 * BATCH + 7, 4 * BATCH..4 * BATCH + 1];
        for wanted in [&small[..], &large] {
            let batches = batches(wanted, BATCH);
            let is_bounded =
                |batch: &Vec<Range<u64>>| length(batch) <= BATCH && batch.len() <= BATCH_RANGES;
            assert!(batches.iter().all(is_bounded));
            let mut joined: Vec<Range<u64>> = Vec::new();
            for part in batches.into_iter().flatten() {
                match joined.last_mut() {
                    Some(last) if last.end == part.start => last.end = part.end,
                    _ => joined.push(part),
                }
            }
            assert_eq!(joined, wanted);
        }
    }
}
