//! Files on their way out of a storage, or into it: what is added begins at once, and goes on whether anybody
//! waits or not.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use super::dedup::DedupStats;
use super::download::{Download, Downloads};
use super::task::{Task, TaskReport, TaskState};
use super::uploads::{NewUpload, UploadSource, Uploads};
use super::{Part, Storage};
use crate::call::per_process::Owned;
use crate::call::progress::{Phase, ShardStats};
use crate::call::waits::Waiting;
use crate::call::{Call, CallLimits, Observer, Running};
use crate::model::error::{Error, Kind, Result};
use crate::sys::files;

/// Which way the files of a group go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupKind {
    /// Out of storage.
    Downloads,
    /// Into it.
    Uploads,
}

/// How a group is.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "documented in xet.h")]
pub struct GroupReport {
    pub state: TaskState,
    pub bytes_total: u64,
    pub bytes_completed: u64,
    pub bytes_network: u64,
    pub bytes_reused: u64,
    pub retries: u32,
    pub stalls: u32,
    pub refreshes: u32,
    pub refetches: u32,
    pub sources_dropped: u32,
    pub failed: u32,
    pub duration: Duration,
    pub tasks: Vec<TaskReport>,
    pub dedup: Option<DedupStats>,
    pub shards: Option<ShardStats>,
}

/// A group. For any thread of the process that has made it. Dropping it cancels what still runs.
pub struct Group {
    kind: GroupKind,
    /// Not a forked child's: the threads that it counts on aren't there.
    inner: Owned<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    engine: Engine,
    running: Running<()>,
    /// Why it was ended before its end.
    verdict: OnceLock<Error>,
    /// The runtime, its connections and permits.
    _part: Part,
}

/// To whom what is added goes.
enum Engine {
    Downloads(Downloads),
    Uploads(Uploads),
}

impl Engine {
    fn downloads(&self) -> Result<&Downloads> {
        match self {
            Self::Downloads(downloads) => Ok(downloads),
            Self::Uploads(_) => Err(Error::invalid("group", "is one of uploads")),
        }
    }

    fn uploads(&self) -> Result<&Uploads> {
        match self {
            Self::Uploads(uploads) => Ok(uploads),
            Self::Downloads(_) => Err(Error::invalid("group", "is one of downloads")),
        }
    }
}

/// What the group, its operation and its tasks share.
pub(super) struct Shared {
    pub(super) call: Call,
    kind: GroupKind,
    state: Mutex<State>,
    /// Wakes those who wait for one task.
    wake: OnceLock<Box<dyn Fn() + Send + Sync>>,
    is_closed: AtomicBool,
}

#[derive(Default)]
struct State {
    tasks: Vec<Arc<Task>>,
    /// Those that haven't ended.
    open: usize,
    bytes: u64,
    /// While the group waits for nothing but its caller.
    idle: Option<Waiting>,
}

impl Shared {
    fn new(call: Call, kind: GroupKind) -> Self {
        let shared = Self {
            call,
            kind,
            state: Mutex::default(),
            wake: OnceLock::new(),
            is_closed: AtomicBool::new(false),
        };
        shared.look_idle(&mut shared.state());
        shared
    }

    /// A new task, which `begin` has begun if it likes it.
    fn add(
        &self,
        name: &str,
        bytes: u64,
        begin: impl FnOnce(&Arc<Task>) -> Result<()>,
    ) -> Result<u64> {
        let mut state = self.state();
        if self.is_closed.load(Ordering::Relaxed) {
            return Err(Error::invalid("group", "is closed: nothing can be added to it any more"));
        }
        let number = state.tasks.len() as u64 + 1;
        let task = Arc::new(Task::new(number, name, self.call.cancellation()));
        begin(&task)?;
        state.tasks.push(task);
        state.open += 1;
        state.idle = None;
        self.count(&mut state, bytes);
        Ok(number)
    }

