//! Files out of a storage, by the Xet hashes of their content.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use xet_core_structures::merklehash::MerkleHash;

use super::group::Shared;
use super::kept::{self, Place};
use super::task::{Task, TaskState};
use super::twins::{self, Twins};
use super::{Part, entry_of};
use crate::cache::LockWait;
use crate::call::Call;
use crate::call::file_task::disk_time;
use crate::call::scheduler::{Gate, Permit};
use crate::call::seldom::Seldom;
use crate::cas::Cas;
use crate::download::{Job, Local, Proof, Sources, fetch, still_right};
use crate::model::error::{Error, Kind, Result};
use crate::model::repo::Entry;
use crate::reuse::Index;
use crate::sys::files::{Durability, Staged};
use crate::sys::{copy, files, rename};

/// The pause between two times that a process removes what nobody has come back for.
const TIDIED: Duration = Duration::from_mins(1);

/// A file of at most so many bytes waits for answers more than for bytes, and waits beside many others: nobody has
/// listed the files of a group, so each asks for itself where its bytes are.
const SMALL: u64 = 1 << 20;

/// A file that is wanted.
#[derive(Clone, Debug)]
pub struct Download {
    /// The Xet hash of its content.
    pub hash: MerkleHash,
    /// In bytes, if it's known.
    pub size: Option<u64>,
    /// Where it goes. What a [`Group`](super::Group) works with is absolute.
    pub path: PathBuf,
}

/// The downloads of a group.
pub(super) struct Downloads {
    /// `None`: there will be no more.
    queues: Mutex<Option<Queues>>,
}

/// To whoever begins them as they have their turn. Small files don't wait behind large ones.
struct Queues {
    small: UnboundedSender<Queued>,
    large: UnboundedSender<Queued>,
}

/// A download, and the task that it is.
pub(super) type Queued = (Arc<Task>, Download);

impl Downloads {
    /// Those of the group that `shared` is of, and the work on them, until they're closed and done.
    pub(super) fn new(
        part: &Part,
        shared: &Arc<Shared>,
    ) -> Result<(Self, impl Future<Output = Result<()>> + Send + use<>)> {
        let (small, small_wanted) = mpsc::unbounded_channel();
        let (large, large_wanted) = mpsc::unbounded_channel();
        let bringer = Arc::new(Bringer {
            shared: Arc::clone(shared),
            cas: Arc::new(part.cas(&shared.call)?),
            reuse: part.reuse(),
            xet_cache: part.config().xet_cache.clone(),
            kept_limit: part.config().incomplete_bytes,
            tidied: Arc::clone(&part.session.tidied),
            twins: Twins::default(),
        });
        let queues = Mutex::new(Some(Queues { small, large }));
        Ok((Self { queues }, bringer.run(small_wanted, large_wanted)))
    }

    /// Has one begun when it has its turn.
    pub(super) fn begin(&self, task: Arc<Task>, download: Download) -> Result<()> {
        let queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        let is_small = download.size.is_some_and(|size| size <= SMALL);
        let queue = queues.as_ref().map(|q| if is_small { &q.small } else { &q.large });
        let sent = queue.is_some_and(|queue| queue.send((task, download)).is_ok());
        if sent { Ok(()) } else { Err(Error::cancelled()) }
    }

