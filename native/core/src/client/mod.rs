//! The blocking API that the C boundary (and a Rust program) calls: a [`Client`], its requests and its
//! reports.

pub mod maintenance;
pub mod open_file;
pub mod request;

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio::runtime::{Handle, Runtime};

use crate::cache::gc::{PruneOptions, Pruned, Unwanted, Verified};
pub use crate::call::Observer;
use crate::call::ending::ENDING;
use crate::call::per_process::PerProcess;
use crate::call::runtime;
use crate::call::{self, Call, CallLimits};
use crate::config::options::{ClientOptions, DeadlineOptions};
use crate::config::{Config, Deadlines};
use crate::download::plan::Plan;
use crate::download::request::{DownloadRequest, Report};
use crate::download::{Download, Session};
use crate::hub::RepoInfo;
use crate::model::error::{Error, Result};
use crate::model::repo::{CommitId, Listing, Repo};
use crate::read::Contents;
use crate::sys::fork;
use crate::upload::{
    CommitOptions, CommitReport, CommitRequest, CreateBranchRequest, CreateRepoRequest,
    FolderRequest, Outcome, RepoReport, Upload, Work,
};
use maintenance::{CacheUsage, Indexed, Maintenance};
use request::{ListRequest, MaintenanceLimits};

/// A connection to one Hub with one identity and one cache. All methods may be called from many
/// threads at a time, but not from within an async runtime: they block. Cheap to clone; clones are the same.
#[derive(Clone)]
pub struct Client {
    config: Arc<Config>,
    process: Arc<PerProcess<Process>>,
}

/// What belongs to one process: threads and connections.
pub(crate) struct Process {
    /// `None` only while it is being dropped.
    runtime: Option<Runtime>,
    session: Session,
    /// What is read in place.
    pub(crate) contents: Contents,
}

impl Client {
    /// Reads the environment, uses no network, starts no threads.
    pub fn new(options: &ClientOptions) -> Result<Self> {
        Config::resolve(options).map(Self::of)
    }

    /// With these settings.
    pub(crate) fn of(config: Config) -> Self {
        Self { config: Arc::new(config), process: Arc::new(PerProcess::new()) }
    }

