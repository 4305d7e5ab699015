use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;

use super::block::SignedUrl;
use super::*;
use crate::config::Environment;
use crate::config::options::ClientOptions;
use crate::hub::{Access, Hub};
use crate::model::repo::RepoType;

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
    Cas::new(config, http, credentials, repo, commit, chunks, outages).unwrap()
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
        match cas().open(&fetch, 8, &Waits::default()).await.err() {
            None => assert!(is_good, "{answer}"),
            Some(error) => {
                assert!(!is_good && error.kind() == Kind::InvalidResponse, "{answer}: {error}");
            }
        }
    }
}
