//! One upload's content on its way to storage: xorbs as they are cut, and shards that register them.
//!
//! ```text
//! files ── dedup ──► xorbs ──► (a bound on memory) ──► sent, several at a time ──► staged
//!                      └──► the open shard ── full, or the end ──► registered, once all before it is sent
//! ```
//!
//! What is known of each chunk that was sent takes some 200 bytes until it's registered. So a shard that is
//! [full](FULL) is registered while the next one is filled: what it names is known to storage by the time that
//! files in later ones do. Shards are registered one after the other, each once all xorbs that were cut before
//! are there.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use xet_core_structures::merklehash::MerkleHash;
use xet_core_structures::metadata_shard::file_structs::MDBFileInfo;
use xet_core_structures::metadata_shard::shard_format::{MDBShardFileHeader, MDBShardInfo};
use xet_core_structures::metadata_shard::shard_in_memory::MDBInMemoryShard;
use xet_core_structures::metadata_shard::xorb_structs::MDBXorbInfo;
use xet_core_structures::xorb_object::SerializedXorbObject;
use xet_data::deduplication::constants::{MAX_XORB_BYTES, MAX_XORB_CHUNKS};
use xet_data::deduplication::{DataAggregator, DeduplicationMetrics, RawXorbData};
use xet_runtime::core::XetContext;

use super::known::{Found, Known};
use super::own::Own;
use super::storage::Storage;
use crate::call::Call;
use crate::call::scheduler::{Gate, Permit};
use crate::model::error::{Error, Result};

/// How long a shard gets, in bytes, before another one follows: some 128 Ki chunks, or 8 GiB of content.
const FULL: u64 = 8 << 20;

/// An upload under way. Files are fed to it side by side.
pub(super) struct Session {
    call: Call,
    storage: Storage,
    known: Known,
    context: XetContext,
    /// What ended files have left that makes no xorb of its own.
    open: Mutex<DataAggregator>,
    state: Mutex<State>,
    /// Room for content of xorbs that are on their way, in bytes.
    on_the_way: Arc<Gate>,
}

#[derive(Default)]
struct State {
    /// What is to be registered next.
    shard: MDBInMemoryShard,
    /// What waits to be registered, or is being.
    before: Vec<Arc<MDBInMemoryShard>>,
    /// All xorbs that were cut.
    xorbs: HashSet<MerkleHash>,
    /// All files.
    files: Vec<MDBFileInfo>,
    /// What of them was taken whole.
    taken: HashSet<Registered>,
    /// What of the content storage had, and what nobody had.
    metrics: DeduplicationMetrics,
    sent: Sent,
    /// To whoever sends; `None` once all is cut.
    work: Option<UnboundedSender<Work>>,
}

/// What a file is registered as: its Xet hash, and the SHA-256 that is told with it, if one is.
type Registered = (MerkleHash, Option<String>);

/// What is to be done in this order, but for xorbs among themselves.
enum Work {
    Send(Bytes, Arc<MDBXorbInfo>, Permit),
    Register(Arc<MDBInMemoryShard>),
}

/// What there is to send.
pub(super) struct Queue(UnboundedReceiver<Work>);

/// What was sent, as it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sent {
    /// How many xorbs.
    pub(super) xorbs: u32,
    /// Of xorbs.
    pub(super) xorb_bytes: u64,
    /// Of shards.
    pub(super) shard_bytes: u64,
}

impl Sent {
    /// All of it.
    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            xorbs: self.xorbs + other.xorbs,
            xorb_bytes: self.xorb_bytes + other.xorb_bytes,
            shard_bytes: self.shard_bytes + other.shard_bytes,
        }
    }
}

/// What came of it.
pub(super) struct Outcome {
    pub(super) files: Vec<MDBFileInfo>,
    /// What of the content storage had, and what nobody had.
    pub(super) metrics: DeduplicationMetrics,
    pub(super) sent: Sent,
}

