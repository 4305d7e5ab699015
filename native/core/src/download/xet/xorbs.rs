//! Brings in the chunks of a Xet file from the xorbs that hold them.
//!
//! A file is taken in blocks; a block's reconstruction names the fetches, and fetches run side by
//! side as far as the client's connections go. Each fetch is a stream: the network task hands
//! pieces to a blocking job, which cuts, decompresses, hashes and writes them, so a connection
//! costs a few pieces of memory whatever the size of the xorb. A fetch that fails is taken up where
//! its chunks end, with a new reconstruction (and with that new URLs) for what is missing, on
//! another connection.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use xet_core_structures::merklehash::{MerkleHash, compute_data_hash, xorb_hash};

use super::super::retry::Retry;
use super::copies::{self, Selected};
use super::file::XetFile;
use super::journal::Record;
use super::local::{self, Local};
use super::resolve::{BLOCK, RESOLVING, Resolver};
use super::{Sources, is_of_the_servers};
use crate::call::scheduler::SMALL;
use crate::cas::Cas;
use crate::cas::block::{self, Fetch, Placement};
use crate::cas::decode::ChunkDecoder;
use crate::model::content;
use crate::model::error::{Error, Kind, Result};
use crate::reuse::Term;

/// Pieces of a body that may wait for the blocking job.
const QUEUE: usize = 4;

/// Brings in all that is missing. If Xet's servers fail, what has begun is brought to its end
/// first: it needn't come another way.
pub(super) async fn bring(
    file: &Arc<XetFile>,
    cas: &Arc<Cas>,
    sources: &Sources<'_>,
) -> Result<()> {
    let bringer = Bringer { file: Arc::clone(file), cas: Arc::clone(cas) };
    if let Some(local) = sources.local {
        run(&bringer, Some(local)).await?;
        // What is still missing, files on this machine should have given and didn't.
    }
    run(&bringer, None).await
}

/// One round for all gaps.
async fn run(bringer: &Bringer, local: Option<&Arc<Local>>) -> Result<()> {
    let mut running = JoinSet::new();
    let begun = begin_all(bringer, local, &mut running).await;
    end(bringer, running, begun).await
}

/// Waits for what is running.
async fn end(
    bringer: &Bringer,
    mut running: JoinSet<Result<()>>,
    mut done: Result<()>,
) -> Result<()> {
    while done.as_ref().err().is_none_or(is_of_the_servers) {
        let Some(ended) = running.join_next().await else { return done };
        // What can't be helped counts more than what may come another way.
        if let Err(error) = flatten(ended)
            && (done.is_ok() || !is_of_the_servers(&error))
        {
            done = Err(error);
        }
    }
    running.shutdown().await;
    // A writer of an aborted fetch must not touch the file while something else does.
    bringer.file.job().writers_ended().await;
    done
}

/// Begins the copies and fetches of all gaps, one after the other as connections are free, until one
/// fails.
async fn begin_all(
    bringer: &Bringer,
    local: Option<&Arc<Local>>,
    running: &mut JoinSet<Result<()>>,
) -> Result<()> {
    for gap in bringer.file.gaps() {
        let mut at = gap.start;
        while at < gap.end {
            at = begin_block(bringer, at..gap.end, local, running).await?;
        }
    }
    Ok(())
}

/// Begins the first block of `missing`, and returns where it ends.
async fn begin_block(
    bringer: &Bringer,
    missing: Range<u64>,
    local: Option<&Arc<Local>>,
    running: &mut JoinSet<Result<()>>,
) -> Result<u64> {
    let block = missing.start..missing.end.min(missing.start.saturating_add(BLOCK));
    let fetches = bringer.ask().resolve(&block, &missing).await?;
    let terms = block::terms(&fetches);
    // Where a chunk ends, so that no chunk is in two blocks.
    let end = terms.last().map_or(block.end, Term::end).max(block.end);
    let selected = match local {
        None => Selected { fetches, gaps: Vec::new() },
        Some(local) => {
            let plan = bringer.ask().plan(local, terms, missing).await?;
            let selected = copies::select(fetches, &plan.remote);
            local::begin(local, &bringer.file, plan.copies, running);
            selected
        }
    };
    for fetch in selected.fetches {
        bringer.begin_fetch(fetch, running).await?;
    }
    let mut gaps = stream::iter(selected.gaps)
        .map(|gap| async move { bringer.ask().resolve(&gap, &gap).await })
        .buffered(RESOLVING);
    while let Some(fetches) = gaps.next().await {
        for fetch in fetches? {
            bringer.begin_fetch(fetch, running).await?;
        }
    }
    Ok(end)
}

