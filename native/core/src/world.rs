//! What tests of the engine's inside share: xet-hub with a file in its storage, and a session of a client of it.

use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use async_trait::async_trait;
use reqwest::header::HeaderMap;
use tempfile::TempDir;
use xet_core_structures::merklehash::MerkleHash;

use crate::call::Call;
use crate::call::progress::Counters;
use crate::cas::vectors::xorshift;
use crate::cas::{Cas, Credentials, TokenSource};
use crate::config::Config;
use crate::config::options::DeadlineOptions;
use crate::download::{Job, Session, Sources, fetch, still_right};
use crate::hub::{Access, XetToken};
use crate::model::error::Result;
use crate::model::repo::{CommitId, Entry};
use crate::support::live::{ALICE, LiveHub};
use crate::support::{config, model, path, revision};
use crate::sys::lock::FileLock;
use crate::upload::{CommitOptions, ContentSource, Operation, Outcome, Upload, Work};

/// What the tests talk to, with one file in its storage.
pub(crate) struct World {
    pub(crate) server: LiveHub,
    pub(crate) folder: TempDir,
    pub(crate) session: Session,
    pub(crate) content: Vec<u8>,
    pub(crate) hash: MerkleHash,
    /// The right to read that file.
    pub(crate) token: XetToken,
}

/// The same token again and again.
pub(crate) struct Fixed(pub(crate) XetToken);

#[async_trait]
impl TokenSource for Fixed {
    async fn fetch(&self, _: &Counters) -> Result<XetToken> {
        Ok(self.0.clone())
    }
}

impl World {
    pub(crate) async fn new() -> Self {
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
        Self { server, folder, session, content, hash, token }
    }

    /// The CAS, seen with that token, and without a repo.
    pub(crate) fn cas(&self, token: XetToken, headers: HeaderMap) -> Arc<Cas> {
        Arc::new(self.session.cas_for(Credentials::new(Fixed(token)), headers).unwrap())
    }

    /// The right to store content, and to read what was stored so.
    pub(crate) async fn write_token(&self) -> XetToken {
        let access = Access::Write { revision: revision("main"), create_pr: false };
        let (repo, counters) = (model("alice/x"), Counters::default());
        self.session.hub.xet_token(&repo, &access, &counters).await.unwrap()
    }

    /// Another call on the client.
    pub(crate) fn call(&self) -> Call {
        Call::new(Arc::clone(&self.session.scheduler))
    }

    /// The task of bringing in a content of so many bytes.
    pub(crate) fn job(&self, name: &str, hash: MerkleHash, size: usize) -> Job {
        let partial = self.folder.path().join(name);
        let lock = FileLock::try_acquire(&partial.with_extension("lock")).unwrap().unwrap();
        let entry = Entry::of_xet_hash(path(name), hash, size as u64);
        Job::open(Arc::new(entry), partial, None, Arc::new(lock), self.call()).unwrap()
    }

    /// Brings in a content by its hash alone, and gives it.
    pub(crate) async fn fetch(&self, cas: &Arc<Cas>, job: &Job) -> Result<Vec<u8>> {
        let hash = *job.task.entry.xet_hash().unwrap();
        let sources = Sources { cas: Some(cas), plain: None, local: None, sharing: None };
        let proof = fetch(job, hash, &sources).await?;
        still_right(job, proof)?;
        Ok(std::fs::read(job.partial.path()).unwrap())
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
        deadlines: DeadlineOptions::default(),
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
