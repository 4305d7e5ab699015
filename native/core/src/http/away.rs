//! Servers that are away for a moment: a name that can't be looked up yet, as in a container that starts before its
//! resolver, and a server that has answered before, and to which no connection can be made now, as while it's
//! restarted. Who waits for them is more patient than with what may never have been there, such as a wrong name or port.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use url::Url;

use super::fault::root_cause;
use super::origin::authority;
use crate::sys::resolver;

/// The servers that have answered the client, in one process.
#[derive(Debug, Default)]
pub(super) struct Answered(Mutex<HashSet<String>>);

impl Answered {
    /// The server at `url` has answered.
    pub(super) fn note(&self, url: &Url) {
        let server = authority(url);
        let mut servers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !servers.contains(&server) {
            servers.insert(server);
        }
    }

    /// Whether a request to `url`, for which no connection could be made, failed because the server is away.
    pub(super) fn is_away(&self, error: &reqwest::Error, url: &Url) -> bool {
        let has_answered =
            || self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(&authority(url));
        let is_unknown_yet = || error.is_dns() && resolver::is_temporary(&root_cause(error));
        is_unknown_yet() || has_answered()
    }
}
