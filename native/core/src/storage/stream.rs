//! Content that is read piece by piece.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};
use std::thread::{self, ThreadId};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use tokio::sync::mpsc::{self, Receiver, Sender};
use xet_core_structures::merklehash::MerkleHash;

use super::window::{Content, Window};
use super::{Part, Storage, entry_of};
use crate::call::file_task::FileTask;
use crate::call::per_process::Owned;
use crate::call::{Call, CallLimits, Observer, Running};
use crate::cas::chunker::RULES;
use crate::cas::sources::{ChunkSource, Storage as FromStorage, ThisMachine};
use crate::download::Ledgers;
use crate::model::error::{Error, Kind, Result};
use crate::reuse::Index;

/// The first part that is asked for is small, so that it comes soon; each further one is larger, up to the last.
const PARTS: [u64; 4] = [1 << 20, 4 << 20, 16 << 20, 32 << 20];

/// Parts that are asked for at a time. With one that waits to be taken, that is the memory that a stream takes.
const AHEAD: usize = 3;

/// The most that is given out at a time.
const PIECE: usize = 4 << 20;

/// What is to be read. For each field see `XetStreamOptions` in `xet.h`.
#[derive(Clone, Debug)]
pub struct StreamOptions {
    /// The Xet hash of the content.
    pub hash: MerkleHash,
    /// Of all of it, in bytes, if that is known.
    pub size: Option<u64>,
    /// The bytes that are wanted; what is behind the end isn't.
    pub range: Range<u64>,
    /// Whether pieces may come in any order.
    pub unordered: bool,
    /// Limit from the first question to the end.
    pub timeout: Option<Duration>,
}

/// A piece of content.
#[derive(Clone, Debug)]
pub struct Piece {
    /// Where it begins in the whole content.
    pub offset: u64,
    /// Its bytes; never none.
    pub bytes: Bytes,
}

/// A stream. For any thread of the process that has made it. Dropping it cancels what is under way.
pub struct Stream {
    /// Not a forked child's: the threads that it counts on aren't there.
    inner: Owned<Inner>,
}

struct Inner {
    options: StreamOptions,
    part: Part,
    call: Call,
    /// Whose turn it is to read.
    reading: Mutex<Reading>,
    /// Whose it is now.
    reader: Mutex<Option<ThreadId>>,
    /// Wakes whoever reads.
    wake: Arc<OnceLock<Box<dyn Fn() + Send + Sync>>>,
    /// Why it has ended before its end; `None`: since it was cancelled.
    ended: OnceLock<Option<Error>>,
}

#[derive(Default)]
struct Reading {
    /// Begun with the first question.
    under_way: Option<UnderWay>,
    /// What has come and isn't given out.
    rest: Option<Piece>,
}

struct UnderWay {
    running: Running<()>,
    parts: Receiver<Piece>,
}

impl Storage {
    /// Opens a stream. Nothing is asked for before its first piece is.
    pub fn open_stream(&self, options: StreamOptions) -> Result<Stream> {
        if options.range.start > options.range.end {
            let Range { start, end } = options.range;
            let problem = format!("is {start}, which is behind options.end, {end}");
            return Err(Error::invalid("options.start", problem));
        }
        let part = self.part()?;
        let call = part.call();
        let (reading, reader) = (Mutex::default(), Mutex::default());
        let (wake, ended) = (Arc::default(), OnceLock::new());
        let inner = Inner { options, part, call, reading, reader, wake, ended };
        Ok(Stream { inner: Owned::new(inner) })
    }
}

impl Stream {
    /// The next piece; `None` at the end, which says of a whole content that all of it was right.
    pub fn next(&self, observer: &mut dyn Observer) -> Result<Option<Piece>> {
        self.inner.get_here("this stream")?.next(observer)
    }

    /// Ends it.
    pub fn cancel(&self) {
        if let Some(inner) = self.inner.get() {
            let _ = inner.ended.set(None);
            inner.call.cancel();
        }
    }
}

impl Inner {
    fn next(&self, observer: &mut dyn Observer) -> Result<Option<Piece>> {
        let mut reading = self.turn(observer)?;
        *lock(&self.reader) = Some(thread::current().id());
        let next = self.next_of(&mut reading, observer);
        *lock(&self.reader) = None;
        next
    }

    fn next_of(&self, reading: &mut Reading, observer: &mut dyn Observer) -> Result<Option<Piece>> {
        if let Some(ended) = self.ended.get() {
            return ended.clone().map_or(Ok(None), Err);
        }
        let Reading { under_way, rest } = reading;
        if let Some(piece) = rest.take() {
            return Ok(Some(first_of(piece, rest)));
        }
        let UnderWay { running, parts } = match under_way {
            Some(under_way) => under_way,
            None => under_way.insert(self.begin()?),
        };
        let mut came = None;
        let waited = running.wait_until(observer, || {
            came = came.take().or_else(|| parts.try_recv().ok());
            came.is_some()
        });
        let result = running.result();
        // What was handed over before its end.
        if let Some(piece) = came.or_else(|| parts.try_recv().ok()) {
            return Ok(Some(first_of(piece, rest)));
        }
        let end = match (waited, result) {
            (Err(error), _) | (Ok(()), Some(Err(error))) => Some(error),
            (Ok(()), Some(Ok(()))) => None,
            (Ok(()), None) => Some(Error::internal("a stream panicked")),
        };
        self.call.cancel();
        self.ended.get_or_init(|| end).clone().map_or(Ok(None), Err)
    }

