//! Reading bodies with a bound, so that no server can fill our memory.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, BoxStream, StreamExt};
use reqwest::header::CONTENT_TYPE;
use reqwest::{Response, StatusCode};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use url::Url;

use super::encoding::{self, Coding, Decoder};
use super::origin::{authority, bare};
use super::{ByWayOf, Http};
use crate::call::waits::Waits;
use crate::config::Deadlines;
use crate::model::error::{Error, Kind, Result};

/// The largest JSON answer: some 200 times a page of 1,000 tree entries.
pub const MAX_JSON: usize = 64 << 20;

/// How long a look at a body that nobody needs may take.
const PEEK: Duration = Duration::from_secs(2);

/// A body on its way. Its next piece is waited for as long as the deadlines say.
struct Pieces {
    http: Arc<Http>,
    response: Response,
    pace: SpeedCheck,
    decoder: Decoder,
    is_at_end: bool,
}

impl Pieces {
    fn new(http: Arc<Http>, response: Response, coding: Coding) -> Self {
        let pace = SpeedCheck::new(http.deadlines());
        let decoder = Decoder::new(response.url(), response.status().as_u16(), coding);
        Self { http, response, pace, decoder, is_at_end: false }
    }

    async fn next(&mut self) -> Result<Option<Bytes>> {
        while !self.is_at_end {
            let decoded = if let Some(piece) = self.next_as_sent().await? {
                self.decoder.push(piece)?
            } else {
                self.is_at_end = true;
                self.decoder.finish()?
            };
            if !decoded.is_empty() {
                return Ok(Some(decoded));
            }
        }
        Ok(None)
    }

    async fn next_as_sent(&mut self) -> Result<Option<Bytes>> {
        if let Some(slow) = self.pace.verdict() {
            return Err(self.http.silence(self.response.url(), &slow, self.pace.window));
        }
        let (stall, begun) = (self.http.deadlines().stall, Instant::now());
        match tokio::time::timeout(stall, self.response.chunk()).await {
            Ok(Ok(piece)) => {
                self.pace.add(begun.elapsed(), piece.as_ref().map_or(0, Bytes::len));
                Ok(piece)
            }
            Ok(Err(error)) => Err(self.http.fault(&error, self.response.url())),
            Err(_) => Err(self.http.silence(self.response.url(), "nothing", stall)),
        }
    }
}

/// Whether a body comes fast enough. Only the time that is spent waiting for it counts: what the
/// disk or a speed limit takes isn't the server's fault.
struct SpeedCheck {
    min_speed: u32,
    /// Half of the stall deadline, so that a body that turns slow in the middle of one window is
    /// found out by the end of the next.
    window: Duration,
    waited: Duration,
    bytes: usize,
    slow: bool,
}

impl SpeedCheck {
    fn new(deadlines: &Deadlines) -> Self {
        Self {
            min_speed: deadlines.min_speed,
            window: deadlines.stall / 2,
            waited: Duration::ZERO,
            bytes: 0,
            slow: false,
        }
    }

    fn add(&mut self, waited: Duration, bytes: usize) {
        self.waited += waited;
        self.bytes += bytes;
        if self.waited >= self.window {
            let enough = u128::from(self.min_speed) * self.waited.as_millis();
            self.slow = self.bytes as u128 * 1000 < enough;
            (self.waited, self.bytes) = (Duration::ZERO, 0);
        }
    }

    /// What there is to complain about. Asked before the next piece, not after the last: a short
    /// body that came late is here all the same.
    fn verdict(&self) -> Option<String> {
        self.slow.then(|| format!("less than {} bytes per second", self.min_speed))
    }
}

/// The pieces of a file's content as they arrive, decoded, no faster than the client may receive: that is
/// waited for among `waits`, the call's. The end doesn't prove that all of them came.
#[must_use]
pub fn stream(
    http: Arc<Http>,
    response: Response,
    coding: Coding,
    waits: &Waits,
) -> BoxStream<'static, Result<Bytes>> {
    let begun = (Pieces::new(http, response, coding), Bytes::new(), waits.clone());
    stream::try_unfold(begun, |(mut pieces, mut held, waits)| async move {
        if held.is_empty() {
            let Some(piece) = pieces.next().await? else { return Ok(None) };
            held = piece;
        }
        let admitted = pieces.http.throttle(held.len(), &waits).await;
        Ok(Some((held.split_to(admitted), (pieces, held, waits))))
    })
    .boxed()
}

/// The whole body of JSON, which must be at most `limit` bytes after decoding.
pub async fn read(http: &Arc<Http>, response: Response, limit: usize) -> Result<Bytes> {
    let url = response.url().clone();
    let status = response.status().as_u16();
    let coding = Coding::of(response.headers());
    let mut pieces = Pieces::new(Arc::clone(http), response, coding.clone());
    let mut body = BytesMut::new();
    while let Some(piece) = pieces.next().await? {
        // What can't be decoded, and isn't JSON as it is.
        let is_first = body.is_empty() && matches!(coding, Coding::Other(_));
        if is_first && !matches!(piece.trim_ascii_start(), [b'{' | b'[', ..]) {
            return Err(coding.undecodable(&url, status));
        }
        if body.len() + piece.len() > limit {
            return Err(nonsense(&url, status, format!("more than {limit} bytes")));
        }
        body.extend_from_slice(&piece);
    }
    Ok(body.freeze())
}

