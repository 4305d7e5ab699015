//! The connections that xet-core sends on: ours, which go by our certificates and proxies, and of which it
//! is known what the system still holds.
//!
//! Only shards, to storage that knows nothing but version 1 of the interface for them, go on connections of its
//! own making, whatever it's given. Those go by the process's proxies as reqwest reads them, which isn't how
//! we do: it takes `HTTP_PROXY` before `http_proxy`, even if that is empty; what it can't parse is no proxy, and
//! the token goes past it; it knows no ports in `NO_PROXY`, and no exception for this machine. So they are
//! used only where they lead the same way. Whom they trust can be said.

use std::future::poll_fn;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::pin::pin;
use std::sync::Arc;

use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use reqwest::header::{HeaderMap, HeaderValue, USER_AGENT};
use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder};
use rustls::RootCertStore;
use url::Url;
use xet_data::error::DataError;
use xet_data::processing::FileUploadSession;
use xet_data::processing::configurations::TranslatorConfig;
use xet_runtime::core::XetContext;

use super::settings::Shards;
use crate::config::{Config, Proxy};
use crate::http::origin::authority;
use crate::model::error::{Error, Result};
use crate::sys::fork;

/// A redirect of a request to storage. Content can't be sent on to where it leads, since it's gone by then.
#[derive(Debug, thiserror::Error)]
#[error("a redirect (HTTP {status}) to {host}")]
pub(super) struct Redirected {
    status: u16,
    host: String,
}

/// What xet-core counts on: that answers are decoded; and what it doesn't look for: each redirect is an error.
pub(super) fn adapt(builder: ClientBuilder) -> ClientBuilder {
    builder.gzip(true).redirect(Policy::custom(|attempt| {
        let (status, host) = (attempt.status().as_u16(), authority(attempt.url()));
        attempt.error(Redirected { status, host })
    }))
}

/// What goes with all of xet-core's requests.
pub(super) fn headers(config: &Config) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let Ok(agent) = HeaderValue::from_str(&config.user_agent) {
        headers.insert(USER_AGENT, agent);
    }
    headers
}

/// Makes a session, whose own connections trust `authorities`. They may be none.
pub(super) async fn session(
    settings: Arc<TranslatorConfig>,
    authorities: &Arc<RootCertStore>,
) -> Result<Arc<FileUploadSession>, DataError> {
    let mut made = pin!(FileUploadSession::new(settings));
    // Each step may be on another thread.
    poll_fn(|context| {
        rustls_platform_verifier::trusting(authorities, || made.as_mut().poll(context))
    })
    .await
}

/// How shards are to go to storage at `cas`, where everything else goes through `proxy`, or straight there if
/// there's none.
pub(super) fn way_of_shards(cas: &Url, proxy: Option<&Proxy>) -> Shards {
    // The environment as xet-core will find it, which may have changed since our client was made.
    let theirs = fork::hold_off(Matcher::from_system);
    if lead_there(&theirs, cas, proxy) { Shards::Either } else { Shards::Lent }
}

/// The error where storage at `host` takes shards only on connections that don't lead through `proxy`, or lead
/// through another one.
pub(super) fn no_way(host: &str, proxy: Option<&Proxy>) -> Error {
    let (variable, advice) = match proxy {
        Some(proxy) => (
            proxy.variable(),
            "give this variable and NO_PROXY the same value in capital and in small letters, with the user's \
             name and password percent-encoded",
        ),
        None => ("NO_PROXY", "name the host there, without its port"),
    };
    let problem = format!(
        "Xet storage at {host} takes uploads only in an older way, which reads the variables of proxies by \
         stricter rules, and would lead another way; {advice}"
    );
    Error::invalid(variable, problem)
}

/// Whether the proxies of `theirs` bring a request to `cas` through `proxy`, or straight there if there's
/// none.
fn lead_there(theirs: &Matcher, cas: &Url, proxy: Option<&Proxy>) -> bool {
    let Ok(cas) = cas.as_str().parse::<http::Uri>() else { return false };
    let ours = match proxy {
        None => None,
        // Ours is percent-encoded, and so they can read it.
        Some(proxy) => match Matcher::builder().all(proxy.url().as_str()).build().intercept(&cas) {
            None => return false,
            ours => ours,
        },
    };
    let theirs = theirs.intercept(&cas);
    ours.as_ref().map(essence) == theirs.as_ref().map(essence)
}

/// What makes a proxy another one: where it is, and as whom it's used.
fn essence(proxy: &Intercept) -> impl PartialEq + use<> {
    let place = proxy.uri();
    let scheme = place.scheme_str().unwrap_or("http").to_owned();
    let usual_port = match scheme.as_str() {
        "http" => 80,
        "https" => 443,
        _ => 1080,
    };
    let port = place.port_u16().unwrap_or(usual_port);
    let host = place.host().map(str::to_ascii_lowercase);
    let user = proxy.raw_auth().map(|(name, password)| (name.to_owned(), password.to_owned()));
    (scheme, host, port, proxy.basic_auth().cloned(), user)
}

/// Has the sessions with `context`, whose requests have these `headers`, send on the connections of `client`:
/// xet-core keeps one client for each context, and takes the one that is there.
pub(super) fn lend(context: &XetContext, headers: &HeaderMap, client: Client) -> Result<()> {
    let kept = context.common.get_or_create_reqwest_client(name(headers), || Ok(client));
    kept.map(drop).map_err(Error::internal)
}