    fn begin(&self) -> Result<UnderWay> {
        let limits = CallLimits { timeout: self.options.timeout, deadlines: self.part.deadlines() };
        self.call.counters.set_patience(limits.deadlines.longest());
        let (send, parts) = mpsc::channel(1);
        let reader = Reader {
            options: self.options.clone(),
            cas: Arc::new(self.part.cas(&self.call)?),
            reuse: self.part.reuse(),
            call: self.call.clone(),
            send,
            wake: Arc::clone(&self.wake),
        };
        let running = Running::begin(self.part.runtime()?, &self.call, limits, reader.run());
        let _ = self.wake.set(Box::new(running.wakes()));
        Ok(UnderWay { running, parts })
    }

    /// Waits until nobody else reads, or `observer` has enough of it.
    fn turn(&self, observer: &mut dyn Observer) -> Result<MutexGuard<'_, Reading>> {
        const TICK: Duration = Duration::from_millis(10);
        loop {
            match self.reading.try_lock() {
                Ok(reading) => return Ok(reading),
                // Each change leaves it whole.
                Err(TryLockError::Poisoned(poisoned)) => return Ok(poisoned.into_inner()),
                Err(TryLockError::WouldBlock) => {}
            }
            if *lock(&self.reader) == Some(thread::current().id()) {
                let problem =
                    "is being read by this thread, in whose callback nothing can be read from it";
                return Err(Error::invalid("stream", problem));
            }
            observer.tick();
            if observer.cancelled() {
                return Err(Error::cancelled());
            }
            thread::sleep(TICK);
        }
    }
}

/// The first part of a piece that is short enough; the others stay in `rest`.
fn first_of(mut piece: Piece, rest: &mut Option<Piece>) -> Piece {
    if piece.bytes.len() > PIECE {
        let first = piece.bytes.split_to(PIECE);
        *rest = Some(Piece { offset: piece.offset + PIECE as u64, bytes: piece.bytes });
        piece.bytes = first;
    }
    piece
}

/// Who reads the content of a stream.
struct Reader {
    options: StreamOptions,
    cas: Arc<crate::cas::Cas>,
    reuse: Option<Arc<Index>>,
    call: Call,
    send: Sender<Piece>,
    wake: Arc<OnceLock<Box<dyn Fn() + Send + Sync>>>,
}

impl Reader {
    async fn run(self) -> Result<()> {
        let StreamOptions { hash, size, range, unordered, .. } = self.options.clone();
        let size = match size {
            Some(size) => size,
            None => self.cas.size(&hash, &self.call.counters).await?,
        };
        let wanted = range.start.min(size)..range.end.min(size);
        self.call.counters.set_totals(1, wanted.end - wanted.start);
        if wanted.is_empty() {
            return Ok(());
        }
        let is_whole = wanted == (0..size);
        let entry = Arc::new(entry_of(hash, size, None)?);
        let task = FileTask::begin(entry, self.call.clone(), "the memory of a stream");
        let mut sources: Vec<Arc<dyn ChunkSource<Window>>> = Vec::new();
        if let Some(index) = self.reuse.as_ref().filter(|_| Index::is_for(size)) {
            sources.push(Arc::new(ThisMachine::new(index)));
        }
        sources.push(Arc::new(FromStorage::alone(&self.cas)));
        let ledgers = is_whole.then(|| Ledgers::new(size));
        let cas = Arc::clone(&self.cas);
        let content = Arc::new(Content { task, hash, cas, sources, ledgers });
        let read = stream::iter(parts(wanted)).map(|part| {
            let content = Arc::clone(&content);
            async move {
                let bytes = Window::read(&content, part.clone()).await?;
                Ok::<_, Error>(Piece { offset: part.start, bytes })
            }
        });
        let handed_out = if unordered {
            self.hand_out(read.buffer_unordered(AHEAD)).await
        } else {
            self.hand_out(read.buffered(AHEAD)).await
        };
        if let Err(error) = handed_out {
            let said = self.options.size;
            return Err(self.cas.unless_sizes_differ(&hash, said, error, &self.call).await);
        }
        if let Some(ledgers) = &content.ledgers {
            let is_right = RULES.iter().any(|&rule| ledgers.file_hash(rule) == Some(hash));
            if !is_right {
                let message = format!(
                    "what storage has sent isn't the content with the Xet hash {}; what came of it before is not \
                     to be trusted",
                    hash.hex()
                );
                return Err(Error::new(Kind::ChecksumMismatch, message));
            }
        }
        Ok(())
    }

    async fn hand_out(
        &self,
        pieces: impl futures_util::Stream<Item = Result<Piece>>,
    ) -> Result<()> {
        let mut pieces = std::pin::pin!(pieces);
        while let Some(piece) = pieces.next().await {
            let piece = piece?;
            let waiting = self.call.counters.waits.begin("its reader", Duration::ZERO);
            if self.send.send(piece).await.is_err() {
                return Err(Error::cancelled());
            }
            drop(waiting);
            if let Some(wake) = self.wake.get() {
                wake();
            }
        }
        Ok(())
    }
}

/// What is asked for in turn.
fn parts(wanted: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let mut at = wanted.start;
    let lengths = PARTS.into_iter().chain(std::iter::repeat(PARTS[PARTS.len() - 1]));
    lengths.map_while(move |length| {
        let part = at..at.saturating_add(length).min(wanted.end);
        at = part.end;
        (!part.is_empty()).then_some(part)
    })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each change leaves it whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream").finish_non_exhaustive()
    }
}
