//! Brings in a Xet file: its chunks, wherever they can be had, each hashed while it is in cache and
//! written where it belongs, until the whole has the Merkle hash that the Hub published.
//!
//! All ways of getting chunks meet in one [`XetFile`], which knows what is still missing. So each
//! way goes on where the one before it ended:
//!
//! 1. what earlier attempts have left ([`file`], [`recover`]);
//! 2. other files on this machine that have the same chunks ([`local`]);
//! 3. the xorbs in Xet storage ([`xorbs`]), with retries, new tokens, new URLs and new connections;
//! 4. the Hub's plain HTTP ([`plain`]), if Xet's servers fail. Content that is of no repo hasn't got this way.
//!
//! If everything is there and the hash is wrong, its SHA-256 may still be right. Else what nobody vouches
//! for is fetched again: over Xet, then over plain HTTP. Only then is the file given up.

mod file;
mod in_order;
mod link;
mod local;
mod plain;
mod recover;
mod xorbs;

use std::collections::VecDeque;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use xet_core_structures::merklehash::MerkleHash;

pub(crate) use local::Local;

use self::file::XetFile;
use self::link::Linked;
use self::recover::Misfits;
use super::http;
use super::job::Job;
use super::journal::Journal;
use super::ledger::Ledger;
use super::partial::{journal_path, parts_path};
use super::received;
use crate::cache::check;
use crate::call::Call;
use crate::call::file_task::disk_time;
use crate::call::file_transfer::Way;
use crate::cas::chunker::Rule;
use crate::cas::resolve::{Resolver, hull, next_block, put_back};
use crate::cas::sharing::Sharing;
use crate::cas::sources::ChunkSink;
use crate::cas::{Cas, block};
use crate::model::error::{Error, Kind, Result};
use crate::model::repo::Entry;
use crate::reuse::Term;

/// Where a Xet file may come from.
pub(crate) struct Sources<'a> {
    /// `None`: Xet is switched off.
    pub(crate) cas: Option<&'a Arc<Cas>>,
    /// Plain HTTP, which takes over where Xet fails, or is all that there is; `None`: it may not, or content that
    /// is of no repo has no such way.
    pub(crate) plain: Option<&'a http::Source<'a>>,
    /// What this machine has; `None`: nothing is to be taken from it.
    pub(crate) local: Option<&'a Arc<Local>>,
    /// What other nodes have; `None`: nothing is to be taken from them, nor given to them.
    pub(crate) sharing: Option<&'a Arc<Sharing>>,
}

impl<'a> Sources<'a> {
    /// Whether plain HTTP may take over where Xet fails.
    fn falls_back(&self) -> bool {
        self.cas.is_some() && self.plain.is_some()
    }

    /// Plain HTTP, where it's the only way.
    fn only_plain(&self) -> Result<&'a http::Source<'a>> {
        self.plain.ok_or_else(|| Error::internal("a Xet file without a way to come"))
    }

    /// Whether what doesn't fit into `file` can be due to chunks from this machine that aren't what the index says, or to
    /// what other nodes have left.
    fn has_misled(&self, file: &XetFile) -> bool {
        let counters = file.job().task.progress.counters();
        let has_taken = self.local.is_some_and(|local| local.has_taken());
        file.has_misfits() && (has_taken || (self.sharing.is_some() && counters.shared() > 0))
    }

    /// The same, without what this machine has, or other nodes have.
    fn remote(&self) -> Sources<'a> {
        Sources { local: None, sharing: None, ..*self }
    }
}

/// What shows that a file is what was published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    /// Its Xet hash. What nobody has said about its chunks is as the rule has it.
    Merkle(Rule),
    /// Only its SHA-256, or the git blob id.
    Etag,
}

