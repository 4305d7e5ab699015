//! The connections of a client: reqwest clients, built when the first request needs them.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use reqwest::redirect::Policy;
use reqwest::{ClientBuilder, Method, StatusCode};
use rustls::pki_types::CertificateDer;
use tokio::sync::oneshot;
use url::Url;

use super::away::Answered;
use super::certificates::Authorities;
use super::fault;
use super::holds::{Asked, Holds, Sort};
use super::line::{Idle, Line};
use super::proxied;
use super::redirect::Request;
use super::reused;
use super::throttle::Throttle;
use super::windows::Windows;
use super::wire::Wire;
use crate::call::waits::Waits;
use crate::config::{Config, Deadlines, Proxies, Proxy};
use crate::model::error::{Error, Kind, Result};
use crate::sys::fork;

/// Which connections requests travel on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pool {
    /// Many small answers from one host, which share a connection where HTTP/2 is offered.
    Multiplexed,
    /// Large bodies: HTTP/1.1, as a connection each is faster than sharing one.
    Separate,
    /// As `Separate`, but each connection is a new one, and used once.
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
    answered: Arc<Answered>,
    pub(super) windows: Windows,
    /// Why nothing can be sent.
    unusable: Option<Error>,
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

/// Where servers of the Hub's, and before it, number their answers.
pub(crate) const REQUEST_IDS: [&str; 3] = ["x-request-id", "x-amzn-trace-id", "x-amz-cf-id"];

impl ByWayOf {
    /// The proxy that may have given this answer in the server's place: by its status, and as it has no number.
    pub(crate) fn instead(response: &reqwest::Response) -> Option<&str> {
        let has_number = REQUEST_IDS.iter().any(|name| response.headers().contains_key(*name));
        let status = response.status().as_u16();
        let may_be = !has_number && matches!(status, 400..=403 | 405 | 451 | 500..=599);
        response.extensions().get::<Self>().filter(|_| may_be).map(|Self(proxy)| proxy.as_str())
    }

