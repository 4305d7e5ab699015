//! The connections of a client: reqwest clients, built when the first request needs them.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use reqwest::header::{CONTENT_LENGTH, HeaderValue};
use reqwest::redirect::Policy;
use url::Url;

use super::fault;
use super::origin::{authority, bare};
use super::payload::{self, Outgoing};
use super::throttle::Throttle;
use crate::config::{Config, Deadlines};
use crate::model::error::{Error, Kind, Result};
use crate::sys::fork;

/// Which connections a request travels on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pool {
    /// Many small answers from one host: HTTP/2 where offered, gzip where the request allows it.
    Hub,
    /// Large bodies from storage: HTTP/1.1, as a connection each is faster than sharing one; never
    /// decoded.
    Storage,
    /// Content that we send: as `Storage`, but not limited in how long the head of the answer may
    /// take, which would count the time of sending; see [`Outgoing`](super::Outgoing).
    Upload,
}

/// The connections of one client in one process, and the limits that requests have there. Not to be
/// used across `fork`: build another.
#[derive(Clone, Debug)]
pub struct Http {
    user_agent: String,
    deadlines: Deadlines,
    throttle: Option<Arc<Throttle>>,
    clients: Arc<Clients>,
}

/// By pool and by whether they serve this machine alone.
type Clients = [OnceLock<reqwest::Client>; 6];

impl Http {
    /// Opens nothing and loads nothing yet.
    pub fn new(config: &Config) -> Result<Self> {
        Ok(Self {
            user_agent: config.user_agent.clone(),
            deadlines: config.deadlines,
            throttle: config.max_bytes_per_second.map(Throttle::new).map(Arc::new),
            clients: Arc::default(),
        })
    }

    /// The same with other limits. Connections are shared, unless the limit for connecting differs.
    #[must_use]
    pub fn with_deadlines(&self, deadlines: Deadlines) -> Self {
        let same_connections = self.deadlines.connect == deadlines.connect;
        let clients = if same_connections { Arc::clone(&self.clients) } else { Arc::default() };
        Self { deadlines, clients, ..self.clone() }
    }

    /// The client for requests to `url`, built if this is the first. It follows no redirects, and
    /// sends the User-Agent.
    pub fn client(&self, pool: Pool, url: &Url) -> Result<&reqwest::Client> {
        let local = is_plain_loopback(url);
        let cell = &self.clients[pool as usize * 2 + usize::from(local)];
        if let Some(client) = cell.get() {
            return Ok(client);
        }
        // Two threads may both build one; the first to finish is kept.
        // The first one sets up TLS for the whole process.
        let client = fork::hold_off(|| self.build(pool, local))?;
        Ok(cell.get_or_init(|| client))
    }

    /// How long requests may take.
    #[must_use]
    pub fn deadlines(&self) -> &Deadlines {
        &self.deadlines
    }

    /// Waits until `bytes` more of file content may be received.
    pub(super) async fn throttle(&self, bytes: usize) {
        if let Some(throttle) = &self.throttle {
            throttle.admit(bytes).await;
        }
    }

    /// Sends one request and waits for the head of its answer, whatever the status.
    pub async fn execute(
        &self,
        pool: Pool,
        request: reqwest::Request,
    ) -> Result<reqwest::Response> {
        let url = request.url().clone();
        let client = self.client(pool, &url)?;
        let limit = self.deadlines.first_byte;
        match tokio::time::timeout(limit, client.execute(request)).await {
            Ok(answer) => answer.map_err(|error| self.fault(&error, &url)),
            Err(_) => Err(fault::silence(&url, "no answer", limit)),
        }
    }

    /// Sends a request with content, which `body` makes; its own failure to be read is what counts
    /// then. Ends once the server has been silent for as long as the content's patience lasts.
    pub(super) async fn execute_content(
        &self,
        mut request: reqwest::Request,
        content: &Outgoing,
    ) -> Result<reqwest::Response> {
        let url = request.url().clone();
        let (body, pulse) = content.body();
        if let Some(length) = content.length() {
            request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        *request.body_mut() = Some(body);
        let mut answer = std::pin::pin!(self.client(Pool::Upload, &url)?.execute(request));
        loop {
            let felt = pulse.feel();
            let limit = content.limit(&felt);
            match tokio::time::timeout_at(felt.due(limit).into(), &mut answer).await {
                Ok(Ok(response)) => return Ok(response),
                Ok(Err(error)) => {
                    return Err(pulse.take_error().unwrap_or_else(|| self.fault(&error, &url)));
                }
                Err(_) if pulse.feel() != felt => {}
                Err(_) => {
                    let error = payload::stalled(&authority(&url), felt.finished, limit);
                    return Err(error.with(|c| c.url = Some(bare(&url))));
                }
            }
        }
    }

    /// The error for a request to `url`, or an answer from it, that broke.
    pub(crate) fn fault(&self, error: &reqwest::Error, url: &Url) -> Error {
        fault::explain(error, url, self.deadlines.connect)
    }

    fn build(&self, pool: Pool, local: bool) -> Result<reqwest::Client> {
        let mut builder = reqwest::Client::builder()
            .user_agent(self.user_agent.as_str())
            .redirect(Policy::none())
            .connect_timeout(self.deadlines.connect)
            // Below what load balancers keep, so that a request doesn't meet a connection that is
            // being closed.
            .pool_idle_timeout(Duration::from_secs(45));
        builder = match pool {
            // All requests share one connection, so a retry would go down the same dead one; pings
            // find that out.
            Pool::Hub => builder
                .http2_keep_alive_interval(Duration::from_secs(5))
                .http2_keep_alive_timeout(Duration::from_secs(10)),
            Pool::Storage => builder.http1_only().gzip(false),
            Pool::Upload => builder.http1_only(),
        };
        if local {
            // Neither certificates (slow to load, absent in slim containers) nor a proxy is of use
            // on this machine.
            builder = builder.no_proxy().tls_certs_only([]);
        }
        builder.build().map_err(|error| {
            Error::new(
                Kind::Connection,
                format!(
                    "can't set up HTTPS: {}; check that the system's CA certificates are installed",
                    fault::root_cause(&error)
                ),
            )
        })
    }
}

/// Whether the URL is plain HTTP to this machine.
fn is_plain_loopback(url: &Url) -> bool {
    url.scheme() == "http"
        && match url.host() {
            Some(url::Host::Domain(name)) => name == "localhost",
            Some(url::Host::Ipv4(address)) => address.is_loopback(),
            Some(url::Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Only plain HTTP to this very machine does without certificates and proxies.
    #[test]
    fn plain_loopback_is_told_from_the_rest() {
        for (url, local) in [
            ("http://127.0.0.1:8080/x", true),
            ("http://localhost/", true),
            ("http://[::1]:9/", true),
            ("https://127.0.0.1/", false),
            ("http://10.0.0.1/", false),
            ("http://localhost.example.com/", false),
            ("https://huggingface.co/", false),
        ] {
            assert_eq!(is_plain_loopback(&Url::parse(url).unwrap()), local, "{url}");
        }
    }
}