/// Fills `job`'s partial file with verified content.
pub(crate) async fn fetch(job: &Job, hash: MerkleHash, sources: &Sources<'_>) -> Result<Proof> {
    job.task.progress.set_way(if sources.cas.is_some() { Way::Xet } else { Way::Http });
    job.task.progress.counters().set_another_way(sources.falls_back());
    let mut file = if job.partial.is_new() {
        XetFile::begin(job, hash)
    } else {
        take_up(job, hash, sources).await?
    };
    match link::link(sources.local, &file).await? {
        Linked::Yes => return Ok(Proof::Merkle(Rule::Today)),
        Linked::Spoilt => file = XetFile::open(job, hash, Vec::new()).await?.0,
        Linked::No => {}
    }
    let mut from = Sources { ..*sources };
    let mut spares = true;
    let fell_back = loop {
        let error = match bring(&file, &from).await {
            Err(error) if file.has_clashed() || from.has_misled(&file) => error,
            done => break done?,
        };
        tracing::warn!(file = %job.task.entry.path, %error, "what was here doesn't fit");
        file = if file.has_clashed() {
            without_misfits(&file, std::mem::take(&mut spares)).await?
        } else {
            reopen(&file, file.doubts()).await?
        };
        from = from.remote();
    };
    let mismatch = match prove(&file).await? {
        Ok(proof) => {
            if let (Proof::Merkle(_), Some(local), Some(cas)) = (proof, sources.local, sources.cas)
            {
                learn(&file, local, cas).await;
            }
            return Ok(proof);
        }
        Err(mismatch) => mismatch,
    };
    let reason = match mend(file, &sources.remote(), &mismatch).await {
        Ok(proof) => return Ok(proof),
        // The first finding says best what is wrong.
        Err(error) if error.kind() == Kind::ChecksumMismatch => mismatch,
        Err(error) => Error::cause(("Xet", mismatch), ("fetching it again", error)),
    };
    if reason.kind() == Kind::ChecksumMismatch {
        // Whatever was tried, the content is wrong: nothing of it is kept for another attempt.
        http::restart(job).await?;
    }
    Err(match fell_back {
        Some(xet) => Error::cause(("Xet", xet), ("plain HTTP", reason)),
        None => reason,
    })
}

/// Opens the file with what earlier attempts, or other clients, have left of it.
async fn take_up(job: &Job, hash: MerkleHash, sources: &Sources<'_>) -> Result<Arc<XetFile>> {
    let misfits = Misfits::find(job, hash, sources).await?;
    let (file, had_journal) = XetFile::open(job, hash, misfits.parts.clone()).await?;
    if had_journal {
        misfits.take(&file, sources).await?;
    }
    if !recover::take_parts(&file, sources).await? && !had_journal {
        recover::take(&file, sources).await?;
    }
    Ok(file)
}

/// The same file without what was here before. `spares`: if some of that was cut by guess, without that
/// alone, as long as the rest may be right.
async fn without_misfits(file: &XetFile, spares: bool) -> Result<Arc<XetFile>> {
    let (remains, doubts) = (file.remains(), file.doubts());
    let guesses = file.old_guesses().to_vec();
    let is_spared = spares && !guesses.is_empty();
    let again = reopen(file, if is_spared { guesses } else { remains.clone() }).await?;
    // What came since then may stay, and is no better known than before.
    for range in doubts {
        again.doubt(range);
    }
    if is_spared {
        for range in remains {
            again.found(range);
        }
    }
    Ok(again)
}

/// The terms of a file.
pub(crate) async fn terms(
    cas: &Cas,
    hash: MerkleHash,
    size: u64,
    call: &Call,
) -> Result<Vec<Term>> {
    Resolver { cas, hash, size, call, counters: &call.counters }.terms().await
}

/// How many bytes of a file this machine has.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Had {
    /// In the partial file.
    pub(super) present: u64,
    /// In other files.
    pub(super) reusable: u64,
}

/// Finds out what a download of `entry` would find on this machine, of which `partial` is what an
/// earlier attempt has left. Nothing is hashed.
pub(super) async fn probe(
    entry: &Entry,
    hash: MerkleHash,
    partial: Option<PathBuf>,
    cas: Option<&Arc<Cas>>,
    local: Option<&Arc<Local>>,
    call: &Call,
) -> Result<Had> {
    let size = entry.size;
    let finder = local.cloned();
    let look = move || {
        let ledger = Ledger::new(size);
        let journal =
            partial.as_ref().and_then(|path| Journal::read(&journal_path(path), &hash, size));
        let journal = journal.into_iter().flatten();
        for record in journal.filter(|record| record.cut.is_by(Rule::Today)) {
            // What doesn't fit is going to be fetched again.
            let _ = ledger.insert(record.offset, record.hash, record.len.into());
        }
        let whole = finder.is_some_and(|local| local.has_whole(&hash, size));
        let gaps = ledger.missing(0..size);
        let parts = partial.and_then(|path| {
            let held = path.metadata().ok()?.len();
            received::left(&parts_path(&path), held)
        });
        // The chunks at the ends of a part are fetched once more.
        let gaps = match parts {
            Some(came) => gaps.iter().flat_map(|gap| came.gaps(gap)).collect(),
            None => gaps,
        };
        Ok((gaps, whole))
    };
    let (gaps, whole) = call.blocking("a look at what an earlier attempt has left", look).await?;
    let missing: u64 = gaps.iter().map(|gap| gap.end - gap.start).sum();
    let mut had = Had { present: size - missing, reusable: 0 };
    if whole && missing == size {
        had.reusable = missing;
    } else if let (Some(cas), Some(source)) = (cas, local.and_then(|local| local.source())) {
        let resolver = Resolver { cas, hash, size, call, counters: &call.counters };
        had.reusable = source.probe(&resolver, gaps).await?.reusable();
    }
    Ok(had)
}

