//! The sessions of one attempt, one after the other.
//!
//! xet-core keeps some 270 bytes of each chunk until a session ends. So one that has taken
//! [`CHUNKS`] is followed by another: what it has is sent, and while storage registers that, the next
//! one is being fed. A file may go through many of them ([`parts`](super::parts)): what each has sent
//! is known to storage by the time a later one names it.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::RootCertStore;
use tokio::sync::mpsc;
use xet_core_structures::metadata_shard::file_structs::MDBFileInfo;
use xet_data::deduplication::DeduplicationMetrics;
use xet_data::error::DataError;
use xet_data::processing::FileUploadSession;
use xet_data::processing::configurations::TranslatorConfig;

use super::connections;
use super::sent::Sent;
use crate::call::Call;
use crate::model::error::{Error, Result};

/// Content that one session takes, in bytes, of files that it can take whole.
pub(in crate::upload::store) const CONTENT: u64 = 8 << 30;

/// Chunks that one session takes, but for the rest of a part, of a file that is larger than that: 4 GiB of
/// it, on average.
pub(super) const CHUNKS: usize = 64 << 10;

/// Sessions that have sent all, and wait to be registered: more would hold memory.
const WAITING: usize = 1;

/// Makes one session after the other.
pub(super) struct Sessions {
    settings: Arc<TranslatorConfig>,
    /// By their own connections.
    trusted: Arc<RootCertStore>,
    /// Those that haven't ended; the last one is being fed.
    alive: Mutex<Vec<Arc<FileUploadSession>>>,
    /// Bytes that those have sent that have ended.
    sent: AtomicU64,
    fed: mpsc::Sender<Arc<FileUploadSession>>,
}

/// Ends them.
pub(super) struct Ending(mpsc::Receiver<Arc<FileUploadSession>>);

/// What came of them, together.
#[derive(Default)]
pub(super) struct Outcome {
    pub(super) metrics: DeduplicationMetrics,
    pub(super) infos: Vec<MDBFileInfo>,
}

impl Sessions {
    /// The first session, and those that will follow, with these settings. Their own connections trust
    /// `trusted`.
    pub(super) async fn begin(
        settings: TranslatorConfig,
        trusted: Arc<RootCertStore>,
    ) -> Result<(Self, Ending), DataError> {
        let settings = Arc::new(settings);
        let first = connections::session(Arc::clone(&settings), &trusted).await?;
        let (fed, ending) = mpsc::channel(WAITING);
        let (alive, sent) = (Mutex::new(vec![first]), AtomicU64::new(0));
        Ok((Self { settings, trusted, alive, sent, fed }, Ending(ending)))
    }

    /// The one that is being fed.
    pub(super) fn current(&self) -> Result<Arc<FileUploadSession>> {
        self.alive().last().cloned().ok_or_else(ended)
    }

    /// Has all that the present one took sent, and goes on with another. Nobody else may be feeding it.
    pub(super) async fn follow(&self, fail: impl Fn(DataError) -> Error + Copy) -> Result<()> {
        let full = self.current()?;
        full.checkpoint().await.map_err(fail)?;
        let next = connections::session(Arc::clone(&self.settings), &self.trusted).await;
        let next = next.map_err(fail)?;
        // There is always one alive until the last one ends.
        self.alive().push(next);
        // Without a receiver, the upload has failed already, and this goes with it.
        self.fed.send(full).await.map_err(|_| ended())
    }

    /// Has `feeding` feed the sessions, and ends each when it has taken all of its content.
    pub(super) async fn run<T>(
        &self,
        ending: Ending,
        feeding: impl Future<Output = Result<T>>,
        sent: &mut Sent,
        call: &Call,
        fail: impl Fn(DataError) -> Error + Copy,
    ) -> Result<(T, Outcome)> {
        let Ending(mut ending) = ending;
        let feed = async {
            let fed = feeding.await?;
            self.fed.send(self.current()?).await.map_err(|_| ended())?;
            Ok::<_, Error>(fed)
        };
        let end = async {
            let mut outcome = Outcome::default();
            while let Some(session) = ending.recv().await {
                let (metrics, infos) =
                    Arc::clone(&session).finalize_with_file_info().await.map_err(fail)?;
                outcome.metrics.merge_in(&metrics);
                outcome.infos.extend(infos);
                // Before the next one clears it up.
                sent.note(call).await?;
                if self.ended(&session) {
                    break;
                }
            }
            Ok(outcome)
        };
        tokio::try_join!(feed, end)
    }

    /// True: it was the last.
    fn ended(&self, session: &Arc<FileUploadSession>) -> bool {
        let mut alive = self.alive();
        self.sent.fetch_add(sent_by(session), Ordering::Relaxed);
        alive.retain(|other| !Arc::ptr_eq(other, session));
        alive.is_empty()
    }

    /// Those that haven't ended, and how many bytes the others have sent.
    pub(super) fn look(&self) -> (Vec<Arc<FileUploadSession>>, u64) {
        let alive = self.alive();
        (alive.clone(), self.sent.load(Ordering::Relaxed))
    }

    /// Bytes that all of them have sent.
    pub(super) fn sent(&self) -> u64 {
        let (alive, sent) = self.look();
        alive.iter().fold(sent, |sum, session| sum + sent_by(session))
    }

    fn alive(&self) -> MutexGuard<'_, Vec<Arc<FileUploadSession>>> {
        // Nothing panics while it is held.
        self.alive.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn sent_by(session: &FileUploadSession) -> u64 {
    session.report().total_transfer_bytes_completed
}

fn ended() -> Error {
    Error::internal("a Xet session was fed after its end")
}
