//! The blocking API that the C boundary (and a Rust program) calls: a [`Client`], its requests and its
//! reports.

pub mod maintenance;
pub mod request;

use std::fmt;
use std::io::ErrorKind;
use std::panic::catch_unwind;
use std::sync::{Arc, OnceLock, mpsc};
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Handle, Runtime};

use crate::cache::gc::{PruneOptions, Pruned, Verified};
pub use crate::call::Observer;
use crate::call::per_process::PerProcess;
use crate::call::scheduler::threads;
use crate::call::{self, Call, CallLimits};
use crate::config::Config;
use crate::config::options::{ClientOptions, DeadlineOptions};
use crate::download::plan::Plan;
use crate::download::request::{DownloadRequest, Report};
use crate::download::{Download, Session};
use crate::model::error::{Error, Result};
use crate::model::repo::Listing;
use crate::upload::{
    CommitOptions, CommitReport, CommitRequest, CreateRepoRequest, FolderRequest, RepoReport,
    Upload, Work,
};
use maintenance::{CacheUsage, Indexed, Maintenance};
use request::ListRequest;

/// A connection to one Hub with one identity and one cache. All methods may be called from many
/// threads at a time, but not from within an async runtime: they block.
pub struct Client {
    config: Arc<Config>,
    process: PerProcess<Process>,
}

/// What belongs to one process: threads and connections.
struct Process {
    /// `None` only while it is being dropped.
    runtime: Option<Runtime>,
    session: Session,
}

impl Client {
    /// Reads the environment, uses no network, starts no threads.
    pub fn new(options: &ClientOptions) -> Result<Self> {
        Ok(Self { config: Arc::new(Config::resolve(options)?), process: PerProcess::new() })
    }

    /// The Hub's base URL.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        self.config.endpoint.as_str()
    }

    /// Lists the files of a repo at a revision.
    pub fn list_files(
        &self,
        request: &ListRequest,
        observer: &mut dyn Observer,
    ) -> Result<Listing> {
        let process = self.process()?;
        let (session, limits) = self.prepare(&process, request.timeout, &request.deadlines)?;
        let call = process.call();
        let counters = Arc::clone(&call.counters);
        let (repo, revision) = (request.repo.clone(), request.revision.clone());
        let list = async move {
            let commit = session.hub.commit_of(&repo, &revision, &counters).await?;
            let entries = session.hub.list_tree(&repo, &commit, &counters).await?;
            Ok(Listing { commit, entries })
        };
        call::run(process.runtime()?, &call, limits, observer, list)
    }

    /// Downloads a file or a snapshot.
    pub fn download(
        &self,
        request: &DownloadRequest,
        observer: &mut dyn Observer,
    ) -> Result<Report> {
        let started = Instant::now();
        let process = self.process()?;
        let (session, limits) = self.prepare(&process, request.timeout, &request.deadlines)?;
        let call = process.call();
        call.counters.set_patience(limits.deadlines.longest());
        let download = Download::new(session, call.clone(), request.clone());
        let placed = call::run(process.runtime()?, &call, limits, observer, download.run())?;
        let done = call.counters.snapshot();
        Ok(Report {
            path: placed.path,
            commit: placed.commit,
            files: done.files_total,
            bytes_total: done.bytes_total,
            bytes_network: done.bytes_network,
            bytes_reused: done.bytes_reused,
            retries: call.counters.retries(),
            fallbacks: call.counters.fallbacks(),
            stalls: call.counters.stalls(),
            refreshes: call.counters.refreshes(),
            refetches: call.counters.refetches(),
            sources_dropped: call.counters.dropped(),
            duration: started.elapsed(),
            file_transfers: placed.file_transfers,
        })
    }

    /// What [`download`](Self::download) would do: asks the Hub, and changes nothing.
    pub fn plan(&self, request: &DownloadRequest, observer: &mut dyn Observer) -> Result<Plan> {
        let process = self.process()?;
        let (session, limits) = self.prepare(&process, request.timeout, &request.deadlines)?;
        let call = process.call();
        let download = Download::new(session, call.clone(), request.clone());
        call::run(process.runtime()?, &call, limits, observer, download.plan())
    }

    /// How much the cache takes.
    pub fn cache_usage(
        &self,
        timeout: Option<Duration>,
        observer: &mut dyn Observer,
    ) -> Result<CacheUsage> {
        self.maintain(timeout, observer, Maintenance::usage)
    }

    /// Hashes everything in the cache again.
    pub fn cache_verify(
        &self,
        timeout: Option<Duration>,
        observer: &mut dyn Observer,
    ) -> Result<Verified> {
        self.maintain(timeout, observer, Maintenance::verify)
    }

    /// Removes from the cache what nothing refers to.
    pub fn cache_prune(
        &self,
        options: PruneOptions,
        timeout: Option<Duration>,
        observer: &mut dyn Observer,
    ) -> Result<Pruned> {
        self.maintain(timeout, observer, move |maintenance| maintenance.prune(options))
    }

    /// Adds to the reuse index what is in the cache and isn't known, or all of it.
    pub fn cache_index(
        &self,
        rebuild: bool,
        timeout: Option<Duration>,
        observer: &mut dyn Observer,
    ) -> Result<Indexed> {
        self.maintain(timeout, observer, move |maintenance| maintenance.index(rebuild))
    }

    fn maintain<T, F>(
        &self,
        timeout: Option<Duration>,
        observer: &mut dyn Observer,
        act: impl FnOnce(Maintenance) -> F,
    ) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let process = self.process()?;
        let (session, limits) = self.prepare(&process, timeout, &DeadlineOptions::default())?;
        let call = process.call();
        call::run(
            process.runtime()?,
            &call,
            limits,
            observer,
            act(Maintenance::new(session, call.clone())),
        )
    }

    /// Makes one commit of listed changes.
    pub fn commit(
        &self,
        request: CommitRequest,
        observer: &mut dyn Observer,
    ) -> Result<CommitReport> {
        self.upload(request.options, Work::Commit(request.operations), observer)
    }

    /// Uploads a folder, in as many commits as it takes.
    pub fn upload_folder(
        &self,
        request: FolderRequest,
        observer: &mut dyn Observer,
    ) -> Result<CommitReport> {
        self.upload(request.options.clone(), Work::Folder(Box::new(request)), observer)
    }

    fn upload(
        &self,
        options: CommitOptions,
        work: Work,
        observer: &mut dyn Observer,
    ) -> Result<CommitReport> {
        let started = Instant::now();
        let process = self.process()?;
        let (session, limits) = self.prepare(&process, options.timeout, &options.deadlines)?;
        let call = process.call();
        let upload = Upload {
            deadlines: limits.deadlines,
            hub: session.hub,
            config: session.config,
            call: call.clone(),
            options,
            reuse: session.reuse,
            head: OnceLock::new(),
        };
        call::run(process.runtime()?, &call, limits, observer, upload.run(work, started))
    }

    /// Creates a repo.
    pub fn create_repo(
        &self,
        request: &CreateRepoRequest,
        observer: &mut dyn Observer,
    ) -> Result<RepoReport> {
        let process = self.process()?;
        let (session, limits) = self.prepare(&process, request.timeout, &request.deadlines)?;
        let call = process.call();
        let (hub, counters) = (session.hub, Arc::clone(&call.counters));
        let CreateRepoRequest { repo, visibility, exist_ok, space_sdk, .. } = request.clone();
        let create = async move {
            let sdk = space_sdk.as_deref();
            let made = hub.create_repo(&repo, visibility, exist_ok, sdk, &counters).await?;
            Ok(RepoReport { url: made.url, id: made.id })
        };
        call::run(process.runtime()?, &call, limits, observer, create)
    }

    /// What a call uses, under the limits that it asks for.
    fn prepare(
        &self,
        process: &Process,
        timeout: Option<Duration>,
        deadlines: &DeadlineOptions,
    ) -> Result<(Session, CallLimits)> {
        let deadlines = self.config.deadlines.with(deadlines)?;
        Ok((process.session.with_deadlines(deadlines), CallLimits { timeout, deadlines }))
    }

    fn process(&self) -> Result<Arc<Process>> {
        self.process.get(|| Process::new(&self.config))
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("endpoint", &self.endpoint()).finish_non_exhaustive()
    }
}

