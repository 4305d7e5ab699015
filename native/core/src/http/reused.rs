//! Requests on connections that were used before: those that the other side closes at that moment.
//!
//! A proxy or gateway may close a connection after an answer without having said so in it, as tinyproxy
//! does. Who uses the connection in that moment gets no answer, and so does everyone who takes the next one
//! of its kind. So such a request goes out once more at once, on a connection that nobody used before (RFC
//! 9112, 9.3.1); that isn't another attempt, since the first has told nothing about the server.
//!
//! With HTTP/2 the other side says so: it goes away, as nginx does after a thousand requests, and leaves what it
//! hasn't begun to whoever asked (RFC 9113, 6.8). Those on a shared connection are many, and the next one may end
//! as soon, so they go out on connections that aren't shared.

use std::cell::Cell;
use std::error::Error as StdError;
use std::task::{Context, Poll};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use reqwest::{Client, Request, Response};
use tower::{Layer, Service};

use super::origin::bare;
use super::{Http, Pool, fault};
use crate::model::error::Result;

tokio::task_local! {
    /// Whether the request has a connection that was made for it.
    static IS_NEW: Cell<bool>;
}

impl Http {
    /// Sends a request with `client`, and once more if that was on a connection of others' that was closed. The
    /// outer error is that no new one could be set up.
    pub(super) async fn execute_unless_closed(
        &self,
        client: &Client,
        request: Request,
        may_be_made_twice: bool,
    ) -> Result<reqwest::Result<Response>> {
        let url = request.url().clone();
        let copy = if may_be_made_twice { request.try_clone() } else { None };
        let told = async {
            let outcome = client.execute(request).await;
            (outcome, IS_NEW.with(Cell::get))
        };
        match (IS_NEW.scope(Cell::new(false), told).await, copy) {
            ((Err(error), _), Some(copy)) if was_left_undone(&error) => {
                tracing::debug!(url = bare(&url), "a shared connection has ended");
                let client = self.ready(Pool::Separate, &url).await?;
                Box::pin(self.execute_unless_closed(client, copy, true)).await
            }
            ((Err(error), false), Some(copy)) if was_closed(&error) => {
                tracing::debug!(url = bare(&url), "a connection was closed that others had used");
                Ok(self.ready(Pool::Fresh, &url).await?.execute(copy).await)
            }
            ((outcome, _), _) => Ok(outcome),
        }
    }
}

/// Whether a request ended without a byte of an answer, since the other side has closed the connection.
pub(super) fn was_closed(error: &reqwest::Error) -> bool {
    const CLOSED: &str = "connection closed before message completed";
    error.is_request()
        && !error.is_connect()
        && (fault::is_cut(error) || fault::root_cause(error) == CLOSED)
}

/// Whether the other side has said that it won't do anything about a request, without a reason that lies in it.
/// reqwest has made it again, but only so often. Or it wasn't sent: of two connections that were begun at a time, the
/// other one turned out to be for both.
fn was_left_undone(error: &reqwest::Error) -> bool {
    const IS_SHARED: &str = "ALPN upgraded to HTTP/2";
    if fault::root_cause(error) == IS_SHARED {
        return true;
    }
    let causes = std::iter::successors(Some(error as &dyn StdError), |cause| (**cause).source());
    causes.filter_map(|cause| cause.downcast_ref::<h2::Error>()).any(|error| {
        let is_over = error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR);
        is_over || error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM)
    })
}

/// As a layer of a connector: tells requests of the connections that it makes for them. One that comes too
/// late, since another had become free, isn't made in the request's own task.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tell;

#[derive(Clone, Debug)]
pub(super) struct Telling<S>(S);

impl<S> Layer<S> for Tell {
    type Service = Telling<S>;

    fn layer(&self, connector: S) -> Telling<S> {
        Telling(connector)
    }
}

