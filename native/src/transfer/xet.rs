//! Fetches a Xet file: its chunks, from the xorbs that hold them, each hashed while it is in cache
//! and written where it belongs.
//!
//! A file is taken in blocks; a block's reconstruction names the fetches, and fetches run side by
//! side as far as the client's connections go. Each fetch is a stream: the network task hands
//! pieces to a blocking job, which cuts, decompresses, hashes and writes them, so a connection
//! costs a few pieces of memory whatever the size of the xorb. A fetch that fails is taken up where
//! its chunks end, with a new reconstruction (and with that new URLs) for what is missing.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use xet_core_structures::merklehash::{MerkleHash, compute_data_hash, xorb_hash};

use super::block::{self, Fetch, Placement};
use super::cas::Cas;
use super::decode::ChunkDecoder;
use super::job::Job;
use super::journal::{Journal, Record};
use super::ledger::{Inserted, Ledger};
use super::local::Local;
use super::plan::{self, Copy, Plan, Selected, Unplaced};
use crate::content;
use crate::error::{Error, Kind, Result};
use crate::reuse::Term;

/// How much of a file one reconstruction is asked for.
const BLOCK: u64 = 1 << 30;

/// Reconstructions that are asked for at a time, where a file is taken in many small parts.
const RESOLVING: usize = 8;

/// Questions about the places of one term's chunks, at most. Most runs take one.
const MOST_QUESTIONS: u32 = 64;

/// Pieces of a body that may wait for the blocking job.
const QUEUE: usize = 4;

/// Chunks that a writer may have written before it enters them into the journal: what a kill costs.
const JOURNAL_EVERY: usize = 32;

/// Why a file didn't come through Xet.
pub(crate) enum Failure {
    /// There is nothing to be done about it: wrong content, a full disk, a cancelled call.
    Final(Error),
    /// It lies with Xet's servers, so the Hub's plain HTTP way is worth a try.
    TryAnotherWay(Error),
}

impl Failure {
    /// Whether the content is complete and isn't what the Hub published.
    fn is_wrong_hash(&self) -> bool {
        matches!(self, Self::Final(error) if error.kind() == Kind::ChecksumMismatch)
    }

    /// Whether chunks that belong elsewhere can be the reason.
    fn is_of_content(&self) -> bool {
        self.is_wrong_hash()
            || matches!(self, Self::TryAnotherWay(error) if error.kind() == Kind::InvalidResponse)
    }
}

/// Fetches what `job`'s partial file doesn't hold yet, and checks the Merkle hash of the whole.
pub(crate) async fn fetch(
    job: &Job,
    hash: MerkleHash,
    cas: &Arc<Cas>,
    connections: &Arc<Semaphore>,
    local: Option<&Arc<Local>>,
) -> Result<(), Failure> {
    let open = || XetFile::open(job, hash, cas, local);
    let (file, resumed) = open().await.map_err(Failure::Final)?;
    let mut outcome = fetch_missing(&file, connections).await;
    // The damage may be in what was taken from other files, ...
    if outcome.as_ref().is_err_and(Failure::is_of_content)
        && let taken = local.map(|local| local.distrust()).unwrap_or_default()
        && !taken.is_empty()
    {
        tracing::warn!(file = %job.entry.path, "what was reused is wrong; fetching it");
        job.call.counters.add_retry();
        file.forget(taken).await.map_err(Failure::Final)?;
        let (file, _) = open().await.map_err(Failure::Final)?;
        outcome = fetch_missing(&file, connections).await;
    }
    // ... or in what an earlier attempt has left.
    if outcome.as_ref().is_err_and(Failure::is_wrong_hash) && resumed > 0 {
        tracing::warn!(file = %job.entry.path, "the resumed file is damaged; starting over");
        job.call.counters.add_retry();
        job.restart().map_err(Failure::Final)?;
        let (file, _) = open().await.map_err(Failure::Final)?;
        outcome = fetch_missing(&file, connections).await;
    }
    if outcome.as_ref().is_err_and(Failure::is_wrong_hash) {
        // All of it is suspect, so nothing is kept for the next attempt.
        job.restart().map_err(Failure::Final)?;
    }
    outcome
}