impl Process {
    /// Threads that wait for the network. They copy little and compute nothing, so a few serve many
    /// connections.
    const MAX_WORKERS: usize = 4;
    /// Threads on which xet-core's crates compute, at most, and on which names are looked up.
    const MAX_BLOCKING: usize = 32;
    /// Where the system refuses further threads, tokio leaves a job to those that it has: one is
    /// there from the beginning, and stays.
    const KEEP: Duration = Duration::from_hours(24);
    /// How long a thread that exists may take to begin.
    const BEGINNING: Duration = Duration::from_secs(10);
    /// How long a client that is dropped waits for its threads.
    const ENDING: Duration = Duration::from_millis(100);

    fn new(config: &Arc<Config>) -> Result<Self> {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        let build = || {
            Builder::new_multi_thread()
                .worker_threads(cores.min(Self::MAX_WORKERS))
                .max_blocking_threads(Self::MAX_BLOCKING)
                .thread_keep_alive(Self::KEEP)
                .thread_name("xet")
                .on_thread_start(threads::mark_worker)
                .enable_all()
                .build()
        };
        // tokio panics over the first thread that the system refuses it, and waits for ever for the
        // others.
        let runtime = match catch_unwind(build) {
            Ok(built) => built.map_err(|error| threads::refused(&error))?,
            Err(_) => return Err(threads::refused(&ErrorKind::WouldBlock.into())),
        };
        let (begun, has_begun) = mpsc::sync_channel(1);
        let begin = async move {
            let _ = tokio::task::spawn_blocking(move || begun.send(())).await;
        };
        runtime.spawn(begin);
        if has_begun.recv_timeout(Self::BEGINNING).is_err() {
            runtime.shutdown_background();
            return Err(threads::refused(&ErrorKind::WouldBlock.into()));
        }
        Ok(Self { runtime: Some(runtime), session: Session::new(Arc::clone(config))? })
    }

    /// Another call.
    fn call(&self) -> Call {
        Call::new(Arc::clone(&self.session.scheduler))
    }

    fn runtime(&self) -> Result<&Handle> {
        let runtime = self.runtime.as_ref().map(Runtime::handle);
        runtime.ok_or_else(|| Error::internal("the client is being dropped"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Calls hold the process, so nothing of theirs runs any more. Left are idle threads and
        // connections, and at worst a system call of a cancelled call that the disk doesn't finish:
        // not worth waiting for.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Self::ENDING);
        }
        self.session.scheduler.threads.close(Self::ENDING);
    }
}