    /// A task has turned out to have so many bytes.
    pub(super) fn has_bytes(&self, bytes: u64) {
        self.count(&mut self.state(), bytes);
    }

    fn count(&self, state: &mut State, bytes: u64) {
        state.bytes = state.bytes.saturating_add(bytes);
        let files = u32::try_from(state.tasks.len()).unwrap_or(u32::MAX);
        let counters = &self.call.counters;
        match self.kind {
            GroupKind::Downloads => counters.set_totals(files, state.bytes),
            GroupKind::Uploads => {
                counters.set_upload_totals(files, state.bytes);
                counters.enter(Phase::Uploading);
            }
        }
    }

    /// A task has ended.
    pub(super) fn ended(&self, task: &Task, result: Result<()>) {
        if let Err(error) = &result
            && error.kind() != Kind::Cancelled
        {
            tracing::debug!(task = task.number, name = %task.name, %error, "a task has failed");
        }
        if !task.ends(result) {
            return;
        }
        let mut state = self.state();
        state.open -= 1;
        self.look_idle(&mut state);
        drop(state);
        self.wake();
    }

    /// All tasks have ended that hadn't before.
    pub(super) fn all_ended(&self, result: &Result<()>) {
        let open: Vec<Arc<Task>> = {
            let state = self.state();
            state.tasks.iter().filter(|task| !task.state().has_ended()).cloned().collect()
        };
        for task in open {
            self.ended(&task, result.clone());
        }
    }

    /// Tells those who wait for a task that there is something to see.
    pub(super) fn wake(&self) {
        if let Some(wake) = self.wake.get() {
            wake();
        }
    }