async fn fetch_missing(file: &Arc<XetFile>, connections: &Arc<Semaphore>) -> Result<(), Failure> {
    let mut running = JoinSet::new();
    if let Err(error) = fetch_all(file, connections, &mut running).await {
        running.shutdown().await;
        // A writer of an aborted fetch must not touch the file while it is fetched another way.
        file.job.writers_ended().await;
        return Err(if is_of_the_servers(&error) {
            Failure::TryAnotherWay(error)
        } else {
            Failure::Final(error)
        });
    }
    file.verify().map_err(Failure::Final)
}

async fn fetch_all(
    file: &Arc<XetFile>,
    connections: &Arc<Semaphore>,
    running: &mut JoinSet<Result<()>>,
) -> Result<()> {
    let all = 0..file.job.entry.size;
    if file.ledger.missing(all.clone()) == [all.clone()] {
        file.begin_copies(file.whole().await?, running);
        drain(running).await?;
    }
    // The second round is for what files on this machine should have given and didn't.
    for reuse in [true, false] {
        for gap in file.ledger.missing(all.clone()) {
            let mut at = gap.start;
            while at < gap.end {
                at = file.begin(at..gap.end, reuse, connections, running).await?;
            }
        }
        drain(running).await?;
    }
    Ok(())
}

async fn drain(running: &mut JoinSet<Result<()>>) -> Result<()> {
    while let Some(done) = running.join_next().await {
        flatten(done)?;
    }
    Ok(())
}

struct XetFile {
    job: Job,
    hash: MerkleHash,
    cas: Arc<Cas>,
    ledger: Ledger,
    journal: Journal,
    /// `None`: nothing on this machine may be used.
    local: Option<Arc<Local>>,
    /// Xorbs whose chunks don't add up to their own hash: damaged, or fetched only in part.
    unproven: Mutex<BTreeSet<String>>,
}

impl XetFile {
    /// With the number of bytes that an earlier attempt has left.
    async fn open(
        job: &Job,
        hash: MerkleHash,
        cas: &Arc<Cas>,
        local: Option<&Arc<Local>>,
    ) -> Result<(Arc<Self>, u64)> {
        let (job, cas, local) = (job.clone(), Arc::clone(cas), local.cloned());
        let call = job.call.clone();
        call.blocking(move || {
            let ledger = Ledger::new(job.entry.size);
            let (journal, resumed) = Journal::resume(&job, &hash, &ledger)?;
            if resumed > 0 {
                tracing::info!(file = %job.entry.path, resumed, "resuming");
            }
            let unproven = Mutex::default();
            Ok((Arc::new(Self { job, hash, cas, ledger, journal, local, unproven }), resumed))
        })
        .await
    }

    /// The fetches for the bytes `wanted`, which may bring in more of `within`.
    async fn resolve(&self, wanted: &Range<u64>, within: &Range<u64>) -> Result<Vec<Fetch>> {
        let answer = self.cas.reconstruction(&self.hash, wanted, &self.job.call.counters).await?;
        block::fetches(&answer, wanted, within, self.job.entry.size)
    }

    /// Begins to bring in the first block of `missing`, and returns where it ends.
    async fn begin(
        self: &Arc<Self>,
        missing: Range<u64>,
        reuse: bool,
        connections: &Arc<Semaphore>,
        running: &mut JoinSet<Result<()>>,
    ) -> Result<u64> {
        let block = missing.start..missing.end.min(missing.start.saturating_add(BLOCK));
        let fetches = self.resolve(&block, &missing).await?;
        let terms = block::terms(&fetches);
        // Where a chunk ends, so that no chunk is in two blocks.
        let end = terms.last().map_or(block.end, Term::end).max(block.end);
        let selected = match &self.local {
            Some(local) if reuse => {
                let plan = self.plan(local, terms, missing).await?;
                let selected = plan::select(fetches, &plan.remote);
                self.begin_copies(plan.copies, running);
                selected
            }
            _ => Selected { fetches, gaps: Vec::new() },
        };
        for fetch in selected.fetches {
            self.begin_fetch(fetch, connections, running).await?;
        }
        let mut gaps = stream::iter(selected.gaps)
            .map(|gap| async move { self.resolve(&gap, &gap).await })
            .buffered(RESOLVING);
        while let Some(fetches) = gaps.next().await {
            for fetch in fetches? {
                self.begin_fetch(fetch, connections, running).await?;
            }
        }
        Ok(end)
    }

