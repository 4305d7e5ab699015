//! Newer routes of the CAS beside which there is an older one, and which of them a CAS hasn't got, as the calls on one
//! client have found out.
//!
//! A CAS without a route may say so in many ways, and a gateway before it in more: each refusal leads to the older
//! route, and if that serves, the newer one is left alone, so that not each xorb and each upload asks in vain.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::LEFT_ALONE;
use crate::model::error::{Error, Kind};

/// A route that one can do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Newer {
    /// Grants: content goes straight to what is behind the CAS. The older way is through the CAS.
    Grants,
    /// Version 2 of registering shards.
    Shards,
}

impl Newer {
    /// What one does without, for a log.
    fn name(self) -> &'static str {
        match self {
            Self::Grants => "send content straight to storage",
            Self::Shards => "register content by version 2",
        }
    }
}

/// How long a route is left alone that was refused by a CAS that is up. Servers are replaced by newer ones; and one
/// request an hour costs nothing.
const REFUSED: Duration = Duration::from_hours(1);

/// Until when each route at each host is left alone.
#[derive(Default)]
pub(crate) struct NewerRoutes(Mutex<HashMap<(String, Newer), Instant>>);

impl NewerRoutes {
    /// Whether the CAS at `host` may be asked by a route.
    pub(crate) fn is_open(&self, host: &str, route: Newer) -> bool {
        let until = self.lock().get(&(host.to_owned(), route)).copied();
        until.is_none_or(|until| Instant::now() >= until)
    }

    /// The CAS at `host` has refused a route with `error`, and served by the older one. Said once, unless that is the
    /// way in which a CAS says that it's an older one.
    pub(crate) fn refused(&self, host: &str, route: Newer, error: &Error) {
        let lasts = if error.is_transient() { LEFT_ALONE } else { REFUSED };
        let until = Instant::now() + lasts;
        let is_news = self.lock().insert((host.to_owned(), route), until).is_none();
        let is_older = matches!(error.context().http_status, Some(404 | 405 | 501));
        if is_news && !is_older {
            let what = route.name();
            tracing::warn!(host, %error, "Xet storage doesn't let this client {what}; it goes the older way");
        } else {
            tracing::debug!(host, ?route, %error, "the CAS has no such route");
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(String, Newer), Instant>> {
        // Every change leaves the map whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a status may mean that there is no such route: those that say so, and those of gateways that pass on only
/// what they know. What is about the token (401), or the pace (429), isn't about the route.
pub(crate) fn may_lack_route(status: u16) -> bool {
    matches!(status, 400 | 403 | 404 | 405 | 410 | 451 | 501)
}

/// Whether an error says that there may be no such route.
pub(crate) fn is_refused_route(error: &Error) -> bool {
    error.context().http_status.is_some_and(may_lack_route)
}

/// Whether an error is an answer of the CAS, or of whoever is before it, by which it doesn't serve a request: not that
/// it's out of reach, which it is by each route, nor that a token or a wait is at issue.
pub(crate) fn is_refusal(error: &Error) -> bool {
    let context = error.context();
    let is_answer = context.http_status.is_some() || error.kind() == Kind::InvalidResponse;
    let is_of_route = !matches!(context.http_status, Some(401 | 407 | 429));
    is_answer && is_of_route && context.hold.is_none() && !error.is_final()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "cas.example:443";

    fn answer(kind: Kind, status: u16) -> Error {
        Error::new(kind, "no").with(|c| c.http_status = Some(status))
    }

    /// A route that was refused is left alone, there and it alone.
    #[test]
    fn a_refused_route_is_left_alone() {
        let routes = NewerRoutes::default();
        assert!(routes.is_open(HOST, Newer::Grants));
        routes.refused(HOST, Newer::Grants, &answer(Kind::Forbidden, 403));
        assert!(!routes.is_open(HOST, Newer::Grants));
        assert!(routes.is_open(HOST, Newer::Shards));
        assert!(routes.is_open("other.example:443", Newer::Grants));
    }

    /// A failure that may pass is forgotten sooner than a refusal.
    #[test]
    fn what_may_pass_is_forgotten_soon() {
        let routes = NewerRoutes::default();
        routes.refused(HOST, Newer::Grants, &answer(Kind::ServerError, 500));
        routes.refused(HOST, Newer::Shards, &answer(Kind::Forbidden, 403));
        let until = |route| routes.lock()[&(HOST.to_owned(), route)];
        assert!(until(Newer::Grants) <= Instant::now() + LEFT_ALONE);
        assert!(until(Newer::Shards) > Instant::now() + LEFT_ALONE);
    }

    /// Who can't be reached, or wants another token or time, hasn't refused a route.
    #[test]
    fn only_answers_are_refusals() {
        for status in [400, 402, 403, 404, 405, 410, 413, 451, 500, 501, 502] {
            assert!(is_refusal(&answer(Kind::InvalidResponse, status)), "{status}");
        }
        for status in [401, 407, 429] {
            assert!(!is_refusal(&answer(Kind::Forbidden, status)), "{status}");
        }
        assert!(!is_refusal(&Error::new(Kind::Connection, "refused")));
        assert!(!is_refusal(&Error::new(Kind::Timeout, "silent")));
        assert!(!is_refusal(&Error::cancelled()));
    }
}
