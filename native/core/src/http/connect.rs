//! The connections of a client: reqwest clients, built when the first request needs them.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use reqwest::redirect::Policy;
use reqwest::{ClientBuilder, StatusCode};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use tokio::sync::oneshot;
use url::Url;

use super::certificates::Authorities;
use super::fault;
use super::holds::{Holds, Sort};
use super::line::{Idle, Line};
use super::origin::bare;
use super::proxied;
use super::reused;
use super::throttle::Throttle;
use super::wire::Wire;
use crate::call::waits::Waits;
use crate::config::{Config, Deadlines, Proxies, Proxy};
use crate::model::error::{Error, Kind, Result};
use crate::sys::fork;

/// Which connections a request travels on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pool {
    /// Many small answers from one host: HTTP/2 where offered.
    Hub,
    /// Large bodies from or to storage: HTTP/1.1, as a connection each is faster than sharing one.
    Storage,
    /// As `Storage`, but each connection is a new one, and used once.
    Fresh,
}

/// The connections of one client in one process, and the limits that requests have there. Not to be
/// used across `fork`: build another.
#[derive(Clone, Debug)]
pub struct Http {
    user_agent: String,
    deadlines: Deadlines,
    throttle: Option<Arc<Throttle>>,
    proxies: Arc<Proxies>,
    authorities: Arc<Authorities>,
    clients: Arc<Clients>,
    holds: Arc<Holds>,
}

/// What was built.
#[derive(Debug, Default)]
struct Clients {
    /// By pool and by route.
    shared: [OnceLock<reqwest::Client>; 6],
    /// For content, by route.
    lines: [Idle; 2],
}

/// What a connection needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route {
    /// No certificates, which are slow to load, and absent in slim containers.
    Plain,
    Secure,
}

/// Comes with an answer that a proxy may have given itself: plain HTTP went through it.
#[derive(Clone, Debug)]
pub(crate) struct ByWayOf(pub(crate) String);

impl Http {
    /// Opens nothing and loads nothing yet.
    pub fn new(config: &Config) -> Result<Self> {
        Ok(Self {
            user_agent: config.user_agent.clone(),
            deadlines: config.deadlines,
            throttle: config.max_bytes_per_second.map(Throttle::new).map(Arc::new),
            proxies: Arc::new(config.proxies.clone()),
            authorities: Arc::new(Authorities::of(&config.certificates)),
            clients: Arc::default(),
            holds: Arc::default(),
        })
    }

    /// The same with other limits. Connections are shared, unless the limit for connecting differs.
    #[must_use]
    pub fn with_deadlines(&self, deadlines: Deadlines) -> Self {
        let same_connections = self.deadlines.connect == deadlines.connect;
        let clients = if same_connections { Arc::clone(&self.clients) } else { Arc::default() };
        Self { deadlines, clients, ..self.clone() }
    }

    /// The client for requests to `url`, built if this is the first, on a thread that may block:
    /// certificates come from a disk, and a fork may have to end first. It follows no redirects, and
    /// sends the User-Agent.
    pub(crate) async fn ready(&self, pool: Pool, url: &Url) -> Result<&reqwest::Client> {
        let route = self.route(url);
        let cell = &self.clients.shared[pool as usize * 2 + route as usize];
        if let Some(client) = cell.get() {
            return Ok(client);
        }
        // Two tasks may both build one; the first to finish is kept.
        let client = self.set_up(pool, route, |builder| builder).await?;
        Ok(cell.get_or_init(|| client))
    }

    /// A line for content to `url`, which is nobody else's until it's given back.
    pub(super) async fn line(&self, url: &Url) -> Result<Line> {
        match self.clients.lines[self.route(url) as usize].take() {
            Some(line) => Ok(line),
            None => self.new_line(url, |builder| builder).await,
        }
    }

    /// A line for content to `url` that isn't to be given back. `adapt` has the last word on its client.
    pub(crate) async fn new_line(
        &self,
        url: &Url,
        adapt: fn(ClientBuilder) -> ClientBuilder,
    ) -> Result<Line> {
        let wire = Wire::default();
        let noted = wire.clone();
        let adapt = move |builder: ClientBuilder| adapt(builder.connector_layer(noted.clone()));
        let client = self.set_up(Pool::Storage, self.route(url), adapt).await?;
        Ok(Line { client, wire })
    }