    async fn plan(
        self: &Arc<Self>,
        local: &Arc<Local>,
        terms: Vec<Term>,
        within: Range<u64>,
    ) -> Result<Plan> {
        let local = Arc::clone(local);
        let mut plan = self.job.call.blocking(move || Ok(local.plan(terms, &within))).await?;
        let mut placed = stream::iter(std::mem::take(&mut plan.unplaced))
            .map(|runs| self.locate(runs))
            .buffered(RESOLVING);
        while let Some(copies) = placed.next().await {
            plan.add(copies?);
        }
        Ok(plan)
    }

    /// Finds out where runs of a xorb go that are in the middle of a term: where its chunks begin is
    /// in the answers about parts of it.
    async fn locate(&self, mut runs: Unplaced) -> Result<Vec<Copy>> {
        let mut copies = Vec::new();
        let mut overshot = 0;
        for _ in 0..MOST_QUESTIONS {
            let Some(guess) = runs.guess(overshot) else { break };
            let part = runs.at..guess;
            let terms = block::terms(&self.resolve(&part, &part).await?);
            let [term] = terms.as_slice() else { break };
            if (term.xorb, term.offset, term.chunks.start) != (runs.xorb, runs.at, runs.chunk) {
                break;
            }
            let (is_near, copy) = runs.learn(term.chunks.end, term.end());
            overshot = if is_near { 0 } else { overshot + 1 };
            copies.extend(copy);
        }
        Ok(copies)
    }

    /// The whole file as copies, if this machine has another one with the same content.
    async fn whole(&self) -> Result<Vec<Copy>> {
        let Some(local) = self.local.clone() else { return Ok(Vec::new()) };
        let (hash, size) = (self.hash, self.job.entry.size);
        self.job.call.blocking(move || Ok(local.whole(&hash, size))).await
    }

    fn begin_copies(self: &Arc<Self>, copies: Vec<Copy>, running: &mut JoinSet<Result<()>>) {
        let Some(local) = &self.local else { return };
        for copy in copies {
            let (file, local) = (Arc::clone(self), Arc::clone(local));
            running.spawn(async move {
                let _turn = local.turn().await?;
                let (this, copying) = (Arc::clone(&file), Arc::clone(&local));
                let copied = file.job.spawn_writer(move || {
                    copying.copy(&copy, &this.job, &this.ledger, &this.journal)
                });
                copied.await.unwrap_or_else(|_| Err(Error::internal("a copy panicked")))
            });
        }
    }

    /// Begins a fetch as soon as there is a connection for it.
    async fn begin_fetch(
        self: &Arc<Self>,
        fetch: Fetch,
        connections: &Arc<Semaphore>,
        running: &mut JoinSet<Result<()>>,
    ) -> Result<()> {
        let permit = Arc::clone(connections).acquire_owned().await.map_err(Error::internal)?;
        let file = Arc::clone(self);
        running.spawn(async move {
            let result = file.fetch(fetch).await;
            drop(permit);
            result
        });
        // A failure ends the file now, not after the fetches that are still to come.
        while let Some(done) = running.try_join_next() {
            flatten(done)?;
        }
        Ok(())
    }

    /// Makes the partial file miss these ranges again. Only for what isn't used any more.
    async fn forget(self: &Arc<Self>, ranges: Vec<Range<u64>>) -> Result<()> {
        let file = Arc::clone(self);
        self.job.call.blocking(move || file.journal.forget(&ranges)).await
    }

