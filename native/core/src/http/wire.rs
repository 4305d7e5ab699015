//! What the system still holds of what was sent on a client's connections.
//!
//! Content that a connection has taken is in the system's hands first: megabytes of it, which on a slow
//! line take minutes to leave. A peer that acknowledges any of that is alive.

use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpInfo};
use tower::{Layer, Service};

use crate::sys::socket::Socket;

/// The connections of one client, which adds them as a layer of its connector. Cheap to clone; clones are
/// the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Wire(Arc<Mutex<Vec<Socket>>>);

impl Wire {
    /// How many bytes the peers haven't acknowledged yet. 0, too, where the system doesn't tell.
    pub(super) fn unacknowledged(&self) -> u64 {
        let mut sockets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sum = 0;
        sockets.retain(|socket| socket.unacknowledged().map(|bytes| sum += bytes).is_some());
        sum
    }

    /// Whether all that has come on the newest connection was read, as far as the system tells. What has ended has not
    /// been read to its end, until that is noticed.
    pub(super) fn is_read(&self) -> bool {
        let sockets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sockets.last().is_none_or(|socket| socket.unread() == Some(0))
    }

    fn add(&self, connection: &Connected) {
        let mut extras = http::Extensions::new();
        connection.get_extras(&mut extras);
        let Some(info) = extras.get::<HttpInfo>() else { return };
        if let Some(socket) = Socket::between(info.local_addr(), info.remote_addr()) {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(socket);
        } else {
            tracing::debug!("what is sent counts as acknowledged: no socket is to be seen");
        }
    }
}

impl<S> Layer<S> for Wire {
    type Service = Noted<S>;

    fn layer(&self, connector: S) -> Noted<S> {
        Noted { connector, wire: self.clone() }
    }
}

/// A connector whose connections are noted.
#[derive(Clone, Debug)]
pub(super) struct Noted<S> {
    connector: S,
    wire: Wire,
}

impl<S, T> Service<T> for Noted<S>
where
    S: Service<T>,
    S::Response: Connection,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.connector.poll_ready(context)
    }

    fn call(&mut self, target: T) -> Self::Future {
        let wire = self.wire.clone();
        let note = move |connected: Result<S::Response, S::Error>| {
            connected.inspect(|connection| wire.add(&connection.connected()))
        };
        self.connector.call(target).map(note).boxed()
    }
}
