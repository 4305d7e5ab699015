//! Connections that a proxy didn't make, and why.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use url::Url;

use super::fault::{causes, is_refused, root_cause, through};
use super::origin::{authority, bare};
use crate::config::Proxy;
use crate::model::error::{Error, Kind};

/// What hyper-util says of an answer to CONNECT that isn't HTTP 200 or 407. Its errors are of types that it
/// keeps to itself.
const NO_TUNNEL: &str = "tunnel error: unsuccessful";

/// What reqwest says of a host that this machine has to find for a SOCKS proxy, and can't.
const NOT_FOUND_HERE: &str = "error resolving for socks proxy";

/// How hyper-util begins what it says of SOCKS.
const SOCKS: &str = "SOCKS error: ";

/// The most of an answer to CONNECT that is read.
const HEAD: usize = 4 << 10;

/// The error where no connection to `url` came about, and a proxy should have made it.
pub(super) fn unreachable(
    proxy: &Proxy,
    error: &reqwest::Error,
    url: &Url,
    connect_timeout: Duration,
) -> Error {
    let (host, way) = (authority(url), through(Some(proxy)));
    let cause = root_cause(error);
    let wants_another_user = [
        "proxy authorization required",
        "credentials not accepted",
        "server does not support user/pass authentication",
        "server ident service",
    ];
    if wants_another_user.iter().any(|text| cause.contains(text)) {
        return no_entry(proxy, url);
    }
    if cause.contains("connection not allowed") {
        return forbidden(proxy, url, None);
    }
    if let Some(message) = cause.strip_prefix(SOCKS).and_then(|said| of_socks(said, proxy, &host)) {
        return Error::new(Kind::Connection, message).with(|c| c.url = Some(bare(url)));
    }
    let (kind, message) = if error.is_timeout() {
        (Kind::Timeout, format!("no connection to {host}{way} within {connect_timeout:?}"))
    } else if cause.contains(NO_TUNNEL) {
        (Kind::Connection, format!("{proxy} made no connection to {host}; is it a proxy?"))
    } else if causes(error).any(|cause| cause.to_string() == NOT_FOUND_HERE) {
        let advice = "with socks5h:// or socks4a:// it is the proxy that looks it up";
        let message = format!(
            "can't find the host of {host}: {cause}; {proxy} has it looked up here, {advice}"
        );
        (Kind::Connection, message)
    } else if is_refused(error) || error.is_dns() {
        (Kind::Connection, format!("can't connect to {proxy}: {cause}; is it the right one?"))
    } else {
        (Kind::Connection, format!("no connection to {host}{way}: {cause}"))
    };
    Error::new(kind, message).with(|c| c.url = Some(bare(url)))
}

/// What became of a request for a connection to `host`, by what hyper-util says of it: who didn't do their part, the
/// proxy or the host behind it. `None`: that's something else.
fn of_socks(said: &str, proxy: &Proxy, host: &str) -> Option<String> {
    Some(match said {
        "failed to create underlying connection" => {
            format!("can't connect to {proxy}; does it run, and is it the right one?")
        }
        "io error during SOCKS handshake" => {
            format!("{proxy} broke off before it had a connection to {host}; is it a SOCKS proxy?")
        }
        "failed parsing server response" | "server implements authentication incorrectly" => {
            format!(
                "{proxy} doesn't speak SOCKS as asked for; is it a SOCKS proxy, of this version?"
            )
        }
        "host unreachable" | "network unreachable" | "connection refused" | "ttl expired" => {
            format!("{proxy} can't reach {host}: {said}")
        }
        "general server failure" | "server failed to execute command" => {
            format!("{proxy} made no connection to {host}, and doesn't say why: {said}")
        }
        "could not resolve to acceptable address type"
        | "IPV6 is not supported"
        | "address type not supported" => format!(
            "{host} has no address that {proxy} takes: {said}; a proxy that looks hosts up itself is named \
             with socks5h:// or socks4a://"
        ),
        "command not supported" => {
            format!("{proxy} makes no connections, to {host} or others: {said}")
        }
        _ => return None,
    })
}

/// Whether the proxy has answered to CONNECT with something that the library keeps to itself.
pub(super) fn has_refused_a_tunnel(error: &reqwest::Error) -> bool {
    error.is_connect() && root_cause(error).contains(NO_TUNNEL)
}

/// The error for a proxy that refused a tunnel to `url`: it is asked once more for its reason, since one that
/// forbids a host is final, and one that can't reach it isn't. `None`: it gives none.
pub(super) async fn refused_tunnel(proxy: &Proxy, url: &Url, limit: Duration) -> Option<Error> {
    let status = tokio::time::timeout(limit, answer_to_connect(proxy, url)).await.ok()??;
    let (host, name) = (authority(url), proxy);
    Some(match status {
        407 => no_entry(proxy, url),
        429 => {
            let message = format!(
                "{name} limits how often it connects to hosts (HTTP 429); this one was {host}, whose limit it \
                 isn't: ask for less at a time, or ask who runs the proxy"
            );
            Error::new(Kind::RateLimited, message)
                .with(|c| (c.url, c.http_status) = (Some(bare(url)), Some(status)))
        }
        408 | 500..=510 => {
            let message = format!("{name} can't reach {host} (HTTP {status})");
            Error::new(Kind::Connection, message)
                .with(|c| (c.url, c.http_status) = (Some(bare(url)), Some(status)))
        }
        // It has just made one.
        200..=299 => return None,
        _ => forbidden(proxy, url, Some(status)),
    })
}