/// Asks for the terms of what an earlier attempt has brought in, so that the finished file can be
/// remembered with all of them. Once: it's for later downloads, and this one is complete.
async fn learn(file: &XetFile, local: &Arc<Local>, cas: &Cas) {
    let (job, hash) = (file.job(), file.hash());
    let (finder, size) = (Arc::clone(local), job.task.entry.size);
    if local.knows_all(size) {
        return;
    }
    let what = format!("a look into the reuse index for {}", job.task.entry.path);
    let look = job.task.call.blocking(what, move || Ok(finder.unknown(&hash, size)));
    // None if the call has been ended.
    let mut unknown = VecDeque::from(look.await.unwrap_or_default());
    while let Some((block, end)) = next_block(&mut unknown) {
        put_back(&mut unknown, &block, &[], end);
        let all = hull(&block);
        let gap = all.start..all.end.min(end);
        let answer = cas.try_reconstruction(&hash, &gap, job.task.progress.counters()).await;
        let fetches = answer.and_then(|a| block::fetches(&a, &gap, &gap, job.task.entry.size));
        match fetches {
            Ok(fetches) => local.learn(block::terms(&fetches)),
            Err(error) => {
                tracing::debug!(file = %job.task.entry.path, %error, "can't ask for a file's terms");
                break;
            }
        }
    }
}

/// Brings in what is missing, by whichever way works. Returns why Xet failed, if plain HTTP has filled in
/// for it: what came so may turn out wrong.
async fn bring(file: &Arc<XetFile>, sources: &Sources<'_>) -> Result<Option<Error>> {
    let job = file.job();
    if let Some(source) = sources.local.and_then(|local| local.source()) {
        source.bring_whole(file).await?;
    }
    let Some(cas) = sources.cas else {
        file.settled().await?;
        return plain::bring(file, sources.only_plain()?).await.map(|()| None);
    };
    let brought = match bring_over_xet(file, cas, sources).await {
        Ok(()) if !file.gaps().is_empty() => Err(file.leaves_gaps()),
        brought => brought,
    };
    let (error, plain) = match (brought, sources.plain) {
        // The servers may be right, and what was here wrong.
        (Err(error), _) if file.has_clashed() || sources.has_misled(file) => {
            return Err(error);
        }
        (Err(error), Some(plain)) if is_of_the_servers(&error) => (error, plain),
        (done, _) => return done.map(|()| None),
    };
    // What was found out by others has been told.
    let is_known = error.context().is_known;
    if is_known || error.context().hold.is_some_and(|hold| !hold.was_sent) {
        tracing::debug!(file = %job.task.entry.path, %error, "going on over plain HTTP");
    } else {
        tracing::warn!(file = %job.task.entry.path, %error, "Xet failed; going on over plain HTTP");
    }
    job.task.progress.add_fallback();
    match plain::bring(file, plain).await {
        Ok(()) => Ok(Some(error)),
        Err(plain) => Err(Error::cause(("Xet", error), ("plain HTTP", plain))),
    }
}

/// Brings in what is missing over Xet, while what is here is being read again, and then what turned out
/// to be missing, too.
async fn bring_over_xet(file: &Arc<XetFile>, cas: &Arc<Cas>, sources: &Sources<'_>) -> Result<()> {
    let brought = xorbs::bring(file, cas, sources).await;
    let goes_on = |error: &Error| sources.falls_back() && is_of_the_servers(error);
    if brought.as_ref().is_err_and(|error| !goes_on(error)) {
        file.stop_reading();
    }
    let settled = file.settled().await;
    brought.and(settled)?;
    if file.gaps().is_empty() { Ok(()) } else { xorbs::bring(file, cas, sources).await }
}

