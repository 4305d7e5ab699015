//! xet-core's failures in our words.

use std::error::Error as StdError;
use std::io;
use std::path::Path;

use xet_client::ClientError;
use xet_data::error::DataError;

use super::token::Refresher;
use crate::model::error::{Error, Kind};
use crate::model::repo::Repo;

/// What an error says that it's about if xet-core can't use its files.
const CACHE: &str = "the Xet cache";

/// Whether a session failed at xet-core's own files.
pub(super) fn is_of_cache(error: &Error) -> bool {
    error.context().file.as_deref() == Some(CACHE)
}

/// The error for a session with the storage at `host` that broke. What the token refresh said comes
/// first: it is often the cause of the rest, and xet-core has lost most of it.
pub(super) fn explain(error: DataError, refresher: &Refresher, repo: &Repo, host: &str) -> Error {
    if let Some(failure) = refresher.take_failure() {
        return failure;
    }
    of_session(error, host).with(|c| c.repo = Some(repo.id().to_owned()))
}

/// The error for a local failure of xet-core while doing `what` to `path`.
pub(super) fn of_disk(error: DataError, what: &str, path: &Path) -> Error {
    match root::<io::Error>(&error).map(io::Error::kind) {
        Some(kind) => Error::io(what, path, io::Error::new(kind, error)),
        None => Error::internal(error),
    }
}

fn of_session(error: DataError, host: &str) -> Error {
    if let Some(status) = root::<reqwest::Error>(&error).and_then(reqwest::Error::status) {
        let status = status.as_u16();
        let (kind, sentence) = match status {
            401 => (Kind::Unauthorized, "refused the token"),
            403 => (Kind::Forbidden, "forbids the upload"),
            408 => (Kind::Timeout, "gave up waiting for the request"),
            409 | 412 => (Kind::Conflict, "has seen a change meanwhile"),
            429 => (Kind::RateLimited, "has reached its rate limit"),
            500..=599 => (Kind::ServerError, "failed"),
            _ => (Kind::BadRequest, "refused the request"),
        };
        let message = format!("Xet storage at {host} {sentence} (HTTP {status})");
        return Error::new(kind, message).with(|c| c.http_status = Some(status)).caused_by(error);
    }
    if let Some(cause) = root::<reqwest::Error>(&error) {
        let (kind, what) = if cause.is_timeout() {
            (Kind::Timeout, "sent no answer in time")
        } else {
            (Kind::Connection, "can't be reached, or the connection to it broke")
        };
        let cause = innermost(cause);
        return Error::new(kind, format!("Xet storage at {host} {what}: {cause}")).caused_by(error);
    }
    if let DataError::ClientError(ClientError::ReqwestMiddlewareError(cause)) = &error {
        // It hides reqwest's error and shows what is behind that.
        let cause = innermost(cause);
        let message = format!(
            "Xet storage at {host} can't be reached, or the connection to it broke: {cause}; check your \
             network and firewall"
        );
        return Error::new(Kind::Connection, message).caused_by(error);
    }
    if let Some(cause) = root::<io::Error>(&error) {
        let kind = cause.kind();
        let cause = io::Error::new(kind, cause.to_string());
        return Error::io("upload by way of", Path::new(CACHE), cause);
    }
    let text = error.to_string();
    Error::new(Kind::InvalidResponse, format!("the upload to Xet storage at {host} failed: {text}"))
        .caused_by(error)
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
        DataError::ClientError(ClientError::ReqwestError(cause, _)) => Some(cause),
        DataError::ClientError(ClientError::ReqwestMiddlewareError(cause)) => Some(cause),
        DataError::ClientError(ClientError::InternalError(cause)) => Some(&**cause),
        _ => None,
    }
}

/// The text of the innermost cause; reqwest's own text holds URLs.
fn innermost(error: &(dyn StdError + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    if cause.is::<reqwest::Error>() { "no further cause".to_owned() } else { cause.to_string() }
}