impl Session {
    pub(super) fn new(
        call: Call,
        storage: Storage,
        known: Known,
        context: XetContext,
    ) -> (Arc<Self>, Queue) {
        let (work, queue) = mpsc::unbounded_channel();
        let state = State { work: Some(work), ..State::default() };
        // So many of full size, or more that are small.
        let width = context.config.client.ac_max_upload_concurrency.max(1);
        let share = width.saturating_mul(*MAX_XORB_BYTES);
        // No call has more than seven eighths of a gate, and here is no other.
        let on_the_way = Gate::new(share.saturating_add(share.div_ceil(7)));
        let session = Self {
            call,
            storage,
            known,
            context,
            open: Mutex::default(),
            state: Mutex::new(state),
            on_the_way,
        };
        (Arc::new(session), Queue(queue))
    }

    /// What xet-core's parts are told.
    pub(super) fn context(&self) -> &XetContext {
        &self.context
    }

    /// Sends what `feeding` cuts, and registers it.
    pub(super) async fn run<T>(
        &self,
        queue: Queue,
        feeding: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let feed = async {
            let done = feeding.await?;
            self.close().await?;
            Ok::<_, Error>(done)
        };
        let (done, ()) = tokio::try_join!(feed, self.work_off(queue))?;
        Ok(done)
    }

    /// What came of it, once it has run.
    pub(super) fn outcome(&self) -> Outcome {
        let mut state = self.state();
        let files = std::mem::take(&mut state.files);
        Outcome { files, metrics: state.metrics, sent: state.sent }
    }

    /// What it has sent to storage, and what is noted of that.
    pub(super) fn sent(&self) -> (Sent, Own) {
        (self.state().sent, self.known.own())
    }

    /// The xorbs that it counts on, since they are said to be there.
    pub(super) fn counted_on(&self) -> HashSet<MerkleHash> {
        self.known.counted_on()
    }

    /// Where the first of these chunks is in what this upload has cut, and how many of those that follow are behind
    /// it there.
    pub(super) fn find(&self, chunks: &[MerkleHash]) -> Found {
        self.state().find(chunks)
    }

    /// The same in what storage had before, for each of these chunks: by how many there are from it on.
    pub(super) async fn find_known(
        &self,
        chunks: Vec<MerkleHash>,
    ) -> Result<HashMap<usize, Found>> {
        self.known.find(chunks).await
    }

    /// Asks storage who else has this chunk. True: something more is known.
    pub(super) async fn learn_about(&self, chunk: &MerkleHash) -> bool {
        match self.storage.shard_with(chunk).await {
            Some(shard) => self.known.learn(shard).await,
            None => false,
        }
    }

    /// Takes a file that has ended, with what it has left, unless an equal one was taken before it: xet-core finds
    /// chunks in xorbs that are complete, and so not in what is left of others. Returns what it comes to.
    pub(super) async fn add(
        &self,
        mut rest: DataAggregator,
        file: Registered,
        metrics: DeduplicationMetrics,
    ) -> Result<DeduplicationMetrics> {
        let metrics = {
            let mut state = self.state();
            let is_new = state.taken.insert(file);
            let metrics = if is_new { metrics } else { repeated(metrics) };
            state.metrics.merge_in(&metrics);
            if !is_new {
                return Ok(metrics);
            }
            metrics
        };
        let full = {
            let mut open = self.open();
            let bytes = open.num_bytes() + rest.num_bytes();
            let chunks = open.num_chunks() + rest.num_chunks();
            if bytes > *MAX_XORB_BYTES || chunks > *MAX_XORB_CHUNKS {
                // The larger one goes.
                if open.num_bytes() > rest.num_bytes() {
                    std::mem::swap(&mut *open, &mut rest);
                }
                Some(rest)
            } else {
                open.merge_in(rest);
                None
            }
        };
        if let Some(full) = full {
            self.cut(full).await?;
        }
        Ok(metrics)
    }

