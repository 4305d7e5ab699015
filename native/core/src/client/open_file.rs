//! A file that is open for reading: what is read of it goes from the threads of the client into the caller's buffers.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use xet_core_structures::merklehash::MerkleHash;

use super::{Client, Process};
use crate::call::file_transfer::PublishedHash;
use crate::call::per_process::PerProcess;
use crate::call::{self, Call, CallLimits, Observer, Running};
use crate::config::Deadlines;
use crate::config::options::DeadlineOptions;
use crate::download::request::{DownloadRequest, Selection};
use crate::download::{Download, FoundFile, may_be_misdescribed};
use crate::model::error::{Error, Result};
use crate::model::repo::{CommitId, Entry, Repo, RepoPath, Revision, Storage};
use crate::read::{Chunks, Handle, LocalFile, Remote, WINDOW, Wanted};
pub use crate::read::{Part, Proven};

/// How long a file that is closed waits for the disk to keep what was read.
const CLOSING: Duration = Duration::from_secs(2);

/// What to open. For each field see `XetOpenOptions` in `xet.h`.
#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "each is a flag of its own in xet.h")]
pub struct OpenRequest {
    /// In which repo.
    pub repo: Repo,
    /// At which revision.
    pub revision: Revision,
    /// Which file.
    pub path: RepoPath,
    /// Use no network.
    pub local_files_only: bool,
    /// Give nothing out that isn't proven.
    pub require_proof: bool,
    /// Fetch nothing ahead.
    pub no_readahead: bool,
    /// The most bytes to keep in memory.
    pub window: Option<u64>,
    /// Limit for opening.
    pub timeout: Option<Duration>,
    /// Limits of its requests, and of all reads'.
    pub deadlines: DeadlineOptions,
}

/// What a file is, and what has been read of it. For each field see `XetFileReport` in `xet.h`.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "documented once, at XetFileReport in xet.h")]
pub struct FileReport {
    /// The number is `XET_FILE_KIND_*`.
    pub kind: u32,
    pub size: u64,
    pub path: String,
    pub commit: String,
    pub etag: String,
    pub xet_hash: Option<String>,
    pub proof: Proven,
    pub reads: u64,
    pub bytes_read: u64,
    pub bytes_network: u64,
    pub bytes_proof: u64,
    pub bytes_reused: u64,
    pub retries: u64,
    pub stalls: u64,
}

/// A file of a repo that is open for reading. For any thread; methods block.
pub struct OpenFile {
    client: Client,
    request: OpenRequest,
    deadlines: Deadlines,
    commit: CommitId,
    size: u64,
    place: Place,
    totals: Arc<Totals>,
}

/// Where the content is.
enum Place {
    Here {
        file: Arc<LocalFile>,
        hash: Option<PublishedHash>,
        entry: Option<Entry>,
    },
    /// Each process has its own connections, and keeps its own window.
    Hub {
        entry: Arc<Entry>,
        process: PerProcess<Remote>,
    },
}

#[derive(Default)]
struct Totals {
    reads: AtomicU64,
    bytes_read: AtomicU64,
    bytes_network: AtomicU64,
    bytes_reused: AtomicU64,
    retries: AtomicU64,
    stalls: AtomicU64,
}

impl Totals {
    /// What a call has brought.
    fn add(&self, call: &Call) {
        let add = |total: &AtomicU64, more: u64| total.fetch_add(more, Ordering::Relaxed);
        add(&self.bytes_network, call.counters.network());
        add(&self.retries, call.counters.retries().into());
        add(&self.stalls, call.counters.stalls().into());
    }
}