    /// What the client works with, as it was found when it was made.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
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
            let RepoInfo { commit, names } =
                session.hub.revision(&repo, &revision, &counters).await?;
            let files = session.hub.list(&repo, &commit, names, |_| true, &counters).await?;
            match files.refused.into_iter().next() {
                None => {
                    if files.is_whole {
                        session.described.add_listing(&repo, &commit, &files.entries);
                    }
                    Ok(Listing { commit, entries: files.entries })
                }
                Some((_, error)) => Err(error),
            }
        };
        call::run(process.runtime()?, &call, limits, observer, list)
    }

    /// Which commit a revision stands for now.
    pub fn resolve(&self, request: &ListRequest, observer: &mut dyn Observer) -> Result<CommitId> {
        let process = self.process()?;
        let (session, limits) = self.prepare(&process, request.timeout, &request.deadlines)?;
        let call = process.call();
        let counters = Arc::clone(&call.counters);
        let (repo, revision) = (request.repo.clone(), request.revision.clone());
        let resolve = async move { session.hub.commit_of(&repo, &revision, &counters).await };
        call::run(process.runtime()?, &call, limits, observer, resolve)
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
            bytes_shared: call.counters.shared(),
            tier_errors: call.counters.tier_errors(),
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
        limits: &MaintenanceLimits,
        observer: &mut dyn Observer,
    ) -> Result<CacheUsage> {
        self.maintain(limits, observer, Maintenance::usage)
    }

    /// Hashes everything in the cache again.
    pub fn cache_verify(
        &self,
        repo: Option<Repo>,
        limits: &MaintenanceLimits,
        observer: &mut dyn Observer,
    ) -> Result<Verified> {
        self.maintain(limits, observer, |maintenance| maintenance.verify(repo))
    }

    /// Removes from the cache what a person names.
    pub fn cache_remove(
        &self,
        unwanted: Unwanted,
        limits: &MaintenanceLimits,
        observer: &mut dyn Observer,
    ) -> Result<Pruned> {
        self.maintain(limits, observer, move |maintenance| maintenance.remove(unwanted))
    }

    /// Removes from the cache what nothing refers to.
    pub fn cache_prune(
        &self,
        options: PruneOptions,
        limits: &MaintenanceLimits,
        observer: &mut dyn Observer,
    ) -> Result<Pruned> {
        self.maintain(limits, observer, move |maintenance| maintenance.prune(options))
    }

    /// Adds to the reuse index what is in the cache and isn't known, or all of it.
    pub fn cache_index(
        &self,
        rebuild: bool,
        limits: &MaintenanceLimits,
        observer: &mut dyn Observer,
    ) -> Result<Indexed> {
        self.maintain(limits, observer, move |maintenance| maintenance.index(rebuild))
    }

    fn maintain<T, F>(
        &self,
        limits: &MaintenanceLimits,
        observer: &mut dyn Observer,
        act: impl FnOnce(Maintenance) -> F,
    ) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let process = self.process()?;
        let (session, limits) = self.prepare(&process, limits.timeout, &limits.deadlines)?;
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
        call.counters.set_patience(limits.deadlines.longest());
        let upload = Upload {
            http: session.http,
            hub: session.hub,
            tokens: session.tokens,
            outages: session.outages,
            sending_outages: session.sending_outages,
            newer_routes: session.newer_routes,
            config: session.config,
            call: call.clone(),
            options,
            reuse: session.reuse,
            shards: session.shards,
            head: OnceLock::new(),
            outcome: Outcome::default(),
        };
        let outcome = upload.outcome.clone();
        call::run(process.runtime()?, &call, limits, observer, upload.run(work, started))
            .map_err(|error| outcome.explain(error))
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

    /// Creates a branch.
    pub fn create_branch(
        &self,
        request: &CreateBranchRequest,
        observer: &mut dyn Observer,
    ) -> Result<()> {
        let process = self.process()?;
        let (session, limits) = self.prepare(&process, request.timeout, &request.deadlines)?;
        let call = process.call();
        let (hub, counters) = (session.hub, Arc::clone(&call.counters));
        let CreateBranchRequest { repo, branch, from, exist_ok, .. } = request.clone();
        let create =
            async move { hub.create_branch(&repo, &branch, &from, exist_ok, &counters).await };
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
        Ok((process.session(deadlines), CallLimits { timeout, deadlines }))
    }

    pub(crate) fn process(&self) -> Result<Arc<Process>> {
        self.process.get(|| Process::new(&self.config))
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("endpoint", &self.config.endpoint).finish_non_exhaustive()
    }
}

impl Process {
    /// How long a client that is dropped waits until other nodes have what it has fetched.
    const PUBLISHING: Duration = Duration::from_secs(2);

    fn new(config: &Arc<Config>) -> Result<Self> {
        let runtime = Some(runtime::start()?);
        // What the libraries below set up once for the whole process is set up here, too.
        let session = fork::hold_off(|| Session::new(Arc::clone(config)))?;
        let contents = Contents::of(&session);
        Ok(Self { runtime, session, contents })
    }

    /// What is shared with other calls, under these limits.
    pub(crate) fn session(&self, deadlines: Deadlines) -> Session {
        self.session.with_deadlines(deadlines)
    }

    /// Forgets how a commit was described, by which content was wrong, or none.
    pub(crate) fn forget(&self, repo: &Repo, commit: &CommitId) {
        self.session.described.forget(repo, commit);
    }

    /// Another call.
    pub(crate) fn call(&self) -> Call {
        Call::new(Arc::clone(&self.session.scheduler))
    }

    pub(crate) fn runtime(&self) -> Result<&Handle> {
        let runtime = self.runtime.as_ref().map(Runtime::handle);
        runtime.ok_or_else(|| Error::internal("the client is being dropped"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(tier) = &self.session.tier
            && let Some(runtime) = &self.runtime
        {
            // What was fetched is to be had by other nodes, if that doesn't take long.
            tier.drain_by(runtime.handle(), Self::PUBLISHING);
        }
        // Calls hold the process, so nothing of theirs runs any more. Left are idle threads and
        // connections, and at worst a system call of a cancelled call that the disk doesn't finish:
        // not worth waiting for.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(ENDING);
        }
        self.session.scheduler.threads.close(ENDING);
    }
}