/// How xet-core 1.8.0 calls its client (`common/http_client.rs`): by where it connects to, and by a hash
/// of the headers in the order of their names. Under another name it would make a client of its own.
fn name(headers: &HeaderMap) -> String {
    let mut pairs: Vec<(&str, &[u8])> =
        headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    pairs.sort_by_key(|(name, _)| *name);
    let mut hasher = DefaultHasher::new();
    pairs.hash(&mut hasher);
    format!("tcp|{:016x}", hasher.finish())
}

#[cfg(test)]
mod tests {
    use tokio::runtime::Handle;
    use xet_client::common::http_client::build_http_client;
    use xet_runtime::config::XetConfig;

    use super::*;
    use crate::config::Environment;
    use crate::config::options::ClientOptions;

    /// Connections that read the environment by themselves are told from ours, where they don't lead the same
    /// way. Values that both understand are no difference.
    #[test]
    fn other_ways_are_seen() {
        let (http, https) = ("http://cas.example:8080/", "https://cas.example/");
        // What both read, in the names of proxies for plain HTTP or HTTPS, for all, and in NO_PROXY.
        for (variable, value, exempt, cas, same) in [
            ("HTTP_PROXY", "", "", http, true),
            ("HTTP_PROXY", "http://p:3128", "", http, true),
            ("HTTP_PROXY", "p:3128", "", http, true),
            ("HTTP_PROXY", "http://P", "", http, true),
            ("HTTP_PROXY", "http://p:80/", "", http, true),
            ("HTTP_PROXY", "http://p:3128", "", https, true),
            ("HTTPS_PROXY", "http://p:3128", "", https, true),
            ("HTTPS_PROXY", "https://p", "", https, true),
            ("HTTPS_PROXY", "http://u:p%40q@p", "", https, true),
            ("HTTPS_PROXY", "http://u@p", "", https, true),
            ("ALL_PROXY", "socks5h://u:p@p", "", https, true),
            ("ALL_PROXY", "socks5://p:1080", "", http, true),
            ("HTTPS_PROXY", "http://p", "cas.example", https, true),
            ("HTTPS_PROXY", "http://p", ".example", https, true),
            ("HTTPS_PROXY", "http://p", "*", https, true),
            ("HTTPS_PROXY", "http://u:p@q@p", "", https, false),
            ("HTTPS_PROXY", r"http://dom\u:p@p", "", https, false),
            ("HTTPS_PROXY", "http://u:p^q@p", "", https, false),
            ("HTTPS_PROXY", "http://u:p\u{e4}@p", "", https, false),
            ("HTTP_PROXY", "http://p", "cas.example:8080", http, false),
            ("HTTP_PROXY", "http://p", "", "http://127.0.0.1:8080/", false),
            ("ALL_PROXY", "http://p", "", "http://localhost/", false),
            ("ALL_PROXY", "http://p", "127.0.0.1", "http://127.0.0.1/", true),
        ] {
            let environment =
                Environment::of([("HOME", "/none"), (variable, value), ("NO_PROXY", exempt)]);
            let config = Config::resolve_in(&ClientOptions::default(), &environment).unwrap();
            let theirs = Matcher::builder().no(exempt);
            let theirs = match variable {
                "HTTP_PROXY" => theirs.http(value),
                "HTTPS_PROXY" => theirs.https(value),
                _ => theirs.all(value),
            };
            let cas = Url::parse(cas).unwrap();
            let proxy = config.proxies.of(&cas);
            assert_eq!(lead_there(&theirs.build(), &cas, proxy), same, "{value} {exempt} {cas}");
        }
    }

    /// The same place under another name, or with another password, is another way.
    #[test]
    fn other_users_are_other_ways() {
        let cas = Url::parse("https://cas.example/").unwrap();
        let environment = Environment::of([("HOME", "/none"), ("https_proxy", "http://u:p@proxy")]);
        let config = Config::resolve_in(&ClientOptions::default(), &environment).unwrap();
        for (theirs, same) in [
            ("http://u:p@proxy", true),
            ("http://u:p@proxy:81", false),
            ("https://u:p@proxy:80", false),
            ("http://u:q@proxy", false),
            ("http://proxy", false),
            ("", false),
        ] {
            let theirs = Matcher::builder().https(theirs).build();
            assert_eq!(lead_there(&theirs, &cas, config.proxies.of(&cas)), same, "{theirs:?}");
        }
    }

    /// xet-core finds the client that it's lent, under the name that it gives it itself: it makes none.
    #[tokio::test]
    async fn the_client_that_is_lent_is_found() {
        let context = XetContext::from_external(Handle::current(), XetConfig::default());
        let headers = HeaderMap::from_iter([(USER_AGENT, HeaderValue::from_static("unit/1"))]);
        lend(&context, &headers, Client::builder().no_proxy().build().unwrap()).unwrap();
        build_http_client(&context, "", None, Some(Arc::new(headers.clone()))).unwrap();
        // A client under another name would have taken its place.
        let refused = || -> reqwest::Result<Client> { panic!("another client was made") };
        context.common.get_or_create_reqwest_client(name(&headers), refused).unwrap();
    }
}