    /// Takes a part of a file with what it has left, which isn't to be mixed with others'. Returns its terms.
    pub(super) async fn add_part(
        &self,
        rest: DataAggregator,
        metrics: &DeduplicationMetrics,
    ) -> Result<MDBFileInfo> {
        self.state().metrics.merge_in(metrics);
        let (xorb, files) = rest.finalize();
        self.send(xorb, Vec::new()).await?;
        let info = files.into_iter().next().map(|(_, info, _)| info);
        info.ok_or_else(|| Error::internal("a part of a file without terms"))
    }

    /// Takes a file whose parts were taken.
    pub(super) fn add_file(&self, info: MDBFileInfo) -> Result<()> {
        self.state().add_files(vec![info])
    }

    async fn cut(&self, full: DataAggregator) -> Result<()> {
        let (xorb, files) = full.finalize();
        self.send(xorb, files.into_iter().map(|(_, info, _)| info).collect()).await
    }

    /// Has a xorb sent, unless it is already, and then `files` registered that need it. Waits for room for it, and until
    /// it's put together: whoever has cut it holds its content as long, and goes on when that is free.
    pub(super) async fn send(&self, xorb: RawXorbData, files: Vec<MDBFileInfo>) -> Result<()> {
        let size = xorb.num_bytes();
        let made = if size == 0 || self.state().xorbs.contains(&xorb.hash()) {
            None
        } else {
            let what = "content before it to be sent";
            let room = self.on_the_way.turn(&self.call.counters, size, what).await?;
            let info = Arc::new(xorb.xorb_info.clone());
            Some((self.put_together(xorb).await?, info, room))
        };
        // What is in a shard comes in the queue before that shard.
        let mut state = self.state();
        if let Some((content, info, room)) = made
            && state.xorbs.insert(info.metadata.xorb_hash)
        {
            state.shard.add_xorb_block(Arc::clone(&info)).map_err(Error::internal)?;
            state.queue(Work::Send(content, info, room))?;
        }
        state.add_files(files)
    }

    /// A xorb as it is sent.
    async fn put_together(&self, xorb: RawXorbData) -> Result<Bytes> {
        let config = &self.context.config.xorb;
        let policy = config.compression_policy.as_str().to_owned();
        let interval = config.compression_scheme_retest_interval;
        let make = move || {
            // Without a footer: storage makes it.
            let made = SerializedXorbObject::from_xorb(xorb, false, &policy, interval);
            made.map(|made| Bytes::from(made.serialized_data)).map_err(Error::internal)
        };
        self.call.blocking("a processor to compress content", make).await
    }

    /// All is cut but for what is open.
    async fn close(&self) -> Result<()> {
        let rest = std::mem::take(&mut *self.open());
        if !rest.is_empty() {
            self.cut(rest).await?;
        }
        let mut state = self.state();
        state.register()?;
        state.work = None;
        Ok(())
    }

    /// Does what is queued, until nothing more will be.
    async fn work_off(&self, Queue(mut queue): Queue) -> Result<()> {
        let mut under_way: FuturesUnordered<BoxFuture<'_, Result<()>>> = FuturesUnordered::new();
        let mut is_open = true;
        while is_open || !under_way.is_empty() {
            tokio::select! {
                work = queue.recv(), if is_open => match work {
                    Some(Work::Send(content, info, room)) => {
                        under_way.push(Box::pin(self.send_now(content, info, room)));
                    }
                    Some(Work::Register(shard)) => {
                        while let Some(done) = under_way.next().await {
                            done?;
                        }
                        let staged = self.known.take_staged();
                        under_way.push(Box::pin(self.register(shard, staged)));
                    }
                    None => is_open = false,
                },
                Some(done) = under_way.next() => done?,
            }
        }
        Ok(())
    }

    async fn send_now(&self, content: Bytes, info: Arc<MDBXorbInfo>, room: Permit) -> Result<()> {
        let sent = self.storage.send_xorb(&info.metadata.xorb_hash, &content).await?;
        drop((content, room));
        if sent > 0 {
            let mut state = self.state();
            state.sent.xorb_bytes += sent;
            state.sent.xorbs += 1;
        }
        self.known.stage(info, sent > 0).await;
        Ok(())
    }

