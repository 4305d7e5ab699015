//! Connections that fail, stall or break off, and answers that aren't a Hub's.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use serde_json::json;
use xet_ffi_core::call::progress::Counters;
use xet_ffi_core::http::{CONTENT, Http, Pool, RetryPolicy, body};
use xet_ffi_core::hub::{Access, Names};
use xet_ffi_core::model::error::Kind;

use crate::support::script::{Reply, Script, refusing_url};
use crate::support::{COMMIT, commit, config, entry, hub, hub_of, model, path, revision};
use crate::{bytes, open, resolve, sha};

/// A port that nobody listens on is a connection error that names it and says what to check.
#[tokio::test]
async fn a_refused_connection_is_explained() {
    let url = refusing_url();
    let counters = Counters::default();
    let error =
        hub(&url).commit_of(&model("org/name"), &revision("main"), &counters).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Connection);
    assert!(error.message().contains(url.trim_start_matches("http://")), "{error}");
    assert!(error.message().contains("nothing listens there"), "{error}");
    assert_eq!((error.context().attempts, counters.retries()), (Some(3), 2));
    assert_eq!(error.context().repo.as_deref(), Some("org/name"));
}

/// A name that doesn't exist is a connection error that says so.
#[tokio::test]
async fn an_unknown_host_is_explained() {
    let hub = hub("http://hub.invalid:1");
    let counters = Counters::default();
    let error = hub.commit_of(&model("org/name"), &revision("main"), &counters).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Connection);
    assert!(error.message().contains("can't find the host of hub.invalid:1"), "{error}");
}

/// A server that takes the request and says nothing ends in a timeout, after as many attempts as
/// were asked for.
#[tokio::test]
async fn silence_is_a_timeout() {
    let server = Script::new(|_| Reply::silence());
    let mut config = config(&server.url(""), None);
    config.deadlines.first_byte = Duration::from_millis(50);
    config.etag_timeout = Duration::from_millis(50);
    let (hub, counters) = (hub_of(config), Counters::default());
    let started = Instant::now();
    let (repo, main) = (model("org/name"), revision("main"));
    let error = hub.commit_of(&repo, &main, &counters).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Timeout, "{error}");
    let error = hub.file_entry(&repo, &main, &path("f"), &counters).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Timeout, "{error}");
    assert_eq!((server.received().len(), counters.retries()), (6, 4));
    assert!(started.elapsed() < Duration::from_secs(5));
}

/// A body that stops coming ends its stream with a timeout, after the bytes that came.
#[tokio::test]
async fn a_stalled_body_is_a_timeout() {
    let server = Script::new(|_| Reply::status(200).body("abc").stalled(7));
    let mut config = config(&server.url(""), None);
    config.deadlines.stall = Duration::from_millis(50);
    let counters = Counters::default();
    let content = hub_of(config)
        .open_file(&model("org/name"), &commit(), &entry("f", 10), 0, None, &counters)
        .await
        .unwrap();
    assert_eq!((content.starts_at, content.total), (0, Some(10)));
    let items: Vec<_> = content.stream.collect().await;
    assert_eq!(items[0].as_ref().unwrap(), "abc");
    assert_eq!(items[1].as_ref().unwrap_err().kind(), Kind::Timeout);
    assert_eq!(items.len(), 2);
}

/// A body that breaks off is an error, not a short file.
#[tokio::test]
async fn a_body_that_breaks_off_is_an_error() {
    let server = Script::new(|_| Reply::status(200).body("abc").broken_off(7));
    let error = bytes(open(&server, 0).await.unwrap()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Connection, "{error}");
    assert!(error.is_transient());
}

/// An answer that breaks off, or a passing server error, is asked for again and counted.
#[tokio::test]
async fn passing_faults_are_asked_again() {
    let server = Script::new(|request| match request.number {
        0 => sha().broken_off(9),
        1 => Reply::status(503),
        _ => sha(),
    });
    let counters = Counters::default();
    let hub = hub(&server.url(""));
    let commit = hub.commit_of(&model("org/name"), &revision("main"), &counters).await.unwrap();
    assert_eq!((commit.as_str(), counters.retries()), (COMMIT, 2));
}

