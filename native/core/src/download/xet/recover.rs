//! Takes up the beginning of a file that came without a journal: a partial file whose journal is
//! lost or unreadable, or one that `huggingface_hub` was killed over.
//!
//! What is there is cut as the file was published. Its terms say where runs of chunks begin and end and
//! how many chunks they have; one of xet-core's rules nearly always cuts a run into just those. For the
//! runs where none does, the CAS is asked for the chunks. What can't be cut so is fetched, like what isn't
//! there. Whether the rest was right shows in the end, when the whole file is verified.

use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use xet_core_structures::merklehash::{MerkleHash, compute_data_hash};
use xet_core_structures::xorb_object::constants::MAX_CHUNK_SIZE;

use super::file::XetFile;
use super::{Sources, is_of_the_servers};
use crate::cas::Cas;
use crate::cas::chunker::{Cutter, RULES, Rule};
use crate::cas::chunks::Chunks;
use crate::cas::resolve::Resolver;
use crate::cas::sources::ChunkSink;
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

/// Enters the chunks of what can be found. Only the beginning of a file can be taken up, and its
/// last, incomplete chunk is left.
pub(super) async fn take(file: &Arc<XetFile>, sources: &Sources<'_>) -> Result<()> {
    let job = file.job();
    let target = Arc::clone(file);
    let what = format!("a look at what is here of {}", job.task.entry.path);
    let Some(found) = job.task.call.blocking(what, move || find(&target)).await? else {
        return Ok(());
    };
    let found = Arc::new(found);
    let Some(cas) = sources.cas else { return guess(file, &found).await };
    let terms = match terms(file, cas, found.len).await {
        Ok(terms) => terms,
        Err(error) if is_of_the_servers(&error) => return guess(file, &found).await,
        Err(error) => return Err(error),
    };
    let left = disk(file, &found, move |file, found| cut_terms(file, found, &terms)).await?;
    for range in left {
        let (hash, size, counters) =
            (file.hash(), job.task.entry.size, job.task.progress.counters());
        match cas.published_chunks(&hash, size, range.clone(), counters).await {
            Ok(known) => {
                let take = move |file: &XetFile, found: &Found| {
                    take_chunks(file, found, &known.chunks, &range)
                };
                disk(file, &found, take).await?;
            }
            Err(error) if is_of_the_servers(&error) => {
                tracing::info!(file = %job.task.entry.path, %error, "can't ask for a file's chunks");
                break;
            }
            Err(error) => return Err(error),
        }
    }
    let resumed =
        job.task.entry.size - file.gaps().iter().map(|gap| gap.end - gap.start).sum::<u64>();
    tracing::info!(file = %job.task.entry.path, resumed, "resuming without a journal");
    Ok(())
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
    let opened = OpenOptions::new().read(true).never_follow().open(leftover);
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

/// Does work of the disk's on what was found.
async fn disk<T, F>(file: &Arc<XetFile>, found: &Arc<Found>, work: F) -> Result<T>
where
    T: Send + 'static,
    F: FnOnce(&XetFile, &Found) -> Result<T> + Send + 'static,
{
    let (target, found) = (Arc::clone(file), Arc::clone(found));
    let what = format!("the disk to read again what is here of {}", file.job().task.entry.path);
    let work = move || {
        let _waiting = target.job().task.at_disk("to read again what is here of");
        work(&target, &found)
    };
    file.job().task.call.blocking(what, work).await
}

/// Enters the chunks of those terms that a rule cuts as they were published, and returns where
/// the others are.
fn cut_terms(file: &XetFile, found: &Found, terms: &[Term]) -> Result<Vec<Range<u64>>> {
    let mut left: Vec<Range<u64>> = Vec::new();
    for term in terms {
        let chunks = found.cut(file, term)?;
        if let Some(chunks) = chunks {
            enter(file, found, term.offset, &chunks)?;
        } else if let Some(last) = left.last_mut().filter(|last| last.end == term.offset) {
            last.end = term.end();
        } else {
            left.push(term.offset..term.end());
        }
    }
    Ok(left)
}

/// Enters those of the published chunks in `range` that are here.
fn take_chunks(file: &XetFile, found: &Found, chunks: &Chunks, range: &Range<u64>) -> Result<()> {
    let mut buffer = vec![0; *MAX_CHUNK_SIZE];
    for (&offset, &(len, published)) in chunks.range(range.clone()) {
        if offset + len > range.end {
            break;
        }
        file.job().check_alive()?;
        let len = usize::try_from(len).map_err(Error::internal)?;
        let Some(chunk) = buffer.get_mut(..len) else { continue };
        if found.source.read_exact_at(chunk, offset).is_ok()
            && compute_data_hash(chunk) == published
        {
            enter(file, found, offset, &[(published, len as u64)])?;
        }
    }
    Ok(())
}

/// Enters chunks that follow each other from `offset` on.
fn enter(file: &XetFile, found: &Found, offset: u64, chunks: &[(MerkleHash, u64)]) -> Result<()> {
    let job = file.job();
    let mut records = Vec::new();
    let mut buffer = vec![0; *MAX_CHUNK_SIZE];
    let mut at = offset;
    for &(hash, len) in chunks {
        let length = usize::try_from(len).map_err(Error::internal)?;
        let record = if found.in_place {
            file.claim(at, hash, length)?
        } else {
            let Some(chunk) = buffer.get_mut(..length) else { break };
            // Somebody may be writing to it.
            if found.source.read_exact_at(chunk, at).is_err() || compute_data_hash(chunk) != hash {
                break;
            }
            file.place(at, hash, chunk)?
        };
        if record.is_some() {
            if found.in_place {
                job.task.progress.advance(len);
            }
            job.task.progress.reused(len);
        }
        records.extend(record);
        at += len;
    }
    if at > offset {
        // It was fetched by who knows whom.
        file.found(offset..at);
    }
    file.enter(&mut records)
}

impl Found {
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

/// Cuts all of it as today's chunker does, where nobody can be asked.
async fn guess(file: &Arc<XetFile>, found: &Arc<Found>) -> Result<()> {
    disk(file, found, |file, found| {
        let mut cutter = Cutter::new(Rule::Today);
        let (mut read, mut offset) = (0, 0);
        while read < found.len {
            file.job().check_alive()?;
            let take = (STEP as u64).min(found.len - read);
            let mut buffer = vec![0; usize::try_from(take).map_err(Error::internal)?];
            if !found.read(file, &mut buffer, read) {
                break;
            }
            read += take;
            let is_last = read == file.job().task.entry.size;
            let chunks = cutter.push(&Bytes::from(buffer), is_last);
            enter(file, found, offset, &chunks)?;
            offset += chunks.iter().map(|chunk| chunk.1).sum::<u64>();
        }
        if offset > 0 {
            tracing::info!(file = %file.job().task.entry.path, resumed = offset, "resuming without a journal");
            file.guessed();
        }
        Ok(())
    })
    .await
}
