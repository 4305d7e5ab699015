//! reqwest's failures in our words. reqwest's own text can hold a signed URL, so only the root
//! cause is quoted.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use url::Url;

use super::origin::{authority, bare};
use super::{proxied, tls};
use crate::config::Proxy;
use crate::model::error::{Error, Kind};
use crate::sys::failure::way_out;

/// The error for a request to `url`, through `proxy` if there is one, or an answer from it, that broke.
pub(super) fn explain(
    error: &reqwest::Error,
    url: &Url,
    connect_timeout: Duration,
    proxy: Option<&Proxy>,
) -> Error {
    let host = authority(url);
    let cause = root_cause(error);
    if let Some(failed) = io_causes(error).find_map(tls::failure)
        // Of what both had agreed on, a part may have been damaged on its way.
        && (error.is_connect() || !matches!(failed, rustls::Error::InvalidMessage(_)))
        && let Some(explained) = tls::explain(failed, url, proxy)
    {
        return explained;
    }
    if let Some(advice) = limit(error) {
        let way = through(proxy);
        let message = format!("can't connect to {host}{way}: {cause}; {advice}");
        return Error::new(Kind::ResourceLimit, message).with(|c| c.url = Some(bare(url)));
    }
    if let Some(proxy) = proxy
        && error.is_connect()
    {
        return proxied::unreachable(proxy, error, url, connect_timeout);
    }
    let (kind, message) = if error.is_timeout() && error.is_connect() {
        (
            Kind::Timeout,
            format!(
                "no connection to {host} within {connect_timeout:?}; check the endpoint, your network and firewall"
            ),
        )
    } else if error.is_dns() {
        (
            Kind::Connection,
            format!(
                "can't find the host of {host}: {cause}; check the endpoint's name and your DNS"
            ),
        )
    } else if error.is_connect() {
        let advice = if is_refused(error) {
            "nothing listens there; check the endpoint's host and port"
        } else {
            "check the endpoint, your network and firewall"
        };
        (Kind::Connection, format!("can't connect to {host}: {cause}; {advice}"))
    } else if error.is_builder() {
        (Kind::Internal, format!("internal error, please report it: bad request: {cause}"))
    } else {
        // The system, too, gives a peer up that takes nothing any more: that is silence.
        let silent = io_causes(error).any(|cause| cause.kind() == io::ErrorKind::TimedOut);
        let kind = if silent { Kind::Timeout } else { Kind::Connection };
        let advice = if url.scheme() == "http" && cause.starts_with("invalid HTTP") {
            "; what it answers isn't HTTP: if this port speaks TLS, its URL has to begin with https://"
        } else {
            ""
        };
        let way = through(proxy);
        (kind, format!("the connection to {host}{way} broke: {cause}{advice}"))
    };
    Error::new(kind, message).with(|c| c.url = Some(bare(url)))
}

/// The error for a server that sent `what` ("nothing", "no answer") for as long as is waited for it.
pub(super) fn silence(url: &Url, proxy: Option<&Proxy>, what: &str, limit: Duration) -> Error {
    let (host, way) = (authority(url), through(proxy));
    Error::new(Kind::Timeout, format!("{host}{way} sent {what} for {limit:?}"))
        .with(|c| c.url = Some(bare(url)))
}

/// The way to a server, behind its name.
pub(super) fn through(proxy: Option<&Proxy>) -> String {
    proxy.map(|proxy| format!(" (through {proxy})")).unwrap_or_default()
}

/// The error for a body that ended before it was complete.
pub(super) fn cut(url: &Url) -> Error {
    let message = format!("the answer of {} ended too early", authority(url));
    Error::new(Kind::Connection, message).with(|c| c.url = Some(bare(url)))
}

/// The text of the innermost error.
pub(super) fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn StdError = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    // reqwest's own error prints the URL it was for; one without a source has nothing else to say.
    if cause.is::<reqwest::Error>() { "no further cause".to_owned() } else { cause.to_string() }
}

pub(super) fn is_refused(error: &reqwest::Error) -> bool {
    io_causes(error).any(|cause| cause.kind() == io::ErrorKind::ConnectionRefused)
}

/// Whether the system says that the other side has closed the connection.
pub(super) fn is_cut(error: &reqwest::Error) -> bool {
    io_causes(error).any(|cause| {
        matches!(cause.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
    })
}

/// What to do, if it's a limit of the machine that is in the way.
fn limit(error: &reqwest::Error) -> Option<&'static str> {
    io_causes(error).find_map(way_out)
}

fn io_causes(error: &reqwest::Error) -> impl Iterator<Item = &io::Error> {
    causes(error).filter_map(|cause| cause.downcast_ref::<io::Error>())
}

/// The error, and what is behind it.
pub(super) fn causes(error: &reqwest::Error) -> impl Iterator<Item = &(dyn StdError + 'static)> {
    let first: &(dyn StdError + 'static) = error;
    std::iter::successors(Some(first), |cause| (**cause).source())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use reqwest::dns::{Name, Resolve, Resolving};

    use super::*;
    use crate::config::options::ClientOptions;
    use crate::config::{Config, Environment};

    /// Looks up names in a process that may open no more files.
    struct WithoutFiles;

    /// On Linux and macOS alike.
    const EMFILE: i32 = 24;

    impl Resolve for WithoutFiles {
        fn resolve(&self, _: Name) -> Resolving {
            Box::pin(async { Err(io::Error::from_raw_os_error(EMFILE).into()) })
        }
    }

    /// It's the machine's limit, and neither the host's fault nor the proxy's.
    #[tokio::test]
    async fn a_limit_of_the_machine_is_told_from_a_proxy_that_is_down() {
        let environment =
            Environment::of([("HOME", "/nonexistent"), ("ALL_PROXY", "http://proxy.example:3128")]);
        let config = Config::resolve_in(&ClientOptions::default(), &environment).unwrap();
        let url = Url::parse("http://hub.example/").unwrap();
        let proxy = config.proxies.of(&url);
        assert!(proxy.is_some());
        let client = reqwest::Client::builder().tls_certs_only([]).no_proxy();
        let client = client.dns_resolver(Arc::new(WithoutFiles)).build().unwrap();
        let broken = client.get(url.clone()).send().await.unwrap_err();
        for proxy in [None, proxy] {
            let error = explain(&broken, &url, Duration::from_secs(1), proxy);
            assert_eq!(error.kind(), Kind::ResourceLimit, "{error}");
            assert!(error.message().contains("ulimit -n"), "{error}");
        }
    }
}
