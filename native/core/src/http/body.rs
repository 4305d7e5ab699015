//! Reading bodies with a bound, so that no server can fill our memory.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, BoxStream, StreamExt};
use reqwest::header::CONTENT_TYPE;
use reqwest::{Response, StatusCode};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::error::Category;
use url::Url;

use super::encoding::{self, Coding, Decoder};
use super::origin::{authority, bare};
use super::{ByWayOf, Http};
use crate::call::progress::Counters;
use crate::call::waits::Waits;
use crate::config::Deadlines;
use crate::model::error::{Error, Kind, Result};

/// The largest JSON answer: some 200 times a page of 1,000 tree entries.
pub const MAX_JSON: usize = 64 << 20;

/// How long a look at a body that nobody needs may take.
const PEEK: Duration = Duration::from_secs(2);

/// How long the end of a body may come after the last of it.
const END: Duration = Duration::from_secs(1);

/// A body on its way. Its next piece is waited for as long as the deadlines say.
struct Pieces {
    http: Arc<Http>,
    response: Response,
    /// Longest wait for the next piece.
    stall: Duration,
    pace: SpeedCheck,
    decoder: Decoder,
    is_at_end: bool,
}

impl Pieces {
    fn new(http: Arc<Http>, response: Response, coding: Coding) -> Self {
        let (stall, pace) = (http.deadlines().stall, SpeedCheck::new(http.deadlines()));
        let decoder = Decoder::new(response.url(), response.status().as_u16(), coding);
        Self { http, response, stall, pace, decoder, is_at_end: false }
    }

    /// The next of what is decoded. `came` hears of each piece on the way to it.
    async fn next(&mut self, came: impl Fn()) -> Result<Option<Bytes>> {
        loop {
            let decoded = self.decoder.next()?;
            if !decoded.is_empty() {
                return Ok(Some(decoded));
            }
            if self.is_at_end {
                return Ok(None);
            }
            if let Some(piece) = self.next_as_sent().await? {
                came();
                self.decoder.push(piece);
                continue;
            }
            self.is_at_end = true;
            let rest = self.decoder.finish()?;
            if !rest.is_empty() {
                return Ok(Some(rest));
            }
        }
    }

    async fn next_as_sent(&mut self) -> Result<Option<Bytes>> {
        // What came slowly may all be here by now: only its end is still good news then.
        let slow = self.pace.verdict();
        let limit = if slow.is_some() { END.min(self.stall) } else { self.stall };
        let begun = Instant::now();
        match (tokio::time::timeout(limit, self.response.chunk()).await, slow) {
            (Ok(Ok(None)), _) => Ok(None),
            (_, Some(slow)) => Err(self.http.silence(self.response.url(), &slow, self.pace.window)),
            (Ok(Ok(Some(piece))), None) => {
                self.pace.add(begun.elapsed(), piece.len());
                Ok(Some(piece))
            }
            (Ok(Err(error)), None) => Err(self.http.fault(&error, self.response.url())),
            (Err(_), None) => Err(self.http.silence(self.response.url(), "nothing", limit)),
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

    /// What there is to complain about, unless that was all.
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
            // Whoever takes it counts it.
            let Some(piece) = pieces.next(|| ()).await? else { return Ok(None) };
            held = piece;
        }
        let admitted = pieces.http.throttle(held.len(), &waits).await;
        Ok(Some((held.split_to(admitted), (pieces, held, waits))))
    })
    .boxed()
}

/// The whole body of JSON, which must be at most `limit` bytes after decoding. That it comes, however slowly, is
/// seen in `counters`.
pub async fn read(
    http: &Arc<Http>,
    response: Response,
    limit: usize,
    counters: &Counters,
) -> Result<Bytes> {
    let url = response.url().clone();
    let status = response.status().as_u16();
    let coding = Coding::of(response.headers());
    let mut pieces = Pieces::new(Arc::clone(http), response, coding.clone());
    let mut body = BytesMut::new();
    while let Some(piece) = pieces.next(|| counters.beat()).await? {
        let is_first = body.is_empty();
        if is_first && !may_be_json(&coding, &piece) && !encoding::may_be_zstd(&piece) {
            return Err(coding.undecodable(&url, status));
        }
        if body.len() + piece.len() > limit {
            return Err(nonsense(&url, status, format!("more than {limit} bytes")));
        }
        body.extend_from_slice(&piece);
    }
    if matches!(coding, Coding::Other(_)) && encoding::is_zstd(&body) {
        return encoding::from_zstd(&body, limit, (&url, status));
    }
    Ok(body.freeze())
}