    async fn register(&self, shard: Arc<MDBInMemoryShard>, staged: Vec<PathBuf>) -> Result<()> {
        for left in self.known.take_left() {
            let (content, bytes) = self.known.read_left(Arc::clone(&left)).await?;
            self.registered(&content, 0, bytes).await?;
            self.known.keep_left(left).await?;
        }
        self.known.forget_parts().await?;
        let (part, files) = (Arc::clone(&shard), shard.num_file_entries());
        let bytes = shard.materialized_bytes().max(shard.stored_bytes());
        let make = move || serialize(&part);
        let content = self.call.blocking("a processor to put a shard together", make).await?;
        self.registered(&content, files, bytes).await?;
        self.known.keep(Arc::clone(&shard), staged).await?;
        self.state().before.retain(|other| !Arc::ptr_eq(other, &shard));
        Ok(())
    }

    /// Has storage register a shard.
    async fn registered(&self, shard: &Bytes, files: usize, bytes: u64) -> Result<()> {
        self.storage.register(shard, files, bytes).await?;
        self.state().sent.shard_bytes += shard.len() as u64;
        Ok(())
    }

    fn open(&self) -> MutexGuard<'_, DataAggregator> {
        // Nothing panics while it is held.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Where the first of these chunks is in what this upload has cut.
    fn find(&self, chunks: &[MerkleHash]) -> Found {
        let before = self.before.iter().rev().map(|shard| &**shard);
        let mut shards = std::iter::once(&self.shard).chain(before);
        shards.find_map(|shard| shard.chunk_hash_dedup_query(chunks))
    }

    /// Adds files whose xorbs are in this shard, or in those before, or known to storage.
    fn add_files(&mut self, files: Vec<MDBFileInfo>) -> Result<()> {
        for info in files {
            self.shard.add_file_reconstruction_info(info.clone()).map_err(Error::internal)?;
            self.files.push(info);
        }
        if self.shard.shard_file_size() >= FULL { self.register() } else { Ok(()) }
    }

    /// Has what there is registered.
    fn register(&mut self) -> Result<()> {
        if self.shard.is_empty() {
            return Ok(());
        }
        let shard = Arc::new(std::mem::take(&mut self.shard));
        self.before.push(Arc::clone(&shard));
        self.queue(Work::Register(shard))
    }

    fn queue(&self, work: Work) -> Result<()> {
        let ended = || Error::internal("an upload was fed after its end");
        self.work.as_ref().ok_or_else(ended)?.send(work).map_err(|_| ended())
    }
}

/// What a file comes to of which all is there already.
fn repeated(metrics: DeduplicationMetrics) -> DeduplicationMetrics {
    DeduplicationMetrics {
        deduped_bytes: metrics.total_bytes,
        deduped_chunks: metrics.total_chunks,
        new_bytes: 0,
        new_chunks: 0,
        defrag_prevented_dedup_bytes: 0,
        defrag_prevented_dedup_chunks: 0,
        ..metrics
    }
}

/// A shard as it is sent: without its tables and footer, which storage makes.
fn serialize(shard: &MDBInMemoryShard) -> Result<Bytes> {
    let mut bytes = Vec::new();
    let info = MDBShardInfo::serialize_from(&mut bytes, shard, None).map_err(Error::internal)?;
    let end = usize::try_from(info.metadata.file_lookup_offset).map_err(Error::internal)?;
    bytes.truncate(end);
    let header = MDBShardFileHeader { footer_size: 0, ..info.header };
    let mut start = &mut bytes[..size_of::<MDBShardFileHeader>()];
    header.serialize(&mut start).map_err(Error::internal)?;
    Ok(bytes.into())
}

#[cfg(test)]
pub(super) mod tests;
