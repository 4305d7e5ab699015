//! A file's bytes over plain HTTP, from any offset.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};
use reqwest::header::{CONTENT_RANGE, HeaderValue, RANGE};
use reqwest::{Method, Response, StatusCode};

use super::{Hub, routes};
use crate::call::progress::Counters;
use crate::http::body::{self, nonsense};
use crate::http::encoding::length;
use crate::http::{Coding, Follow};
use crate::model::error::{Error, Kind, Result};
use crate::model::repo::{CommitId, Entry, Repo, RepoPath};

/// A file's bytes, on their way.
pub struct Content {
    /// The offset of the stream's first byte: what was asked for, or 0 if the server doesn't do
    /// ranges.
    pub starts_at: u64,
    /// The size of the whole file, if the server says it. What the listing says is what counts.
    pub total: Option<u64>,
    /// What the bytes are decoded from.
    pub(crate) coding: Coding,
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
    /// the caller's business too. Where the answer to a range is a refusal, another range, or one of
    /// encoded bytes, the whole file is asked for.
    pub async fn open_file(
        &self,
        repo: &Repo,
        commit: &CommitId,
        entry: &Entry,
        from: u64,
        to: Option<u64>,
        counters: &Counters,
    ) -> Result<Content> {
        let wanted = Wanted { size: entry.size, from, to };
        let at = (repo, commit, &entry.path);
        match self.open_part(at, wanted, counters).await {
            Ok(Some(content)) => return Ok(content),
            Ok(None) => {}
            Err(error) if wanted.is_range() && is_refused_range(&error) => {}
            Err(error) => return Err(error),
        }
        tracing::info!(%repo, file = %entry.path, from, "no range is to be had here; asking for all");
        let whole = Wanted { from: 0, to: None, ..wanted };
        let opened = self.open_part(at, whole, counters).await?;
        opened.ok_or_else(|| Error::internal("a whole file is no range"))
    }

    /// `None`: the answer isn't the range that was asked for, or one of encoded bytes.
    async fn open_part(
        &self,
        (repo, commit, path): (&Repo, &CommitId, &RepoPath),
        wanted: Wanted,
        counters: &Counters,
    ) -> Result<Option<Content>> {
        let about = self.about(repo, commit.as_str(), Some(path));
        let url = routes::resolve(&self.config.endpoint, repo, commit.as_str(), path);
        let what = format!("open {path} of {repo}");
        let mut request = self.file_request(Method::GET, url);
        if wanted.is_range() {
            request.headers.insert(RANGE, range(wanted.from, wanted.to));
        }
        self.call(&about, &what, counters, &request, Follow::Any, |answer| async move {
            let response = answer.response;
            let Some((starts_at, total)) = span(&response, wanted)? else { return Ok(None) };
            if response.status() == StatusCode::RANGE_NOT_SATISFIABLE {
                let stream = stream::empty().boxed();
                let coding = Coding::Plain;
                return Ok(Some(Content { starts_at, total, coding, stream }));
            }
            let end = wanted.to.unwrap_or(wanted.size);
            let expected = match response.status() {
                StatusCode::PARTIAL_CONTENT => end.saturating_sub(starts_at),
                _ => wanted.size,
            };
            let coding = if self.takes_as_sent {
                Coding::Plain
            } else {
                Coding::of_content(&response, expected)
            };
            let is_partial = response.status() == StatusCode::PARTIAL_CONTENT;
            let total = match coding {
                Coding::Plain => {
                    total.or_else(|| length(response.headers()).filter(|_| !is_partial))
                }
                Coding::Other(_) => {
                    return Err(coding.undecodable(response.url(), response.status().as_u16()));
                }
                // Some compress the bytes of the range, and leave its place as it was.
                _ if is_partial && total != Some(wanted.size) => return Ok(None),
                _ => total.filter(|_| is_partial),
            };
            let (http, waits) = (Arc::clone(&self.http), &counters.waits);
            let stream = body::stream(http, response, coding.clone(), waits);
            Ok(Some(Content { starts_at, total, coding, stream }))
        })
        .await
    }
}

/// A part of a file.
#[derive(Clone, Copy)]
struct Wanted {
    /// Of the whole file.
    size: u64,
    from: u64,
    to: Option<u64>,
}

impl Wanted {
    fn is_range(self) -> bool {
        self.from > 0 || self.to.is_some()
    }
}

#[allow(clippy::expect_used, reason = "digits and dashes are always a header value")]
fn range(from: u64, to: Option<u64>) -> HeaderValue {
    // HTTP counts the last byte in.
    let last = to.map(|to| to.saturating_sub(1).to_string()).unwrap_or_default();
    HeaderValue::try_from(format!("bytes={from}-{last}")).expect("ASCII")
}

/// Where the body of an answer begins, and how large its range says the file is. `None`: a range was
/// asked for, and this is none, or another one.
fn span(response: &Response, wanted: Wanted) -> Result<Option<(u64, Option<u64>)>> {
    let (status, headers) = (response.status(), response.headers());
    let range =
        headers.get(CONTENT_RANGE).and_then(|v| v.to_str().ok()).and_then(ContentRange::parse);
    let Wanted { size, from, .. } = wanted;
    match (status, range) {
        (StatusCode::OK, _) => Ok(Some((0, None))),
        (StatusCode::PARTIAL_CONTENT, Some(ContentRange { start: Some(start), total }))
            if wanted.is_range() && start == from && total.is_none_or(|total| total == size) =>
        {
            Ok(Some((from, total)))
        }
        // Nothing lies behind the last byte.
        (StatusCode::RANGE_NOT_SATISFIABLE, Some(ContentRange { start: None, total }))
            if from == size && total == Some(size) =>
        {
            Ok(Some((from, total)))
        }
        (StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE, _)
            if wanted.is_range() =>
        {
            Ok(None)
        }
        _ => {
            let what = format!("HTTP {} instead of a file", status.as_u16());
            Err(nonsense(response.url(), status.as_u16(), what))
        }
    }
}

/// Whether a server that refuses a range may give the whole.
fn is_refused_range(error: &Error) -> bool {
    match error.kind() {
        Kind::BadRequest => true,
        Kind::InvalidResponse => matches!(error.context().http_status, Some(400..=499)),
        Kind::ServerError => error.context().http_status == Some(501),
        _ => false,
    }
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