/// The body's first bytes, for what is worth a look but no error: at most `limit`, and no more than
/// arrive unbroken and soon.
pub async fn peek(mut response: Response, limit: usize) -> Bytes {
    let (headers, url) = (response.headers().clone(), response.url().clone());
    let mut body = BytesMut::new();
    let look = async {
        while body.len() < limit {
            match response.chunk().await {
                Ok(Some(chunk)) => {
                    body.extend_from_slice(&chunk[..chunk.len().min(limit - body.len())]);
                }
                Ok(None) => break,
                Err(error) => {
                    tracing::debug!("gave up on the rest of a body: {}", error.without_url());
                    break;
                }
            }
        }
    };
    if tokio::time::timeout(PEEK, look).await.is_err() {
        tracing::debug!("gave up on the rest of a body: it doesn't come");
    }
    encoding::decoded_prefix(&headers, &url, body.freeze())
}

/// The body as JSON of at most `limit` bytes.
pub async fn read_json<T: DeserializeOwned>(
    http: &Arc<Http>,
    response: Response,
    limit: usize,
) -> Result<T> {
    let from = JsonFrom::of(&response);
    let body = read(http, response, limit).await?;
    from.parse(&body)
}

/// Where a body of JSON came from.
pub struct JsonFrom {
    /// The URL that answered.
    pub url: Url,
    /// The answer's status.
    pub status: u16,
    /// As the answer says it, or that it doesn't.
    pub content_type: String,
    /// The proxy whose own answer it may be.
    pub(crate) by_way_of: Option<ByWayOf>,
}

impl JsonFrom {
    /// Of an answer that is yet to be read.
    #[must_use]
    pub fn of(response: &Response) -> Self {
        let content_type = response
            .headers()
            .get(CONTENT_TYPE)
            .map_or("no content type", |value| value.to_str().unwrap_or("an odd content type"));
        Self {
            url: response.url().clone(),
            status: response.status().as_u16(),
            content_type: content_type.to_owned(),
            by_way_of: response.extensions().get().cloned(),
        }
    }

    /// Reads the body as JSON. What isn't JSON was cut, or comes from somebody between the server and
    /// us, and may be another answer next time; JSON of another form won't.
    pub fn parse<'de, T: Deserialize<'de>>(&self, body: &'de [u8]) -> Result<T> {
        // Some write a mark of UTF-8's first, which JSON doesn't have.
        let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
        serde_json::from_slice(body).map_err(|error| {
            let what = if self.content_type.contains("json") {
                format!("JSON of another form than expected ({error})")
            } else {
                let proxys = match &self.by_way_of {
                    Some(ByWayOf(proxy)) => {
                        format!(", or did {proxy} answer, which it came through?")
                    }
                    None => "?".to_owned(),
                };
                format!("{} instead of JSON; is this a Hugging Face Hub{proxys}", self.content_type)
            };
            let is_cut = self.status != StatusCode::NO_CONTENT.as_u16();
            let may_pass = is_cut && serde_json::from_slice::<IgnoredAny>(body).is_err();
            nonsense(&self.url, self.status, what).with(|c| c.may_pass = may_pass).caused_by(error)
        })
    }
}

/// Whether a failure is that the answer was JSON, or nothing by intent, and not what was asked for.
#[must_use]
pub fn is_of_another_form(error: &Error) -> bool {
    let source = std::error::Error::source(error);
    let is_by_form = source.and_then(|e| e.downcast_ref::<serde_json::Error>()).is_some();
    error.kind() == Kind::InvalidResponse && is_by_form && !error.context().may_pass
}

/// The error for a complete answer that the protocol doesn't allow. Asking again would bring the
/// same, so the status is always part of it: that makes it permanent.
#[must_use]
pub fn nonsense(url: &Url, status: u16, what: impl std::fmt::Display) -> Error {
    Error::new(Kind::InvalidResponse, format!("{} answered with {what}", authority(url))).with(
        |c| {
            c.http_status = Some(status);
            c.url = Some(bare(url));
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn pace() -> SpeedCheck {
        SpeedCheck::new(&Deadlines { stall: SECOND * 10, min_speed: 100, ..Deadlines::DEFAULT })
    }

    /// A trickle is as good as silence, however regularly it comes.
    #[test]
    fn a_trickle_is_found_out() {
        let mut pace = pace();
        for _ in 0..4 {
            pace.add(SECOND, 99);
            assert_eq!(pace.verdict(), None);
        }
        pace.add(SECOND, 99);
        assert_eq!(pace.verdict().unwrap(), "less than 100 bytes per second");
    }

    /// Time in which nobody waited for the server doesn't count, and neither does one slow moment.
    #[test]
    fn what_comes_when_it_is_asked_for_is_fast_enough() {
        let mut pace = pace();
        for _ in 0..1000 {
            pace.add(Duration::from_millis(1), 1);
        }
        pace.add(SECOND * 4, 600);
        assert_eq!(pace.verdict(), None);
    }
}