/// Brings in parts of one file.
#[derive(Clone)]
struct Bringer {
    file: Arc<XetFile>,
    cas: Arc<Cas>,
}

impl Bringer {
    fn ask(&self) -> Resolver<'_> {
        let job = self.file.job();
        Resolver {
            cas: &self.cas,
            hash: self.file.hash(),
            size: job.entry.size,
            call: &job.call,
            counters: job.progress.counters(),
        }
    }

    /// Begins a fetch as soon as there is a connection for it.
    async fn begin_fetch(&self, fetch: Fetch, running: &mut JoinSet<Result<()>>) -> Result<()> {
        let call = &self.file.job().call;
        let is_small = fetch.body_len() <= SMALL;
        let gate = if is_small { &call.scheduler.parts } else { &call.scheduler.streams };
        let what = format!("its turn to fetch from xorb {}", fetch.xorb.hex());
        let connection = call.turn(gate, what).await?;
        let bringer = self.clone();
        running.spawn(async move {
            let result = bringer.bring(fetch).await;
            drop(connection);
            result
        });
        while let Some(ended) = running.try_join_next() {
            flatten(ended)?;
        }
        Ok(())
    }

    /// Brings in everything that `fetch` is for, in as many attempts as the policy allows.
    async fn bring(&self, fetch: Fetch) -> Result<()> {
        let job = self.file.job();
        let mut work = vec![fetch];
        let mut retry = Retry::new(self.cas.policy(), self.cas.min_speed());
        let mut garbled = false;
        while let Some(fetch) = work.pop() {
            let lacking = length(&self.missing(&fetch));
            let error = match self.stream(&fetch).await {
                Ok(()) => {
                    job.call.scheduler.streams.widen();
                    continue;
                }
                Err(error) if is_worth_another_url(&error) => error,
                // What can't be decoded may have been garbled on its way, but not twice.
                Err(error) if error.kind() == Kind::ChecksumMismatch && !garbled => {
                    garbled = true;
                    error
                }
                Err(error) if error.kind() == Kind::ChecksumMismatch => {
                    return Err(content::undecodable(&job.entry, &fetch.xorb.hex(), &error));
                }
                Err(error) => return Err(error),
            };
            let missing = self.missing(&fetch);
            tracing::warn!(
                file = %job.entry.path, xorb = %fetch.xorb.hex(), %error,
                "a xorb fetch failed; taking it up where it ended"
            );
            if error.kind() == Kind::Timeout {
                job.call.scheduler.streams.narrow();
            }
            if is_refusal(&error) {
                job.progress.counters().add_refresh();
            }
            retry.pause(error, lacking - length(&missing), job.progress.counters()).await?;
            for gap in missing {
                work.extend(self.ask().resolve(&gap, &gap).await?);
            }
        }
        Ok(())
    }

    fn missing(&self, fetch: &Fetch) -> Vec<Range<u64>> {
        let spans = fetch
            .placements
            .iter()
            .map(|p| p.offset.max(fetch.within.start)..(p.offset + p.len).min(fetch.within.end));
        spans.flat_map(|span| self.file.missing(span)).collect()
    }

    /// One attempt at one fetch.
    async fn stream(&self, fetch: &Fetch) -> Result<()> {
        let job = self.file.job();
        let what: Arc<str> =
            format!("storage to send xorb {} of {}", fetch.xorb.hex(), job.entry.path).into();
        let _waiting = job.call.counters.waits.begin(Arc::clone(&what), Duration::ZERO);
        let mut body = self.cas.open(fetch).await?;
        let (pieces, queue) = mpsc::channel(QUEUE);
        let mut writer = Writer::new(Arc::clone(&self.file), fetch.clone());
        let writing = job.spawn_writer(Arc::clone(&what), move || writer.run(queue));
        let mut left = fetch.body_len();
        let network = loop {
            match body.next().await {
                Some(Ok(piece)) => {
                    let len = piece.len() as u64;
                    job.progress.add_network(len);
                    if len > left {
                        break Err(Error::new(
                            Kind::InvalidResponse,
                            "storage sent more bytes of a xorb than were asked for",
                        ));
                    }
                    left -= len;
                    if !job.hand_over(&pieces, piece).await {
                        break Ok(()); // the writer has failed, and says why below
                    }
                }
                Some(Err(error)) => break Err(error),
                None => break Ok(()),
            }
        };
        drop(pieces);
        let written = match writing.await {
            Ok(result) => result,
            Err(_) => Err(Error::internal("a xorb writer panicked")),
        };
        match (network, written) {
            // A body that was cut ends inside a chunk as well; the cut is the cause.
            (Err(cut), Err(written)) if is_of_the_body(&written) => Err(cut),
            // A disk that fails is no reason to ask again, whatever the network does.
            (network, written) => written.and(network),
        }
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
        if drained.is_err() || self.fetch.chunks.start > 0 || !self.is_the_xorb() {
            for (placement, &end) in self.fetch.placements.iter().zip(&self.positions) {
                if end > placement.offset {
                    self.file.doubt(placement.offset..end);
                }
            }
        }
        drained
    }

    /// Whether the chunks are those of the whole xorb: then each of them is right.
    fn is_the_xorb(&self) -> bool {
        xorb_hash(&self.chunks) == self.fetch.xorb
    }

    fn drain(&mut self, mut queue: mpsc::Receiver<Bytes>) -> Result<()> {
        while let Some(piece) = queue.blocking_recv() {
            if self.file.job().call.is_cancelled() {
                return Err(Error::cancelled());
            }
            self.decoder.push(piece);
            let placed = self.place_chunks();
            // What was placed before something went wrong counts, too. Once for each piece: a kill
            // costs no more than what was on its way.
            self.file.enter(&mut self.written)?;
            placed?;
        }
        self.check_end()
    }

    fn place_chunks(&mut self) -> Result<()> {
        while let Some(chunk) = self.decoder.next()? {
            if self.chunks.len() >= self.fetch.chunks.len() {
                return Err(self.wrong_end());
            }
            let index = self.fetch.chunks.start as usize + self.chunks.len();
            let (hash, len) = (compute_data_hash(&chunk), chunk.len() as u64);
            self.chunks.push((hash, len));
            for (placement, position) in self.fetch.placements.iter().zip(&mut self.positions) {
                if !placement.holds(index) {
                    continue;
                }
                if *position + len > placement.offset + placement.len {
                    return Err(Error::new(
                        Kind::InvalidResponse,
                        "the chunks of a xorb are longer than their term",
                    ));
                }
                let within = &self.fetch.within;
                if *position < within.end && *position + len > within.start {
                    self.written.extend(self.file.place(*position, hash, &chunk)?);
                }
                *position += len;
            }
        }
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

/// Whether new URLs may help: a passing failure, an expired signature, or a body that was cut or
/// garbled on its way.
fn is_worth_another_url(error: &Error) -> bool {
    error.is_transient() || error.kind() == Kind::InvalidResponse || is_refusal(error)
}

/// Whether a writer failed over what it was given.
fn is_of_the_body(error: &Error) -> bool {
    matches!(error.kind(), Kind::InvalidResponse | Kind::ChecksumMismatch)
}

/// Whether storage refused a URL that it has signed: it has expired.
fn is_refusal(error: &Error) -> bool {
    matches!(error.context().http_status, Some(401 | 403))
}

fn length(ranges: &[Range<u64>]) -> u64 {
    ranges.iter().map(|range| range.end - range.start).sum()
}

fn flatten(done: std::result::Result<Result<()>, tokio::task::JoinError>) -> Result<()> {
    done.unwrap_or_else(|error| Err(Error::internal(error)))
}