    /// There will be no more.
    pub(super) fn close(&self) {
        *self.queues.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Who brings the files of one group.
struct Bringer {
    shared: Arc<Shared>,
    cas: Arc<Cas>,
    reuse: Option<Arc<Index>>,
    xet_cache: PathBuf,
    /// What may stay of content that nobody comes back for, in bytes.
    kept_limit: u64,
    tidied: Arc<Seldom>,
    twins: Twins,
}

impl Bringer {
    async fn run(
        self: Arc<Self>,
        small: UnboundedReceiver<Queued>,
        large: UnboundedReceiver<Queued>,
    ) -> Result<()> {
        self.tidy().await?;
        let scheduler = &self.call().scheduler;
        let (begin, mut admitted) = mpsc::channel(1);
        let feeding = async {
            tokio::try_join!(
                self.feed(small, &scheduler.requests, begin.clone()),
                self.feed(large, &scheduler.files, begin),
            )
        };
        let mut feeding = std::pin::pin!(feeding);
        let (mut is_fed, mut running) = (false, JoinSet::new());
        loop {
            tokio::select! {
                fed = &mut feeding, if !is_fed => {
                    fed?;
                    is_fed = true;
                }
                Some((task, download, permit)) = admitted.recv() => {
                    running.spawn(Arc::clone(&self).bring_all(task, download, permit));
                }
                Some(ended) = running.join_next() => ended.map_err(Error::internal)?,
                else => return Ok(()),
            }
        }
    }

    /// Gives on what is wanted as there is room for it.
    async fn feed(
        &self,
        mut wanted: UnboundedReceiver<Queued>,
        gate: &Arc<Gate>,
        begin: mpsc::Sender<(Arc<Task>, Download, Permit)>,
    ) -> Result<()> {
        let mut next = None;
        loop {
            let (task, download) = match next.take() {
                Some(twin) => twin,
                None => match wanted.recv().await {
                    Some((task, _)) if task.state().has_ended() => continue,
                    Some(wanted) => match self.twins.first(wanted) {
                        Some(first) => first,
                        None => continue,
                    },
                    None => return Ok(()),
                },
            };
            let what = format!("its turn to bring in {}", task.name);
            let permit = tokio::select! {
                biased;
                () = task.cancel.cancelled() => {
                    self.shared.ended(&task, Err(Error::cancelled()));
                    next = self.twins.next(&download.hash);
                    continue;
                }
                permit = self.call().turn(gate, what) => permit?,
            };
            task.begins();
            if begin.send((task, download, permit)).await.is_err() {
                return Err(Error::internal("nobody begins downloads"));
            }
        }
    }

    /// Brings a file, and then, one after the other, those of the same content that have been wanted meanwhile.
    async fn bring_all(self: Arc<Self>, task: Arc<Task>, download: Download, permit: Permit) {
        let hash = download.hash;
        let mut done = None;
        let (mut next, mut permit) = (Some((task, download)), Some(permit));
        while let Some((task, download)) = next {
            task.begins();
            self.bring_task(&task, &download, permit.take(), done.as_deref()).await;
            if task.state() == TaskState::Done {
                done = Some(download.path);
            }
            next = self.twins.next(&hash);
        }
    }

    /// Brings a file. `permit` is its turn, if it has had that; `twin` another file of the same content that was brought
    /// before.
    async fn bring_task(
        &self,
        task: &Arc<Task>,
        download: &Download,
        permit: Option<Permit>,
        twin: Option<&Path>,
    ) {
        let brought = tokio::select! {
            biased;
            () = task.cancel.cancelled() => Err(Error::cancelled()),
            brought = self.bring(task, download, permit, twin) => brought,
        };
        let brought = brought.map_err(|error| {
            error.with(|c| {
                c.file.get_or_insert_with(|| task.name.to_string());
            })
        });
        self.shared.ended(task, brought);
    }

    async fn bring(
        &self,
        task: &Arc<Task>,
        download: &Download,
        permit: Option<Permit>,
        twin: Option<&Path>,
    ) -> Result<()> {
        if let Some(twin) = twin
            && self.copy(task, download, twin).await?
        {
            return Ok(());
        }
        let permit = if let Some(permit) = permit {
            permit
        } else {
            let what = format!("its turn to bring in {}", task.name);
            self.call().turn(self.gate(download.size.unwrap_or(u64::MAX)), what).await?
        };
        let size = if let Some(size) = download.size {
            size
        } else {
            let size = self.cas.size(&download.hash, &self.call().counters).await?;
            task.knows(None, Some(size));
            self.shared.has_bytes(size);
            size
        };
        let entry = Arc::new(entry_of(download.hash, size, Some(&download.path))?);
        let wanted = Wanted { hash: download.hash, entry, path: download.path.clone() };
        let brought = self.bring_to(task, &wanted, download.size, permit).await;
        if !brought.as_ref().is_err_and(|error| error.kind() == Kind::NoSpace) {
            return brought;
        }
        // What is kept in case that somebody comes back for it isn't worth that this can't come.
        if self.at_place(task, &wanted, Place::make_room).await? == 0 {
            self.at_place(task, &wanted, Place::make_way).await?;
            return brought;
        }
        tracing::info!(task = task.number, name = %task.name, "the disk was full; again, with room");
        let what = format!("its turn to bring in {}", task.name);
        let permit = self.call().turn(self.gate(size), what).await?;
        let brought = self.bring_to(task, &wanted, download.size, permit).await;
        if brought.is_err() {
            self.at_place(task, &wanted, Place::make_way).await?;
        }
        brought
    }

    /// Makes a short file from `twin`. False: it has to come as any other, which also shows what is in its way.
    async fn copy(&self, task: &Arc<Task>, download: &Download, twin: &Path) -> Result<bool> {
        let (task, wanted, twin) = (Arc::clone(task), download.clone(), twin.to_owned());
        let (call, shared) = (self.call().clone(), Arc::clone(&self.shared));
        let what = format!("the disk to copy {}", task.name);
        let copy = move || {
            let Some(content) = twins::short_content(&twin, &wanted.hash, &call)? else {
                return Ok(false);
            };
            let size = content.len() as u64;
            if wanted.size.is_some_and(|said| said != size) {
                return Ok(false);
            }
            let path = destination(&wanted.path)?;
            let staged = Staged::write(files::parent(&path), &content, Durability::Synced)?;
            if !task.commits() {
                return Err(Error::cancelled());
            }
            let named = staged.with_mode_of(&path).rename(&path);
            named.inspect_err(|_| task.is_thrown_back())?;
            if wanted.size.is_none() {
                task.knows(None, Some(size));
                shared.has_bytes(size);
            }
            let progress = call.counters.begin_file(&task.name, size);
            task.counts(&progress);
            progress.skip();
            call.counters.take_ended(&task.name);
            shared.ended(&task, Ok(()));
            Ok(true)
        };
        match self.call().blocking(what, copy).await {
            Err(error) if error.kind() != Kind::Cancelled => {
                tracing::debug!(%error, "a file isn't copied from another one of its group");
                Ok(false)
            }
            copied => copied,
        }
    }

    /// Has something done where the content comes, of which nobody here is at work.
    async fn at_place<T: Send + 'static>(
        &self,
        task: &Task,
        wanted: &Wanted,
        work: impl FnOnce(&Place) -> T + Send + 'static,
    ) -> Result<T> {
        let (wanted, cache, limit) = (wanted.clone(), self.xet_cache.clone(), self.kept_limit);
        let work = move || wanted.place(&cache, limit).map(|(_, place)| work(&place));
        self.call().blocking(format!("the disk to make room for {}", task.name), work).await
    }

    /// Brings a file in, as far as there is room for it. The size is as the caller has `said`.
    async fn bring_to(
        &self,
        task: &Arc<Task>,
        wanted: &Wanted,
        said: Option<u64>,
        permit: Permit,
    ) -> Result<()> {
        let (hash, size) = (wanted.hash, wanted.entry.size);
        let Begun { job, path, place, mut in_flight, opened } =
            self.begin(task, wanted, permit).await?;
        let local = self.local(size);
        let begun = Instant::now();
        let (cas, sharing) = (Some(&self.cas), self.cas.sharing());
        let sources = Sources { cas, plain: None, local: local.as_ref(), sharing };
        let fetched = fetch(&job, hash, &sources).await;
        if fetched.is_ok() && size <= SMALL && job.task.progress.counters().network() > 0 {
            self.call().scheduler.small_file_came(begun.elapsed());
        }
        let dropped = local.as_ref().map_or(0, |local| local.dropped());
        job.task.progress.counters().add_dropped(dropped);
        let proof = match fetched {
            Ok(proof) => proof,
            Err(error) => {
                let error = self.cas.unless_sizes_differ(&hash, said, error, self.call()).await;
                let give_up = move || {
                    place.give_up(&job.partial);
                    Ok(())
                };
                self.call()
                    .blocking(format!("the disk to clean up for {}", task.name), give_up)
                    .await?;
                return Err(error);
            }
        };
        // From here on the disk works, not the network: the next large file may begin.
        if opened.is_some() {
            in_flight = None;
        }
        let (task, cancel, shared) =
            (Arc::clone(task), task.cancel.clone(), Arc::clone(&self.shared));
        let counters = Arc::clone(&self.call().counters);
        let what: Arc<str> = format!("the disk to keep {}", task.name).into();
        let disk = Arc::clone(&what);
        let keep = move || {
            let _waiting = counters.waits.begin(disk, disk_time(size));
            job.partial.sync()?;
            still_right(&job, proof)?;
            // The disk may have taken its time. Who has cancelled it counts on what was there before.
            if !task.commits() {
                return Err(Error::cancelled());
            }
            install(job.partial.path(), &path, &cancel).inspect_err(|_| task.is_thrown_back())?;
            if let (Proof::Merkle(rule), Some(local)) = (proof, local) {
                local.remember(&job, &hash, &path, rule);
            }
            job.partial.discard_journal();
            job.partial.remove_abandoned();
            job.task.progress.finish();
            counters.take_ended(job.task.entry.path.as_str());
            place.leave();
            // Here, as nobody may be left who learns that this has ended.
            shared.ended(&task, Ok(()));
            Ok(())
        };
        self.call().blocking(what, keep).await?;
        drop((in_flight, opened));
        Ok(())
    }

    /// Takes the lock of the content, and what has come of it. While somebody else has the lock, the permits are given
    /// back, as others may get on with them.
    async fn begin(&self, task: &Arc<Task>, wanted: &Wanted, permit: Permit) -> Result<Begun> {
        let (call, entry) = (self.call(), &wanted.entry);
        let what = format!("a look at what is here of {}", task.name);
        let patience = self.cas.deadlines().longest() * 4;
        // Known from the first look on.
        let place = Arc::new(OnceLock::<Place>::new());
        let signs = Arc::clone(&place);
        let others = format!("another download of the content of {}", task.name);
        let signs = move || signs.get().map(Place::signs_of_life);
        let mut wait = LockWait::new(call, others, patience, signs);
        let mut in_flight = permit;
        loop {
            let opened = self.open_turn(task, entry.size).await?;
            let (found, wanted, take) = (Arc::clone(&place), wanted.clone(), wait.attempt());
            let (of_call, cache, limit) = (call.clone(), self.xet_cache.clone(), self.kept_limit);
            let attempt = move || {
                let (path, place) = wanted.place(&cache, limit)?;
                let place = found.get_or_init(|| place);
                let lock = place.lock();
                let Some(lock) = take(&lock)? else { return Ok(Err(lock)) };
                let partial = place.partial(&lock)?;
                let leftover = place.leftover(&lock, wanted.entry.size);
                let job = Job::open(wanted.entry, partial, leftover, Arc::new(lock), of_call)?;
                Ok(Ok((job, path, place.clone())))
            };
            match call.blocking(what.clone(), attempt).await? {
                Ok((job, path, place)) => {
                    task.counts(&job.task.progress);
                    return Ok(Begun { job, path, place, in_flight: Some(in_flight), opened });
                }
                Err(taken) => {
                    drop((in_flight, opened));
                    wait.until_free(taken).await?;
                }
            }
            let what = format!("its turn to bring in {}", task.name);
            in_flight = call.turn(self.gate(entry.size), what).await?;
        }
    }

    /// What a large file needs besides its turn.
    async fn open_turn(&self, task: &Task, size: u64) -> Result<Option<Permit>> {
        if size <= SMALL {
            return Ok(None);
        }
        let what = format!("its turn to open {}", task.name);
        self.call().turn(&self.call().scheduler.open, what).await.map(Some)
    }

    fn gate(&self, size: u64) -> &Arc<Gate> {
        let scheduler = &self.call().scheduler;
        if size <= SMALL { &scheduler.requests } else { &scheduler.files }
    }

    /// The reuse index, as far as it's for a file of this size.
    fn local(&self, size: u64) -> Option<Arc<Local>> {
        let index = self.reuse.as_ref().filter(|_| Index::is_for(size))?;
        Some(Arc::new(Local::new(Arc::clone(index), true, None)))
    }

    /// Removes what nobody has come back for. Not for each group, since there may be one for each file.
    async fn tidy(&self) -> Result<()> {
        if !self.tidied.is_due(TIDIED) {
            return Ok(());
        }
        let (cache, limit) = (self.xet_cache.clone(), self.kept_limit);
        let what = "a look at what is kept of other downloads";
        let tidy = move || {
            kept::tidy(&cache, limit);
            Ok(())
        };
        self.call().blocking(what, tidy).await
    }

    fn call(&self) -> &Call {
        &self.shared.call
    }
}

/// A file whose content may come.
struct Begun {
    job: Job,
    /// Where it goes.
    path: PathBuf,
    /// Where it's kept meanwhile.
    place: Place,
    in_flight: Option<Permit>,
    opened: Option<Permit>,
}

/// A content, and the file that it's wanted for.
#[derive(Clone)]
struct Wanted {
    hash: MerkleHash,
    entry: Arc<Entry>,
    /// Absolute.
    path: PathBuf,
}

impl Wanted {
    /// The file that is to be replaced or made, and where its content comes.
    fn place(&self, xet_cache: &Path, limit: u64) -> Result<(PathBuf, Place)> {
        let path = destination(&self.path)?;
        let place = Place::of(xet_cache, files::parent(&path), self.hash, limit)?;
        Ok((path, place))
    }
}

/// The file that is to be replaced or made, once links are followed.
fn destination(path: &Path) -> Result<PathBuf> {
    let path = followed(path.to_owned())?;
    match fs::metadata(&path) {
        Ok(found) if !found.is_file() => {
            let what = if found.is_dir() { "a folder" } else { "no regular file" };
            let error = io::Error::new(io::ErrorKind::InvalidInput, format!("it is {what}"));
            Err(Error::io("replace", &path, error))
        }
        Ok(_) => Ok(path),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            let folder = files::parent(&path);
            let there = fs::metadata(folder).map_err(|e| Error::io("write to", folder, e))?;
            if there.is_dir() {
                return Ok(path);
            }
            let error = io::Error::new(io::ErrorKind::NotADirectory, "it is no folder");
            Err(Error::io("write to", folder, error))
        }
        Err(e) => Err(Error::io("look at", &path, e)),
    }
}

