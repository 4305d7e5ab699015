//! Sending content: on connections of its own, one request at a time, so that what a connection's peer
//! acknowledges tells whether this request gets on.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use reqwest::header::{CONTENT_LENGTH, HeaderValue};

use super::holds::Asked;
use super::origin::{authority, bare};
use super::payload::{self, Outgoing};
use super::reused;
use super::wire::Wire;
use super::{Http, Sort, Stillness};
use crate::call::progress::Counters;
use crate::model::error::Result;

/// How often a request is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// A client that has one request at a time.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) client: reqwest::Client,
    pub(super) wire: Wire,
}

/// Lines that wait for content: a few, for each has its own TLS configuration with all authorities.
#[derive(Debug, Default)]
pub(super) struct Idle(Mutex<Vec<Line>>);

/// As many as one or two calls use at a time.
const KEPT: usize = 8;

impl Idle {
    pub(super) fn take(&self) -> Option<Line> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    pub(super) fn put(&self, line: Line) {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < KEPT {
            idle.push(line);
        }
    }
}

impl Http {
    /// Sends a request with content, whose own failure to be read is what counts then. Ends once the
    /// server has been silent for as long as the content's patience lasts: it is not while it takes more,
    /// or acknowledges what was sent, which is also seen in `counters`; nor while it has all that there is, and
    /// more is being read.
    pub(crate) async fn execute_content(
        &self,
        request: reqwest::Request,
        sort: Sort,
        content: &Outgoing,
        counters: &Counters,
    ) -> Result<reqwest::Response> {
        let url = request.url().clone();
        let asked = Asked::by(&request, sort);
        self.check_hold(&asked)?;
        let (line, was_used) = match self.used_line(&url) {
            Some(line) => (line, true),
            None => (self.new_line(&url).await?, false),
        };
        let copy = request.try_clone().filter(|_| was_used && content.may_be_sent_twice());
        let sent = self.send_on(line, request, &asked, content, counters).await;
        let error = match sent {
            Ok(outcome) => return outcome,
            Err(error) => error,
        };
        // As for other requests: see `reused`.
        if let Some(copy) = copy
            && reused::was_closed(&error)
        {
            let line = self.new_line(&url).await?;
            match self.send_on(line, copy, &asked, content, counters).await {
                Ok(outcome) => return outcome,
                Err(error) => return Err(self.failure(&error, &url).await),
            }
        }
        Err(self.failure(&error, &url).await)
    }