/// A server that isn't a Hub is said to be none, when it has been so three times: a gateway's page may pass.
#[tokio::test]
async fn a_server_that_is_no_hub_is_said_to_be_none() {
    for (reply, words) in
        [("text/html", "is this a Hugging Face Hub?"), ("application/json", "JSON of another form")]
    {
        let server = Script::new(move |_| {
            Reply::status(200).header("Content-Type", reply).body("<html></html>")
        });
        let error = resolve(&server).await.unwrap_err();
        assert_eq!(error.kind(), Kind::InvalidResponse);
        assert!(error.message().contains(words), "{error}");
        assert_eq!(server.received().len(), 3);
    }
    for wrong in [json!({"sha": "../../x"}), json!({"no": "sha"})] {
        let server = Script::new(move |_| Reply::json(&wrong));
        let error = resolve(&server).await.unwrap_err();
        assert_eq!(error.kind(), Kind::InvalidResponse);
        assert!(error.message().contains("sha"), "{error}");
        assert_eq!(server.received().len(), 1, "asked again in vain");
    }
}

/// A body larger than its bound is refused before it fills the memory.
#[tokio::test]
async fn a_body_larger_than_its_bound_is_refused() {
    let server = Script::new(|_| Reply::status(200).body(vec![b'x'; 100_000]));
    let http = Arc::new(Http::new(&config(&server.url(""), None)).unwrap());
    let counters = Counters::default();
    let get = || reqwest::Request::new(reqwest::Method::GET, server.url("/").parse().unwrap());
    let response = http.execute(Pool::Multiplexed, CONTENT, get()).await.unwrap();
    let error = body::read(&http, response, 99_999, &counters).await.unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidResponse);
    let response = http.execute(Pool::Multiplexed, CONTENT, get()).await.unwrap();
    assert_eq!(body::read(&http, response, 100_000, &counters).await.unwrap().len(), 100_000);
}

/// To who doesn't wait for a rate limit to end it's an error that names the wait.
#[tokio::test]
async fn a_rate_limit_is_an_error_that_names_the_wait() {
    let server = Script::new(|_| {
        Reply::status(429).header("RateLimit", "\"api\";r=0;t=172").header("Retry-After", "1")
    });
    let config = config(&server.url(""), None);
    let once = RetryPolicy::new(&config).once();
    let (hub, repo, counters) = (hub_of(config), model("org/name"), Counters::default());
    let resolved = hub.with_retry(once).commit_of(&repo, &revision("main"), &counters).await;
    let error = resolved.unwrap_err();
    assert_eq!((error.kind(), error.context().retry_after), (Kind::RateLimited, Some(172)));
    assert!(error.message().contains("172 s"), "{error}");
    assert_eq!((server.received().len(), error.context().attempts), (1, Some(1)));
}

/// Offline, every method says so and nothing leaves the machine; a commit is its own answer, online
/// or not.
#[tokio::test]
async fn offline_nothing_leaves_the_machine() {
    let server = Script::new(|_| sha());
    let mut config = config(&server.url(""), None);
    config.offline = true;
    let (hub, repo, counters) = (hub_of(config), model("org/name"), Counters::default());
    let (main, file, commit) = (revision("main"), path("f"), commit());
    for error in [
        hub.commit_of(&repo, &main, &counters).await.unwrap_err(),
        hub.list(&repo, &commit, Names::Unasked, |_| true, &counters).await.unwrap_err(),
        hub.file_entry(&repo, &main, &file, &counters).await.unwrap_err(),
        hub.open_file(&repo, &commit, &entry("f", 7), 0, None, &counters).await.unwrap_err(),
        hub.xet_token(&repo, &Access::Read(commit.clone()), &counters).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), Kind::Offline);
        assert_eq!(error.context().repo.as_deref(), Some("org/name"));
    }
    assert_eq!(hub.commit_of(&repo, &revision(COMMIT), &counters).await.unwrap(), commit);
    assert!(server.received().is_empty());
}