    /// Keeps a line to `url` on which nothing is on its way any more.
    pub(super) fn give_back(&self, line: Line, url: &Url) {
        self.clients.lines[self.route(url) as usize].put(line);
    }

    /// Who vouches for servers on the way to `url`; nobody, where none is needed. Reads a disk, unless there
    /// is a connection already.
    pub(crate) fn trusted(&self, url: &Url) -> Result<RootCertStore> {
        let mut trusted = RootCertStore::empty();
        trusted.add_parsable_certificates(self.authorities(self.route(url))?);
        Ok(trusted)
    }

    fn authorities(&self, route: Route) -> Result<Vec<CertificateDer<'static>>> {
        match route {
            Route::Plain => Ok(Vec::new()),
            Route::Secure => self.authorities.read(),
        }
    }

    /// Builds a client, on which `adapt` has the last word.
    async fn set_up(
        &self,
        pool: Pool,
        route: Route,
        adapt: impl FnOnce(ClientBuilder) -> ClientBuilder + Clone + Send + 'static,
    ) -> Result<reqwest::Client> {
        let http = self.clone();
        let build = move || {
            // The disk may take long, for which a fork needn't wait.
            let authorities = http.authorities(route)?;
            // The first one sets up TLS for the whole process.
            fork::hold_off(|| http.build(pool, &authorities, adapt))
        };
        let (say, said) = oneshot::channel();
        let (elsewhere, name) = (build.clone(), "xet-connect".to_owned());
        let begun =
            std::thread::Builder::new().name(name).spawn(move || drop(say.send(elsewhere())));
        if let Err(error) = begun {
            tracing::debug!(%error, "connections are set up on a thread of the network's");
            return build();
        }
        let limit = self.deadlines.first_byte;
        let Ok(outcome) = tokio::time::timeout(limit, said).await else {
            let message = format!(
                "the certificates of trusted authorities could not be read in {} s; a disk hangs",
                limit.as_secs()
            );
            return Err(Error::new(Kind::Timeout, message));
        };
        outcome.map_err(Error::internal)?
    }

    /// How long requests may take.
    #[must_use]
    pub fn deadlines(&self) -> &Deadlines {
        &self.deadlines
    }

    /// Waits until some of `bytes` more of file content may be received, and says how many. `waits` are
    /// those of the call.
    pub(super) async fn throttle(&self, bytes: usize, waits: &Waits) -> usize {
        match &self.throttle {
            Some(throttle) => throttle.admit(bytes, waits).await,
            None => bytes,
        }
    }

    /// Sends one request and waits for the head of its answer, whatever the status. Fails at once if
    /// the server has refused others of its sort for now.
    pub async fn execute(
        &self,
        pool: Pool,
        sort: Sort,
        request: reqwest::Request,
    ) -> Result<reqwest::Response> {
        let url = request.url().clone();
        let client = self.ready(pool, &url).await?;
        self.holds.check(&url, sort)?;
        let (limit, begun) = (self.deadlines.first_byte, Instant::now());
        let execute = Box::pin(self.execute_unless_closed(client, request));
        match tokio::time::timeout(limit, execute).await {
            Ok(Err(error)) => Err(error),
            Ok(Ok(Ok(answer))) => self.received(answer, sort, begun),
            Ok(Ok(Err(error))) => Err(self.failure(&error, &url).await),
            Err(_) => Err(self.silence(&url, "no answer", limit)),
        }
    }

    /// Fails with the time to wait if the server at `url` has refused requests of this sort for now. For
    /// those that send by other means, as are the next two.
    pub(crate) fn check_hold(&self, url: &Url, sort: Sort) -> Result<()> {
        self.holds.check(url, sort)
    }

    /// Requests that were `begun` then were let through.
    pub(crate) fn note_passed(&self, to: (&Url, Sort), begun: Instant) {
        self.holds.passed(to, begun);
    }

    /// Requests that were `begun` then ended with this error, which has the time to wait if it's a
    /// refusal for now.
    pub(crate) fn note_refusal(&self, to: (&Url, Sort), begun: Instant, error: Error) -> Error {
        if error.kind() != Kind::RateLimited || error.context().hold.is_some() {
            return error;
        }
        let hold = self.holds.refused(to, begun, Kind::RateLimited, None);
        error.with(|c| (c.url, c.hold) = (Some(bare(to.0)), Some(hold)))
    }

    /// An answer, unless a proxy has given it itself, as far as one can tell. One that refuses the
    /// request for now, which was `begun` then, comes with the [`Hold`](crate::model::error::Hold).
    pub(super) fn received(
        &self,
        mut answer: reqwest::Response,
        sort: Sort,
        begun: Instant,
    ) -> Result<reqwest::Response> {
        let url = answer.url();
        let hold = self.holds.answered((url, sort), begun, answer.status(), answer.headers());
        if url.scheme() == "http"
            && let Some(proxy) = self.proxy(url)
        {
            if answer.status() == StatusCode::PROXY_AUTHENTICATION_REQUIRED {
                return Err(proxied::no_entry(proxy, url));
            }
            let by_way_of = ByWayOf(proxy.to_string());
            answer.extensions_mut().insert(by_way_of);
        }
        if let Some(hold) = hold {
            answer.extensions_mut().insert(hold);
        }
        Ok(answer)
    }

    /// The proxy that a request to `url` goes through.
    pub(crate) fn proxy(&self, url: &Url) -> Option<&Proxy> {
        self.proxies.of(url)
    }

    fn route(&self, url: &Url) -> Route {
        if url.scheme() == "http" && !self.proxy(url).is_some_and(Proxy::is_secure) {
            Route::Plain
        } else {
            Route::Secure
        }
    }

    /// The error for an answer of HTTP 407 from `url`, if it is the proxy's own.
    pub(crate) fn refused_by_proxy(&self, url: &Url) -> Option<Error> {
        let proxy = self.proxy(url).filter(|_| url.scheme() == "http")?;
        Some(proxied::no_entry(proxy, url))
    }

    /// The error for a request to `url`, or an answer from it, that broke.
    pub(crate) fn fault(&self, error: &reqwest::Error, url: &Url) -> Error {
        fault::explain(error, url, self.deadlines.connect, self.proxy(url))
    }

    /// The same for one that isn't connected, of which a proxy may say more if it's asked.
    pub(super) async fn failure(&self, error: &reqwest::Error, url: &Url) -> Error {
        if let Some(proxy) = self.proxy(url)
            && proxied::has_refused_a_tunnel(error)
            && let Some(told) = proxied::refused_tunnel(proxy, url, self.deadlines.connect).await
        {
            return told;
        }
        self.fault(error, url)
    }

    /// The error for a server that sent `what` for as long as is waited for it.
    pub(super) fn silence(&self, url: &Url, what: &str, limit: Duration) -> Error {
        fault::silence(url, self.proxy(url), what, limit)
    }

    fn build(
        &self,
        pool: Pool,
        authorities: &[CertificateDer<'static>],
        adapt: impl FnOnce(ClientBuilder) -> ClientBuilder,
    ) -> Result<reqwest::Client> {
        let mut builder = reqwest::Client::builder()
            .user_agent(self.user_agent.as_str())
            .redirect(Policy::none())
            .connector_layer(reused::Tell)
            // Deadlines are ours to keep; the system's own would end what a caller has more patience with.
            .tcp_user_timeout(None)
            // Ours is a matter of what was published: see `encoding`.
            .no_gzip()
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
            Pool::Storage => builder.http1_only(),
            Pool::Fresh => builder.http1_only().pool_max_idle_per_host(0),
        };
        // Only what the configuration says, and not what the library finds out by itself. It's asked for each
        // request, on whatever route: xet-core sends to several hosts on one client.
        let proxies = Arc::clone(&self.proxies);
        let proxy = move |url: &Url| proxies.of(url).map(|proxy| proxy.url().clone());
        builder = builder.no_proxy().proxy(reqwest::Proxy::custom(proxy));
        let authorities = authorities.iter().map(|der| reqwest::Certificate::from_der(der));
        let built = authorities
            .collect::<reqwest::Result<Vec<_>>>()
            .and_then(|authorities| adapt(builder.tls_certs_only(authorities)).build());
        built.map_err(|error| {
            let message = format!("can't set up HTTPS: {}", fault::root_cause(&error));
            Error::new(Kind::Certificate, message)
        })
    }
}