/// Whether what begins so can be read: where it can't be decoded, it may be JSON as it is.
fn may_be_json(coding: &Coding, piece: &[u8]) -> bool {
    !matches!(coding, Coding::Other(_)) || matches!(piece.trim_ascii_start(), [b'{' | b'[', ..])
}

/// A body of JSON lines that come as its server gets on, decoded.
pub(crate) struct Lines {
    pieces: Pieces,
    coding: Coding,
    line: BytesMut,
    longest: usize,
    is_first: bool,
}

/// The lines of a body, for each of which its server may take `patience`, and which have at most `longest` bytes.
#[must_use]
pub(crate) fn lines(
    http: &Arc<Http>,
    response: Response,
    patience: Duration,
    longest: usize,
) -> Lines {
    let coding = Coding::of(response.headers());
    let mut pieces = Pieces::new(Arc::clone(http), response, coding.clone());
    // Slow is what they are.
    (pieces.stall, pieces.pace.min_speed) = (patience, 0);
    Lines { pieces, coding, line: BytesMut::new(), longest, is_first: true }
}

impl Lines {
    /// The next line that isn't empty, without its end. What comes is seen in `counters`.
    pub(crate) async fn next(&mut self, counters: &Counters) -> Result<Option<Bytes>> {
        loop {
            if let Some(end) = self.line.iter().position(|&byte| byte == b'\n') {
                let line = self.line.split_to(end + 1).freeze();
                let line = line.slice(..end);
                if !line.trim_ascii().is_empty() {
                    return Ok(Some(line));
                }
                continue;
            }
            if self.line.len() > self.longest {
                let url = self.pieces.response.url();
                let what = format!("a line of more than {} bytes", self.longest);
                return Err(nonsense(url, self.pieces.response.status().as_u16(), what));
            }
            match self.pieces.next(|| counters.beat()).await? {
                Some(piece) => {
                    let is_first = std::mem::take(&mut self.is_first);
                    if is_first && !may_be_json(&self.coding, &piece) {
                        let response = &self.pieces.response;
                        let (url, status) = (response.url(), response.status().as_u16());
                        return Err(self.coding.undecodable(url, status));
                    }
                    self.line.extend_from_slice(&piece);
                }
                None if self.line.trim_ascii().is_empty() => return Ok(None),
                None => return Ok(Some(self.line.split().freeze())),
            }
        }
    }
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

/// The body as JSON of at most `limit` bytes, as [`read`], from what should be `server`: see [`JsonFrom::server`].
pub async fn read_json<T: DeserializeOwned>(
    http: &Arc<Http>,
    response: Response,
    limit: usize,
    server: &'static str,
    counters: &Counters,
) -> Result<T> {
    let from = JsonFrom::of(&response, server);
    let body = read(http, response, limit, counters).await?;
    from.parse(&body)
}

/// Where a body of JSON came from.
pub struct JsonFrom {
    /// What speaks there, if it is what the user believes: "a Hugging Face Hub".
    pub server: &'static str,
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
    pub fn of(response: &Response, server: &'static str) -> Self {
        let content_type = response
            .headers()
            .get(CONTENT_TYPE)
            .map_or("no content type", |value| value.to_str().unwrap_or("an odd content type"));
        Self {
            server,
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
                format!("JSON of another form than expected ({})", problem_of(&error))
            } else {
                let proxys = match &self.by_way_of {
                    Some(ByWayOf(proxy)) => {
                        format!(", or did {proxy} answer, which it came through?")
                    }
                    None => "?".to_owned(),
                };
                format!("{} instead of JSON; is this {}{proxys}", self.content_type, self.server)
            };
            let is_cut = self.status != StatusCode::NO_CONTENT.as_u16();
            let may_pass = is_cut && serde_json::from_slice::<IgnoredAny>(body).is_err();
            nonsense(&self.url, self.status, what).with(|c| c.may_pass = may_pass).caused_by(error)
        })
    }
}

