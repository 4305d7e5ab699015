//! A shared cache in Redis, or in Valkey, or in what speaks like them.
//!
//! Pieces are plain values with a time after which they go. What goes before is the server's affair: `maxmemory` and
//! `maxmemory-policy` (`allkeys-lru` fits).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use redis::aio::MultiplexedConnection;
use redis::{AsyncCommands, AsyncConnectionConfig, Client, ErrorKind, RedisError};
use tokio::sync::Mutex;
use url::Url;

use super::keys::Name;
use super::store::{Failure, Store};
use crate::model::redact;

/// Connections for values that are read: answers come one behind the other on each.
const READERS: usize = 4;

/// For values that are written: they mustn't stand before what is read.
const WRITERS: usize = 2;

/// How long making a connection may take. Nobody waits for it that long.
const CONNECTING: Duration = Duration::from_secs(5);

/// A server that is a store.
pub(super) struct Redis {
    client: Client,
    /// For what has no values: that doesn't stand behind any.
    questions: [Line; 1],
    readers: [Line; READERS],
    writers: [Line; WRITERS],
    next: AtomicUsize,
    /// After so many milliseconds a piece goes.
    lifetime: u64,
}

/// A connection, once there is one.
type Line = Arc<Mutex<Option<MultiplexedConnection>>>;

impl Redis {
    /// Connects when it's needed.
    pub(super) fn new(url: &Url, lifetime: Duration) -> Result<Self, Failure> {
        let client = Client::open(url.clone()).map_err(|error| failure(&error))?;
        let lifetime = milliseconds(lifetime);
        let (questions, readers, writers) = Default::default();
        Ok(Self { client, questions, readers, writers, next: AtomicUsize::new(0), lifetime })
    }

    /// Has `ask` ask on one of these lines. A connection that fails is given up.
    async fn ask<T, F>(
        &self,
        lines: &[Line],
        ask: impl FnOnce(MultiplexedConnection) -> F,
    ) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, RedisError>>,
    {
        let line = &lines[self.next.fetch_add(1, Ordering::Relaxed) % lines.len()];
        let connection = self.connected(line).await?;
        let unanswered = Unanswered(Some(line));
        let answered = ask(connection).await;
        unanswered.answered();
        match answered {
            Err(error) if error.is_unrecoverable_error() || error.is_io_error() => {
                *line.lock().await = None;
                Err(failure(&error))
            }
            answered => answered.map_err(|error| failure(&error)),
        }
    }

    /// Whoever doesn't wait for it leaves it to the next one.
    async fn connected(&self, line: &Line) -> Result<MultiplexedConnection, Failure> {
        if let Ok(connection) = line.try_lock()
            && let Some(connection) = &*connection
        {
            return Ok(connection.clone());
        }
        let (line, client) = (Arc::clone(line), self.client.clone());
        let connect = async move {
            let mut line = line.lock().await;
            if let Some(connection) = &*line {
                return Ok(connection.clone());
            }
            // How long an answer may take is for who asks.
            let config = AsyncConnectionConfig::new()
                .set_connection_timeout(Some(CONNECTING))
                .set_response_timeout(None);
            let connection = client.get_multiplexed_async_connection_with_config(&config).await?;
            Ok(line.insert(connection).clone())
        };
        let connected = tokio::spawn(connect).await.map_err(Failure::new)?;
        connected.map_err(|error: RedisError| failure(&error))
    }
}

#[async_trait]
impl Store for Redis {
    async fn present(&self, names: &[Name]) -> Result<Vec<bool>, Failure> {
        let mut asked = redis::pipe();
        for name in names {
            asked.exists(name.flat());
        }
        let ask = |mut connection| async move { asked.query_async(&mut connection).await };
        self.ask(&self.questions, ask).await
    }

    async fn get(&self, name: &Name) -> Result<Option<Vec<u8>>, Failure> {
        let ask = |mut connection: MultiplexedConnection| async move {
            connection.get(name.flat()).await
        };
        self.ask(&self.readers, ask).await
    }

    async fn put(&self, name: &Name, value: Vec<u8>) -> Result<(), Failure> {
        let ask = |mut connection: MultiplexedConnection| async move {
            connection.pset_ex(name.flat(), value, self.lifetime).await
        };
        self.ask(&self.writers, ask).await
    }

    async fn remove(&self, name: &Name) -> Result<(), Failure> {
        let ask = |mut connection: MultiplexedConnection| async move {
            connection.unlink(name.flat()).await
        };
        self.ask(&self.questions, ask).await
    }

    async fn claim(&self, name: &Name, token: &str, lasts: Duration) -> Result<bool, Failure> {
        let mut asked = redis::cmd("SET");
        asked.arg(name.lease()).arg(token).arg("NX").arg("PX").arg(milliseconds(lasts));
        let ask = |mut connection| async move {
            let set: Option<String> = asked.query_async(&mut connection).await?;
            Ok(set.is_some())
        };
        self.ask(&self.questions, ask).await
    }

    async fn renew(&self, name: &Name, token: &str, lasts: Duration) -> Result<(), Failure> {
        let mut asked = redis::cmd("EVAL");
        asked.arg(RENEW).arg(1).arg(name.lease()).arg(token).arg(milliseconds(lasts));
        self.ask(&self.questions, |mut line| async move { asked.query_async(&mut line).await })
            .await
    }

    async fn release(&self, name: &Name, token: &str) -> Result<(), Failure> {
        let mut asked = redis::cmd("EVAL");
        asked.arg(RELEASE).arg(1).arg(name.lease()).arg(token);
        self.ask(&self.questions, |mut line| async move { asked.query_async(&mut line).await })
            .await
    }
}

/// A connection on which somebody waits for an answer. Who stops waiting gives it up: it may lead nowhere any more.
struct Unanswered<'a>(Option<&'a Line>);

impl Unanswered<'_> {
    fn answered(mut self) {
        self.0 = None;
    }
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        if let Some(line) = self.0
            && let Ok(mut line) = line.try_lock()
        {
            *line = None;
        }
    }
}

/// Renews a lease, or deletes it, if it's still the one who says so who has it.
const RENEW: &str = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end";
const RELEASE: &str =
    "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end";

/// As the protocol has times.
fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX >> 1)
}

/// What an error says of the server.
fn failure(error: &RedisError) -> Failure {
    let why = redact::redact(&error.to_string()).into_owned();
    let takes_nothing =
        matches!(error.code(), Some("OOM" | "READONLY" | "MISCONF" | "NOPERM" | "NOREPLICAS"));
    if takes_nothing {
        return Failure::of_writes(why);
    }
    if error.is_timeout() || error.kind() == ErrorKind::Server(redis::ServerErrorKind::BusyLoading)
    {
        return Failure::silence(why);
    }
    Failure::new(why)
}
