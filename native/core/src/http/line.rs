//! Sending content: on connections of its own, one request at a time, so that what a connection's peer
//! acknowledges tells whether this request gets on.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use reqwest::header::{CONTENT_LENGTH, HeaderValue};

use super::origin::{authority, bare};
use super::payload::{self, Outgoing};
use super::wire::Wire;
use super::{Http, Sort};
use crate::call::progress::Counters;
use crate::model::error::Result;

/// How often a request is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// A client that has one request at a time.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) client: reqwest::Client,
    pub(crate) wire: Wire,
}

/// Lines that wait for content.
#[derive(Debug, Default)]
pub(super) struct Idle(Mutex<Vec<Line>>);

impl Idle {
    pub(super) fn take(&self) -> Option<Line> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    pub(super) fn put(&self, line: Line) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }
}

impl Http {
    /// Sends a request with content, whose own failure to be read is what counts then. Ends once the
    /// server has been silent for as long as the content's patience lasts: it is not while it takes more,
    /// or acknowledges what was sent, which is also seen in `counters`.
    pub(super) async fn execute_content(
        &self,
        mut request: reqwest::Request,
        sort: Sort,
        content: &Outgoing,
        counters: &Counters,
    ) -> Result<reqwest::Response> {
        let url = request.url().clone();
        self.check_hold(&url, sort)?;
        let line = self.line(&url).await?;
        let begun = Instant::now();
        let (body, pulse) = content.body();
        if let Some(length) = content.length() {
            request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        *request.body_mut() = Some(body);
        let mut answer = std::pin::pin!(line.client.execute(request));
        let look = || (pulse.feel(), line.wire.unacknowledged());
        let (mut seen, mut alive) = (look(), begun);
        let what = format!("{} to take content", authority(&url));
        let waiting = counters.waits.begin(what, Duration::ZERO);
        loop {
            match tokio::time::timeout(LOOK, &mut answer).await {
                Ok(Ok(answer)) => {
                    self.give_back(line, &url);
                    return self.received(answer, sort, begun);
                }
                Ok(Err(error)) => {
                    if let Some(unreadable) = pulse.take_error() {
                        return Err(unreadable);
                    }
                    return Err(self.failure(&error, &url).await);
                }
                Err(_) => {}
            }
            let now = look();
            let has_moved = now != seen;
            if has_moved {
                (seen, alive) = (now, Instant::now());
                counters.beat();
            }
            let (felt, _) = seen;
            let limit = content.limit(&felt, alive.duration_since(begun));
            if has_moved {
                // It isn't for the call's watchdog to end it first.
                waiting.allow(limit);
            }
            if alive.elapsed() >= limit {
                let error = payload::stalled(&authority(&url), felt.is_finished, limit);
                return Err(error.with(|c| c.url = Some(bare(&url))));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpListener};

    use reqwest::Method;
    use reqwest::header::HeaderMap;
    use url::Url;

    use super::*;
    use crate::config::options::ClientOptions;
    use crate::config::{Config, Deadlines, Endpoint, Environment};
    use crate::http::{Follow, Payload, Request};

    /// A server behind a line that passes on 320 kB per second, and holds nothing. It answers once it has a
    /// body of `length` bytes.
    fn slow_server(length: usize) -> SocketAddr {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let socket = socket.unwrap();
        socket.set_recv_buffer_size(8 << 10).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        socket.listen(1).unwrap();
        let listener = TcpListener::from(socket);
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut peer, _) = listener.accept().unwrap();
            let (mut taken, mut piece) = (0, [0; 8 << 10]);
            while taken < length {
                std::thread::sleep(Duration::from_millis(25));
                taken += peer.read(&mut piece).unwrap();
            }
            peer.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
        });
        address
    }

    /// What is in memory may be long, too: its sending isn't part of the wait for the answer.
    #[tokio::test]
    async fn a_long_question_may_take_as_long_as_the_line_needs() {
        let environment = Environment::of([("HOME", "/nonexistent")]);
        let config = Config::resolve_in(&ClientOptions::default(), &environment).unwrap();
        let first_byte = Duration::from_millis(500);
        let deadlines = Deadlines { first_byte, ..Deadlines::DEFAULT };
        let http = Http::new(&Config { deadlines, ..config }).unwrap();
        let question = vec![7; 500_000];
        let url = Url::parse(&format!("http://{}/", slow_server(question.len()))).unwrap();
        let request = Request {
            method: Method::POST,
            url: url.clone(),
            home: Endpoint::parse("endpoint", url.as_str()).unwrap(),
            headers: HeaderMap::new(),
            hub_headers: HeaderMap::new(),
            head_timeout: None,
            sort: "questions",
            payload: Payload::Bytes(question.into()),
        };
        let begun = Instant::now();
        let answer = http.send(&request, Follow::Any, &Counters::default()).await.unwrap();
        assert!(answer.response.status().is_success());
        assert!(begun.elapsed() > first_byte * 2, "the line wasn't slow");
    }
}