/// What is wrong with a body, without what stands in it: serde's own words quote values, which may be tokens or signed
/// URLs, of any length.
pub(crate) fn problem_of(error: &serde_json::Error) -> String {
    let words = error.to_string();
    let place = format!("at line {}, column {}", error.line(), error.column());
    match error.classify() {
        // Names of ours.
        Category::Data if words.starts_with("missing field") => words,
        Category::Data => format!("a value of another type {place}"),
        Category::Eof => format!("it breaks off {place}"),
        Category::Syntax | Category::Io => format!("it is no JSON {place}"),
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
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;
    use std::sync::mpsc;

    use reqwest::Method;

    use super::*;
    use crate::config::options::ClientOptions;
    use crate::config::{Config, Environment};
    use crate::http::{CONTENT, Pool};

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

    /// A short body that came late is here all the same; its end may come a moment after.
    #[tokio::test]
    async fn what_is_complete_is_never_too_slow() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            for (head, end) in
                [("content-length: 2", ""), ("transfer-encoding: chunked", "0\r\n\r\n")]
            {
                let (mut peer, _) = listener.accept().unwrap();
                let lines = BufReader::new(peer.try_clone().unwrap()).lines();
                assert!(lines.map(std::result::Result::unwrap).any(|line| line.is_empty()));
                write!(peer, "HTTP/1.1 200 OK\r\nconnection: close\r\n{head}\r\n\r\n").unwrap();
                std::thread::sleep(SECOND);
                peer.write_all(if end.is_empty() { b"{}" } else { b"2\r\n{}\r\n" }).unwrap();
                std::thread::sleep(SECOND / 10);
                peer.write_all(end.as_bytes()).unwrap();
            }
        });
        let environment = Environment::of([("HOME", "/nonexistent")]);
        let mut config = Config::resolve_in(&ClientOptions::default(), &environment).unwrap();
        config.deadlines.stall = SECOND * 3 / 2;
        let http = Arc::new(Http::new(&config).unwrap());
        for _ in 0..2 {
            let request = reqwest::Request::new(Method::GET, url.parse().unwrap());
            let response = http.execute(Pool::Fresh, CONTENT, request).await.unwrap();
            let body = read(&http, response, MAX_JSON, &Counters::default()).await.unwrap();
            assert_eq!(&body[..], b"{}");
        }
        server.join().unwrap();
    }

    /// A long answer on a slow line is alive: each piece of it is seen before the next one comes.
    #[tokio::test]
    async fn each_piece_of_json_is_a_sign_of_life() {
        const PIECES: usize = 3;
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let (go_on, told) = mpsc::channel();
        let server = std::thread::spawn(move || {
            let (mut peer, _) = listener.accept().unwrap();
            let lines = BufReader::new(peer.try_clone().unwrap()).lines();
            assert!(lines.map(std::result::Result::unwrap).any(|line| line.is_empty()));
            write!(peer, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", PIECES * 4).unwrap();
            for () in told {
                peer.write_all(b"    ").unwrap();
            }
        });
        let environment = Environment::of([("HOME", "/nonexistent")]);
        let config = Config::resolve_in(&ClientOptions::default(), &environment).unwrap();
        let http = Arc::new(Http::new(&config).unwrap());
        let request = reqwest::Request::new(Method::GET, url.parse().unwrap());
        let response = http.execute(Pool::Separate, CONTENT, request).await.unwrap();
        let counters = Counters::default();
        let mut reading = std::pin::pin!(read(&http, response, MAX_JSON, &counters));
        let begun = Instant::now();
        for _ in 0..PIECES - 1 {
            let seen = counters.movement();
            go_on.send(()).unwrap();
            while counters.movement() == seen {
                let pause = Duration::from_millis(10);
                assert!(tokio::time::timeout(pause, &mut reading).await.is_err());
                assert!(begun.elapsed() < SECOND * 30, "no sign of life");
            }
        }
        go_on.send(()).unwrap();
        assert_eq!(reading.await.unwrap().len(), PIECES * 4);
        drop(go_on);
        server.join().unwrap();
    }
}
