//! xet-core's failures in our words.

use std::error::Error as StdError;
use std::fmt::Display;
use std::io;
use std::path::Path;

use url::Url;
use xet_client::ClientError;
use xet_data::error::DataError;

use super::connections::{self, Redirected};
use super::settings::Shards;
use super::token::Refresher;
use crate::http::Http;
use crate::http::origin::{authority, bare};
use crate::hub::refusal::quotable;
use crate::model::error::{Error, Kind};
use crate::model::repo::Repo;

/// What an error says that it's about if xet-core can't use its files.
const CACHE: &str = "the Xet cache";

/// Whether a session failed at xet-core's own files.
pub(super) fn is_of_cache(error: &Error) -> bool {
    error.context().file.as_deref() == Some(CACHE)
}

/// Whose session it is that fails.
pub(super) struct Whose<'a> {
    pub(super) http: &'a Http,
    /// Where its storage is.
    pub(super) cas: &'a Url,
    pub(super) refresher: &'a Refresher,
    pub(super) repo: &'a Repo,
    pub(super) shards: Shards,
}

impl Whose<'_> {
    /// The error for a session that broke. What the token refresh said comes first: it is often the cause
    /// of the rest, and xet-core has lost most of it.
    pub(super) fn explain(&self, error: DataError) -> Error {
        let error = self.refresher.take_failure().unwrap_or_else(|| self.of_session(error));
        error.with(|c| {
            c.repo.get_or_insert_with(|| self.repo.id().to_owned());
        })
    }

    fn of_session(&self, error: DataError) -> Error {
        if self.shards == Shards::Lent && is_without_shards_v2(&error) {
            return connections::no_way(&authority(self.cas), self.http.proxy(self.cas));
        }
        let request = root::<reqwest::Error>(&error);
        if let Some(status) = request.and_then(reqwest::Error::status) {
            return self.refused(status.as_u16()).caused_by(error);
        }
        if let Some(redirect) = root::<Redirected>(&error) {
            return self.nonsense(None, redirect).caused_by(error);
        }
        if let Some(cause) = request {
            let explained = if cause.is_decode() {
                self.nonsense(None, "what isn't the JSON that storage speaks")
            } else {
                self.http.fault(cause, self.cas)
            };
            return explained.caused_by(error);
        }
        if let Some(cause) = root::<io::Error>(&error) {
            let kind = cause.kind();
            let cause = io::Error::new(kind, cause.to_string());
            return Error::io("upload by way of", Path::new(CACHE), cause);
        }
        // It quotes the answer, which may be a page.
        let text = quotable(&error.to_string(), Some(&self.refresher.current()));
        self.nonsense(None, format!("what can't be understood ({text})")).caused_by(error)
    }

    /// The error for an answer with this status. What storage is asked is what it, or the Hub, said to ask: it
    /// isn't for the caller to correct.
    fn refused(&self, status: u16) -> Error {
        let (kind, sentence) = match status {
            401 => (Kind::Unauthorized, "refused the token"),
            403 => (Kind::Forbidden, "forbids the upload"),
            407 => {
                if let Some(refused) = self.http.refused_by_proxy(self.cas) {
                    return refused;
                }
                return self
                    .nonsense(Some(status), "the demand of a proxy for a password (HTTP 407)");
            }
            408 => (Kind::Timeout, "gave up waiting for the request"),
            409 | 412 => (Kind::Conflict, "has seen a change meanwhile"),
            429 => (Kind::RateLimited, "has reached its rate limit"),
            500..=599 => (Kind::ServerError, "failed"),
            _ => return self.nonsense(Some(status), format!("HTTP {status}")),
        };
        let message = format!("Xet storage at {} {sentence} (HTTP {status})", authority(self.cas));
        Error::new(kind, message).with(|c| c.http_status = Some(status))
    }

    /// The error for an answer that makes no sense. It isn't asked for again: xet-core has done that.
    fn nonsense(&self, status: Option<u16>, what: impl Display) -> Error {
        let message = format!(
            "Xet storage at {} answered an upload with {what}; a gateway, proxy or login page may answer in \
             its place",
            authority(self.cas)
        );
        Error::new(Kind::InvalidResponse, message).with(|c| {
            c.http_status = Some(status.unwrap_or(200));
            c.url = Some(bare(self.cas));
        })
    }
}

/// Whether storage doesn't know version 2 of the interface for shards.
fn is_without_shards_v2(error: &DataError) -> bool {
    let DataError::ClientError(ClientError::ReqwestError(cause, url)) = error else { return false };
    let status = cause.status().map(|status| status.as_u16());
    matches!(status, Some(404 | 501)) && url.ends_with("/v2/shards")
}

/// The error for a local failure of xet-core while doing `what` to `path`.
pub(super) fn of_disk(error: DataError, what: &str, path: &Path) -> Error {
    match root::<io::Error>(&error).map(io::Error::kind) {
        Some(kind) => Error::io(what, path, io::Error::new(kind, error)),
        None => Error::internal(error),
    }
}

/// The first error of type `T` in the chain of causes. xet-core keeps some causes in fields that it
/// doesn't show as sources.
fn root<T: StdError + 'static>(error: &DataError) -> Option<&T> {
    let first: &(dyn StdError + 'static) = hidden(error).unwrap_or(error);
    std::iter::successors(Some(first), |cause| (**cause).source())
        .find_map(|cause| cause.downcast_ref::<T>())
}

fn hidden(error: &DataError) -> Option<&(dyn StdError + 'static)> {
    match error {
        // The second shows what is behind reqwest's error, and not that.
        DataError::ClientError(
            ClientError::ReqwestError(cause, _)
            | ClientError::ReqwestMiddlewareError(reqwest_middleware::Error::Reqwest(cause)),
        ) => Some(cause),
        DataError::ClientError(ClientError::ReqwestMiddlewareError(cause)) => Some(cause),
        DataError::ClientError(ClientError::InternalError(cause)) => Some(&**cause),
        _ => None,
    }
}