impl Client {
    /// Opens a file to read parts of it.
    pub fn open(&self, request: &OpenRequest, observer: &mut dyn Observer) -> Result<OpenFile> {
        let process = self.process()?;
        let deadlines = self.config().deadlines.with(&request.deadlines)?;
        let limits = CallLimits { timeout: request.timeout, deadlines };
        let call = process.call();
        let download = DownloadRequest {
            repo: request.repo.clone(),
            revision: request.revision.clone(),
            selection: Selection::File(request.path.clone()),
            local_dir: None,
            local_files_only: request.local_files_only,
            force: false,
            timeout: request.timeout,
            deadlines: request.deadlines,
        };
        let finding = Download::new(process.session(deadlines), call.clone(), download).find();
        let inner = call.clone();
        let requires_proof = request.require_proof && !request.local_files_only;
        let uses_xet = self.config().transport.uses_xet();
        let open = async move {
            let FoundFile { commit, entry, path, hash } = finding.await?;
            // Whoever put it there, and whatever became of it: of a Xet file each chunk can be proven. What is good of
            // the one in the cache is taken from there all the same.
            let is_provable = entry.as_ref().is_some_and(|entry| entry.xet_hash().is_some());
            let path = path.filter(|_| !(requires_proof && uses_xet && is_provable));
            let Some(path) = path else { return Ok((commit, entry, None, hash)) };
            let size = entry.as_ref().map(|entry| entry.size);
            let what = format!("the disk to open {}", path.display());
            let file = inner.blocking(what, move || LocalFile::open(path, size)).await?;
            Ok((commit, entry, Some(file), hash))
        };
        let (commit, entry, file, hash) =
            call::run(process.runtime()?, &call, limits, observer, open)?;
        let (size, place) = match (file, entry) {
            (Some(file), entry) => (file.size(), Place::Here { file: Arc::new(file), hash, entry }),
            (None, Some(entry)) => {
                let (entry, process) = (Arc::new(entry), PerProcess::new());
                (entry.size, Place::Hub { entry, process })
            }
            (None, None) => return Err(Error::internal("a file that is nowhere")),
        };
        let (client, request, totals) = (self.clone(), request.clone(), Arc::default());
        let file = OpenFile { client, request, deadlines, commit, size, place, totals };
        file.prepare(&process)?;
        Ok(file)
    }
}

impl OpenFile {
    /// The size of the file, in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Reads parts of the file, of which there may be less, or nothing, behind its end. Gives what there is of them to
    /// `place`, on this thread, in any order: the number of the part, where in the part it goes, and the bytes. All of
    /// it is there when this returns without an error.
    pub fn read(
        &self,
        parts: &[Part],
        place: &mut dyn FnMut(usize, usize, &[u8]),
        timeout: Option<Duration>,
        observer: &mut dyn Observer,
    ) -> Result<()> {
        let wanted = Wanted::new(parts, self.size);
        if !wanted.ranges().is_empty() {
            self.read_ahead(&wanted)?;
            if !self.read_from_memory(&wanted, place)? {
                let process = self.client.process()?;
                let call = process.call();
                call.counters.set_patience(self.deadlines.longest());
                let limits = CallLimits { timeout, deadlines: self.deadlines };
                let read = self.read_by(&process, &call, limits, &wanted, place, observer);
                self.totals.add(&call);
                self.totals.bytes_reused.fetch_add(call.counters.reused(), Ordering::Relaxed);
                let failed = read.as_ref().err().is_some_and(may_be_misdescribed);
                // Where plain HTTP has taken Xet's place, the hash may have been wrong.
                if failed || call.counters.fallbacks() > 0 {
                    process.forget(&self.request.repo, &self.commit);
                }
                read?;
            }
        }
        self.totals.reads.fetch_add(1, Ordering::Relaxed);
        self.totals.bytes_read.fetch_add(wanted.bytes(), Ordering::Relaxed);
        Ok(())
    }

