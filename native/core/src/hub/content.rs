//! A file's bytes over plain HTTP, from any offset.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};
use reqwest::header::{ACCEPT_ENCODING, CONTENT_ENCODING, HeaderValue, RANGE};
use reqwest::{Method, Response, StatusCode};
use url::Url;

use super::file::is_in_xet;
use super::{Hub, routes};
use crate::call::progress::Counters;
use crate::http::body::{self, nonsense};
use crate::http::encoding::length;
use crate::http::origin::bare;
use crate::http::range::ContentRange;
use crate::http::{Answer, CONTENT, Coding, Follow, Pool};
use crate::model::error::{Error, Kind, Result};
use crate::model::repo::{CommitId, Entry, Repo, RepoPath};

/// A file's bytes, on their way.
pub struct Content {
    /// The offset of the stream's first byte: what was asked for, or 0 if the server doesn't do
    /// ranges.
    pub starts_at: u64,
    /// The size of the whole file, if the server says it. What the listing says is what counts.
    pub total: Option<u64>,
    /// Whether they are the part that was asked for, and not the whole.
    pub(crate) is_part: bool,
    /// Where storage has the file, if the Hub has led there. It carries its own rights, for a while.
    pub(crate) place: Option<Place>,
    /// The URL that answered, without its query, and its status.
    pub(crate) from: (String, u16),
    /// What the bytes are decoded from.
    pub(crate) coding: Coding,
    /// The bytes, as they arrive. Each wait is bounded by the read timeout; after an error the
    /// stream ends. The end doesn't prove that all bytes came.
    pub stream: BoxStream<'static, Result<Bytes>>,
}

