//! Takes up the beginning of a file that came without a journal: a partial file whose journal is
//! lost or unreadable, or one that `huggingface_hub` was killed over.
//!
//! What is there is cut as the file was published. Its terms say where runs of chunks begin and end and
//! how many chunks they have; one of xet-core's rules nearly always cuts a run into just those. For the
//! runs where none does, the CAS is asked for the chunks. What can't be cut so is fetched, like what isn't
//! there. Whether the rest was right shows in the end, when the whole file is verified.
//!
//! That is done on all cores, a batch of terms at a time, while what isn't there is being fetched.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::runtime::Handle;
use xet_core_structures::merklehash::{MerkleHash, compute_data_hash};
use xet_core_structures::xorb_object::constants::MAX_CHUNK_SIZE;

use super::file::{self, XetFile};
use super::{Sources, is_of_the_servers};
use crate::call::scheduler::OffWorker;
use crate::cas::Cas;
use crate::cas::chunker::{Cutter, RULES, Rule};
use crate::cas::chunks::Chunks;
use crate::cas::resolve::Resolver;
use crate::cas::sources::{ChunkSink, PlacedChunk};
use crate::model::error::{Error, Result};
use crate::reuse::Term;
use crate::sys::open::Wary;

/// Bytes that are read at a time.
const STEP: usize = 1 << 20;

/// What there is of the file's beginning.
struct Found {
    source: File,
    /// Not beyond the end of the file.
    len: u64,
    /// It's the partial file itself.
    in_place: bool,
}

/// Terms that are cut at a time, at most: what one question about chunks is about.
const BATCH: u64 = 256 << 20;

/// Who says where chunks begin and end.
#[derive(Clone, Copy, Debug)]
enum Cut {
    AsPublished,
    ByGuess,
}

/// The terms of what was found, for those who cut them.
struct Work {
    found: OffWorker<Found>,
    cas: Arc<Cas>,
    runtime: Handle,
    terms: Mutex<VecDeque<Term>>,
    /// Bytes that one of them takes at a time.
    batch: u64,
    /// The CAS can't be asked, as somebody has found out.
    is_mute: AtomicBool,
}

/// Begins to enter the chunks of what can be found, until the file is
/// [settled](XetFile::settled). Only the beginning of a file can be taken up, and its last, incomplete
/// chunk is left.
pub(super) async fn take(file: &Arc<XetFile>, sources: &Sources<'_>) -> Result<()> {
    let job = file.job();
    let target = Arc::clone(file);
    let what = format!("a look at what is here of {}", job.task.entry.path);
    let Some(found) = job.task.call.blocking(what, move || find(&target)).await? else {
        return Ok(());
    };
    let found = job.task.call.off_worker(found);
    let Some(cas) = sources.cas else { return guess(file, found).await };
    let terms = match terms(file, cas, found.len).await {
        Ok(terms) => terms,
        Err(error) if is_of_the_servers(&error) => return guess(file, found).await,
        Err(error) => return Err(error),
    };
    let mut resumed = 0;
    for term in &terms {
        file.promise(term.offset..term.end())?;
        resumed += term.len;
    }
    tracing::info!(file = %job.task.entry.path, resumed, "resuming without a journal");
    let work = Arc::new(Work {
        found,
        cas: Arc::clone(cas),
        runtime: Handle::current(),
        terms: Mutex::new(terms.into()),
        batch: (resumed / (4 * file::readers() as u64)).min(BATCH),
        is_mute: AtomicBool::new(false),
    });
    file.begin_reading(move |file| work.run(file)).await;
    Ok(())
}

impl Work {
    /// Cuts terms until there are none left, or it's to stop. What hasn't been entered then is going to
    /// be missing.
    fn run(&self, file: &XetFile) -> Result<()> {
        loop {
            let batch = self.next();
            if batch.is_empty() || file.is_stopped() {
                return Ok(());
            }
            for range in self.found.cut_terms(file, &batch)? {
                if let Some(chunks) = self.published(file, range.clone())? {
                    self.found.take_chunks(file, &chunks, &range)?;
                }
            }
        }
    }