/// The status of the answer to a CONNECT of our own; `None`: there is none, or the proxy wants TLS.
async fn answer_to_connect(proxy: &Proxy, url: &Url) -> Option<u16> {
    let to = proxy.url();
    if to.scheme() != "http" {
        return None;
    }
    let (host, port) = (to.host_str()?.trim_matches(['[', ']']), to.port_or_known_default()?);
    let mut stream = TcpStream::connect((host, port)).await.ok()?;
    let target = authority(url);
    let user = if to.username().is_empty() && to.password().is_none() {
        String::new()
    } else {
        let mut user: Vec<u8> = percent_decode_str(to.username()).collect();
        user.push(b':');
        user.extend(percent_decode_str(to.password().unwrap_or_default()));
        format!("Proxy-Authorization: Basic {}\r\n", STANDARD.encode(user))
    };
    let request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{user}\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut head = Vec::new();
    while head.len() < HEAD && !head.contains(&b'\n') {
        if stream.read_buf(&mut head).await.ok()? == 0 {
            break;
        }
    }
    status(&head)
}

/// The status in the first line of an answer, if that is one of HTTP/1.
fn status(head: &[u8]) -> Option<u16> {
    let line = head.split(|byte| *byte == b'\n').next()?;
    let mut words = std::str::from_utf8(line).ok()?.split_ascii_whitespace();
    words.next().filter(|version| version.starts_with("HTTP/1."))?;
    words.next().filter(|status| status.len() == 3)?.parse().ok()
}

/// The error for a proxy that doesn't let this user in.
pub(super) fn no_entry(proxy: &Proxy, url: &Url) -> Error {
    let is_http = matches!(proxy.url().scheme(), "http" | "https");
    let (said, example) = if is_http {
        (" (HTTP 407)", "http://user:password@proxy.example:3128")
    } else {
        ("", "socks5h://user:password@proxy.example:1080")
    };
    let message = format!(
        "{proxy} wants a user name and password, or other ones{said}; the variable takes them as in {example}"
    );
    Error::new(Kind::ProxyRefused, message)
        .with(|c| (c.url, c.http_status) = (Some(bare(url)), is_http.then_some(407)))
}

/// The error for a proxy that doesn't let anybody through to a host.
fn forbidden(proxy: &Proxy, url: &Url, status: Option<u16>) -> Error {
    let said = status.map(|status| format!(" (HTTP {status})")).unwrap_or_default();
    let host = authority(url);
    let message = format!(
        "{proxy} refused to connect to {host}{said}; ask who runs it, or name the host in NO_PROXY"
    );
    Error::new(Kind::ProxyRefused, message)
        .with(|c| (c.url, c.http_status) = (Some(bare(url)), status))
}

#[cfg(test)]
mod tests {
    use reqwest::Method;

    use super::*;
    use crate::config::options::ClientOptions;
    use crate::config::{Config, Environment};
    use crate::http::{CONTENT, Http, Pool};

    /// Who isn't found is named: the server, where this machine looks it up, or the proxy.
    #[tokio::test]
    async fn who_is_not_found_behind_a_socks_proxy_is_named() {
        let server = "can't find the host of hub.invalid:80:";
        let proxy_itself = "can't connect to the proxy proxy.invalid:1 (ALL_PROXY); does it run";
        for (proxy, named) in [
            ("socks5://127.0.0.1:1", server),
            ("socks4://127.0.0.1:1", server),
            ("socks5h://proxy.invalid:1", proxy_itself),
            ("socks4a://proxy.invalid:1", proxy_itself),
        ] {
            let environment = Environment::of([("HOME", "/nonexistent"), ("ALL_PROXY", proxy)]);
            let config = Config::resolve_in(&ClientOptions::default(), &environment).unwrap();
            let url = Url::parse("http://hub.invalid/").unwrap();
            let request = reqwest::Request::new(Method::GET, url);
            let http = Http::new(&config).unwrap();
            let error = http.execute(Pool::Separate, CONTENT, request).await.unwrap_err();
            assert_eq!(error.kind(), Kind::Connection);
            assert!(error.message().starts_with(named), "{proxy}: {error}");
        }
    }

    /// Only what begins like an answer of HTTP/1 has a status.
    #[test]
    fn the_status_is_that_of_an_answer() {
        for (head, expected) in [
            (&b"HTTP/1.1 403 Filtered\r\nServer: x\r\n\r\n"[..], Some(403)),
            (b"HTTP/1.0 502\r\n", Some(502)),
            (b"HTTP/1.1 4030 x\r\n", None),
            (b"SSH-2.0-x 403\r\n", None),
            (b"\x05\xff", None),
            (b"", None),
        ] {
            assert_eq!(status(head), expected);
        }
    }
}
