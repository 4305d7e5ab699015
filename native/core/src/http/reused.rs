//! Requests on connections that were used before: those that the other side closes at that moment.
//!
//! A proxy or gateway may close a connection after an answer without having said so in it, as tinyproxy
//! does. Who uses the connection in that moment gets no answer, and so does everyone who takes the next one
//! of its kind. So such a request goes out once more at once, on a connection that nobody used before (RFC
//! 9112, 9.3.1); that isn't another attempt, since the first has told nothing about the server.

use std::cell::Cell;
use std::task::{Context, Poll};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use reqwest::{Client, Method, Request, Response};
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
    ) -> Result<reqwest::Result<Response>> {
        let url = request.url().clone();
        // Only what may be made twice.
        let is_safe = matches!(*request.method(), Method::GET | Method::HEAD);
        let copy = if is_safe { request.try_clone() } else { None };
        let told = async {
            let outcome = client.execute(request).await;
            (outcome, IS_NEW.with(Cell::get))
        };
        match (IS_NEW.scope(Cell::new(false), told).await, copy) {
            ((Err(error), false), Some(copy)) if was_closed(&error) => {
                tracing::debug!(url = bare(&url), "a connection was closed that others had used");
                Ok(self.ready(Pool::Fresh, &url).await?.execute(copy).await)
            }
            ((outcome, _), _) => Ok(outcome),
        }
    }
}

/// Whether a request ended without a byte of an answer, since the other side has closed the connection.
fn was_closed(error: &reqwest::Error) -> bool {
    const CLOSED: &str = "connection closed before message completed";
    error.is_request()
        && !error.is_connect()
        && (fault::is_cut(error) || fault::root_cause(error) == CLOSED)
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

    use url::Url;

    use crate::config::options::ClientOptions;
    use crate::config::{Config, Environment};
    use crate::http::{Http, Pool};
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

    async fn get(http: &Http, server: SocketAddr) -> Result<u16> {
        let url = Url::parse(&format!("http://{server}/")).unwrap();
        let request = reqwest::Request::new(reqwest::Method::GET, url);
        let answer = http.execute(Pool::Storage, "requests", request).await?;
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