    fn next(&self) -> Vec<Term> {
        let mut terms = self.terms.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut batch, mut len) = (Vec::new(), 0);
        while let Some(next) = terms.front()
            && (batch.is_empty() || len + next.len <= self.batch)
        {
            len += next.len;
            batch.extend(terms.pop_front());
        }
        batch
    }

    /// Asks for the chunks of a part of the file; `None`: they can't be had, or aren't wanted any more.
    fn published(&self, file: &XetFile, range: Range<u64>) -> Result<Option<Chunks>> {
        if self.is_mute.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let (job, hash) = (file.job(), file.hash());
        let counters = job.task.progress.counters();
        let answer = self.runtime.block_on(async {
            tokio::select! {
                biased;
                () = job.task.call.cancellation().cancelled() => Err(Error::cancelled()),
                () = file.stopped() => Ok(None),
                chunks = self.cas.published_chunks(&hash, job.task.entry.size, range, counters) => {
                    chunks.map(|known| Some(known.chunks))
                }
            }
        });
        match answer {
            Err(error) if is_of_the_servers(&error) => {
                tracing::info!(file = %job.task.entry.path, %error, "can't ask for a file's chunks");
                self.is_mute.store(true, Ordering::Relaxed);
                Ok(None)
            }
            answer => answer,
        }
    }
}

fn find(file: &XetFile) -> Result<Option<Found>> {
    let job = file.job();
    let limit = |len: u64| len.min(job.task.entry.size);
    let len = job.partial.len()?;
    if len > 0 {
        let opened = File::open(job.partial.path());
        let source = opened.map_err(|e| Error::io("open", job.partial.path(), e))?;
        return Ok(Some(Found { source, len: limit(len), in_place: true }));
    }
    let Some(leftover) = job.partial.leftover() else { return Ok(None) };
    let opened = OpenOptions::new().read(true).never_follow_nor_wait().open(leftover);
    // It isn't ours, so whatever is wrong with it is no reason to fail.
    match opened.and_then(|source| Ok((source.metadata()?.len(), source))) {
        Ok((len, source)) => {
            let path = leftover.display();
            tracing::info!(file = %job.task.entry.path, %path, "taking up another client's download");
            Ok((len > 0).then_some(Found { source, len: limit(len), in_place: false }))
        }
        Err(error) => {
            tracing::debug!(path = %leftover.display(), %error, "can't take up a download");
            Ok(None)
        }
    }
}

/// The terms of the file up to the last chunk that ends within `len`.
async fn terms(file: &XetFile, cas: &Arc<Cas>, len: u64) -> Result<Vec<Term>> {
    let job = file.job();
    let asking = Resolver::new(cas, file.hash(), &job.task);
    let mut terms = asking.terms_of(0..len).await?;
    if terms.last().is_some_and(|last| last.end() > len) {
        // The last chunk goes on where nothing is here. An answer about its last byte tells its place.
        let chunk = asking.terms_of(len - 1..len).await?;
        if let (Some(last), Some(chunk)) = (terms.pop(), chunk.first())
            && last.xorb == chunk.xorb
            && (last.chunks.start + 1..last.chunks.end).contains(&chunk.chunks.start)
            && chunk.offset > last.offset
        {
            let (chunks, len) = (last.chunks.start..chunk.chunks.start, chunk.offset - last.offset);
            terms.push(Term { chunks, len, ..last });
        }
    }
    Ok(terms)
}

impl Found {
    /// Enters the chunks of those terms that a rule cuts as they were published, and returns where
    /// the others are.
    fn cut_terms(&self, file: &XetFile, terms: &[Term]) -> Result<Vec<Range<u64>>> {
        let mut left: Vec<Range<u64>> = Vec::new();
        for term in terms {
            if let Some(chunks) = self.cut(file, term)? {
                self.keep(file, term.offset, &chunks, Cut::AsPublished)?;
            } else if let Some(last) = left.last_mut().filter(|last| last.end == term.offset) {
                last.end = term.end();
            } else {
                left.push(term.offset..term.end());
            }
        }
        Ok(left)
    }

    /// Enters those of the published chunks in `range` that are here.
    fn take_chunks(&self, file: &XetFile, chunks: &Chunks, range: &Range<u64>) -> Result<()> {
        let mut buffer = vec![0; *MAX_CHUNK_SIZE];
        for (&offset, &(len, published)) in chunks.range(range.clone()) {
            if offset + len > range.end {
                break;
            }
            file.job().check_alive()?;
            let Some(chunk) = piece(&mut buffer, len)? else { continue };
            if self.source.read_exact_at(chunk, offset).is_ok()
                && compute_data_hash(chunk) == published
            {
                self.keep(file, offset, &[(published, len)], Cut::AsPublished)?;
            }
        }
        Ok(())
    }

