//! The uploads of a group: contents into a storage, from files, memory, and streams that the caller writes.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;

use super::Part;
use super::dedup::DedupStats;
use super::group::Shared;
use super::task::Task;
use super::upload::{Adder, NewContent};
use crate::call::file_task::writing_time;
use crate::call::progress::FileProgress;
use crate::call::waits::Waiting;
use crate::model::error::{Error, Kind, Result};
use crate::upload::{Borrowed, ContentSha256, CutContent, InputSource, Staging, Told};

/// A file to upload.
#[derive(Debug)]
pub struct NewUpload {
    /// What reports call it.
    pub name: String,
    /// Where its content is from.
    pub source: UploadSource,
    /// Where its SHA-256 is from.
    pub sha256: UploadSha256,
}

/// Where the content of an upload is from.
#[derive(Debug)]
pub enum UploadSource {
    /// A file on this machine.
    Path(PathBuf),
    /// Memory.
    Memory(Borrowed),
    /// What the caller [writes](super::Group::write).
    Stream,
}

/// Where the SHA-256 of an upload is from, which storage keeps beside it.
#[derive(Clone, Debug)]
pub enum UploadSha256 {
    /// From the content.
    Computed,
    /// From the caller: 64 hex digits.
    Given(String),
    /// Nowhere: it has none.
    None,
}

impl UploadSha256 {
    /// One that the caller gives, who knows it as `field`.
    pub fn given(field: &str, digits: &str) -> Result<Self> {
        let digits = digits.trim().to_ascii_lowercase();
        if digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Ok(Self::Given(digits));
        }
        Err(Error::invalid(field, format!("{digits:?} is no SHA-256, which has 64 hex digits")))
    }
}

impl From<UploadSha256> for ContentSha256 {
    fn from(sha256: UploadSha256) -> Self {
        match sha256 {
            UploadSha256::Computed => Self::Computed,
            UploadSha256::Given(digits) => Self::Given(digits),
            UploadSha256::None => Self::None,
        }
    }
}

/// The uploads of a group.
pub(super) struct Uploads {
    shared: Arc<Shared>,
    adder: Adder,
    runtime: Handle,
    /// Where long streams are staged.
    cache: PathBuf,
    /// How long the disk may take for that, beside what so many bytes take.
    standstill: Duration,
    /// Streams that haven't been ended, by their tasks' numbers.
    streams: Mutex<BTreeMap<u64, Arc<Writing>>>,
    /// What all of them came to.
    totals: Arc<OnceLock<DedupStats>>,
}

/// A stream that the caller writes.
struct Writing {
    task: Arc<Task>,
    sha256: ContentSha256,
    /// `None`: it has been ended, or has broken. Whoever works on it may be held up by the disk; nobody else must be.
    staging: tokio::sync::Mutex<Option<Staging>>,
    /// Nothing has to move while the caller is to write.
    _waiting: Waiting,
}

impl Uploads {
    /// Those of the group that `shared` is of, and the work on them, until they're closed and done.
    pub(super) fn new(
        part: &Part,
        shared: &Arc<Shared>,
    ) -> Result<(Self, impl Future<Output = Result<()>> + Send + use<>)> {
        let (adder, upload) = part.upload(&shared.call);
        let totals: Arc<OnceLock<DedupStats>> = Arc::default();
        let (told, group) = (Arc::clone(&totals), Arc::clone(shared));
        let work = async move {
            match upload.run().await {
                Ok(uploaded) => {
                    tracing::debug!(contents = uploaded.contents, "all that was added is there");
                    let _ = told.set(uploaded.metrics.into());
                    group.all_ended(&Ok(()));
                    Ok(())
                }
                Err(error) => {
                    group.all_ended(&Err(error.clone()));
                    Err(error)
                }
            }
        };
        let uploads = Self {
            shared: Arc::clone(shared),
            adder,
            runtime: part.runtime()?.clone(),
            cache: part.config().xet_cache.clone(),
            standstill: part.deadlines().standstill(),
            streams: Mutex::default(),
            totals,
        };
        Ok((uploads, work))
    }

    /// Has one begun.
    pub(super) fn begin(&self, task: &Arc<Task>, upload: NewUpload) -> Result<()> {
        let NewUpload { source, sha256, .. } = upload;
        let source = match source {
            UploadSource::Path(path) => InputSource::Path(path),
            UploadSource::Memory(memory) => InputSource::Memory(memory),
            UploadSource::Stream => {
                self.open(task, sha256.into());
                return Ok(());
            }
        };
        self.add(task, source, sha256.into())
    }

    fn add(&self, task: &Arc<Task>, source: InputSource, sha256: ContentSha256) -> Result<()> {
        let told = Teller { shared: Arc::clone(&self.shared), task: Arc::clone(task) };
        self.adder.add(NewContent {
            name: Arc::clone(&task.name),
            source,
            sha256,
            told: Arc::new(told),
            cancel: task.cancel.clone(),
        })
    }

