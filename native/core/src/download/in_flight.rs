//! Contents that calls of this process are bringing in: whoever wants one of them, too, waits for it and makes
//! its file from the finished one, wherever that is.
//!
//! Whoever waits holds nothing that others wait for: no permit, and no lock. So the order is: a content, then its
//! permits and its file's lock.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::call::Call;
use crate::call::progress::Counters;
use crate::hub::{Hub, Identity};
use crate::model::error::{Error, Kind};
use crate::model::repo::Entry;
use crate::sys::fork;

/// How often to look whether whoever is at work on a content gets on.
const EVERY: Duration = Duration::from_millis(500);

/// In which the looks have their place.
const ROOM: Duration = Duration::from_secs(5);

/// How often somebody else may fail to bring in a content before one doesn't wait for the next: what fails
/// for everybody must not do so one after the other.
const FAILURES: u32 = 2;

/// How often a file that somebody else has made may be of no use before one doesn't wait for the next: each time,
/// at least one of those who wait has got his own.
const LOSSES: u32 = 16;

/// What a content is known by: the hash that the Hub published, its size, and who asks which Hub for it. Another
/// account may not have the right to it, and has to ask for itself.
type Key = (String, u64, Identity);

/// The contents, and who is at work on each: one after the other, of whom each may go faster than the one before
/// it. Used while nobody forks: a child could wait for ever for a thread that it doesn't have. What its parent is
/// at work on is none of its.
static HELD: Mutex<BTreeMap<Key, Vec<Held>>> = Mutex::new(BTreeMap::new());

/// Somebody who is at work on a content.
#[derive(Clone)]
struct Held {
    process: u32,
    /// Of the call that is.
    counters: Arc<Counters>,
    /// The bytes per second that its client is limited to, if it is.
    limit: Option<NonZeroU32>,
    end: watch::Receiver<Option<End>>,
}

impl Held {
    /// Whether who is limited to `limit` may wait for him: who may go faster doesn't wait for who may not.
    fn is_as_fast_as(&self, limit: Option<NonZeroU32>) -> bool {
        self.limit.is_none_or(|own| limit.is_some_and(|limit| limit <= own))
    }
}

/// What became of a content.
#[derive(Clone, Debug, PartialEq, Eq)]
enum End {
    /// It's in this file.
    Done(PathBuf),
    Failed,
}

/// The right to bring in a content while others of this process wait for it, until it's dropped.
pub(super) struct Claim {
    key: Key,
    process: u32,
    end: watch::Sender<Option<End>>,
}

/// What came of the wish to bring in a content.
pub(super) enum Turn {
    /// Nobody else is at it. `None`: somebody may be, and isn't waited for.
    Own(Option<Claim>),
    /// Somebody is: [wait](Others::wait) for him.
    Others(Others),
}

impl Claim {
    /// The content is in the file at `path`.
    pub(super) fn done(self, path: PathBuf) {
        let _ = self.end.send(Some(End::Done(path)));
    }

    /// Whoever had it failed with `error`. What is wrong with his own disk says nothing of the content: then the next
    /// one takes over, as for one who was cancelled.
    pub(super) fn failed(self, error: &Error) {
        if is_of_the_content(error.kind()) {
            let _ = self.end.send(Some(End::Failed));
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if self.process == std::process::id() {
            let own = self.end.subscribe();
            with_held(|held| {
                let Some(all) = held.get_mut(&self.key) else { return };
                all.retain(|one| !one.end.same_channel(&own));
                if all.is_empty() {
                    held.remove(&self.key);
                }
            });
        }
    }
}

/// The wait for a content that others are at work on.
pub(super) struct Wait {
    call: Call,
    key: Key,
    /// "another download of a.bin".
    what: Arc<str>,
    patience: Duration,
    limit: Option<NonZeroU32>,
    failures: u32,
    lost: u32,
}

/// Somebody who is at work on it.
pub(super) struct Others(Held);

impl Wait {
    /// A wait that hasn't begun, for as long as whoever has the content gets on. If nothing of his call moves for
    /// `patience`, one goes on by oneself: better twice the work than none for ever.
    pub(super) fn new(call: &Call, hub: &Hub, entry: &Entry, patience: Duration) -> Self {
        let what = format!("another download of the content of {}", entry.path).into();
        let key = (entry.etag().to_owned(), entry.size, hub.identity());
        Self {
            call: call.clone(),
            key,
            what,
            patience,
            limit: hub.speed_limit(),
            failures: 0,
            lost: 0,
        }
    }

