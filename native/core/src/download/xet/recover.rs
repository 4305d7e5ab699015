//! Takes up what is here of a file and nobody has said how it was published: the beginning of one that came
//! without a journal (a partial file whose journal is lost or unreadable, or one that `huggingface_hub` was
//! killed over), or what plain HTTP has left.
//!
//! What is there is cut as the file was published. Its terms say where runs of chunks begin and end and
//! how many chunks they have; one of xet-core's rules nearly always cuts a run into just those. If both do,
//! and differ, each is taken for what it may be. For the runs where none does, the CAS is asked for the chunks.
//! What can't be cut so is fetched, like what isn't there. Whether the rest was right shows in the end, when
//! the whole file is verified.
//!
//! That is done on all cores, a batch of terms at a time, while what isn't there is being fetched.

mod found;

use std::collections::VecDeque;
use std::fs::OpenOptions;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use tokio::runtime::Handle;
use xet_core_structures::merklehash::MerkleHash;

use self::found::{Found, STEP};
use super::super::job::Job;
use super::super::journal::Journal;
use super::super::ranges::Ranges;
use super::super::received;
use super::file::{self, XetFile};
use super::{Sources, is_of_the_servers};
use crate::call::scheduler::OffWorker;
use crate::cas::Cas;
use crate::cas::chunker::{Cutter, Waiting};
use crate::cas::chunks::Chunks;
use crate::cas::resolve::{RESOLVING, Resolver};
use crate::cas::sources::ChunkSink;
use crate::model::error::{Error, Result};
use crate::reuse::Term;
use crate::sys::disk;
use crate::sys::open::Wary;
use crate::sys::unshared::Unshared;

/// Terms that are cut at a time, at most: what one question about chunks is about.
const BATCH: u64 = 256 << 20;

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

/// Begins to enter the chunks of what can be found of a file that has no journal, until the file is
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
    match terms(Resolver::new(cas, file.hash(), &job.task), 0..found.len).await {
        Ok(terms) => cut_again(file, cas, found, terms).await,
        Err(error) if is_of_the_servers(&error) => guess(file, found).await,
        Err(error) => Err(error),
    }
}

/// Begins to enter what plain HTTP has brought of a file in parts, and hasn't got to cutting, until the file is
/// settled. False: nothing was noted of any.
pub(super) async fn take_parts(file: &Arc<XetFile>, sources: &Sources<'_>) -> Result<bool> {
    let (job, target) = (file.job(), Arc::clone(file));
    // Without the CAS, plain HTTP goes on where it was.
    let Some(cas) = sources.cas else { return Ok(false) };
    let look = move || {
        let partial = &target.job().partial;
        Ok(received::left(&partial.parts_path(), partial.len()?))
    };
    let what = format!("a look at what is here of {}", job.task.entry.path);
    let Some(came) = job.task.call.blocking(what, look).await? else { return Ok(false) };
    let came_of = |gap: &Range<u64>| came.gaps(gap).into_iter().collect::<Ranges>().gaps(gap);
    let asking = Resolver::new(cas, file.hash(), &job.task);
    let mut found_terms = Vec::new();
    for part in file.gaps().iter().flat_map(came_of) {
        match terms_within(asking, part).await {
            Ok(terms) => found_terms.extend(terms),
            Err(error) if is_of_the_servers(&error) => return Ok(true),
            Err(error) => return Err(error),
        }
    }
    resume(file, cas, found_terms).await.map(|()| true)
}

/// Begins to cut what is here of these terms as they were published.
async fn resume(file: &Arc<XetFile>, cas: &Arc<Cas>, terms: Vec<Term>) -> Result<()> {
    if terms.is_empty() {
        return Ok(());
    }
    let (job, target) = (file.job(), Arc::clone(file));
    let what = format!("a look at what is here of {}", job.task.entry.path);
    let Some(found) = job.task.call.blocking(what, move || find(&target)).await? else {
        return Ok(());
    };
    cut_again(file, cas, job.task.call.off_worker(found), terms).await
}

/// What was guessed of a file, in an earlier attempt, and doesn't end where a published chunk does: what comes
/// next wouldn't fit. (If it does end there, the guess may be right.)
#[derive(Default)]
pub(super) struct Misfits {
    /// To be left out of what the journal says.
    pub(super) parts: Vec<Range<u64>>,
    terms: Vec<Term>,
}

impl Misfits {
    /// Finds them, if the CAS tells more than the journal.
    pub(super) async fn find(job: &Job, hash: MerkleHash, sources: &Sources<'_>) -> Result<Self> {
        let mut misfits = Self::default();
        let Some(cas) = sources.cas else { return Ok(misfits) };
        let noted = job.clone();
        let what = format!("the disk to read the journal of {}", job.task.entry.path);
        let guesses = move || Ok(Journal::guesses(&noted, &hash));
        let guesses = stream::iter(job.task.call.blocking(what, guesses).await?);
        let asking = Resolver::new(cas, hash, &job.task);
        let mut looks = guesses.map(async |part| misfit(asking, part).await).buffered(RESOLVING);
        while let Some(look) = looks.next().await {
            match look {
                Ok(None) => {}
                Ok(Some((part, terms))) => {
                    misfits.parts.push(part);
                    misfits.terms.extend(terms);
                }
                Err(error) if is_of_the_servers(&error) => return Ok(Self::default()),
                Err(error) => return Err(error),
            }
        }
        Ok(misfits)
    }

