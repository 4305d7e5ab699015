//! What an upload is fed with: contents that are all known when it begins, or that are given while it runs.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OnceCell;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_util::sync::CancellationToken;
use xet_core_structures::merklehash::MerkleHash;
use xet_data::deduplication::DeduplicationMetrics;

use super::super::super::borrowed::Borrowed;
use super::super::super::content::UploadContent;
use super::super::super::item::Item;
use super::super::super::stage;
use crate::call::Call;
use crate::call::progress::FileProgress;
use crate::model::error::{Error, Result};
use crate::sys::identity::FileIdentity;

/// The SHA-256 that is told with content, in lower-case hex.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ContentSha256 {
    /// Computed while it's read.
    Computed,
    /// The same, and it must be this one: it was computed before.
    Expected(String),
    /// This one, whatever the content has: the caller says so.
    Given(String),
    /// None.
    None,
}

/// Where content comes from.
#[derive(Clone, Debug)]
pub(crate) enum InputSource {
    /// A file on this machine. Links are followed.
    Path(PathBuf),
    /// Memory, of the caller's or our own.
    Memory(Borrowed),
    /// What can be read already, such as a stream that was staged.
    Content(UploadContent),
}

/// Who is told what becomes of one content. An upload that was misled begins again, and tells the same again.
pub(crate) trait Told: Send + Sync {
    /// It's being read, and has so many bytes.
    fn began(&self, size: u64, progress: &Arc<FileProgress>);
    /// All of it is cut. It can be had once the whole upload has succeeded.
    fn cut(&self, content: &CutContent);
    /// It has failed, or was cancelled, and isn't a part of the upload any more.
    fn failed(&self, error: Error);
}

/// What is known of content when it has been cut.
#[derive(Clone, Debug)]
pub(crate) struct CutContent {
    pub(crate) hash: MerkleHash,
    pub(crate) size: u64,
    /// None, if none was wanted.
    pub(crate) sha256: Option<String>,
    /// What of it storage had, and what is new. Nothing is sent yet, as far as these know.
    pub(crate) metrics: DeduplicationMetrics,
}

/// One content on its way. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Input(Arc<Inner>);

struct Inner {
    name: Arc<str>,
    source: InputSource,
    sha256: ContentSha256,
    /// Who is told of it, and whose it is alone if it fails; `None`: the whole upload fails with it.
    told: Option<Arc<dyn Told>>,
    cancel: CancellationToken,
    /// Opened once: what is read by later attempts must be what the first one has read.
    opened: OnceCell<Opened>,
    is_given_up: AtomicBool,
}

/// What can be read.
struct Opened {
    content: UploadContent,
    progress: Arc<FileProgress>,
}

/// Why content isn't stored.
pub(super) enum Fault {
    /// Because of what it is, or since it was cancelled. Others may be stored.
    OfContent(Error),
    /// Because of the upload as a whole.
    OfUpload(Error),
}

/// An error is the upload's, unless somebody says otherwise.
impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::OfUpload(error)
    }
}

impl Input {
    /// Content that fails alone, and can be cancelled before it has been cut.
    pub(crate) fn new(
        name: Arc<str>,
        source: InputSource,
        sha256: ContentSha256,
        told: Arc<dyn Told>,
        cancel: CancellationToken,
    ) -> Self {
        let (told, opened, is_given_up) = (Some(told), OnceCell::new(), AtomicBool::new(false));
        Self(Arc::new(Inner { name, source, sha256, told, cancel, opened, is_given_up }))
    }

    /// A file of a batch.
    pub(super) fn of_item(item: &Item) -> Self {
        let (content, progress) = (item.content.clone(), Arc::clone(&item.progress));
        let known = item.sha256.clone();
        Self(Arc::new(Inner {
            name: item.path.as_str().into(),
            source: InputSource::Content(content.clone()),
            sha256: known.map_or(ContentSha256::Computed, ContentSha256::Expected),
            told: None,
            cancel: CancellationToken::new(),
            opened: OnceCell::new_with(Some(Opened { content, progress })),
            is_given_up: AtomicBool::new(false),
        }))
    }

    /// What it is called, for people.
    pub(super) fn name(&self) -> &str {
        &self.0.name
    }