    /// Asks for the content.
    pub(super) fn turn(&self) -> Turn {
        let process = std::process::id();
        let (end, receiver) = watch::channel(None);
        let counters = Arc::clone(&self.call.counters);
        let own = Held { process, counters, limit: self.limit, end: receiver };
        let other = with_held(|held| {
            let all = held.entry(self.key.clone()).or_default();
            all.retain(|one| one.process == process);
            let fastest = all.last().filter(|one| one.is_as_fast_as(self.limit)).cloned();
            if fastest.is_none() {
                all.push(own);
            }
            fastest
        });
        match other {
            None => Turn::Own(Some(Claim { key: self.key.clone(), process, end })),
            Some(_) if self.failures >= FAILURES || self.lost >= LOSSES => Turn::Own(None),
            Some(other) => Turn::Others(Others(other)),
        }
    }

    /// Whether somebody else has begun since who is faster than he whose end that is.
    fn is_overtaken(&self, end: &watch::Receiver<Option<End>>) -> bool {
        with_held(|held| {
            let fastest = held.get(&self.key).and_then(|all| all.last());
            fastest.is_some_and(|fastest| !fastest.end.same_channel(end))
        })
    }

    /// The file that somebody has made of it can't be taken.
    pub(super) fn is_of_no_use(&mut self) {
        self.lost += 1;
    }