    /// Begins to get what the first read needs besides, which nobody has asked for yet.
    fn prepare(&self, process: &Process) -> Result<()> {
        let Place::Hub { entry, process: here } = &self.place else { return Ok(()) };
        let remote = here.get(|| self.remote(entry))?;
        if !remote.is_in_xet() {
            return Ok(());
        }
        let call = process.call();
        let (reader, inner) = (Arc::clone(&remote), call.clone());
        let fetch = async move {
            let fetched = reader.fetch_token(&inner).await;
            if let Err(error) = &fetched {
                tracing::debug!(file = %reader.path(), %error, "no token before the first read");
            }
            fetched
        };
        let limits = CallLimits { timeout: None, deadlines: self.deadlines };
        remote.keep(Running::begin(process.runtime()?, &call, limits, fetch));
        Ok(())
    }

    /// Begins to read ahead of who reads this. Nobody waits for that but who needs it.
    fn read_ahead(&self, wanted: &Wanted<'_>) -> Result<()> {
        let ([range], Place::Hub { entry, process }) = (wanted.ranges(), &self.place) else {
            return Ok(());
        };
        let remote = process.get(|| self.remote(entry))?;
        let ahead = remote.ahead_of(range);
        if ahead.is_empty() {
            return Ok(());
        }
        let process = self.client.process()?;
        let call = process.call();
        let limits = CallLimits { timeout: None, deadlines: self.deadlines };
        let (totals, reader, inner) = (Arc::clone(&self.totals), Arc::clone(&remote), call.clone());
        let read = async move {
            let read = reader.fetch_ahead(ahead, &inner).await;
            totals.add(&inner);
            if let Err(error) = &read {
                tracing::debug!(file = %reader.path(), %error, "can't read ahead");
            }
            read
        };
        remote.keep(Running::begin(process.runtime()?, &call, limits, read));
        Ok(())
    }

    /// What is in memory, ours or the system's, needs no thread and no wait. False: it isn't all there.
    fn read_from_memory(
        &self,
        wanted: &Wanted<'_>,
        place: &mut dyn FnMut(usize, usize, &[u8]),
    ) -> Result<bool> {
        let is_all = match (wanted.ranges(), &self.place) {
            ([range], Place::Hub { entry, process }) => {
                let chunks = process.get(|| self.remote(entry))?.in_memory(range);
                chunks.map(|chunks| wanted.place(&chunks, place)).is_some()
            }
            (ranges, Place::Here { file, .. }) => {
                file.hand_out_at_hand(ranges, |at, piece| wanted.place_piece(at, piece, place))
            }
            _ => false,
        };
        if is_all {
            self.totals.bytes_reused.fetch_add(wanted.bytes(), Ordering::Relaxed);
        }
        Ok(is_all)
    }

    fn read_by(
        &self,
        process: &Arc<Process>,
        call: &Call,
        limits: CallLimits,
        wanted: &Wanted<'_>,
        place: &mut dyn FnMut(usize, usize, &[u8]),
        observer: &mut dyn Observer,
    ) -> Result<()> {
        call.counters.set_totals(1, wanted.bytes());
        let (send, mut came) = mpsc::channel(1);
        let ranges = wanted.ranges().to_vec();
        let wake: Arc<std::sync::OnceLock<Box<dyn Fn() + Send + Sync>>> = Arc::default();
        let waker = Arc::clone(&wake);
        let tell = move || {
            if let Some(wake) = waker.get() {
                wake();
            }
        };
        let runtime = process.runtime()?;
        let running = match &self.place {
            Place::Here { file, .. } => {
                let (file, inner) = (Arc::clone(file), call.clone());
                let read = async move { file.hand_out(ranges, &inner, &send, tell).await };
                Running::begin(runtime, call, limits, read)
            }
            Place::Hub { entry, process } => {
                let (remote, inner) = (process.get(|| self.remote(entry))?, call.clone());
                let read = async move { remote.read(ranges, inner, &send, tell).await };
                Running::begin(runtime, call, limits, read)
            }
        };
        let _ = wake.set(Box::new(running.wakes()));
        loop {
            let mut next: Option<Chunks> = None;
            running.wait_until(observer, || {
                next = next.take().or_else(|| came.try_recv().ok());
                next.is_some()
            })?;
            // What was handed over before its end.
            let Some(chunks) = next.or_else(|| came.try_recv().ok()) else {
                return running.result().unwrap_or_else(|| Err(Error::internal("a read panicked")));
            };
            wanted.place(&chunks, place);
        }
    }

