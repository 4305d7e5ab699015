//! A file's bytes over plain HTTP, from any offset.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};
use reqwest::header::{
    CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, HeaderMap, HeaderValue, RANGE,
};
use reqwest::{Method, Response, StatusCode};

use super::{Hub, routes};
use crate::call::progress::Counters;
use crate::http::Follow;
use crate::http::body::{self, nonsense};
use crate::model::error::Result;
use crate::model::repo::{CommitId, Repo, RepoPath};

/// A file's bytes, on their way.
pub struct Content {
    /// The offset of the stream's first byte: what was asked for, or 0 if the server doesn't do
    /// ranges.
    pub starts_at: u64,
    /// The size of the whole file, if the server says it. What the listing says is what counts.
    pub total: Option<u64>,
    /// The bytes, as they arrive. Each wait is bounded by the read timeout; after an error the
    /// stream ends. The end doesn't prove that all bytes came.
    pub stream: BoxStream<'static, Result<Bytes>>,
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Content")
            .field("starts_at", &self.starts_at)
            .field("total", &self.total)
            .finish_non_exhaustive()
    }
}

impl Hub {
    /// Opens a file at offset `from`, up to (and without) offset `to` or its end, wherever the Hub
    /// keeps it. A server may ignore either. Opening is retried; the stream
    /// isn't, as only the caller knows what it has: open again from there. Counting the bytes is
    /// the caller's business too.
    pub async fn open_file(
        &self,
        repo: &Repo,
        commit: &CommitId,
        path: &RepoPath,
        from: u64,
        to: Option<u64>,
        counters: &Counters,
    ) -> Result<Content> {
        let about = self.about(repo, commit.as_str(), Some(path));
        let url = routes::resolve(&self.config.endpoint, repo, commit.as_str(), path);
        let what = format!("open {path} of {repo}");
        let mut request = self.file_request(Method::GET, url);
        let ranged = from > 0 || to.is_some();
        if ranged {
            request.headers.insert(RANGE, range(from, to));
        }
        self.call(&about, &what, counters, &request, Follow::Any, |answer| async move {
            let response = answer.response;
            let (starts_at, total) = span(&response, from, ranged)?;
            let at_end = response.status() == StatusCode::RANGE_NOT_SATISFIABLE;
            let stream = if at_end {
                stream::empty().boxed()
            } else {
                body::stream(Arc::clone(&self.http), response, &counters.waits)
            };
            Ok(Content { starts_at, total, stream })
        })
        .await
    }
}

#[allow(clippy::expect_used, reason = "digits and dashes are always a header value")]
fn range(from: u64, to: Option<u64>) -> HeaderValue {
    // HTTP counts the last byte in.
    let last = to.map(|to| to.saturating_sub(1).to_string()).unwrap_or_default();
    HeaderValue::try_from(format!("bytes={from}-{last}")).expect("ASCII")
}

/// Where the body of an answer to "from `from`" begins, and how large the file is.
fn span(response: &Response, from: u64, ranged: bool) -> Result<(u64, Option<u64>)> {
    let (status, headers) = (response.status(), response.headers());
    let bad = |what: String| nonsense(response.url(), status.as_u16(), what);
    let range =
        headers.get(CONTENT_RANGE).and_then(|v| v.to_str().ok()).and_then(ContentRange::parse);
    match (status, range) {
        (StatusCode::OK, _) => Ok((0, plain_length(headers))),
        (StatusCode::PARTIAL_CONTENT, Some(ContentRange { start: Some(start), total }))
            if start == from && ranged =>
        {
            Ok((start, total))
        }
        (StatusCode::PARTIAL_CONTENT, _) => {
            Err(bad(format!("another range than the one asked for, from byte {from}")))
        }
        // Nothing lies behind the last byte.
        (
            StatusCode::RANGE_NOT_SATISFIABLE,
            Some(ContentRange { start: None, total: Some(total) }),
        ) if total == from => Ok((from, Some(total))),
        (StatusCode::RANGE_NOT_SATISFIABLE, range) => {
            let total = range.and_then(|range| range.total);
            let size = total.map(|t| format!(" of a file of {t} bytes")).unwrap_or_default();
            Err(bad(format!("a refusal of the range from byte {from}{size}")))
        }
        _ => Err(bad(format!("HTTP {} instead of a file", status.as_u16()))),
    }
}

/// The length of a body that isn't compressed.
fn plain_length(headers: &HeaderMap) -> Option<u64> {
    let plain = headers.get(CONTENT_ENCODING).is_none_or(|encoding| encoding == "identity");
    headers.get(CONTENT_LENGTH).filter(|_| plain)?.to_str().ok()?.trim().parse().ok()
}

/// `bytes 5-9/10`, `bytes 5-9/*` or `bytes */10` (RFC 9110, 14.4).
#[derive(Debug, PartialEq, Eq)]
struct ContentRange {
    start: Option<u64>,
    total: Option<u64>,
}

impl ContentRange {
    fn parse(text: &str) -> Option<Self> {
        let (range, total) = text.trim().strip_prefix("bytes ")?.trim().split_once('/')?;
        let total = if total == "*" { None } else { Some(total.parse().ok()?) };
        if range == "*" {
            return Some(Self { start: None, total });
        }
        let (start, end) = range.split_once('-')?;
        let (start, end): (u64, u64) = (start.parse().ok()?, end.parse().ok()?);
        let sound = start <= end && total.is_none_or(|total| end < total);
        sound.then_some(Self { start: Some(start), total })
    }
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests {
    use super::*;

    /// A Content-Range is read in its three forms; one that contradicts itself is none.
    #[test]
    fn content_ranges_are_read() {
        let range = |start, total| Some(ContentRange { start, total });
        for (text, expected) in [
            ("bytes 5-9/10", range(Some(5), Some(10))),
            ("bytes 5-9/*", range(Some(5), None)),
            ("bytes */10", range(None, Some(10))),
            ("bytes 5-10/10", None),
            ("bytes 9-5/10", None),
            ("bytes 5-/10", None),
            ("items 5-9/10", None),
            ("bytes 5-9", None),
            ("bytes -5-9/10", None),
        ] {
            assert_eq!(ContentRange::parse(text), expected, "{text}");
        }
    }
}