    /// Waits until another [`turn`](Self::turn) may be one's own, or for the file that has the content then.
    pub(super) async fn until_over(&mut self, others: Others) -> Option<PathBuf> {
        let Others(Held { counters, mut end, .. }) = others;
        let waiting = self.call.counters.waits.begin(Arc::clone(&self.what), self.patience + ROOM);
        let (mut seen, mut moved) = (counters.movement(), Instant::now());
        loop {
            let is_over = match tokio::time::timeout(EVERY, end.changed()).await {
                Ok(changed) => changed.is_err() || end.borrow().is_some(),
                Err(_) => false,
            };
            let ended = end.borrow().clone();
            match ended {
                Some(End::Done(path)) => return Some(path),
                Some(End::Failed) => {
                    self.failures += 1;
                    return None;
                }
                // He was cancelled.
                None if is_over => return None,
                None if self.is_overtaken(&end) => return None,
                None => {}
            }
            let now = counters.movement();
            if now != seen {
                (seen, moved) = (now, Instant::now());
                waiting.allow(self.patience + ROOM);
            } else if moved.elapsed() >= self.patience {
                tracing::warn!(waiting_for = %self.what, "it does nothing; going on without it");
                self.failures = FAILURES;
                return None;
            }
        }
    }
}

/// Whether a failure is the same for everybody who wants the content.
fn is_of_the_content(kind: Kind) -> bool {
    !matches!(
        kind,
        Kind::Cancelled
            | Kind::FilesRemoved
            | Kind::Internal
            | Kind::Io
            | Kind::LocalPermission
            | Kind::NoSpace
            | Kind::ResourceLimit
            | Kind::UnsafePath
    )
}

fn with_held<T>(act: impl FnOnce(&mut BTreeMap<Key, Vec<Held>>) -> T) -> T {
    fork::hold_off(|| act(&mut HELD.lock().unwrap_or_else(PoisonError::into_inner)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::options::ClientOptions;
    use crate::config::{Config, Environment};
    use crate::http::Http;
    use crate::model::repo::{RepoPath, Storage};

    const LONG: Duration = Duration::from_hours(1);

    /// A content that no other test has.
    fn entry(name: &str) -> Entry {
        let path = RepoPath::new(name).unwrap();
        Entry { path, size: 1, oid: format!("of {name}"), storage: Storage::Git }
    }

    /// A hub as `options` have it.
    fn hub(options: &ClientOptions) -> Hub {
        let environment = Environment::of([("HOME", "/nonexistent")]);
        let config = Arc::new(Config::resolve_in(options, &environment).unwrap());
        Hub::new(Arc::clone(&config), Arc::new(Http::new(&config).unwrap()))
    }

    fn with(token: &str, max_bytes_per_second: Option<u64>) -> Hub {
        let token = Some(token.to_owned());
        hub(&ClientOptions { token, max_bytes_per_second, ..ClientOptions::default() })
    }

    fn wait(name: &str, patience: Duration) -> Wait {
        let hub = hub(&ClientOptions::default());
        Wait::new(&Call::default(), &hub, &entry(name), patience)
    }

    fn own(wait: &Wait) -> Claim {
        let Turn::Own(Some(claim)) = wait.turn() else { panic!("somebody is at it") };
        claim
    }

    fn others(wait: &Wait) -> Others {
        let Turn::Others(others) = wait.turn() else { panic!("nobody is at it") };
        others
    }

    /// All who wait hear of the file, and so does who comes late; distinct contents don't meet.
    #[tokio::test]
    async fn what_one_has_finished_is_everybodys() {
        let (first, mut second, mut third) = (wait("a", LONG), wait("a", LONG), wait("a", LONG));
        let claim = own(&first);
        drop(own(&wait("b", LONG)));
        let (one, other) = (others(&second), others(&third));
        claim.done(PathBuf::from("/a"));
        assert_eq!(second.until_over(one).await.unwrap(), PathBuf::from("/a"));
        assert_eq!(third.until_over(other).await.unwrap(), PathBuf::from("/a"));
        drop(own(&second));
    }

    /// Who was cancelled leaves his place to the next one, for whom the rest waits.
    #[tokio::test]
    async fn the_next_one_takes_over() {
        let (first, mut second, third) = (wait("c", LONG), wait("c", LONG), wait("c", LONG));
        let claim = own(&first);
        let waited = others(&second);
        drop(claim);
        assert_eq!(second.until_over(waited).await, None);
        let _taken_over = own(&second);
        others(&third);
    }

    /// What fails for one after the other isn't waited for any longer.
    #[tokio::test]
    async fn failures_do_not_stand_in_line() {
        let mut last = wait("d", LONG);
        for _ in 0..FAILURES {
            let claim = own(&wait("d", LONG));
            let waited = others(&last);
            claim.failed(&Error::new(Kind::Connection, "broken"));
            assert_eq!(last.until_over(waited).await, None);
        }
        let _claim = own(&wait("d", LONG));
        assert!(matches!(last.turn(), Turn::Own(None)));
    }

    /// A full disk is its owner's, and the next one is waited for like the first.
    #[tokio::test]
    async fn a_disk_says_nothing_of_the_content() {
        let mut last = wait("g", LONG);
        for kind in [Kind::NoSpace, Kind::LocalPermission, Kind::Io] {
            let claim = own(&wait("g", LONG));
            let waited = others(&last);
            claim.failed(&Error::new(kind, "no"));
            assert_eq!(last.until_over(waited).await, None);
        }
        let _claim = own(&wait("g", LONG));
        others(&last);
    }

    /// What one account may have isn't everybody's: another one asks for itself, and so does who asks another Hub.
    #[tokio::test]
    async fn accounts_do_not_share() {
        let wait = |hub: &Hub| Wait::new(&Call::default(), hub, &entry("h"), LONG);
        let mirror =
            ClientOptions { endpoint: Some("http://mirror".into()), ..ClientOptions::default() };
        let all = [&ClientOptions::default(), &mirror].map(hub);
        let _claims = [&with("hf_one", None), &with("hf_two", None), &all[0], &all[1]]
            .map(|hub| own(&wait(hub)));
        others(&wait(&with("hf_one", None)));
    }

    /// A slow client holds back slower ones. For who may go faster the others wait, those that have begun to wait
    /// included; and who was slow is still waited for if the fast one fails.
    #[tokio::test]
    async fn who_may_go_faster_overtakes() {
        let wait = |limit| Wait::new(&Call::default(), &with("hf_a", limit), &entry("i"), LONG);
        let slow = own(&wait(Some(1_000)));
        let mut early = wait(Some(1_000));
        let waited = others(&early);
        others(&wait(Some(500)));
        let _faster = own(&wait(Some(2_000)));
        let fastest = own(&wait(None));
        for limit in [None, Some(2_000), Some(500)] {
            others(&wait(limit));
        }
        assert_eq!(early.until_over(waited).await, None);
        let waited = others(&early);
        drop(slow);
        others(&wait(None));
        fastest.done(PathBuf::from("/i"));
        assert_eq!(early.until_over(waited).await.unwrap(), PathBuf::from("/i"));
        others(&wait(Some(2_000)));
        own(&wait(None));
    }

    /// Who does nothing is passed by; whose call gets on isn't.
    #[tokio::test]
    async fn only_who_gets_on_is_waited_for() {
        let busy = Call::default();
        let first = Wait::new(&busy, &hub(&ClientOptions::default()), &entry("e"), LONG);
        let claim = own(&first);
        let mut second = wait("e", EVERY * 3);
        let waited = others(&second);
        let counters = Arc::clone(&second.call.counters);
        let waiting = tokio::spawn(async move { (second.until_over(waited).await, second) });
        for _ in 0..8 {
            busy.beat();
            tokio::time::sleep(EVERY).await;
            assert!(!waiting.is_finished());
        }
        assert!(counters.waits.describe().starts_with("another download of the content of e"));
        let (found, second) = waiting.await.unwrap();
        assert_eq!(found, None);
        assert!(matches!(second.turn(), Turn::Own(None)), "it isn't the passer's to have");
        drop(claim);
    }

    /// What a parent is at work on is nothing to a child, which has nobody to wait for.
    #[test]
    fn a_child_waits_for_nobody() {
        let claim = own(&wait("f", LONG));
        // SAFETY: the child takes no lock that isn't guarded against forks, and leaves with _exit.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let is_free = matches!(wait("f", LONG).turn(), Turn::Own(Some(_)));
            // SAFETY: ends the process at once.
            unsafe { libc::_exit(i32::from(!is_free)) }
        }
        let mut status = -1;
        // SAFETY: `child` is our child, `status` is valid.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        assert_eq!(status, 0);
        others(&wait("f", LONG));
        drop(claim);
    }
}