    /// What it takes to read the file in this process.
    fn remote(&self, entry: &Arc<Entry>) -> Result<Remote> {
        let process = self.client.process()?;
        let handle = Handle {
            repo: self.request.repo.clone(),
            commit: self.commit.clone(),
            entry: Arc::clone(entry),
            window: self.request.window.unwrap_or(WINDOW),
            reads_ahead: !self.request.no_readahead,
            requires_proof: self.request.require_proof,
        };
        Ok(Remote::new(process.session(self.deadlines), &process.contents, handle))
    }

    /// What the file is, and what has been read of it.
    pub fn report(&self) -> Result<FileReport> {
        let total = |total: &AtomicU64| total.load(Ordering::Relaxed);
        let (entry, proof, hash, bytes_proof) = match &self.place {
            Place::Here { entry, hash, .. } => (entry.as_ref(), Proven::ByCache, hash.as_ref(), 0),
            Place::Hub { entry, process } => {
                let remote = process.get(|| self.remote(entry))?;
                (Some(&**entry), remote.proof(), None, remote.proof_bytes())
            }
        };
        let by_hash = || match hash {
            Some(PublishedHash::GitBlob(_)) | None => 0,
            Some(PublishedHash::Sha256(_)) => 1,
            Some(PublishedHash::Xet(_)) => 2,
        };
        let etag = entry.map(|entry| entry.etag().to_owned());
        let known_by = || hash.map_or_else(String::new, |hash| hash.digits().to_owned());
        Ok(FileReport {
            kind: entry.map_or_else(by_hash, |entry| match entry.storage {
                Storage::Git => 0,
                Storage::Lfs { .. } => 1,
                Storage::Xet { .. } | Storage::XetAlone { .. } => 2,
            }),
            size: self.size,
            path: self.request.path.to_string(),
            commit: self.commit.to_string(),
            etag: etag.unwrap_or_else(known_by),
            xet_hash: entry.and_then(|entry| entry.xet_hash().map(MerkleHash::hex)),
            proof,
            reads: total(&self.totals.reads),
            bytes_read: total(&self.totals.bytes_read),
            bytes_network: total(&self.totals.bytes_network),
            bytes_proof,
            bytes_reused: total(&self.totals.bytes_reused),
            retries: total(&self.totals.retries),
            stalls: total(&self.totals.stalls),
        })
    }
}

impl Drop for OpenFile {
    /// Ends what is read ahead: nobody is going to want it.
    fn drop(&mut self) {
        if let Place::Hub { process, .. } = &self.place
            && let Some(remote) = process.here()
        {
            remote.end_readahead();
            if remote.has_some_to_keep() {
                self.keep_the_rest(remote);
            }
        }
    }
}

impl OpenFile {
    /// Has what was read, and isn't kept yet, written to this machine's disk, and waits a while for that.
    fn keep_the_rest(&self, remote: Arc<Remote>) {
        let Ok(process) = self.client.process() else { return };
        let call = process.call();
        let limits = CallLimits { timeout: Some(CLOSING), deadlines: self.deadlines };
        let inner = call.clone();
        let write = async move { remote.keep_the_rest(&inner).await };
        let written =
            process.runtime().and_then(|runtime| call::run(runtime, &call, limits, &mut (), write));
        if let Err(error) = written {
            tracing::debug!(%error, "can't keep what was read");
        }
    }
}

impl fmt::Debug for OpenFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = (&self.request.repo, &self.request.path);
        f.debug_struct("OpenFile")
            .field("of", &of)
            .field("commit", &self.commit)
            .finish_non_exhaustive()
    }
}
