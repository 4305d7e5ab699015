//! Tokens for the CAS.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use futures_util::future::join_all;
use serde_json::json;
use xet_ffi_core::call::progress::Counters;
use xet_ffi_core::model::error::Kind;

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

/// Everyone who waits for a commit's token gets that of one request, and so does who comes later;
/// another commit has its own.
#[tokio::test]
async fn a_token_is_fetched_once() {
    let server = token_server(3600);
    let (hub, repo, counters) = (hub_at(&server.url("")), model("org/name"), Counters::default());
    let commit = commit();
    let all = join_all((0..20).map(|_| hub.xet_token(&repo, &commit, &counters))).await;
    for token in all {
        let token = token.unwrap();
        assert_eq!(token.token.secret(), "cas_0");
        assert_eq!(token.cas_url.as_str(), "http://127.0.0.1:1/cas");
        assert!(!format!("{token:?}").contains("cas_0"));
    }
    assert_eq!(
        hub.clone().xet_token(&repo, &commit, &counters).await.unwrap().token.secret(),
        "cas_0"
    );
    let received = server.received();
    assert_eq!(received.len(), 1);
    assert_eq!(received[0].target, format!("/api/models/org/name/xet-read-token/{COMMIT}"));
    hub.xet_token(&model("other"), &commit, &counters).await.unwrap();
    assert_eq!(server.received().len(), 2);
}

/// A token near its end is replaced; a refused one is replaced once, for all who were refused.
#[tokio::test]
async fn an_old_or_refused_token_is_replaced() {
    let (repo, commit, counters) = (model("org/name"), commit(), Counters::default());
    let server = token_server(59);
    let hub = hub_at(&server.url(""));
    for expected in ["cas_0", "cas_1"] {
        assert_eq!(
            hub.xet_token(&repo, &commit, &counters).await.unwrap().token.secret(),
            expected
        );
    }

    let server = token_server(3600);
    let hub = hub_at(&server.url(""));
    let refused = hub.xet_token(&repo, &commit, &counters).await.unwrap();
    for _ in 0..2 {
        let fresh = hub.xet_token_refresh(&repo, &commit, &refused, &counters).await.unwrap();
        assert_eq!(fresh.token.secret(), "cas_1");
    }
    assert_eq!(hub.xet_token(&repo, &commit, &counters).await.unwrap().token.secret(), "cas_1");
    assert_eq!(server.received().len(), 2);
}

/// A token answer that can't be used is refused, and not remembered.
#[tokio::test]
async fn a_bad_token_answer_is_refused() {
    for (cas_url, token) in
        [("ftp://cas", "t"), ("cas", "t"), ("", "t"), ("http://cas", "a\nb"), ("http://cas", "")]
    {
        let server = Script::new(move |_| {
            Reply::json(&json!({"casUrl": cas_url, "accessToken": token, "exp": in_seconds(3600)}))
        });
        let hub = hub_at(&server.url(""));
        for _ in 0..2 {
            let counters = Counters::default();
            let error = hub.xet_token(&model("org/name"), &commit(), &counters).await.unwrap_err();
            assert_eq!(error.kind(), Kind::InvalidResponse, "{cas_url} {token}");
        }
        assert_eq!(server.received().len(), 2);
    }
}