/// A URL of storage's that the Hub has signed; it is never printed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Place(Url);

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
        match self.open_wanted(at, wanted, counters).await {
            Ok(Some(content)) => return Ok(content),
            Ok(None) => {}
            Err(error) if wanted.is_range() && is_refused_range(&error) => {}
            Err(error) => return Err(error),
        }
        tracing::info!(%repo, file = %entry.path, from, "no range is to be had here; asking for all");
        let whole = Wanted { from: 0, to: None, ..wanted };
        let opened = self.open_wanted(at, whole, counters).await?;
        opened.ok_or_else(|| Error::internal("a whole file is no range"))
    }

    /// Opens a part of a file, which isn't empty, wherever the Hub keeps it; else as
    /// [`open_file`](Self::open_file). `None`: the answer is another part, or one of encoded bytes. It may
    /// still be the whole.
    pub(crate) async fn open_part(
        &self,
        repo: &Repo,
        commit: &CommitId,
        entry: &Entry,
        part: &Range<u64>,
        counters: &Counters,
    ) -> Result<Option<Content>> {
        let wanted = Wanted { size: entry.size, from: part.start, to: Some(part.end) };
        self.open_wanted((repo, commit, &entry.path), wanted, counters).await
    }

    /// The same in one attempt, where storage had another part a moment ago: without a question to the Hub,
    /// which counts those.
    pub(crate) async fn open_part_at(
        &self,
        place: &Place,
        repo: &Repo,
        commit: &CommitId,
        entry: &Entry,
        part: &Range<u64>,
        counters: &Counters,
    ) -> Result<Option<Content>> {
        let wanted = Wanted { size: entry.size, from: part.start, to: Some(part.end) };
        let about = self.about(repo, commit.as_str(), Some(&entry.path));
        let mut request = reqwest::Request::new(Method::GET, place.0.clone());
        request.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        request.headers_mut().insert(RANGE, range(wanted.from, wanted.to));
        let response = self.http.execute(Pool::Separate, CONTENT, request).await?;
        let answer = Answer { response, from_home: false, passed: Vec::new() };
        self.read_content(self.accept(answer, true, &about).await?, wanted, counters)
    }

    async fn open_wanted(
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
            if answer.passed.iter().any(is_in_xet) {
                counters.note_in_xet();
            }
            self.read_content(answer, wanted, counters)
        })
        .await
    }

    fn read_content(
        &self,
        answer: Answer,
        wanted: Wanted,
        counters: &Counters,
    ) -> Result<Option<Content>> {
        let place = (!answer.from_home).then(|| Place(answer.response.url().clone()));
        let response = answer.response;
        let Some((starts_at, total)) = span(&response, wanted)? else { return Ok(None) };
        let from = (bare(response.url()), response.status().as_u16());
        if response.status() == StatusCode::RANGE_NOT_SATISFIABLE {
            let (stream, coding, is_part) = (stream::empty().boxed(), Coding::Plain, true);
            let content = Content { starts_at, total, is_part, place, from, coding, stream };
            return Ok(Some(content));
        }
        let is_part = response.status() == StatusCode::PARTIAL_CONTENT;
        let end = wanted.to.unwrap_or(wanted.size);
        let expected = if is_part { end.saturating_sub(starts_at) } else { wanted.size };
        let coding = if self.takes_as_sent {
            Coding::Plain
        } else {
            Coding::of_content(&response, expected)
        };
        let total = match coding {
            Coding::Plain => total.or_else(|| length(response.headers()).filter(|_| !is_part)),
            Coding::Other(_) => {
                return Err(coding.undecodable(response.url(), response.status().as_u16()));
            }
            // Some compress the bytes of the range, and leave its place as it was.
            _ if is_part && total != Some(wanted.size) => return Ok(None),
            _ => total.filter(|_| is_part),
        };
        let (http, waits) = (Arc::clone(&self.http), &counters.waits);
        let stream = body::stream(http, response, coding.clone(), waits);
        Ok(Some(Content { starts_at, total, is_part, place, from, coding, stream }))
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
    let range = ContentRange::of(headers);
    let Wanted { size, from, .. } = wanted;
    match (status, range) {
        // Neither the file nor a range, by its length: some say of a range's bytes that they are all.
        (StatusCode::OK, _)
            if wanted.is_range()
                && !headers.contains_key(CONTENT_ENCODING)
                && length(headers).is_some_and(|length| length != size) =>
        {
            Ok(None)
        }
        (StatusCode::OK, _) => Ok(Some((0, None))),
        (StatusCode::PARTIAL_CONTENT, Some(range))
            if wanted.is_range() && range.is_from(from, Some(size)) =>
        {
            Ok(Some((from, range.total)))
        }
        // Nothing lies behind the last byte.
        (StatusCode::RANGE_NOT_SATISFIABLE, Some(ContentRange { start: None, total, .. }))
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

/// Whether a server that refuses a range may give the whole, and the other way.
pub(crate) fn is_refused_range(error: &Error) -> bool {
    match error.kind() {
        Kind::BadRequest => true,
        Kind::InvalidResponse => matches!(error.context().http_status, Some(400..=499)),
        Kind::ServerError => error.context().http_status == Some(501),
        // Storage means the URL.
        Kind::Forbidden => !error.context().from_storage,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What says of a range's bytes that they are the file isn't taken for it, nor for the range.
    #[test]
    fn a_range_that_is_called_a_file_is_none() {
        let wanted = Wanted { size: 200, from: 50, to: Some(150) };
        let of = |status: u16, headers: &[(&str, &str)], wanted| {
            let answer = headers
                .iter()
                .fold(http::Response::builder().status(status), |answer, (name, value)| {
                    answer.header(*name, *value)
                });
            span(&answer.body("").unwrap().into(), wanted).unwrap()
        };
        let length = |length| [("content-length", length)];
        assert_eq!(of(200, &length("100"), wanted), None);
        assert_eq!(of(200, &length("200"), wanted), Some((0, None)));
        assert_eq!(of(200, &[], wanted), Some((0, None)));
        let coded = [("content-length", "100"), ("content-encoding", "gzip")];
        assert_eq!(of(200, &coded, wanted), Some((0, None)));
        let all = Wanted { size: 200, from: 0, to: None };
        assert_eq!(of(200, &length("100"), all), Some((0, None)));
        let part = [("content-length", "100"), ("content-range", "bytes 50-149/200")];
        assert_eq!(of(206, &part, wanted), Some((50, Some(200))));
    }
}