    pub(super) fn sha256(&self) -> &ContentSha256 {
        &self.0.sha256
    }

    /// Its content, and who counts it. Looks at it, the first time; `cache` is where it may be staged.
    pub(super) async fn open(
        &self,
        call: &Call,
        cache: &Path,
    ) -> Result<(&UploadContent, &Arc<FileProgress>)> {
        let opened = self.0.opened.get_or_try_init(|| async {
            let content = match &self.0.source {
                InputSource::Path(path) => stage::content_of(call, path.clone(), cache).await?,
                InputSource::Memory(memory) => UploadContent::of_memory(memory.clone()),
                InputSource::Content(content) => content.clone(),
            };
            let progress = call.counters.begin_file(&self.0.name, content.size());
            if let Some(told) = &self.0.told {
                told.began(content.size(), &progress);
            }
            Ok::<_, Error>(Opened { content, progress })
        });
        let Opened { content, progress } = opened.await?;
        Ok((content, progress))
    }

    /// The file on this machine that it comes from, if it is one, and its size.
    pub(crate) fn file(&self) -> Option<(PathBuf, FileIdentity, u64)> {
        let content = &self.0.opened.get()?.content;
        content.file().map(|(path, identity)| (path.to_owned(), identity, content.size()))
    }

    /// All of it can be had.
    pub(crate) fn finish(&self) {
        if let Some(opened) = self.0.opened.get() {
            opened.progress.finish();
        }
    }

    /// Fails if it's not wanted any more.
    pub(super) fn check(&self) -> Result<(), Fault> {
        if self.0.cancel.is_cancelled() {
            return Err(Fault::OfContent(Error::cancelled()));
        }
        Ok(())
    }

    /// What `waiting` gives, unless it's not wanted any more before.
    pub(super) async fn unless_cancelled<T>(
        &self,
        waiting: impl Future<Output = Result<T>>,
    ) -> Result<T, Fault> {
        tokio::select! {
            biased;
            () = self.0.cancel.cancelled() => Err(Fault::OfContent(Error::cancelled())),
            done = waiting => Ok(done?),
        }
    }

    /// Tells that it's cut.
    pub(super) fn is_cut(&self, content: &CutContent) {
        if let Some(told) = &self.0.told {
            told.cut(content);
        }
    }

    /// It isn't to be stored, if that's its own affair; else the upload fails.
    pub(super) fn fail(&self, error: Error) -> Result<()> {
        let Some(told) = &self.0.told else { return Err(error) };
        self.0.is_given_up.store(true, Ordering::Relaxed);
        told.failed(error);
        Ok(())
    }

    /// Whether it has failed, in an earlier attempt.
    pub(super) fn is_given_up(&self) -> bool {
        self.0.is_given_up.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Input").field(&self.0.name).finish()
    }
}

/// The contents of an upload. All that were given are kept, for an attempt after the one that takes them first.
pub(crate) struct Supply {
    given: Mutex<Vec<Input>>,
    /// Those that are still to be given; `None`: there are no more.
    coming: Option<tokio::sync::Mutex<UnboundedReceiver<Input>>>,
}

impl Supply {
    /// All that there is.
    pub(super) fn of_batch(inputs: Vec<Input>) -> Self {
        Self { given: Mutex::new(inputs), coming: None }
    }

    /// What is given, until nobody gives more.
    pub(crate) fn coming(inputs: UnboundedReceiver<Input>) -> Self {
        Self { given: Mutex::default(), coming: Some(tokio::sync::Mutex::new(inputs)) }
    }

    /// That of this number, from 0, when it's there; `None`: there are no more.
    pub(crate) async fn get(&self, number: usize) -> Option<Input> {
        if let Some(input) = self.known(number) {
            return Some(input);
        }
        let mut coming = self.coming.as_ref()?.lock().await;
        let input = coming.recv().await?;
        self.given.lock().unwrap_or_else(PoisonError::into_inner).push(input.clone());
        Some(input)
    }

    /// Waits until there is one. False: there is none.
    pub(crate) async fn has_any(&self) -> bool {
        self.get(0).await.is_some()
    }

    fn known(&self, number: usize) -> Option<Input> {
        self.given.lock().unwrap_or_else(PoisonError::into_inner).get(number).cloned()
    }
}