    /// What an error says of that.
    pub(crate) fn note(proxy: &str) -> String {
        format!("the answer may be that of {proxy}, which it came through")
    }
}

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
            answered: Arc::default(),
            windows: Windows::default(),
            unusable: config.unusable.clone(),
        })
    }

    /// The same with other limits. Connections are shared, unless the limit for connecting differs.
    #[must_use]
    pub fn with_deadlines(&self, deadlines: Deadlines) -> Self {
        let same_connections = self.deadlines.connect == deadlines.connect;
        let clients = if same_connections { Arc::clone(&self.clients) } else { Arc::default() };
        Self { deadlines, clients, ..self.clone() }
    }

    /// The client for requests to `url`, built if this is the first, on threads that may block:
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

    /// A line for content to `url` that was used before, and is nobody else's until it's given back.
    pub(super) fn used_line(&self, url: &Url) -> Option<Line> {
        self.clients.lines[self.route(url) as usize].take()
    }

    /// A new one.
    pub(super) async fn new_line(&self, url: &Url) -> Result<Line> {
        let wire = Wire::default();
        let noted = wire.clone();
        let adapt = move |builder: ClientBuilder| builder.connector_layer(noted);
        let client = self.set_up(Pool::Separate, self.route(url), adapt).await?;
        Ok(Line { client, wire })
    }

    /// Keeps a line to `url` on which nothing is to be sent any more.
    pub(super) fn give_back(&self, line: Line, url: &Url) {
        self.clients.lines[self.route(url) as usize].put(line);
    }

    /// Builds a client, on which `adapt` has the last word. Every request needs one, so none is sent past settings
    /// that can't be used.
    async fn set_up(
        &self,
        pool: Pool,
        route: Route,
        adapt: impl FnOnce(ClientBuilder) -> ClientBuilder + Clone + Send + 'static,
    ) -> Result<reqwest::Client> {
        if let Some(why) = &self.unusable {
            return Err(why.clone());
        }
        // Before there is a thread that would wait for them, too.
        let authorities = match route {
            Route::Plain => Arc::default(),
            Route::Secure => self.read_authorities().await?,
        };
        let http = self.clone();
        // The first one sets up TLS for the whole process.
        let build = move || fork::hold_off(|| http.build(pool, &authorities, adapt));
        let (say, said) = oneshot::channel();
        let (elsewhere, name) = (build.clone(), "xet-connect".to_owned());
        let begun =
            std::thread::Builder::new().name(name).spawn(move || drop(say.send(elsewhere())));
        if let Err(error) = begun {
            tracing::debug!(%error, "connections are set up on a thread of the network's");
            return build();
        }
        said.await.map_err(Error::internal)?
    }

    async fn read_authorities(&self) -> Result<Arc<[CertificateDer<'static>]>> {
        let limit = self.deadlines.first_byte;
        tokio::time::timeout(limit, self.authorities.read()).await.unwrap_or_else(|_| {
            let message = format!(
                "the certificates of trusted authorities could not be read in {} s; a disk hangs",
                limit.as_secs()
            );
            Err(Error::new(Kind::Timeout, message))
        })
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
        let may_be_made_twice = matches!(*request.method(), Method::GET | Method::HEAD);
        self.execute_once(pool, sort, request, may_be_made_twice).await
    }

    /// The same for a request that does no harm if it's made twice, whatever its method.
    pub(crate) async fn execute_harmless(
        &self,
        pool: Pool,
        sort: Sort,
        request: reqwest::Request,
    ) -> Result<reqwest::Response> {
        self.execute_once(pool, sort, request, true).await
    }

    async fn execute_once(
        &self,
        pool: Pool,
        sort: Sort,
        request: reqwest::Request,
        may_be_made_twice: bool,
    ) -> Result<reqwest::Response> {
        let url = request.url().clone();
        let client = self.ready(pool, &url).await?;
        let asked = Asked::by(&request, sort);
        self.check_hold(&asked)?;
        let (limit, begun) = (self.deadlines.first_byte, Instant::now());
        let execute = Box::pin(self.execute_unless_closed(client, request, may_be_made_twice));
        match tokio::time::timeout(limit, execute).await {
            Ok(Err(error)) => Err(error),
            Ok(Ok(Ok(answer))) => self.received(answer, &asked, begun),
            Ok(Ok(Err(error))) => Err(self.failure(&error, &url).await),
            Err(_) => Err(self.silence(&url, "no answer", limit)),
        }
    }

    /// How many more requests of this sort the server at `url` takes now, and how many in each window, as far
    /// as it has said so.
    pub(crate) fn room(&self, url: &Url, sort: Sort) -> Option<(u64, u64)> {
        self.windows.room(url, sort)
    }

    /// Fails with the time to wait if the server has refused requests of this sort for now.
    pub(super) fn check_hold(&self, asked: &Asked) -> Result<()> {
        self.holds.check(asked)
    }

    /// Nobody is held back by the refusal of this one.
    pub(crate) fn release(&self, request: &Request) {
        let Request { method, url, headers, sort, .. } = request;
        self.holds.release(&Asked::of(method, url, headers, sort));
    }

    /// An answer, unless a proxy has given it itself, as far as one can tell. One that refuses the
    /// request for now, which was `begun` then, comes with the [`Hold`](crate::model::error::Hold).
    pub(super) fn received(
        &self,
        mut answer: reqwest::Response,
        asked: &Asked,
        begun: Instant,
    ) -> Result<reqwest::Response> {
        let url = answer.url();
        self.answered.note(url);
        let hold = self.holds.answered(asked, begun, answer.status(), answer.headers());
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
        let told = fault::explain(error, url, self.deadlines.connect, self.proxy(url));
        self.noting_absence(told, error, url)
    }

    /// What is told of a failure, which may be that the server is away for a moment.
    fn noting_absence(&self, told: Error, error: &reqwest::Error, url: &Url) -> Error {
        let is_unconnected = error.is_connect() || error.is_dns();
        let is_away = is_unconnected
            && told.kind() == Kind::Connection
            && told.is_transient()
            && self.answered.is_away(error, url);
        told.with(|c| (c.is_unconnected, c.is_away) = (is_unconnected, is_away))
    }

    /// The same for one that isn't connected, of which a proxy may say more if it's asked.
    pub(super) async fn failure(&self, error: &reqwest::Error, url: &Url) -> Error {
        if let Some(proxy) = self.proxy(url)
            && proxied::has_refused_a_tunnel(error)
            && let Some(told) = proxied::refused_tunnel(proxy, url, self.deadlines.connect).await
        {
            return self.noting_absence(told, error, url);
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
            Pool::Multiplexed => builder
                .http2_keep_alive_interval(Duration::from_secs(5))
                .http2_keep_alive_timeout(Duration::from_secs(10)),
            Pool::Separate => builder.http1_only(),
            Pool::Fresh => builder.http1_only().pool_max_idle_per_host(0),
        };
        // Only what the configuration says, and not what the library finds out by itself. It's asked for each
        // request, on whatever route.
        let proxies = Arc::clone(&self.proxies);
        let proxy = move |url: &Url| proxies.of(url).map(|proxy| proxy.url_for(url));
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