    /// Brings in everything that `fetch` is for, in as many attempts as the policy allows. An
    /// attempt that brought chunks in doesn't count against it.
    async fn fetch(self: &Arc<Self>, fetch: Fetch) -> Result<()> {
        let mut work = vec![fetch];
        let mut failures = 0;
        while let Some(fetch) = work.pop() {
            let missing_before = self.missing(&fetch);
            let error = match self.stream(&fetch).await {
                Ok(()) => continue,
                Err(error) if is_worth_another_url(&error) => error,
                // What can't be decoded may have been garbled on its way, but not twice.
                Err(error) if error.kind() == Kind::ChecksumMismatch && failures == 0 => error,
                Err(error) if error.kind() == Kind::ChecksumMismatch => {
                    return Err(content::undecodable(&self.job.entry, &fetch.xorb.hex(), &error));
                }
                Err(error) => return Err(error),
            };
            let missing = self.missing(&fetch);
            failures = if missing == missing_before { failures + 1 } else { 1 };
            tracing::warn!(
                file = %self.job.entry.path, xorb = %fetch.xorb.hex(), %error,
                "a xorb fetch failed; taking it up where it ended"
            );
            self.cas.policy().pause(failures, error, &self.job.call.counters).await?;
            for gap in missing {
                work.extend(self.resolve(&gap, &gap).await?);
            }
        }
        Ok(())
    }

    fn missing(&self, fetch: &Fetch) -> Vec<Range<u64>> {
        let spans = fetch
            .placements
            .iter()
            .map(|p| p.offset.max(fetch.within.start)..(p.offset + p.len).min(fetch.within.end));
        spans.flat_map(|span| self.ledger.missing(span)).collect()
    }

    /// One attempt at one fetch.
    async fn stream(self: &Arc<Self>, fetch: &Fetch) -> Result<()> {
        let mut body = self.cas.open(fetch).await?;
        let (pieces, queue) = mpsc::channel(QUEUE);
        let mut writer = Writer::new(Arc::clone(self), fetch.clone());
        let job = self.job.spawn_writer(move || writer.run(queue));
        let mut left = fetch.body_len();
        let network = loop {
            match body.next().await {
                Some(Ok(piece)) => {
                    let len = piece.len() as u64;
                    self.job.call.counters.add_network(len);
                    if len > left {
                        break Err(Error::new(
                            Kind::InvalidResponse,
                            "storage sent more bytes of a xorb than were asked for",
                        ));
                    }
                    left -= len;
                    if pieces.send(piece).await.is_err() {
                        break Ok(()); // the writer has failed, and says why below
                    }
                }
                Some(Err(error)) => break Err(error),
                None => break Ok(()),
            }
        };
        drop(pieces);
        let written = match job.await {
            Ok(result) => result,
            Err(_) => Err(Error::internal("a xorb writer panicked")),
        };
        // A cut connection makes both fail; the network's error is the cause.
        network.and(written)
    }

    fn verify(&self) -> Result<()> {
        let actual = self
            .ledger
            .file_hash()
            .ok_or_else(|| Error::internal("a Xet file ended with chunks missing"))?;
        if actual == self.hash {
            return Ok(());
        }
        let unproven = self.unproven.lock().unwrap_or_else(PoisonError::into_inner);
        let file = &self.job.entry.path;
        tracing::error!(%file, ?unproven, "wrong Merkle hash; one of these xorbs is damaged");
        Err(content::mismatch(&self.job.entry, "Merkle hash", &self.hash.hex(), &actual.hex()))
    }
}

/// The blocking half of a fetch: from pieces of a body to chunks in the file.
struct Writer {
    file: Arc<XetFile>,
    fetch: Fetch,
    decoder: ChunkDecoder,
    /// The chunks so far, hash and length.
    chunks: Vec<(MerkleHash, u64)>,
    /// For each placement, where its next chunk goes.
    positions: Vec<u64>,
    /// Written, but not yet in the journal.
    written: Vec<Record>,
}

impl Writer {
    fn new(file: Arc<XetFile>, fetch: Fetch) -> Self {
        let positions = fetch.placements.iter().map(|p| p.offset).collect();
        Self {
            file,
            fetch,
            decoder: ChunkDecoder::default(),
            chunks: Vec::new(),
            positions,
            written: Vec::new(),
        }
    }

    fn run(&mut self, queue: mpsc::Receiver<Bytes>) -> Result<()> {
        let drained = self.drain(queue);
        self.enter_written()?;
        drained?;
        self.check_end()?;
        if self.fetch.chunks.start > 0 || xorb_hash(&self.chunks) != self.fetch.xorb {
            let mut unproven = self.file.unproven.lock().unwrap_or_else(PoisonError::into_inner);
            unproven.insert(self.fetch.xorb.hex());
        }
        Ok(())
    }