    /// Begins to cut them again as they were published, until the file is settled.
    pub(super) async fn take(self, file: &Arc<XetFile>, sources: &Sources<'_>) -> Result<()> {
        let Some(cas) = sources.cas else { return Ok(()) };
        resume(file, cas, self.terms).await
    }
}

/// A part that doesn't end where a published chunk does, and its terms.
async fn misfit(asking: Resolver<'_>, part: Range<u64>) -> Result<Option<(Range<u64>, Vec<Term>)>> {
    let last = asking.terms_of(part.end - 1..part.end).await?;
    if last.last().is_some_and(|last| last.end() == part.end) {
        return Ok(None);
    }
    let terms = terms(asking, part.clone()).await?;
    Ok(Some((part, terms)))
}

async fn cut_again(
    file: &Arc<XetFile>,
    cas: &Arc<Cas>,
    found: OffWorker<Found>,
    terms: Vec<Term>,
) -> Result<()> {
    let mut resumed = 0;
    for term in &terms {
        file.promise(term.offset..term.end())?;
        resumed += term.len;
    }
    tracing::info!(file = %file.job().task.entry.path, resumed, "resuming what nobody has noted");
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
        let source = job.partial.reader()?;
        return Ok(Some(Found { source, len: limit(len), in_place: true }));
    }
    let Some(leftover) = job.partial.leftover() else { return Ok(None) };
    let opened = OpenOptions::new().read(true).never_follow_nor_wait().open(leftover);
    // It isn't ours, so whatever is wrong with it is no reason to fail.
    match opened.and_then(|source| Ok((source.metadata()?.len(), source))) {
        Ok((len, source)) => {
            let source = Unshared::of(source);
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

/// The terms of those chunks that are wholly in a part of the file, which begins anywhere.
async fn terms_within(asking: Resolver<'_>, part: Range<u64>) -> Result<Vec<Term>> {
    let first = asking.terms_of(part.start..part.start + 1).await?;
    let start = first.first().filter(|chunk| chunk.offset < part.start).map(Term::end);
    let part = start.unwrap_or(part.start)..part.end;
    if part.is_empty() { Ok(Vec::new()) } else { terms(asking, part).await }
}

/// The terms of a part of the file, from the first chunk that begins in it to the last one that ends in it.
async fn terms(asking: Resolver<'_>, part: Range<u64>) -> Result<Vec<Term>> {
    let mut terms = asking.terms_of(part.clone()).await?;
    if terms.last().is_some_and(|last| last.end() > part.end) {
        // The last chunk goes on where nothing is here. An answer about its last byte tells its place.
        let chunk = asking.terms_of(part.end - 1..part.end).await?;
        if let (Some(last), Some(chunk)) = (terms.pop(), chunk.first())
            && last.xorb == chunk.xorb
            && (last.chunks.start + 1..last.chunks.end).contains(&chunk.chunks.start)
            && chunk.offset > last.offset
        {
            let (chunks, len) = (last.chunks.start..chunk.chunks.start, chunk.offset - last.offset);
            terms.push(Term { chunks, len, ..last });
        }
    }
    // Answers begin with the chunk that the first byte is in. Where none begins there, what was guessed
    // was wrong.
    terms.retain(|term| term.offset >= part.start);
    Ok(terms)
}

/// Cuts it by either rule, where nobody can be asked: from the beginning, one chunk after the other, up to
/// where something was left out. What is behind that may begin anywhere.
async fn guess(file: &Arc<XetFile>, found: OffWorker<Found>) -> Result<()> {
    let target = Arc::clone(file);
    let what = format!("the disk to read again what is here of {}", file.job().task.entry.path);
    let cut = move || {
        let (file, job) = (&*target, target.job());
        let _waiting = job.task.at_disk("to read again what is here of");
        let mut cutter = Cutter::at(0);
        let mut waiting = Waiting::default();
        let len = found.len.min(disk::first_hole(&found.source).unwrap_or(u64::MAX));
        let (mut read, mut resumed) = (0, 0);
        while read < len {
            job.check_alive()?;
            let take = (STEP as u64).min(len - read);
            let mut buffer = vec![0; usize::try_from(take).map_err(Error::internal)?];
            if !found.read(file, &mut buffer, read) {
                break;
            }
            read += take;
            let is_last = read == job.task.entry.size;
            for guess in cutter.push(&Bytes::from(buffer), is_last) {
                waiting.add(guess.placed()?);
            }
            let chunks = waiting.take(&cutter);
            let end = chunks.iter().map(|chunk| chunk.range().end).max().unwrap_or(resumed);
            if end > resumed {
                file.promise(resumed..end)?;
                found.keep(file, &chunks)?;
                resumed = end;
            }
        }
        if resumed > 0 {
            tracing::info!(file = %job.task.entry.path, resumed, "resuming without a journal");
        }
        Ok(())
    };
    file.job().task.call.blocking(what, cut).await
}