    /// Enters chunks that were promised, and follow each other from `offset` on.
    fn keep(
        &self,
        file: &XetFile,
        offset: u64,
        chunks: &[(MerkleHash, u64)],
        cut: Cut,
    ) -> Result<()> {
        let mut records = Vec::new();
        let mut buffer = vec![0; *MAX_CHUNK_SIZE];
        let mut at = offset;
        for &(hash, len) in chunks {
            let mut content = None;
            if !self.in_place {
                // Somebody may be writing to it.
                let Some(chunk) = self.read_again(&mut buffer, at, hash, len)? else { break };
                content = Some(chunk);
            }
            let kept = file.keep(at, hash, len, content)?;
            records.extend(match cut {
                Cut::AsPublished => kept,
                Cut::ByGuess => kept.map(PlacedChunk::guessed),
            });
            at += len;
        }
        file.enter(&mut records)
    }

    /// A chunk, if it still has that hash.
    fn read_again<'a>(
        &self,
        buffer: &'a mut [u8],
        at: u64,
        hash: MerkleHash,
        len: u64,
    ) -> Result<Option<&'a [u8]>> {
        let Some(chunk) = piece(buffer, len)? else { return Ok(None) };
        let is_same =
            self.source.read_exact_at(chunk, at).is_ok() && compute_data_hash(chunk) == hash;
        Ok(is_same.then_some(&*chunk))
    }

    /// The chunks of a term, if a rule cuts it as it was published.
    fn cut(&self, file: &XetFile, term: &Term) -> Result<Option<Vec<(MerkleHash, u64)>>> {
        for rule in RULES {
            let chunks = self.cut_by(rule, file, term)?;
            if chunks.is_some() {
                return Ok(chunks);
            }
        }
        Ok(None)
    }

    fn cut_by(
        &self,
        rule: Rule,
        file: &XetFile,
        term: &Term,
    ) -> Result<Option<Vec<(MerkleHash, u64)>>> {
        let count = term.chunks.len();
        let is_last = term.end() == file.job().task.entry.size;
        let mut cutter = Cutter::new(rule);
        let mut chunks = Vec::new();
        let mut at = term.offset;
        while at < term.end() {
            file.job().check_alive()?;
            let take = (STEP as u64).min(term.end() - at);
            let mut buffer = vec![0; usize::try_from(take).map_err(Error::internal)?];
            if !self.read(file, &mut buffer, at) {
                return Ok(None);
            }
            at += take;
            // One chunk is cut where the term is. Of more, the last must end there by itself.
            let ends = at == term.end() && (is_last || count == 1);
            chunks.extend(cutter.push(&Bytes::from(buffer), ends));
        }
        let len: u64 = chunks.iter().map(|chunk| chunk.1).sum();
        Ok((chunks.len() == count && len == term.len).then_some(chunks))
    }

    fn read(&self, file: &XetFile, buffer: &mut [u8], at: u64) -> bool {
        match self.source.read_exact_at(buffer, at) {
            Ok(()) => true,
            Err(error) => {
                if error.kind() != io::ErrorKind::UnexpectedEof {
                    let path = &file.job().task.entry.path;
                    tracing::warn!(file = %path, %error, "can't read an interrupted download");
                }
                false
            }
        }
    }
}

/// Cuts all of it as today's chunker does, where nobody can be asked: from the beginning, one chunk
/// after the other.
async fn guess(file: &Arc<XetFile>, found: OffWorker<Found>) -> Result<()> {
    let target = Arc::clone(file);
    let what = format!("the disk to read again what is here of {}", file.job().task.entry.path);
    let cut = move || {
        let (file, job) = (&*target, target.job());
        let _waiting = job.task.at_disk("to read again what is here of");
        let mut cutter = Cutter::new(Rule::Today);
        let (mut read, mut offset) = (0, 0);
        while read < found.len {
            job.check_alive()?;
            let take = (STEP as u64).min(found.len - read);
            let mut buffer = vec![0; usize::try_from(take).map_err(Error::internal)?];
            if !found.read(file, &mut buffer, read) {
                break;
            }
            read += take;
            let is_last = read == job.task.entry.size;
            let chunks = cutter.push(&Bytes::from(buffer), is_last);
            let len = chunks.iter().map(|chunk| chunk.1).sum::<u64>();
            if len > 0 {
                file.promise(offset..offset + len)?;
                found.keep(file, offset, &chunks, Cut::ByGuess)?;
            }
            offset += len;
        }
        if offset > 0 {
            tracing::info!(file = %job.task.entry.path, resumed = offset, "resuming without a journal");
            file.guessed();
        }
        Ok(())
    };
    file.job().task.call.blocking(what, cut).await
}

/// So much of a buffer, if it has that.
fn piece(buffer: &mut [u8], len: u64) -> Result<Option<&mut [u8]>> {
    Ok(buffer.get_mut(..usize::try_from(len).map_err(Error::internal)?))
}
