//! Content that is known by its Xet hash alone, against xet-hub.

use std::path::Path;
use std::sync::OnceLock;
use std::time::Instant;

use async_trait::async_trait;
use reqwest::header::HeaderMap;
use tempfile::TempDir;
use xet_core_structures::merklehash::compute_data_hash;

use super::*;
use crate::call::progress::Counters;
use crate::cas::vectors::xorshift;
use crate::cas::{Credentials, TokenSource};
use crate::config::{Config, Token};
use crate::download::{Session, still_right};
use crate::hub::{Access, XetToken};
use crate::model::repo::CommitId;
use crate::support::live::{ALICE, LiveHub};
use crate::support::{config, model, path, revision};
use crate::sys::lock::FileLock;
use crate::upload::{CommitOptions, ContentSource, Operation, Outcome, Upload, Work};

/// What the tests talk to, with one file in its storage.
struct World {
    _server: LiveHub,
    folder: TempDir,
    session: Session,
    content: Vec<u8>,
    hash: MerkleHash,
    token: XetToken,
}

/// The same token again and again.
struct Fixed(XetToken);

#[async_trait]
impl TokenSource for Fixed {
    async fn fetch(&self, _: &Counters) -> Result<XetToken> {
        Ok(self.0.clone())
    }
}

impl World {
    async fn new() -> Self {
        let (server, folder) = (LiveHub::start(&[]), tempfile::tempdir().unwrap());
        server.create("model", "x", false).await;
        let config = Config {
            hub_cache: folder.path().join("hub"),
            xet_cache: folder.path().join("xet"),
            ..config(&server.endpoint, Some(ALICE))
        };
        let session = Session::new(Arc::new(config)).unwrap();
        let content = xorshift(3 << 20);
        let source = folder.path().join("source");
        std::fs::write(&source, &content).unwrap();
        let commit = publish(&session, &source).await;
        let (counters, repo) = (Counters::default(), model("alice/x"));
        let (main, name) = (revision("main"), path("a.bin"));
        let found = session.hub.file_entry(&repo, &main, &name, &counters).await.unwrap();
        let hash = *found.1.xet_hash().unwrap();
        let token = session.hub.xet_token(&repo, &Access::Read(commit), &counters).await.unwrap();
        Self { _server: server, folder, session, content, hash, token }
    }

    /// The CAS, seen with that token, and without a repo.
    fn cas(&self, token: XetToken, headers: HeaderMap) -> Arc<Cas> {
        Arc::new(self.session.cas_for(Credentials::new(Fixed(token)), headers).unwrap())
    }

    fn job(&self, name: &str, hash: MerkleHash) -> Job {
        let partial = self.folder.path().join(name);
        let lock = FileLock::try_acquire(&partial.with_extension("lock")).unwrap().unwrap();
        let entry = Entry::of_xet_hash(path(name), hash, self.content.len() as u64);
        let call = Call::new(Arc::clone(&self.session.scheduler));
        Job::open(Arc::new(entry), partial, None, Arc::new(lock), call).unwrap()
    }
}

/// Publishes a file as `a.bin` of the only repo.
async fn publish(session: &Session, source: &Path) -> CommitId {
    let options = CommitOptions {
        repo: model("alice/x"),
        revision: revision("main"),
        message: None,
        description: String::new(),
        create_pr: false,
        parent: None,
        timeout: None,
        deadlines: Default::default(),
    };
    let Session { config, http, hub, tokens, reuse, shards, .. } = session.clone();
    let Session { outages, sending_outages, newer_routes, .. } = session.clone();
    let upload = Upload {
        http,
        hub,
        tokens,
        outages,
        sending_outages,
        newer_routes,
        config,
        call: Call::new(Arc::clone(&session.scheduler)),
        options,
        reuse,
        shards,
        head: OnceLock::new(),
        outcome: Outcome::default(),
    };
    let add = Operation::Add { path: path("a.bin"), source: ContentSource::Path(source.into()) };
    upload.run(Work::Commit(vec![add]), Instant::now()).await.unwrap().commit
}

/// Content comes by its Xet hash alone, without a repo, and is proven by that hash.
#[tokio::test]
async fn content_comes_by_its_hash() {
    let world = World::new().await;
    let cas = world.cas(world.token.clone(), HeaderMap::new());
    let job = world.job("out", world.hash);
    let sources = Sources { cas: Some(&cas), plain: None, local: None };
    let proof = fetch(&job, world.hash, &sources).await.unwrap();
    assert!(matches!(proof, Proof::Merkle(_)));
    still_right(&job, proof).unwrap();
    assert!(std::fs::read(job.partial.path()).unwrap() == world.content);
    assert_eq!(job.task.progress.counters().fallbacks(), 0);
}

/// What is wrong is told of the hash and of storage, never of a repo or the Hub, and by a kind that tells what to do.
#[tokio::test]
async fn refusals_speak_of_the_hash() {
    let world = World::new().await;
    let unknown = compute_data_hash(b"nobody has this");
    let bad =
        XetToken { token: Token::new("token", "nonsense-secret").unwrap(), ..world.token.clone() };
    for (token, hash, kind) in
        [(world.token.clone(), unknown, Kind::NotFound), (bad, world.hash, Kind::Unauthorized)]
    {
        let cas = world.cas(token, HeaderMap::new());
        let job = world.job("out", hash);
        let sources = Sources { cas: Some(&cas), plain: None, local: None };
        let error = fetch(&job, hash, &sources).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        let message = error.to_string();
        assert!(message.contains(&hash.hex()) && message.contains("Xet storage at 127.0.0.1"));
        for word in ["the Hub", "repo", "alice", "secret"] {
            assert!(!message.contains(word), "{message}");
        }
        assert_eq!(error.context().repo, None);
    }
}