    fn drain(&mut self, mut queue: mpsc::Receiver<Bytes>) -> Result<()> {
        while let Some(piece) = queue.blocking_recv() {
            if self.file.job.call.is_cancelled() {
                return Err(Error::cancelled());
            }
            self.decoder.push(piece);
            while let Some(chunk) = self.decoder.next()? {
                if self.chunks.len() >= self.fetch.chunks.len() {
                    return Err(self.wrong_end());
                }
                let index = self.fetch.chunks.start as usize + self.chunks.len();
                let hash = compute_data_hash(&chunk);
                self.chunks.push((hash, chunk.len() as u64));
                for (placement, position) in self.fetch.placements.iter().zip(&mut self.positions) {
                    if placement.holds(index) {
                        let within = &self.fetch.within;
                        let written = place(&self.file, within, placement, position, hash, &chunk)?;
                        self.written.extend(written);
                    }
                }
            }
            if self.written.len() >= JOURNAL_EVERY {
                self.enter_written()?;
            }
        }
        Ok(())
    }

    fn enter_written(&mut self) -> Result<()> {
        self.file.journal.append(&self.written)?;
        self.written.clear();
        Ok(())
    }

    /// The body must end exactly where its last chunk and every placement end.
    fn check_end(&self) -> Result<()> {
        let ended = |(p, position): (&Placement, &u64)| *position == p.offset + p.len;
        if self.decoder.is_at_boundary()
            && self.chunks.len() == self.fetch.chunks.len()
            && self.fetch.placements.iter().zip(&self.positions).all(ended)
        {
            return Ok(());
        }
        Err(self.wrong_end())
    }

    fn wrong_end(&self) -> Error {
        Error::new(
            Kind::InvalidResponse,
            format!(
                "chunks {:?} of xorb {} came with other lengths or in another number (at {})",
                self.fetch.chunks,
                self.fetch.xorb.hex(),
                self.chunks.len()
            ),
        )
    }
}

/// Writes a chunk to its next place, unless the file has it there already.
fn place(
    file: &XetFile,
    within: &Range<u64>,
    placement: &Placement,
    position: &mut u64,
    hash: MerkleHash,
    chunk: &[u8],
) -> Result<Option<Record>> {
    let (offset, len) = (*position, chunk.len() as u64);
    *position += len;
    if *position > placement.offset + placement.len {
        return Err(Error::new(
            Kind::InvalidResponse,
            "the chunks of a xorb are longer than their term",
        ));
    }
    if *position <= within.start || offset >= within.end {
        return Ok(None);
    }
    // Entered first, written then: of two fetches that bring the same chunk, only the one whose
    // hash counts may write. A write that fails ends the whole file, so the ledger never promises
    // what isn't there.
    if file.ledger.insert(offset, hash, len)? == Inserted::Known {
        return Ok(None);
    }
    file.job.write_at(chunk, offset)?;
    file.job.progress.advance(len);
    Ok(Some(Record { offset, len: u32::try_from(len).map_err(Error::internal)?, hash }))
}

/// Whether a failure to fetch lies with Xet's servers. (`ChecksumMismatch` here is a xorb that can't
/// be decoded, not a file whose hash is wrong.)
fn is_of_the_servers(error: &Error) -> bool {
    matches!(
        error.kind(),
        Kind::Connection
            | Kind::Timeout
            | Kind::ServerError
            | Kind::InvalidResponse
            | Kind::Unauthorized
            | Kind::Forbidden
            | Kind::NotFound
            | Kind::ChecksumMismatch
    )
}

/// Whether new URLs may help: a passing failure, an expired signature, or a body that was cut or
/// garbled on its way.
fn is_worth_another_url(error: &Error) -> bool {
    error.is_transient()
        || error.kind() == Kind::InvalidResponse
        || matches!(error.context().http_status, Some(401 | 403))
}

fn flatten(done: std::result::Result<Result<()>, tokio::task::JoinError>) -> Result<()> {
    done.unwrap_or_else(|error| Err(Error::internal(error)))
}
