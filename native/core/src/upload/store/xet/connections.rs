//! The connections that xet-core sends xorbs on: ours, which go by our certificates and proxies, and of
//! which it is known what the system still holds.
//!
//! Shards go on connections of its own making, whatever it's given.

use std::hash::{DefaultHasher, Hash, Hasher};

use reqwest::header::{HeaderMap, HeaderValue, USER_AGENT};
use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder};
use xet_runtime::core::XetContext;

use crate::config::Config;
use crate::http::origin::authority;
use crate::model::error::{Error, Result};

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
    use std::sync::Arc;

    use tokio::runtime::Handle;
    use xet_client::common::http_client::build_http_client;
    use xet_runtime::config::XetConfig;

    use super::*;

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
