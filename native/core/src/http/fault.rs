//! reqwest's failures in our words. reqwest's own text can hold a signed URL, so only the root
//! cause is quoted.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use url::Url;

use super::origin::{authority, bare};
use crate::config::Proxy;
use crate::model::error::{Error, Kind, way_out};

/// The error for a request to `url`, through `proxy` if there is one, or an answer from it, that broke.
pub(super) fn explain(
    error: &reqwest::Error,
    url: &Url,
    connect_timeout: Duration,
    proxy: Option<&Proxy>,
) -> Error {
    let host = authority(url);
    let cause = root_cause(error);
    if let Some(untrusted) = certificate_error(error) {
        return untrusted_server(untrusted, url, proxy);
    }
    if let Some(proxy) = proxy
        && error.is_connect()
    {
        return unreachable_through(proxy, error, url, connect_timeout);
    }
    if let Some(advice) = limit(error) {
        let message = format!("can't connect to {host}: {cause}; {advice}");
        return Error::new(Kind::ResourceLimit, message).with(|c| c.url = Some(bare(url)));
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
        } else if cause.contains("InvalidContentType") {
            "it doesn't speak HTTPS there; is the endpoint an http:// one?"
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
        (kind, format!("the connection to {host} broke: {cause}"))
    };
    Error::new(kind, message).with(|c| c.url = Some(bare(url)))
}

/// The error where no connection came about, and a proxy should have made it.
fn unreachable_through(
    proxy: &Proxy,
    error: &reqwest::Error,
    url: &Url,
    connect_timeout: Duration,
) -> Error {
    let host = authority(url);
    let cause = root_cause(error);
    // The library's errors of a proxy are of types that it keeps to itself.
    if cause.contains("proxy authorization required") || cause.contains("credentials not accepted")
    {
        return no_entry(proxy, url);
    }
    let (kind, message) = if error.is_timeout() {
        (
            Kind::Timeout,
            format!("no connection to {host} through {proxy} within {connect_timeout:?}"),
        )
    } else if cause.contains("tunnel error: unsuccessful") {
        (
            Kind::Connection,
            format!(
                "{proxy} refused to connect to {host}; ask who runs it, or name the host in NO_PROXY"
            ),
        )
    } else if is_refused(error) || error.is_dns() {
        (Kind::Connection, format!("can't connect to {proxy}: {cause}; is it the right one?"))
    } else {
        (Kind::Connection, format!("no connection to {host} through {proxy}: {cause}"))
    };
    Error::new(kind, message).with(|c| c.url = Some(bare(url)))
}

/// The error for a proxy that doesn't let this user in.
pub(super) fn no_entry(proxy: &Proxy, url: &Url) -> Error {
    let message = format!(
        "{proxy} wants a user name and password, or other ones (HTTP 407); the variable takes them as in \
         http://user:password@proxy.example:3128"
    );
    Error::new(Kind::ProxyRefused, message)
        .with(|c| (c.url, c.http_status) = (Some(bare(url)), Some(407)))
}

/// The error for a server that can't prove to be the one that was asked for. Final: a certificate isn't
/// another one a second later.
fn untrusted_server(error: &rustls::Error, url: &Url, proxy: Option<&Proxy>) -> Error {
    use rustls::CertificateError as Problem;
    let why = match error {
        rustls::Error::InvalidCertificate(Problem::UnknownIssuer) => {
            "is signed by nobody who is trusted here; if it should be, name a file with its authority's \
             certificate in SSL_CERT_FILE"
                .to_owned()
        }
        rustls::Error::InvalidCertificate(
            Problem::Expired | Problem::ExpiredContext { .. },
        ) => "has expired, or this machine's clock is wrong".to_owned(),
        rustls::Error::InvalidCertificate(
            Problem::NotValidYet | Problem::NotValidYetContext { .. },
        ) => "isn't valid yet, or this machine's clock is wrong".to_owned(),
        rustls::Error::InvalidCertificate(
            Problem::NotValidForName | Problem::NotValidForNameContext { .. },
        ) => "is one for another name".to_owned(),
        other if other.to_string().contains("CaUsedAsEndEntity") => {
            "is that of an authority (CA:TRUE, what openssl req -x509 makes unless told), which no server \
             may use as its own; make it with -addext basicConstraints=critical,CA:FALSE"
                .to_owned()
        }
        other => format!("can't be trusted: {other}"),
    };
    let way = proxy.map(|proxy| format!(" (through {proxy})")).unwrap_or_default();
    let message = format!("the certificate of {}{way} {why}", authority(url));
    Error::new(Kind::Certificate, message).with(|c| c.url = Some(bare(url)))
}

/// What is wrong with a certificate, if that's the reason.
fn certificate_error(error: &reqwest::Error) -> Option<&rustls::Error> {
    // What an I/O error holds isn't its source, and may be another one.
    io_causes(error)
        .flat_map(|cause| {
            std::iter::successors(Some(cause), |cause| cause.get_ref()?.downcast_ref::<io::Error>())
        })
        .filter_map(|cause| cause.get_ref()?.downcast_ref::<rustls::Error>())
        .find(|cause| matches!(cause, rustls::Error::InvalidCertificate(_)))
}

/// The error for a server that sent `what` ("nothing", "no answer") for as long as is waited for it.
pub(super) fn silence(url: &Url, what: &str, limit: Duration) -> Error {
    Error::new(Kind::Timeout, format!("{} sent {what} for {limit:?}", authority(url)))
        .with(|c| c.url = Some(bare(url)))
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

fn is_refused(error: &reqwest::Error) -> bool {
    io_causes(error).any(|cause| cause.kind() == io::ErrorKind::ConnectionRefused)
}

/// What to do, if it's a limit of the machine that is in the way.
fn limit(error: &reqwest::Error) -> Option<&'static str> {
    io_causes(error).find_map(way_out)
}

fn io_causes(error: &reqwest::Error) -> impl Iterator<Item = &io::Error> {
    let first: &(dyn StdError + 'static) = error;
    let causes = std::iter::successors(Some(first), |cause| (**cause).source());
    causes.filter_map(|cause| cause.downcast_ref::<io::Error>())
}
