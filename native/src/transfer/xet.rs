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
use futures_util::StreamExt;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use xet_core_structures::merklehash::{MerkleHash, compute_data_hash, xorb_hash};

use super::block::{self, Fetch, Placement};
use super::cas::Cas;
use super::decode::ChunkDecoder;
use super::job::Job;
use super::journal::{Journal, Record};
use super::ledger::{Inserted, Ledger};
use crate::content;
use crate::error::{Error, Kind, Result};

/// How much of a file one reconstruction is asked for.
const BLOCK: u64 = 1 << 30;

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

/// Fetches what `job`'s partial file doesn't hold yet, and checks the Merkle hash of the whole.
pub(crate) async fn fetch(
    job: &Job,
    hash: MerkleHash,
    cas: &Arc<Cas>,
    connections: &Arc<Semaphore>,
) -> Result<(), Failure> {
    let (file, resumed) = XetFile::open(job, hash, cas).await.map_err(Failure::Final)?;
    match fetch_missing(file, connections).await {
        // The damage may be in what an earlier attempt has left.
        Err(Failure::Final(error)) if error.kind() == Kind::ChecksumMismatch && resumed > 0 => {
            tracing::warn!(file = %job.entry.path, "the resumed file is damaged; starting over");
            job.progress.counters().add_retry();
            let file = XetFile::open(job, hash, cas).await.map_err(Failure::Final)?.0;
            fetch_missing(file, connections).await
        }
        done => done,
    }
}

async fn fetch_missing(file: Arc<XetFile>, connections: &Arc<Semaphore>) -> Result<(), Failure> {
    let mut running = JoinSet::new();
    if let Err(error) = fetch_all(&file, connections, &mut running).await {
        running.shutdown().await;
        // A writer of an aborted fetch must not touch the file while it is fetched another way.
        file.job.writers_ended().await;
        return Err(if is_of_the_servers(&error) {
            Failure::TryAnotherWay(error)
        } else {
            Failure::Final(error)
        });
    }
    file.verify().map_err(|error| {
        // All of it is suspect, so nothing is kept for the next attempt.
        Failure::Final(file.job.restart().err().unwrap_or(error))
    })
}

async fn fetch_all(
    file: &Arc<XetFile>,
    connections: &Arc<Semaphore>,
    running: &mut JoinSet<Result<()>>,
) -> Result<()> {
    for gap in file.ledger.missing(0..file.job.entry.size) {
        for block in blocks(gap) {
            for fetch in file.resolve(&block).await? {
                let permit =
                    Arc::clone(connections).acquire_owned().await.map_err(Error::internal)?;
                let file = Arc::clone(file);
                running.spawn(async move {
                    let result = file.fetch(fetch).await;
                    drop(permit);
                    result
                });
                // A failure ends the file now, not after the fetches that are still to come.
                while let Some(done) = running.try_join_next() {
                    flatten(done)?;
                }
            }
        }
    }
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
    /// Xorbs whose chunks don't add up to their own hash: damaged, or fetched only in part.
    unproven: Mutex<BTreeSet<String>>,
}

impl XetFile {
    /// With the number of bytes that an earlier attempt has left.
    async fn open(job: &Job, hash: MerkleHash, cas: &Arc<Cas>) -> Result<(Arc<Self>, u64)> {
        let (job, cas) = (job.clone(), Arc::clone(cas));
        let call = job.call.clone();
        call.blocking(move || {
            let ledger = Ledger::new(job.entry.size);
            let (journal, resumed) = Journal::resume(&job, &hash, &ledger)?;
            if resumed > 0 {
                tracing::info!(file = %job.entry.path, resumed, "resuming");
            }
            Ok((
                Arc::new(Self { job, hash, cas, ledger, journal, unproven: Mutex::default() }),
                resumed,
            ))
        })
        .await
    }

    async fn resolve(&self, wanted: &Range<u64>) -> Result<Vec<Fetch>> {
        let answer =
            self.cas.reconstruction(&self.hash, wanted, self.job.progress.counters()).await?;
        block::fetches(&answer, wanted, self.job.entry.size)
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
            self.cas.policy().pause(failures, error, self.job.progress.counters()).await?;
            for gap in missing {
                work.extend(self.resolve(&gap).await?);
            }
        }
        Ok(())
    }

    fn missing(&self, fetch: &Fetch) -> Vec<Range<u64>> {
        let spans = fetch.placements.iter().map(|p| p.offset..p.offset + p.len);
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
                    self.job.progress.add_network(len);
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
                        let written = place(&self.file, placement, position, hash, &chunk)?;
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

fn blocks(gap: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let Range { start, end } = gap;
    std::iter::successors(Some(start), |at| at.checked_add(BLOCK))
        .take_while(move |&at| at < end)
        .map(move |at| at..end.min(at.saturating_add(BLOCK)))
}

fn flatten(done: std::result::Result<Result<()>, tokio::task::JoinError>) -> Result<()> {
    done.unwrap_or_else(|error| Err(Error::internal(error)))
}
