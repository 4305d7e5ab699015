//! Which servers behind the Hub are out of reach, or of no use, as the calls on one client have found out.
//!
//! A network may let a client reach the Hub and not the hosts behind it. Where plain HTTP can take over,
//! not every file is to find that out by itself, each with all of its attempts: a server from which
//! nothing comes is left alone for a while, and so is one from which only what is wrong comes. A failure among
//! successes is everyday life, and no outage.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use xet_core_structures::merklehash::MerkleHash;

use super::LEFT_ALONE;
use crate::model::error::{Error, Kind};

/// What is known of each host. Of one that gives xorbs and plain content, and takes content, it's kept apart: it may
/// be of use for one of them.
pub(crate) struct Outages {
    servers: Mutex<HashMap<String, Server>>,
    /// What is to be told of a host, and of how it fails.
    tell: fn(&str, &Error),
}

#[derive(Default)]
struct Server {
    /// When something came last.
    came: Option<Instant>,
    /// Since when nothing does, and how many attempts were in vain.
    failing: Option<(Instant, u32)>,
    /// What was wrong of all that came, since something was right: parts of xorbs, by their first chunks.
    wrong: Vec<(MerkleHash, u32)>,
    /// Until when it is left alone, and why.
    left_alone: Option<(Instant, Error)>,
}

/// What makes failures an outage: so many, over so long a time. A server that is restarted is back
/// sooner.
const SEVERAL: u32 = 3;
const LASTING: Duration = Duration::from_secs(2);

impl Outages {
    /// Of Xet's servers.
    pub(crate) fn of_xet() -> Self {
        Self { servers: Mutex::default(), tell: tell_of_xet }
    }

    /// Of those that take content past the CAS.
    pub(crate) fn of_sending() -> Self {
        Self { servers: Mutex::default(), tell: tell_of_sending }
    }

    /// Of those that have plain content.
    pub(crate) fn of_content() -> Self {
        Self { servers: Mutex::default(), tell: tell_of_content }
    }

    /// Something came from `host`.
    pub(crate) fn came(&self, host: &str) {
        let now = Some(Instant::now());
        let server = Server { came: now, ..Server::default() };
        let before = self.lock().insert(host.to_owned(), server);
        if before.is_some_and(|before| before.left_alone.is_some()) {
            tracing::info!(host, "a server that was left alone is of use again");
        }
    }

    /// Something comes from `host`, which nobody has looked at yet: no more is known of what was wrong.
    pub(super) fn comes(&self, host: &str) {
        if self.lock().get(host).is_none_or(|server| server.wrong.is_empty()) {
            self.came(host);
        }
    }

    /// What came from `host` for `what` is wrong, and was when it came before. One that is so is damaged; several, and
    /// nothing that is right, are the host's doing, or that of something on the way to it.
    pub(super) fn gave_wrong(&self, host: &str, what: (MerkleHash, u32), error: &Error) {
        let mut servers = self.lock();
        let server = servers.entry(host.to_owned()).or_default();
        if !server.wrong.contains(&what) {
            server.wrong.push(what);
        }
        if server.wrong.len() >= SEVERAL as usize {
            let message = format!("what {host} gives is not what was asked for");
            // What is wrong of this one says nothing to the next.
            let all = Error::new(Kind::InvalidResponse, format!("{message}: {}", error.message()));
            server.leave_alone(host, &all, self.tell);
        }
    }

    /// Whether something came from `host` a short while ago, and nothing has failed since.
    pub(crate) fn is_in_reach(&self, host: &str) -> bool {
        let servers = self.lock();
        servers.get(host).is_some_and(|server| {
            server.failing.is_none() && server.came.is_some_and(|at| at.elapsed() < LEFT_ALONE)
        })
    }

    /// An attempt to get something from `host` that was `begun` then has failed, with nothing to show
    /// for it.
    pub(super) fn failed(&self, host: &str, begun: Instant, error: &Error) {
        let mut servers = self.lock();
        let server = servers.entry(host.to_owned()).or_default();
        // What came meanwhile, for others, shows that it's this attempt's bad luck.
        let since = server.came.map_or(begun, |came| came.max(begun));
        let (since, failures) = server.failing.unwrap_or((since, 0));
        server.failing = Some((since, failures + 1));
        if error.is_final() || (failures + 1 >= SEVERAL && since.elapsed() >= LASTING) {
            server.leave_alone(host, error, self.tell);
        }
    }

    /// All attempts that one has at `host` were in vain.
    pub(crate) fn gave_up(&self, host: &str, error: &Error) {
        self.lock().entry(host.to_owned()).or_default().leave_alone(host, error, self.tell);
    }

