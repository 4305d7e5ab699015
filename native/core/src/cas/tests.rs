use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;

use std::time::Duration;

use async_trait::async_trait;
use reqwest::header::HeaderMap;
use serde_json::json;

use super::block::SignedUrl;
use super::*;
use crate::config::Environment;
use crate::config::Token;
use crate::config::options::ClientOptions;
use crate::hub::{Access, Hub};
use crate::model::repo::{CommitId, Repo, RepoType};
use crate::support::config;
use crate::support::script::{Reply, Script};

fn cas() -> Cas {
    let environment = Environment::of([("HOME", "/nonexistent")]);
    let config = Config::resolve_in(&ClientOptions::default(), &environment).unwrap();
    let (config, http) = (Arc::new(config.clone()), Arc::new(Http::new(&config).unwrap()));
    let repo = Repo::new(RepoType::Model, "a/b").unwrap();
    let commit = CommitId::parse(&"1".repeat(40)).unwrap();
    let hub = Hub::new(Arc::clone(&config), Arc::clone(&http));
    let access = Access::Read(commit.clone());
    let credentials = HubTokens::default().credentials(hub, repo.clone(), access);
    let (chunks, outages) = (Arc::default(), Arc::new(Outages::of_xet()));
    let subject = Subject::Repo { repo, commit: Some(commit) };
    Cas::new(config, http, credentials, subject, ExtraHeaders::default(), chunks, outages).unwrap()
}

/// A server that says this of one answer, which has four bytes.
fn storage(headers: &'static str) -> Url {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/xorb", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut peer, _) = listener.accept().unwrap();
        let lines = BufReader::new(peer.try_clone().unwrap()).lines();
        assert!(lines.map(Result::unwrap).any(|line| line.is_empty()));
        write!(peer, "HTTP/1.1 {headers}\r\ncontent-length: 4\r\n\r\nabcd").unwrap();
    });
    url.parse().unwrap()
}

/// Bytes of a xorb are taken for those that were asked for only where the answer says that they are.
#[tokio::test]
async fn another_part_of_a_xorb_is_none() {
    for (answer, is_good) in [
        ("206 X\r\ncontent-range: bytes 8-11/100", true),
        ("206 X\r\ncontent-range: bytes 8-11/*", true),
        ("200 X", true),
        ("206 X\r\ncontent-range: bytes 0-3/100", false),
        ("206 X\r\ncontent-range: bytes */100", false),
        ("206 X", false),
    ] {
        let fetch = Fetch {
            xorb: MerkleHash::default(),
            url: SignedUrl(storage(answer)),
            bytes: (8, 11),
            chunks: 0..1,
            placements: Vec::new(),
            within: 0..4,
        };
        match cas().open(&fetch, (8, fetch.bytes.1), &Waits::default()).await.err() {
            None => assert!(is_good, "{answer}"),
            Some(error) => {
                assert!(!is_good && error.kind() == Kind::InvalidResponse, "{answer}: {error}");
            }
        }
    }
}

/// A server that leads to what would be in a folder is refused.
#[tokio::test]
async fn a_server_has_no_folder() {
    let url = SignedUrl(Url::parse("local:00").unwrap());
    let (xorb, placements) = (MerkleHash::default(), Vec::new());
    let fetch = Fetch { xorb, url, bytes: (8, 11), chunks: 0..1, placements, within: 0..4 };
    let error = cas().open(&fetch, (8, 11), &Waits::default()).await.err().unwrap();
    assert_eq!(error.kind(), Kind::InvalidResponse, "{error}");
    assert!(error.message().contains("no http(s) URL"), "{error}");
}

/// The right to ask the CAS at a place.
struct At(Url);

#[async_trait]
impl TokenSource for At {
    async fn fetch(&self, _: &Counters) -> Result<XetToken> {
        let (token, end) = (Token::new("token", "cas")?, Instant::now() + Duration::from_hours(1));
        Ok(XetToken { cas_url: self.0.clone(), token: Some(token), end })
    }
}

/// The CAS there, asked with headers of the caller's, of which one tries to be the token.
fn with_headers(server: &Script) -> Cas {
    let config = Arc::new(config("http://127.0.0.1:1", None));
    let http = Arc::new(Http::new(&config).unwrap());
    let mut headers = HeaderMap::new();
    for (name, value) in [("user-agent", "me/1"), ("x-xet-test", "yes"), ("authorization", "no")] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    let credentials = Credentials::new(At(server.url("/cas").parse().unwrap()));
    let (extra, chunks) = (ExtraHeaders::new(headers), Arc::default());
    let outages = Arc::new(Outages::of_xet());
    Cas::new(config, http, credentials, Subject::Content, extra, chunks, outages).unwrap()
}

/// Headers of the caller's go to the CAS, whatever it's asked, and not to the storage that it names.
#[tokio::test]
async fn headers_go_to_the_cas_alone() {
    let (file, hash) = (MerkleHash::default(), "0".repeat(64));
    let storage = Script::new(|_| Reply::status(200).body("abcd"));
    let fetch = json!({"url": storage.url("/xorb"), "ranges": [
        {"chunks": {"start": 0, "end": 1}, "bytes": {"start": 0, "end": 3}}]});
    let term = json!({"hash": hash, "unpacked_length": 4, "range": {"start": 0, "end": 1}});
    let mut xorbs = serde_json::Map::new();
    xorbs.insert(hash, json!([fetch]));
    let answer = json!({"offset_into_first_range": 0, "terms": [term], "xorbs": xorbs});
    let server = Script::new(move |_| Reply::json(&answer));
    let (cas, counters) = (with_headers(&server), Counters::default());
    let answer = cas.reconstruction(&file, &(0..4), &counters).await.unwrap();
    let fetches = block::fetches(&answer, &(0..4), &(0..4), 4).unwrap();
    cas.open(&fetches[0], (0, fetches[0].bytes.1), &Waits::default()).await.map(drop).unwrap();
    // It has no such route, and was asked all the same.
    cas.published_chunks(&file, 4, 0..4, &counters).await.map(drop).unwrap_err();
    let asked = server.received();
    assert!(asked.len() > 1 && asked.iter().any(|one| one.target.contains("file-chunk-hashes")));
    for one in asked {
        assert_eq!(one.header("user-agent"), Some("me/1"), "{one:?}");
        assert_eq!(one.header("x-xet-test"), Some("yes"), "{one:?}");
        assert_eq!(one.header("authorization"), Some("Bearer cas"), "{one:?}");
    }
    let [one] = <[_; 1]>::try_from(storage.received()).unwrap();
    assert_ne!(one.header("user-agent"), Some("me/1"));
    assert_eq!((one.header("x-xet-test"), one.header("authorization")), (None, None));
}

/// Where the CAS leads elsewhere, nobody goes, with headers or without.
#[tokio::test]
async fn the_cas_leads_nowhere() {
    let other = Script::new(|_| Reply::status(200));
    let elsewhere = other.url("/");
    let server = Script::new(move |_| Reply::redirect(&elsewhere));
    let (cas, counters, file) = (with_headers(&server), Counters::default(), MerkleHash::default());
    let error = cas.try_reconstruction(&file, &(0..4), &counters).await.unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidResponse);
    assert!(other.received().is_empty());
}
