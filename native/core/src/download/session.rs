//! What the calls on one client share.

use std::path::Path;
use std::sync::Arc;

use reqwest::header::HeaderMap;

use super::described::Described;
use crate::cache::Cache;
use crate::call::Call;
use crate::call::scheduler::Scheduler;
use crate::call::seldom::Seldom;
use crate::cas::chunks::ChunksRoute;
use crate::cas::newer::NewerRoutes;
use crate::cas::shards::KnownShards;
use crate::cas::{Cas, Credentials, ExtraHeaders, HubTokens, LocalFolder, Outages, Subject};
use crate::config::{Config, Deadlines};
use crate::http::{Http, RetryPolicy};
use crate::hub::{Access, Hub};
use crate::model::error::Result;
use crate::model::repo::{CommitId, Repo};
use crate::reuse::Index;
use crate::tier::Tier;

/// What the calls on one client share in one process. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Session {
    pub(crate) config: Arc<Config>,
    pub(crate) http: Arc<Http>,
    pub(crate) hub: Hub,
    pub(crate) tokens: Arc<HubTokens>,
    pub(crate) scheduler: Arc<Scheduler>,
    pub(crate) cache: Arc<Cache>,
    pub(crate) reuse: Option<Arc<Index>>,
    /// What other nodes have; `None`: nothing is shared.
    pub(crate) tier: Option<Arc<Tier>>,
    pub(crate) shards: Arc<KnownShards>,
    chunks_route: Arc<ChunksRoute>,
    pub(crate) outages: Arc<Outages>,
    /// Of servers of plain content.
    pub(crate) content_outages: Arc<Outages>,
    /// Of places behind the CAS that take content.
    pub(crate) sending_outages: Arc<Outages>,
    pub(crate) newer_routes: Arc<NewerRoutes>,
    pub(crate) described: Arc<Described>,
    /// Of what is kept of unfinished content.
    pub(crate) tidied: Arc<Seldom>,
}

impl Session {
    pub(crate) fn new(config: Arc<Config>) -> Result<Self> {
        let http = Arc::new(Http::new(&config)?);
        let hub = Hub::new(Arc::clone(&config), Arc::clone(&http));
        let files = config.max_concurrent_downloads as usize;
        let scheduler = Arc::new(Scheduler::new(files));
        let shared_blobs = !config.disable_shared_blobs && config.transport.uses_xet();
        let cache = Cache::new(&config.hub_cache, !config.disable_symlinks, shared_blobs);
        let reuse = (config.reuse_index_bytes > 0)
            .then(|| Arc::new(Index::new(&config.xet_cache, config.reuse_index_bytes)));
        let tier = config.shared_cache.as_ref().map(Tier::new).transpose()?;
        let (tokens, cache, shards) = (Arc::default(), Arc::new(cache), Arc::default());
        let (chunks_route, outages) = (Arc::default(), Arc::new(Outages::of_xet()));
        let content_outages = Arc::new(Outages::of_content());
        let sending_outages = Arc::new(Outages::of_sending());
        Ok(Self {
            config,
            http,
            hub,
            tokens,
            scheduler,
            cache,
            reuse,
            tier,
            shards,
            chunks_route,
            outages,
            content_outages,
            sending_outages,
            newer_routes: Arc::default(),
            described: Arc::default(),
            tidied: Arc::default(),
        })
    }

    /// The CAS, for reading what a commit has.
    pub(crate) fn cas(&self, repo: &Repo, commit: &CommitId) -> Result<Cas> {
        let access = Access::Read(commit.clone());
        let credentials = self.tokens.credentials(self.hub.clone(), repo.clone(), access);
        let subject = Subject::Repo { repo: repo.clone(), commit: Some(commit.clone()) };
        self.cas_about(subject, credentials, ExtraHeaders::default())
    }

    /// The CAS, for reading content by its Xet hash, whatever repo it's of. `headers` go along to the CAS alone.
    pub(crate) fn cas_for(&self, credentials: Credentials, headers: HeaderMap) -> Result<Cas> {
        self.cas_about(Subject::Content, credentials, ExtraHeaders::new(headers))
    }

    /// The same for content in the folder at `root`, an absolute path, for the work of `call`.
    pub(crate) fn cas_in(&self, root: &Path, call: &Call) -> Result<Cas> {
        let (credentials, extra) = (Credentials::of_nobody(), ExtraHeaders::default());
        let cas = self.cas_about(Subject::Content, credentials, extra)?;
        Ok(cas.in_folder(LocalFolder::new(root, call.clone())))
    }

    fn cas_about(
        &self,
        subject: Subject,
        credentials: Credentials,
        extra: ExtraHeaders,
    ) -> Result<Cas> {
        let (config, http) = (Arc::clone(&self.config), Arc::clone(&self.http));
        let (chunks, outages) = (Arc::clone(&self.chunks_route), Arc::clone(&self.outages));
        let cas = Cas::new(config, http, credentials, subject, extra, chunks, outages)?;
        Ok(cas.shared_by(self.tier.as_ref()))
    }

    /// The same, for what the Hub is asked in one attempt.
    pub(crate) fn asking_once(&self) -> Self {
        let once = RetryPolicy::new(&self.config).once();
        Self { hub: self.hub.with_retry(once), ..self.clone() }
    }

    /// The same for a call, with its limits.
    pub(crate) fn with_deadlines(&self, deadlines: Deadlines) -> Self {
        let hub = self.hub.for_a_call();
        if *self.http.deadlines() == deadlines {
            return Self { hub, ..self.clone() };
        }
        let http = Arc::new(self.http.with_deadlines(deadlines));
        Self { hub: hub.with_http(Arc::clone(&http)), http, ..self.clone() }
    }
}