    fn open(&self, task: &Arc<Task>, sha256: ContentSha256) {
        let call = &self.shared.call;
        let what = format!("its caller to write {}", task.name);
        let writing = Writing {
            task: Arc::clone(task),
            sha256,
            staging: tokio::sync::Mutex::new(Some(Staging::new(call.clone(), self.cache.clone()))),
            _waiting: call.counters.waits.begin_for_caller(what),
        };
        self.streams().insert(task.number, Arc::new(writing));
    }

    /// Writes more of a stream. Blocking.
    pub(super) fn write(&self, task: &Task, data: &[u8]) -> Result<()> {
        let stream = self.stream(task)?;
        self.work_on(&stream, data.len(), async |mut staging| {
            staging.write(data).await?;
            Ok((Some(staging), ()))
        })
    }

    /// A stream has all its bytes. Blocking.
    pub(super) fn end_stream(&self, task: &Arc<Task>) -> Result<()> {
        let stream = self.stream(task)?;
        let content =
            self.work_on(&stream, 0, async |staging| Ok((None, staging.finish().await?)))?;
        // Whoever takes it out decides what becomes of it.
        self.streams().remove(&task.number).ok_or_else(|| has_ended(task))?;
        self.add(task, InputSource::Content(content), stream.sha256.clone())
    }

    /// Has the caller's thread work on a stream, for which `bytes` are written, until that is done, or the task has ended,
    /// or the disk has had its time. What `work` gives back of the stream is there to be gone on with. One that has failed
    /// isn't, since a piece of it may be missing: its task fails.
    fn work_on<T>(
        &self,
        stream: &Writing,
        bytes: usize,
        work: impl AsyncFnOnce(Staging) -> Result<(Option<Staging>, T)>,
    ) -> Result<T> {
        let (task, patience) = (&stream.task, self.standstill + writing_time(bytes as u64));
        let working = async {
            let mut place = stream.staging.lock().await;
            let Some(staging) = place.take() else { return Ok(None) };
            let (staging, done) = work(staging).await?;
            *place = staging;
            Ok(Some(done))
        };
        let done = self.runtime.block_on(async {
            tokio::select! {
                biased;
                () = task.cancel.cancelled() => Err(Error::cancelled()),
                done = working => done,
                () = tokio::time::sleep(patience) => {
                    let message =
                        format!("the disk has taken {patience:?} to stage more of {}", task.name);
                    Err(Error::new(Kind::Timeout, message))
                }
            }
        });
        match done {
            Ok(Some(done)) if !task.state().has_ended() => Ok(done),
            Ok(_) => Err(has_ended(task)),
            // With its task, which may have failed by then.
            Err(error) if error.kind() == Kind::Cancelled => Err(task.failure().unwrap_or(error)),
            Err(error) => {
                self.streams().remove(&task.number);
                self.shared.ended(task, Err(error.clone()));
                Err(error)
            }
        }
    }

    /// A task was cancelled. One that isn't under way yet ends here.
    pub(super) fn cancelled(&self, task: &Arc<Task>) {
        let is_open = self.streams().remove(&task.number).is_some();
        if is_open {
            self.shared.ended(task, Err(Error::cancelled()));
        }
    }

    /// There will be no more. What isn't complete fails.
    pub(super) fn close(&self) {
        let open = std::mem::take(&mut *self.streams());
        for stream in open.into_values() {
            let task = &stream.task;
            if self.shared.call.is_cancelled() {
                self.shared.ended(task, Err(Error::cancelled()));
                continue;
            }
            let message = format!(
                "the stream {:?} wasn't ended before its group was closed: nothing of it is uploaded",
                &*task.name
            );
            self.shared.ended(task, Err(Error::new(Kind::InvalidArgument, message)));
        }
        self.adder.close();
    }

    /// What all of them came to, if that is known.
    pub(super) fn totals(&self) -> Option<DedupStats> {
        self.totals.get().copied()
    }

    fn stream(&self, task: &Task) -> Result<Arc<Writing>> {
        self.streams().get(&task.number).cloned().ok_or_else(|| has_ended(task))
    }

    fn streams(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Writing>>> {
        // Each change leaves it whole.
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The error for a task that is no stream which can be written to.
fn has_ended(task: &Task) -> Error {
    if let Some(failure) = task.failure() {
        return failure;
    }
    if task.cancel.is_cancelled() {
        return Error::cancelled();
    }
    Error::invalid("task", format!("{} is no stream, or has been ended", task.number))
}

/// Tells a task what becomes of its content.
struct Teller {
    shared: Arc<Shared>,
    task: Arc<Task>,
}

impl Told for Teller {
    fn began(&self, size: u64, progress: &Arc<FileProgress>) {
        self.task.counts(progress);
        // An upload that was misled tells it again.
        if self.task.has_size(size) {
            self.shared.has_bytes(size);
        }
    }

    fn cut(&self, content: &CutContent) {
        self.task.knows(Some(content.hash), Some(content.size));
        self.task.is_cut(content.sha256.clone(), content.metrics.into());
        self.shared.wake();
    }

    fn failed(&self, error: Error) {
        self.shared.ended(&self.task, Err(error));
    }
}