    /// Nothing has to move while nothing is under way.
    fn look_idle(&self, state: &mut State) {
        let is_idle = state.open == 0 && !self.is_closed.load(Ordering::Relaxed);
        state.idle =
            is_idle.then(|| self.call.counters.waits.begin_for_caller("what its caller adds"));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change leaves it whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Storage {
    /// Begins a group, for `timeout` at most.
    pub fn begin_group(&self, kind: GroupKind, timeout: Option<Duration>) -> Result<Group> {
        let part = self.part()?;
        let call = part.call();
        let limits = CallLimits { timeout, deadlines: part.deadlines() };
        call.counters.set_patience(limits.deadlines.longest());
        let shared = Arc::new(Shared::new(call.clone(), kind));
        let (engine, running) = match kind {
            GroupKind::Downloads => {
                let (downloads, work) = Downloads::new(&part, &shared)?;
                let running = Running::begin(part.runtime()?, &call, limits, work);
                (Engine::Downloads(downloads), running)
            }
            GroupKind::Uploads => {
                let (uploads, work) = Uploads::new(&part, &shared)?;
                let running = Running::begin(part.runtime()?, &call, limits, work);
                (Engine::Uploads(uploads), running)
            }
        };
        let _ = shared.wake.set(Box::new(running.wakes()));
        let inner = Inner { shared, engine, running, verdict: OnceLock::new(), _part: part };
        Ok(Group { kind, inner: Owned::new(inner) })
    }
}

impl Group {
    /// Adds a download, which is given a number. A relative path is one of the folder that the process is in now.
    pub fn add_download(&self, download: &Download) -> Result<u64> {
        let inner = self.inner()?;
        let downloads = inner.engine.downloads()?;
        let Download { hash, size, path } = download;
        let target = files::absolute(path)?;
        inner.add(&path.to_string_lossy(), size.unwrap_or_default(), |task| {
            task.knows(Some(*hash), *size);
            let download = Download { hash: *hash, size: *size, path: target };
            downloads.begin(Arc::clone(task), download)
        })
    }

    /// Adds an upload, which is given a number. A relative path is one of the folder that the process is in now.
    pub fn add_upload(&self, mut upload: NewUpload) -> Result<u64> {
        let inner = self.inner()?;
        let uploads = inner.engine.uploads()?;
        if let UploadSource::Path(path) = &mut upload.source {
            *path = files::absolute(path)?;
        }
        let name = upload.name.clone();
        inner.add(&name, 0, |task| uploads.begin(task, upload))
    }

    /// Writes more of a stream that is uploaded.
    pub fn write(&self, task: u64, data: &[u8]) -> Result<()> {
        let inner = self.inner()?;
        let written = inner.engine.uploads()?.write(&*inner.task(task)?, data);
        written.map_err(|error| inner.explain(error))
    }

    /// A stream that is uploaded has all its bytes.
    pub fn end_stream(&self, task: u64) -> Result<()> {
        let inner = self.inner()?;
        let ended = inner.engine.uploads()?.end_stream(&inner.task(task)?);
        ended.map_err(|error| inner.explain(error))
    }

    /// Nothing more is to be added.
    pub fn close(&self) -> Result<()> {
        let Inner { shared, engine, .. } = self.inner()?;
        let mut state = shared.state();
        shared.is_closed.store(true, Ordering::Relaxed);
        state.idle = None;
        drop(state);
        match engine {
            Engine::Downloads(downloads) => downloads.close(),
            Engine::Uploads(uploads) => uploads.close(),
        }
        Ok(())
    }

    /// Closes the group, and waits for its end.
    pub fn wait(&self, observer: &mut dyn Observer) -> Result<GroupReport> {
        self.close()?;
        self.serve(observer)?;
        self.report()
    }

    /// Waits for its end, when another thread has closed it.
    pub fn serve(&self, observer: &mut dyn Observer) -> Result<()> {
        let inner = self.inner()?;
        let ended = inner.running.wait_too(observer);
        ended.map_err(|error| inner.judge(error))
    }

    /// Waits until one task has ended, or the content of an upload is known.
    pub fn wait_task(&self, task: u64, observer: &mut dyn Observer) -> Result<GroupReport> {
        let inner = self.inner()?;
        let wanted = inner.task(task)?;
        inner.running.wait_until(observer, || wanted.state() != TaskState::Running)?;
        // It went with the group, or will be found to have gone.
        if matches!(wanted.state(), TaskState::Running | TaskState::Cancelled)
            && let Some(error) = inner.verdict().filter(|error| error.kind() != Kind::Cancelled)
        {
            return Err(error);
        }
        let report = self.report()?;
        Ok(GroupReport {
            tasks: report.tasks.into_iter().filter(|other| other.task == task).collect(),
            ..report
        })
    }

    /// How it is now.
    pub fn report(&self) -> Result<GroupReport> {
        let inner = self.inner()?;
        let result = inner.running.result();
        let state = inner.shared.state();
        let mut tasks: Vec<TaskReport> = state.tasks.iter().map(|task| task.report()).collect();
        let is_closed = inner.shared.is_closed.load(Ordering::Relaxed);
        drop(state);
        let group_state = match (&result, inner.verdict.get()) {
            (Some(Ok(())), _) => TaskState::Done,
            (None, None) if is_closed => TaskState::Finalizing,
            (None, None) => TaskState::Running,
            // Ended before its end, whatever still goes on.
            (_, Some(error)) | (Some(Err(error)), None) => match error.kind() {
                Kind::Cancelled => TaskState::Cancelled,
                _ => TaskState::Failed,
            },
        };
        if matches!(group_state, TaskState::Failed | TaskState::Cancelled) {
            // They went with it.
            for task in tasks.iter_mut().filter(|task| !task.state.has_ended()) {
                task.state = TaskState::Cancelled;
            }
        }
        let failed = tasks.iter().filter(|task| task.state == TaskState::Failed).count();
        let counters = &inner.shared.call.counters;
        let done = counters.snapshot();
        let dedup = match &inner.engine {
            Engine::Downloads(_) => None,
            Engine::Uploads(uploads) => Some(uploads.totals().unwrap_or_else(|| sum(&tasks))),
        };
        Ok(GroupReport {
            state: group_state,
            bytes_total: done.bytes_total,
            bytes_completed: done.bytes_completed,
            bytes_network: done.bytes_network,
            bytes_reused: dedup.map_or(done.bytes_reused, |dedup| dedup.deduped_bytes),
            retries: counters.retries(),
            stalls: counters.stalls(),
            refreshes: counters.refreshes(),
            refetches: counters.refetches(),
            sources_dropped: counters.dropped(),
            failed: u32::try_from(failed).unwrap_or(u32::MAX),
            duration: inner.running.duration(),
            dedup,
            shards: (self.kind == GroupKind::Uploads).then(|| counters.shards.stats()),
            tasks,
        })
    }

    /// Cancels one task, or all of the group.
    pub fn cancel(&self, task: Option<u64>) -> Result<()> {
        let inner = self.inner()?;
        let Some(task) = task else {
            inner.judge(Error::cancelled());
            inner.shared.is_closed.store(true, Ordering::Relaxed);
            inner.shared.call.cancel();
            return Ok(());
        };
        let task = inner.task(task)?;
        task.cancel.cancel();
        match &inner.engine {
            Engine::Uploads(uploads) => uploads.cancelled(&task),
            // It needn't wait for its turn to end.
            Engine::Downloads(_) if !task.has_begun() => {
                inner.shared.ended(&task, Err(Error::cancelled()));
            }
            Engine::Downloads(_) => {}
        }
        Ok(())
    }

    /// Which way its files go.
    #[must_use]
    pub fn kind(&self) -> GroupKind {
        self.kind
    }

    /// Whether nothing has to move, as its caller has yet to add something.
    #[cfg(test)]
    pub(super) fn waits_for_its_caller(&self) -> bool {
        self.inner().unwrap().shared.call.counters.waits.is_any_allowed()
    }

    fn inner(&self) -> Result<&Inner> {
        self.inner.get_here("this group")
    }
}

/// What the uploads come to that have been cut.
fn sum(tasks: &[TaskReport]) -> DedupStats {
    let mut sum = DedupStats::default();
    for stats in tasks.iter().filter_map(|task| task.dedup.as_ref()) {
        sum += stats;
    }
    sum
}

impl Inner {
    fn task(&self, number: u64) -> Result<Arc<Task>> {
        let index = number.checked_sub(1).and_then(|index| usize::try_from(index).ok());
        let task = index.and_then(|index| self.shared.state().tasks.get(index).cloned());
        task.ok_or_else(|| Error::invalid("task", format!("{number} is no task of this group")))
    }

    /// Adds a task. Where the group has ended by itself, that is why there are none any more.
    fn add(
        &self,
        name: &str,
        bytes: u64,
        begin: impl FnOnce(&Arc<Task>) -> Result<()>,
    ) -> Result<u64> {
        if let Some(error) = self.verdict() {
            return Err(error);
        }
        // It may end between the two.
        let added = self.shared.add(name, bytes, begin);
        added.map_err(|error| self.verdict().unwrap_or(error))
    }

    /// The reason that counts of several for which the group was ended: the first.
    fn judge(&self, error: Error) -> Error {
        self.verdict.get_or_init(|| error).clone()
    }

    /// What ended since the group has, has ended for the group's reason.
    fn explain(&self, error: Error) -> Error {
        let is_cancelled = error.kind() == Kind::Cancelled;
        self.verdict().filter(|_| is_cancelled).unwrap_or(error)
    }

    /// Why it has ended before its end, if it has.
    fn verdict(&self) -> Option<Error> {
        self.verdict.get().cloned().or_else(|| self.running.failure())
    }
}

impl std::fmt::Debug for Group {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Group").field("kind", &self.kind).finish_non_exhaustive()
    }
}