    /// The outer error is that of the connection.
    async fn send_on(
        &self,
        line: Line,
        mut request: reqwest::Request,
        asked: &Asked,
        content: &Outgoing,
        counters: &Counters,
    ) -> reqwest::Result<Result<reqwest::Response>> {
        let url = request.url().clone();
        let begun = Instant::now();
        let wire = line.wire.clone();
        let (body, pulse) = content.body(move || wire.is_read());
        if let Some(length) = content.length() {
            request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        *request.body_mut() = Some(body);
        let mut answer = std::pin::pin!(line.client.execute(request));
        let look = || (pulse.feel(), line.wire.unacknowledged());
        let (mut seen, mut alive, mut still) = (look(), begun, Stillness::new(LOOK));
        let what: Arc<str> = format!("{} to take content", authority(&url)).into();
        let mut waiting = None;
        loop {
            match tokio::time::timeout(LOOK, &mut answer).await {
                Ok(Ok(answer)) => {
                    // Whoever was answered before that may still be sent the rest.
                    if pulse.feel().is_finished {
                        self.give_back(line, &url);
                    }
                    return Ok(self.received(answer, asked, begun));
                }
                Ok(Err(error)) => {
                    if let Some(unreadable) = pulse.take_error() {
                        return Ok(Err(unreadable));
                    }
                    // Much was taken: that was no connection that had ended before.
                    if pulse.has_taken_much() {
                        return Ok(Err(self.failure(&error, &url).await));
                    }
                    return Err(error);
                }
                Err(_) => {}
            }
            let now = look();
            let has_moved = now != seen;
            if has_moved {
                (seen, alive) = (now, Instant::now());
                counters.beat();
            }
            let (felt, unacknowledged) = seen;
            let is_ours = felt.is_read && unacknowledged == 0;
            if has_moved || is_ours {
                counters.put_off_silence();
            }
            let limit = content.limit(&felt, alive.duration_since(begun));
            let silence = still.look(has_moved || is_ours);
            if is_ours {
                // Whoever reads says what it waits for.
                waiting = None;
            } else {
                let name = || counters.waits.begin(Arc::clone(&what), limit);
                let waiting = waiting.get_or_insert_with(name);
                if has_moved {
                    // It isn't for the call's watchdog to end it first.
                    waiting.allow(limit);
                }
            }
            if silence >= limit {
                let error = payload::stalled(&authority(&url), felt.is_finished, limit);
                return Ok(Err(error.with(|c| c.url = Some(bare(&url)))));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpListener, TcpStream};
    use std::sync::atomic::{AtomicUsize, Ordering};

    use bytes::Bytes;
    use futures_util::{StreamExt, stream};
    use reqwest::Method;
    use reqwest::header::HeaderMap;
    use url::Url;

    use super::*;
    use crate::config::options::ClientOptions;
    use crate::config::{Config, Deadlines, Endpoint, Environment};
    use crate::http::{Follow, Patience, Payload, Request, RetryPolicy, Trail};

    /// A pause after each 8 KiB makes it 320 kB per second.
    const SLOW: Duration = Duration::from_millis(25);

    /// A server that holds next to nothing, and does so with its connections.
    fn slow_server(serve: impl Fn(TcpStream) + Send + 'static) -> SocketAddr {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let socket = socket.unwrap();
        socket.set_recv_buffer_size(8 << 10).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        socket.listen(2).unwrap();
        let listener = TcpListener::from(socket);
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || listener.incoming().for_each(|peer| serve(peer.unwrap())));
        address
    }

    /// After many requests at a time there are no more lines than a few requests need.
    #[test]
    fn few_lines_are_kept() {
        let idle = Idle::default();
        for _ in 0..3 * KEPT {
            let client = reqwest::Client::builder().tls_certs_only([]).build().unwrap();
            idle.put(Line { client, wire: Wire::default() });
        }
        assert_eq!(std::iter::from_fn(|| idle.take()).count(), KEPT);
    }

    /// A server that has seen enough answers, and closes the connection on what it hasn't read: while the next piece is
    /// being read, which is ready at once then. Without a look at the connection it's written before the answer is
    /// read, and the failure of that is all that is heard.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn an_early_answer_is_heard() {
        const PIECE: usize = 16 << 10;
        let (seen_enough, have_seen_enough) = tokio::sync::mpsc::unbounded_channel();
        let (want_answer, wanted) = std::sync::mpsc::channel();
        let (answered, have_answered) = std::sync::mpsc::channel();
        let server = slow_server(move |mut peer| {
            take(&mut peer, 100_000, Duration::ZERO);
            seen_enough.send(()).unwrap();
            wanted.recv().unwrap();
            let answer = b"HTTP/1.1 413 Enough\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
            peer.write_all(answer).unwrap();
            drop(peer);
            answered.send(()).unwrap();
        });
        let have_seen_enough = Arc::new(tokio::sync::Mutex::new(have_seen_enough));
        let have_answered = Arc::new(Mutex::new(have_answered));
        let limit = Duration::from_secs(10);
        let content =
            Outgoing::new(Some(64 << 20), Patience { sending: limit, answer: limit }, move || {
                let pieces = || stream::repeat_with(|| Ok(Bytes::from(vec![7; PIECE])));
                let (seen, answered) = (Arc::clone(&have_seen_enough), Arc::clone(&have_answered));
                let want_answer = want_answer.clone();
                let while_it_answers = async move {
                    seen.lock().await.recv().await.unwrap();
                    // From here to the piece there is no other poll.
                    want_answer.send(()).unwrap();
                    answered.lock().unwrap().recv_timeout(limit).unwrap();
                    Ok(Bytes::from(vec![7; PIECE]))
                };
                let first = pieces().take(7).chain(stream::once(while_it_answers));
                first.chain(pieces().take((64 << 20) / PIECE - 8)).boxed()
            });
        let (http, counters) = (client(Deadlines::DEFAULT), Counters::default());
        for _ in 0..20 {
            let request = request(server, Payload::Stream(content.clone()));
            let sent = http.send(&request, Follow::Any, &Trail::default(), &counters).await;
            assert_eq!(sent.unwrap().response.status().as_u16(), 413);
        }
    }

    /// Takes `length` bytes.
    fn take(peer: &mut TcpStream, length: usize, pause: Duration) {
        let (mut taken, mut piece) = (0, [0; 8 << 10]);
        while taken < length {
            std::thread::sleep(pause);
            taken += peer.read(&mut piece).unwrap();
        }
    }

    fn answer(peer: &mut TcpStream) {
        peer.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
    }

    fn client(deadlines: Deadlines) -> Http {
        let environment = Environment::of([("HOME", "/nonexistent")]);
        let config = Config::resolve_in(&ClientOptions::default(), &environment).unwrap();
        Http::new(&Config { deadlines, ..config }).unwrap()
    }

    fn request(server: SocketAddr, payload: Payload) -> Request {
        let url = Url::parse(&format!("http://{server}/")).unwrap();
        Request {
            method: Method::POST,
            home: Endpoint::parse("endpoint", url.as_str()).unwrap(),
            url,
            headers: HeaderMap::new(),
            home_headers: HeaderMap::new(),
            head_timeout: None,
            sort: "questions",
            payload,
        }
    }

    /// What is in memory may be long, too: its sending isn't part of the wait for the answer.
    #[tokio::test]
    async fn a_long_question_may_take_as_long_as_the_line_needs() {
        let first_byte = Duration::from_millis(500);
        let http = client(Deadlines { first_byte, ..Deadlines::DEFAULT });
        let question = vec![7; 500_000];
        let length = question.len();
        let server = slow_server(move |mut peer| {
            take(&mut peer, length, SLOW);
            answer(&mut peer);
        });
        let request = request(server, Payload::Bytes(question.into()));
        let begun = Instant::now();
        let answer = http
            .send(&request, Follow::Any, &Trail::default(), &Counters::default())
            .await
            .unwrap();
        assert!(answer.response.status().is_success());
        assert!(begun.elapsed() > first_byte * 2, "the line wasn't slow");
    }

    /// A server that has all that there is may wait for more of it for as long as that is being read.
    #[tokio::test]
    async fn who_reads_content_may_take_longer_than_the_server() {
        let limit = Duration::from_millis(500);
        let patience = Patience { sending: limit, answer: limit };
        let content = Outgoing::new(Some(4), patience, move || {
            let piece = async |piece, pause| {
                tokio::time::sleep(pause).await;
                Ok(Bytes::from_static(piece))
            };
            let pieces = [piece(b"ab", Duration::ZERO), piece(b"cd", limit * 4)];
            stream::iter(pieces).then(|piece| piece).boxed()
        });
        let server = slow_server(|mut peer| {
            let mut taken = Vec::new();
            while !taken.ends_with(b"abcd") {
                let mut piece = [0; 1 << 10];
                let length = peer.read(&mut piece).unwrap();
                taken.extend_from_slice(&piece[..length]);
            }
            answer(&mut peer);
        });
        let request = request(server, Payload::Stream(content));
        let counters = Counters::default();
        let sent = client(Deadlines::DEFAULT)
            .send(&request, Follow::Any, &Trail::default(), &counters)
            .await
            .unwrap();
        assert!(sent.response.status().is_success());
    }

    /// While a server acknowledges what the system still holds, it isn't waited for in vain: a silence after that
    /// leaves the patience for another attempt.
    #[tokio::test]
    async fn what_drains_is_no_silence() {
        let second = Duration::from_secs(1);
        let deadlines = Deadlines { first_byte: second, ..Deadlines::DEFAULT };
        let question = Bytes::from(vec![7; 640_000]);
        let (length, connections) = (question.len(), AtomicUsize::new(0));
        let server = slow_server(move |mut peer| {
            let is_first = connections.fetch_add(1, Ordering::Relaxed) == 0;
            if is_first {
                take(&mut peer, length, SLOW);
                // Says nothing, and waits until it's given up.
                let _ = peer.read_to_end(&mut Vec::new());
            } else {
                take(&mut peer, length, Duration::ZERO);
                answer(&mut peer);
            }
        });
        let (http, counters) = (client(deadlines), Counters::default());
        counters.set_patience(second);
        let request = request(server, Payload::Bytes(question));
        let policy =
            RetryPolicy { attempts: 3, base: second / 100, cap: second / 100, waits_out: true };
        let trail = Trail::default();
        let ask = |_| http.send(&request, Follow::Any, &trail, &counters);
        let sent = policy.run(&counters, "ask", ask).await.unwrap();
        assert!(sent.response.status().is_success());
    }
}