/// Fetches again what nobody vouches for in a file whose hash turned out wrong.
async fn mend(file: Arc<XetFile>, sources: &Sources<'_>, mismatch: &Error) -> Result<Proof> {
    let job = file.job().clone();
    let mut doubts = file.doubts();
    if !doubts.is_empty() && sources.cas.is_some() {
        tracing::warn!(file = %job.task.entry.path, error = %mismatch, ?doubts, "fetching parts again");
        let again = reopen(&file, doubts).await?;
        bring(&again, sources).await?;
        if let Ok(proof) = prove(&again).await? {
            return Ok(proof);
        }
        doubts = again.doubts();
    }
    let Some(plain) = sources.plain else { return Err(mismatch.clone()) };
    if sources.cas.is_some() {
        job.task.progress.add_fallback();
    }
    let whole = 0..job.task.entry.size;
    if !doubts.is_empty() && doubts != [whole.clone()] {
        match mend_plainly(&file, doubts, plain).await {
            Err(error) if error.kind() == Kind::ChecksumMismatch => {}
            mended => return mended,
        }
    }
    // What nobody doubts, since each xorb is what its name says, may still not be of this file.
    mend_plainly(&file, vec![whole], plain).await
}

async fn mend_plainly(
    file: &XetFile,
    doubts: Vec<Range<u64>>,
    plain: &http::Source<'_>,
) -> Result<Proof> {
    let job = file.job();
    tracing::warn!(file = %job.task.entry.path, ?doubts, "fetching parts again, over plain HTTP");
    let again = reopen(file, doubts).await?;
    plain::bring(&again, plain).await?;
    prove(&again).await?
}

async fn reopen(file: &XetFile, without: Vec<Range<u64>>) -> Result<Arc<XetFile>> {
    let counters = file.job().task.progress.counters();
    for _ in &without {
        counters.add_refetch();
    }
    file.reopen(without).await
}

/// What shows that a file of which nothing is missing is right; else the mismatch. Nobody may have said which
/// chunks it was published with, or not the truth: then its Merkle hash is no proof of damage, and the file is
/// read once more before anything of it is fetched again.
async fn prove(file: &XetFile) -> Result<Result<Proof>> {
    let mismatch = match file.verify() {
        Ok(rule) => return Ok(Ok(Proof::Merkle(rule))),
        Err(error) if error.kind() != Kind::ChecksumMismatch => return Err(error),
        Err(mismatch) => mismatch,
    };
    Ok(if is_right_by_sha256(file.job()).await? { Ok(Proof::Etag) } else { Err(mismatch) })
}

/// False where nobody has said which SHA-256 it has.
async fn is_right_by_sha256(job: &Job) -> Result<bool> {
    let (hashed, size) = (job.clone(), job.task.entry.size);
    let hash = move || {
        let (what, time) =
            (format!("the disk to hash {}", hashed.task.entry.path), disk_time(size));
        let _waiting = hashed.task.call.counters.waits.begin(what, time);
        check::content_matches(
            hashed.partial.path(),
            &hashed.task.entry,
            hashed.task.call.cancellation(),
        )
    };
    job.task.call.blocking(format!("the disk to hash {}", job.task.entry.path), hash).await
}

/// Whether a failure to fetch lies with Xet's servers. (`ChecksumMismatch` here is a xorb that can't
/// be decoded, not a file whose hash is wrong.)
pub(crate) fn is_of_the_servers(error: &Error) -> bool {
    matches!(
        error.kind(),
        Kind::Connection
            | Kind::Timeout
            | Kind::ServerError
            | Kind::RateLimited
            | Kind::InvalidResponse
            | Kind::Unauthorized
            | Kind::Forbidden
            | Kind::NotFound
            // What a refused question for a token looks like: of files, the Hub has been asked in good form.
            | Kind::BadRequest
            // Those of storage: the Hub has been reached.
            | Kind::Certificate
            | Kind::ProxyRefused
            // What a refused token looks like to somebody who isn't logged in. The listing was
            // answered, so there is such a repo.
            | Kind::RepoNotFound
            | Kind::ChecksumMismatch
    )
}

#[cfg(test)]
mod tests;
