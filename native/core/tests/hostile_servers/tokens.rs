//! Tokens for the CAS.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use futures_util::future::join_all;
use serde_json::json;
use xet_ffi_core::call::progress::Counters;
use xet_ffi_core::cas::{Credentials, HubTokens, TokenSource};
use xet_ffi_core::config::Token;
use xet_ffi_core::hub::{Access, XetToken};
use xet_ffi_core::model::error::{Kind, Result};

use crate::support::script::{Reply, Script};
use crate::support::{COMMIT, commit, hub as hub_at, model};

fn in_seconds(seconds: u64) -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + seconds
}

/// Hands out tokens `cas_0`, `cas_1`, ... that live for `seconds`.
fn token_server(seconds: u64) -> Script {
    let count = AtomicUsize::new(0);
    Script::new(move |_| {
        let number = count.fetch_add(1, Ordering::SeqCst);
        Reply::json(&json!({
            "casUrl": "http://127.0.0.1:1/cas",
            "accessToken": format!("cas_{number}"),
            "exp": in_seconds(seconds),
        }))
    })
}

/// The lifetime of a token is what the server's clock says: ours may be hours ahead, or behind.
#[tokio::test]
async fn a_token_lives_by_the_clock_of_who_made_it() {
    let epoch = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
    for (server_now, lifetime, requests) in
        [(in_seconds(7200), 600, 1), (in_seconds(0) - 7200, 600, 1), (in_seconds(7200), 30, 2)]
    {
        let server = Script::new(move |_| {
            let exp = server_now + lifetime;
            let body = json!({"casUrl": "http://127.0.0.1:1/", "accessToken": "t", "exp": exp});
            Reply::json(&body).header("date", &httpdate::fmt_http_date(epoch(server_now)))
        });
        let (credentials, counters) = (credentials(&server), Counters::default());
        for _ in 0..2 {
            let token = credentials.token(&counters).await.unwrap();
            let end = in_seconds(lifetime);
            assert!((end - 20..=end).contains(&token.expires_at()), "{} {end}", token.expires_at());
        }
        assert_eq!(server.received().len(), requests);
    }
}

/// The right to read a commit, by way of that server.
fn credentials(server: &Script) -> Credentials {
    let access = Access::Read(commit());
    HubTokens::default().credentials(hub_at(&server.url("")), model("org/name"), access)
}

fn secret(token: &XetToken) -> &str {
    token.token.as_ref().unwrap().secret()
}

/// Everyone who waits for a commit's token gets that of one request, and so does who comes later;
/// another commit has its own.
#[tokio::test]
async fn a_token_is_fetched_once() {
    let server = token_server(3600);
    let (hub, tokens, counters) =
        (hub_at(&server.url("")), HubTokens::default(), Counters::default());
    let of = |repo| tokens.credentials(hub.clone(), model(repo), Access::Read(commit()));
    let all = join_all((0..20).map(async |_| of("org/name").token(&counters).await)).await;
    for token in all {
        let token = token.unwrap();
        assert_eq!(secret(&token), "cas_0");
        assert_eq!(token.cas_url.as_str(), "http://127.0.0.1:1/cas");
        assert!(!format!("{token:?}").contains("cas_0"));
    }
    assert_eq!(secret(&of("org/name").token(&counters).await.unwrap()), "cas_0");
    let received = server.received();
    assert_eq!(received.len(), 1);
    assert_eq!(received[0].target, format!("/api/models/org/name/xet-read-token/{COMMIT}"));
    of("other").token(&counters).await.unwrap();
    assert_eq!(server.received().len(), 2);
}

/// A token near its end is replaced; a refused one is replaced once, for all who were refused.
#[tokio::test]
async fn an_old_or_refused_token_is_replaced() {
    let counters = Counters::default();
    let server = token_server(59);
    let old = credentials(&server);
    for expected in ["cas_0", "cas_1"] {
        assert_eq!(secret(&old.token(&counters).await.unwrap()), expected);
    }

    let server = token_server(3600);
    let good = credentials(&server);
    let refused = good.token(&counters).await.unwrap();
    for fresh in join_all((0..20).map(|_| good.replace(&refused, &counters))).await {
        assert_eq!(secret(&fresh.unwrap()), "cas_1");
    }
    assert_eq!(secret(&good.token(&counters).await.unwrap()), "cas_1");
    assert_eq!(server.received().len(), 2);
}

/// Tokens that come from somewhere else than the Hub are kept and replaced in the same way.
#[tokio::test]
async fn a_token_may_come_from_anywhere() {
    struct Counting(AtomicUsize);

    #[async_trait]
    impl TokenSource for Counting {
        async fn fetch(&self, _: &Counters) -> Result<XetToken> {
            let number = self.0.fetch_add(1, Ordering::SeqCst);
            let token = Token::new("token", &format!("cas_{number}"))?;
            let cas_url = "http://127.0.0.1:1/".parse().unwrap();
            Ok(XetToken {
                cas_url,
                token: Some(token),
                end: Instant::now() + Duration::from_hours(1),
            })
        }
    }

    let (own, counters) = (Credentials::new(Counting(AtomicUsize::new(0))), Counters::default());
    let first = own.token(&counters).await.unwrap();
    assert_eq!(secret(&own.clone().token(&counters).await.unwrap()), "cas_0");
    assert_eq!(secret(&own.replace(&first, &counters).await.unwrap()), "cas_1");
    assert_eq!(secret(&own.clone().token(&counters).await.unwrap()), "cas_1");
}

/// A token answer that can't be used is refused when it comes twice, and not remembered.
#[tokio::test]
async fn a_bad_token_answer_is_refused() {
    for (cas_url, token) in
        [("ftp://cas", "t"), ("cas", "t"), ("", "t"), ("http://cas", "a\nb"), ("http://cas", "")]
    {
        let server = Script::new(move |_| {
            Reply::json(&json!({"casUrl": cas_url, "accessToken": token, "exp": in_seconds(3600)}))
        });
        let credentials = credentials(&server);
        for _ in 0..2 {
            let error = credentials.token(&Counters::default()).await.unwrap_err();
            assert_eq!(error.kind(), Kind::InvalidResponse, "{cas_url} {token}");
        }
        assert_eq!(server.received().len(), 4, "each is asked about once more");
    }
}