impl<S, T> Service<T> for Telling<S>
where
    S: Service<T>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, target: T) -> Self::Future {
        let tell = |connected: Result<S::Response, S::Error>| {
            // Elsewhere nobody asks.
            let _ = IS_NEW.try_with(|is_new| is_new.set(connected.is_ok()));
            connected
        };
        self.0.call(target).map(tell).boxed()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpListener, TcpStream};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use url::Url;

    use crate::call::progress::Counters;
    use crate::config::options::ClientOptions;
    use crate::config::{Config, Environment};
    use crate::http::{Http, Outgoing, Patience, Pool};
    use crate::model::error::Result;

    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

    /// Reads one request.
    fn read(peer: &mut TcpStream) {
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") && peer.read(&mut byte).unwrap() == 1 {
            head.push(byte[0]);
        }
    }

    /// A server that answers so many requests of each connection, and closes it at the next one; and how many
    /// connections it has had.
    fn server(answers: u32) -> (SocketAddr, Arc<AtomicU32>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, count) = (listener.local_addr().unwrap(), Arc::new(AtomicU32::new(0)));
        let counted = Arc::clone(&count);
        std::thread::spawn(move || {
            for peer in listener.incoming() {
                let mut peer = peer.unwrap();
                counted.fetch_add(1, Ordering::Relaxed);
                for _ in 0..answers {
                    read(&mut peer);
                    peer.write_all(ANSWER).unwrap();
                }
                read(&mut peer);
            }
        });
        (address, count)
    }

    /// What may do harm if it's made twice goes out once, in few words and as content, on a connection that was used
    /// before, too; what does none goes out again.
    #[tokio::test]
    async fn a_commit_is_not_made_twice() {
        // What goes out on a new connection, since the used one isn't kept yet, shows nothing: then there's another try.
        const TRIES: usize = 20;
        let (http, counters) = (http(), Counters::default());
        let limit = Duration::from_secs(5);
        let content = || {
            let patience = Patience { sending: limit, answer: limit };
            Outgoing::of(bytes::Bytes::from_static(b"x"), patience)
        };
        let post = |server| {
            let url = Url::parse(&format!("http://{server}/")).unwrap();
            reqwest::Request::new(reqwest::Method::POST, url)
        };
        for (is_harmless, most) in [(false, 1), (true, 2)] {
            let words = async || {
                let (closing, connections) = server(1);
                assert_eq!(get(&http, closing).await.unwrap(), 200);
                let words = if is_harmless {
                    http.execute_harmless(Pool::Separate, "requests", post(closing)).await
                } else {
                    http.execute(Pool::Separate, "requests", post(closing)).await
                };
                (words.is_ok(), connections.load(Ordering::Relaxed)) == (is_harmless, most)
            };
            let content = async || {
                let (closing, connections) = server(1);
                let send = || {
                    let content = if is_harmless { content().harmless() } else { content() };
                    let (http, counters) = (&http, &counters);
                    let request = post(closing);
                    async move { http.execute_content(request, "content", &content, counters).await }
                };
                assert!(send().await.unwrap().status().is_success());
                let again = send().await;
                (again.is_ok(), connections.load(Ordering::Relaxed)) == (is_harmless, most)
            };
            let (mut in_words, mut as_content) = (false, false);
            for _ in 0..TRIES {
                in_words = in_words || words().await;
                as_content = as_content || content().await;
            }
            assert!(in_words && as_content, "{is_harmless}: {in_words}, {as_content}");
        }
    }

    async fn get(http: &Http, server: SocketAddr) -> Result<u16> {
        let url = Url::parse(&format!("http://{server}/")).unwrap();
        let request = reqwest::Request::new(reqwest::Method::GET, url);
        let answer = http.execute(Pool::Separate, "requests", request).await?;
        let status = answer.status().as_u16();
        answer.bytes().await.unwrap();
        Ok(status)
    }

    fn http() -> Http {
        let environment = Environment::of([("HOME", "/nonexistent")]);
        Http::new(&Config::resolve_in(&ClientOptions::default(), &environment).unwrap()).unwrap()
    }

    /// A request on a connection that was used before, and is closed, goes out again on a new one; one on a new
    /// one doesn't.
    #[tokio::test]
    async fn what_was_closed_meanwhile_is_asked_for_again() {
        let http = http();
        let (closing, connections) = server(1);
        assert_eq!(get(&http, closing).await.unwrap(), 200);
        assert_eq!(connections.load(Ordering::Relaxed), 1);
        assert_eq!(get(&http, closing).await.unwrap(), 200, "the first connection is closed");
        assert_eq!(connections.load(Ordering::Relaxed), 2);

        let (closed, connections) = server(0);
        let error = get(&http, closed).await.unwrap_err();
        assert!(error.message().contains("closed"), "{error}");
        assert_eq!(connections.load(Ordering::Relaxed), 1);
    }
}