    /// Why nobody is to ask `host` now. When it has been left alone for long enough, whoever asks here
    /// first is the one to find out how it is, and the others go on without it until that is known.
    pub(crate) fn reason(&self, host: &str) -> Option<Error> {
        let mut servers = self.lock();
        let (until, error) = servers.get_mut(host)?.left_alone.as_mut()?;
        let now = Instant::now();
        if now < *until {
            return Some(error.clone());
        }
        *until = now + LEFT_ALONE;
        None
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Server>> {
        // Every change leaves the map whole.
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Server {
    fn leave_alone(&mut self, host: &str, error: &Error, tell: fn(&str, &Error)) {
        if self.left_alone.is_some() {
            return;
        }
        let known = error.clone().with(|c| c.is_known = true);
        self.left_alone = Some((Instant::now() + LEFT_ALONE, known));
        tell(host, error);
    }
}

pub(super) fn tell_of_xet(host: &str, error: &Error) {
    // Who answers is in reach, and no proxy leads to a better one.
    if let Some(status) = error.context().http_status {
        tracing::warn!(
            host, %error,
            "a server of Xet's, or something on the way to it, answers HTTP {status}: files come over plain HTTP instead, until that \
             passes; XET_FFI_TRANSPORT=http does without it"
        );
    } else if error.kind() == Kind::InvalidResponse {
        tracing::warn!(
            host, %error,
            "a server of Xet's, or something on the way to it, gives what is wrong: files come over plain HTTP instead, until \
             that passes; XET_FFI_TRANSPORT=http does without it"
        );
    } else {
        tracing::warn!(
            host, %error,
            "a server of Xet's is out of reach: files come over plain HTTP instead, until it answers again; \
             let this machine reach {host}, or name a proxy that does (HTTPS_PROXY), or set \
             XET_FFI_TRANSPORT=http to do without it"
        );
    }
}

fn tell_of_sending(host: &str, error: &Error) {
    tracing::warn!(
        host, %error,
        "storage behind the CAS is of no use: content goes by way of the CAS, which may be slower, until that passes; let \
         this machine reach {host}, or name a proxy that does (HTTPS_PROXY), or set \
         HF_XET_CLIENT_LEGACY_DIRECT_XORB_UPLOAD=1 to do without it"
    );
}

fn tell_of_content(host: &str, error: &Error) {
    tracing::warn!(host, %error, "a server of content is of no use; files fail sooner until it is");
}

#[cfg(test)]
mod tests {
    use xet_core_structures::merklehash::compute_data_hash;

    use super::*;

    const HOST: &str = "storage.example:443";

    fn error() -> Error {
        Error::new(Kind::Connection, "can't connect to storage.example:443")
    }

    fn long_ago() -> Instant {
        Instant::now().checked_sub(LASTING).unwrap()
    }

    /// Several failures over some time, with nothing between them, are an outage: of that host, and until
    /// something comes from it.
    #[test]
    fn what_fails_again_and_again_is_out_of_reach() {
        let outages = Outages::of_xet();
        for _ in 1..SEVERAL {
            outages.failed(HOST, long_ago(), &error());
            assert!(outages.reason(HOST).is_none());
        }
        outages.failed(HOST, Instant::now(), &error());
        let reason = outages.reason(HOST).unwrap();
        assert!(reason.context().is_known && !reason.is_transient());
        assert!(outages.reason("other.example:443").is_none());
        outages.came(HOST);
        assert!(outages.reason(HOST).is_none());
        assert!(outages.is_in_reach(HOST));
    }

    /// Many failures at one moment are a hiccup, and so are some among successes.
    #[test]
    fn a_hiccup_is_no_outage() {
        let outages = Outages::of_xet();
        for _ in 0..100 {
            outages.failed(HOST, Instant::now(), &error());
        }
        assert!(outages.reason(HOST).is_none());
        for _ in 0..100 {
            outages.came(HOST);
            outages.failed(HOST, long_ago(), &error());
            outages.failed(HOST, long_ago(), &error());
            outages.failed(HOST, long_ago(), &error());
        }
        assert!(outages.reason(HOST).is_none());
        assert!(!outages.is_in_reach(HOST));
    }

    /// What can't be another one in a moment needs no second look.
    #[test]
    fn a_certificate_is_known_at_once() {
        let outages = Outages::of_xet();
        outages.failed(HOST, Instant::now(), &Error::new(Kind::Certificate, "expired"));
        assert_eq!(outages.reason(HOST).unwrap().kind(), Kind::Certificate);
    }

    /// What is wrong again and again isn't asked of that host, however much of it comes; one thing that is wrong is
    /// no more than that, and one that is right among them shows that it's not the host.
    #[test]
    fn what_gives_only_what_is_wrong_is_left_alone() {
        let wrong =
            |name: &[u8]| ((compute_data_hash(name), 0), Error::new(Kind::InvalidResponse, "no"));
        let gives = |outages: &Outages, name: &[u8]| {
            let (what, error) = wrong(name);
            outages.comes(HOST);
            outages.gave_wrong(HOST, what, &error);
        };
        let outages = Outages::of_xet();
        for _ in 0..10 {
            gives(&outages, b"one");
        }
        gives(&outages, b"two");
        assert!(outages.reason(HOST).is_none());
        outages.came(HOST);
        gives(&outages, b"three");
        assert!(outages.reason(HOST).is_none());
        gives(&outages, b"one");
        gives(&outages, b"two");
        let reason = outages.reason(HOST).unwrap();
        assert!(reason.context().is_known && reason.message().contains(HOST));
        outages.comes(HOST);
        assert!(outages.reason(HOST).is_some());
        outages.came(HOST);
        assert!(outages.reason(HOST).is_none());
    }

    /// After a while one finds out whether the server is back, and only one.
    #[test]
    fn one_looks_again() {
        let outages = Outages::of_xet();
        outages.gave_up(HOST, &error());
        if let Some((until, _)) = &mut outages.lock().get_mut(HOST).unwrap().left_alone {
            *until = Instant::now();
        }
        assert!(outages.reason(HOST).is_none());
        assert!(outages.reason(HOST).is_some());
    }
}