/// The file that a link leads to, be it there or not.
fn followed(mut path: PathBuf) -> Result<PathBuf> {
    const MOST_LINKS: usize = 40;
    for _ in 0..MOST_LINKS {
        match fs::read_link(&path) {
            Ok(target) => path = files::parent(&path).join(target),
            // It's no link, or can't be looked at, which shows later.
            Err(_) => return Ok(path),
        }
    }
    Err(Error::io("follow", &path, io::Error::other("its links never end")))
}

/// Gives finished content its name. A file that is replaced keeps its permissions.
fn install(partial: &Path, path: &Path, cancel: &CancellationToken) -> Result<()> {
    files::copy_mode(path, partial);
    match rename::replace(partial, path) {
        // What looked like one disk is two: a folder that is mounted twice.
        Err(e) if e.kind() == io::ErrorKind::CrossesDevices => {
            copy::to_name(partial, path, cancel)?;
            files::discard(partial);
            Ok(())
        }
        renamed => renamed.map_err(|e| Error::name("rename to", path, e)),
    }
}

/// The hash of 64 hex digits that the caller knows as `field`.
pub fn content_hash(field: &str, digits: &str) -> Result<MerkleHash> {
    let digits = digits.trim();
    let is_hash = digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_hexdigit());
    let hash = is_hash.then(|| MerkleHash::from_hex(&digits.to_ascii_lowercase()).ok()).flatten();
    hash.ok_or_else(|| {
        let message = format!("{field}: {digits:?} is no Xet hash, which has 64 hex digits");
        Error::new(Kind::InvalidArgument, message).with(|c| c.field = Some(field.to_owned()))
    })
}
