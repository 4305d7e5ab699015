//! Xet storage, as an upload speaks with it: what [its questions](super::questions), [xorbs](super::grants) and
//! [shards](super::register) have in common.
//!
//! Routes and forms are those of xet-core's `RemoteClient`. Requests are made again as all of ours are, and a
//! server that refuses for now is waited for; none of them is wrong if it's made twice.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize};

use bytes::Bytes;
use futures_util::stream;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::{Method, Request, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use url::Url;
use uuid::Uuid;
use xet_client::cas_types::{SESSION_ID_HEADER, UploadXorbResponse};
use xet_core_structures::merklehash::MerkleHash;

use super::super::super::sending::counted;
use super::super::super::storage_patience;
use super::fault;
use super::questions::{ANSWERS, PREFIXES};
use crate::call::Call;
use crate::call::scheduler::Gate;
use crate::cas::newer::{Newer, NewerRoutes};
use crate::cas::{Credentials, ExtraHeaders, LocalFolder, Outages, Subject, cas_url};
use crate::config::Config;
use crate::http::origin::authority;
use crate::http::{Http, Outgoing, Patience, Pool, RetryPolicy, Sort, body};
use crate::hub::XetToken;
use crate::model::error::{Error, Kind, Result};

/// What storage may limit.
const UPLOADS: Sort = "uploads";
/// That a knock is answered says nothing about uploads.
const KNOCK: Sort = "requests";

/// Attempts to reach storage where nobody may ever have been.
const KNOCKS: u32 = 2;

/// What xorbs are filed under.
pub(super) const PREFIX: &str = "default";

/// The longest answer that isn't a shard.
const ANSWER: usize = 1 << 20;

/// What we believe to talk to.
pub(super) const SERVER: &str = "Xet storage";

/// What the calls on one client know of Xet's servers.
#[derive(Clone)]
pub(crate) struct Servers {
    /// Of the CAS.
    pub(crate) cas: Arc<Outages>,
    /// Of the places behind it that take content.
    pub(crate) places: Arc<Outages>,
    /// Of routes that the CAS needn't have.
    pub(crate) newer: Arc<NewerRoutes>,
}

/// Storage for what an upload sends.
pub(super) struct Storage {
    pub(super) http: Arc<Http>,
    pub(super) servers: Servers,
    pub(super) call: Call,
    pub(super) policy: RetryPolicy,
    subject: Subject,
    credentials: Credentials,
    extra: ExtraHeaders,
    /// It's a folder, and no server is asked for anything.
    pub(super) folder: Option<Arc<LocalFolder>>,
    /// Groups this upload's requests in storage's own logs.
    session: HeaderValue,
    /// It is asked for grants: the way to send xorbs past the CAS.
    pub(super) offers_grants: AtomicBool,
    /// It's asked which chunks it has from others.
    pub(super) knows_chunks: AtomicBool,
    /// Questions in a row that have failed.
    pub(super) failures: AtomicU32,
    /// Room in memory for answers that are read, in bytes.
    pub(super) answers: Arc<Gate>,
    /// The one of [`PREFIXES`] under which it has some, if that was seen.
    pub(super) chunks_under: AtomicUsize,
}

impl Storage {
    pub(super) fn new(
        config: &Config,
        http: Arc<Http>,
        servers: Servers,
        subject: Subject,
        credentials: Credentials,
        extra: ExtraHeaders,
        call: Call,
    ) -> Result<Self> {
        let session = HeaderValue::try_from(Uuid::new_v4().to_string()).map_err(Error::internal)?;
        Ok(Self {
            policy: RetryPolicy::new(config),
            http,
            servers,
            call,
            subject,
            credentials,
            extra,
            folder: None,
            session,
            offers_grants: AtomicBool::new(true),
            knows_chunks: AtomicBool::new(true),
            failures: AtomicU32::new(0),
            answers: Gate::new(ANSWERS),
            chunks_under: AtomicUsize::new(PREFIXES.len()),
        })
    }

    /// The same for a storage that is a folder, if it's one.
    pub(super) fn in_folder(self, folder: Option<Arc<LocalFolder>>) -> Self {
        Self { folder, ..self }
    }

    /// Finds out whether storage can be reached, before anything is read. Whatever is answered will do. Not asked
    /// again where something came lately. Returns its endpoint.
    pub(super) async fn reach(&self) -> Result<String> {
        if let Some(folder) = &self.folder {
            folder.reach().await?;
            return Ok(folder.endpoint());
        }
        let counters = &self.call.counters;
        let cas = self.credentials.token(counters).await?.cas_url;
        let host = authority(&cas);
        if self.servers.cas.is_in_reach(&host) {
            return Ok(cas.into());
        }
        let url = &cas;
        let knock = |_| async move {
            let mut request = Request::new(Method::GET, url.clone());
            *request.headers_mut() = self.extra.begin();
            self.http.execute(Pool::Separate, KNOCK, request).await
        };
        let what = format!("reach Xet storage at {host}");
        let mut failures = 0;
        while let Err(error) = self.policy.once().run(counters, &what, knock).await {
            failures += u32::from(error.context().hold.is_none());
            if failures > 1 {
                tracing::warn!(failures, "can't {what} yet: {error}");
            } else {
                tracing::debug!(failures, "can't {what} yet: {error}");
            }
            let policy = RetryPolicy { attempts: knocks(&error, self.policy), ..self.policy };
            let paused = policy.pause(failures, error, counters).await;
            paused.map_err(|error| self.subject.locate(error))?;
        }
        self.servers.cas.came(&host);
        Ok(cas.into())
    }

    /// Sends a xorb to the CAS, which brings it where it belongs.
    pub(super) async fn send_through_cas(&self, xorb: &MerkleHash, content: &Bytes) -> Result<()> {
        let path = ["v1", "xorbs", PREFIX, &xorb.hex()];
        let limit = storage_patience(self.http.deadlines());
        let patience = Patience { sending: limit, answer: limit };
        let path = &path;
        let send = |token: XetToken| async move {
            let response = self.post(&token, path, content, patience).await?;
            let response = self.accepted(response, &token).await?;
            self.json::<UploadXorbResponse>(response).await
        };
        self.ask(self.policy, "send content to Xet storage", send).await?;
        Ok(())
    }

    /// Whether the CAS may be asked by a route that it needn't have.
    pub(super) async fn is_open(&self, route: Newer) -> Result<bool> {
        Ok(self.servers.newer.is_open(&self.host().await?, route))
    }

    /// The CAS has refused a newer route, and served by the older one.
    pub(super) async fn does_without(&self, route: Newer, refused: &Error) -> Result<()> {
        self.servers.newer.refused(&self.host().await?, route, refused);
        Ok(())
    }

    /// Where the CAS is, for whoever reads it, and for what is known of it.
    async fn host(&self) -> Result<String> {
        Ok(authority(&self.credentials.token(&self.call.counters).await?.cas_url))
    }

    /// Asks the CAS for something in a few words, as `path`, with a body of JSON or none, and gives the answer
    /// whatever its status.
    pub(super) async fn ask_cas(
        &self,
        token: &XetToken,
        path: &[&str],
        question: Option<&(impl Serialize + Sync)>,
    ) -> Result<Response> {
        let mut request = self.request(Method::POST, cas_url(&token.cas_url, path)?, token);
        if let Some(question) = question {
            let json = HeaderValue::from_static("application/json");
            request.headers_mut().insert(CONTENT_TYPE, json);
            let body = serde_json::to_vec(question).map_err(Error::internal)?;
            *request.body_mut() = Some(body.into());
        }
        self.http.execute_harmless(Pool::Separate, UPLOADS, request).await
    }

    /// Makes a request of the CAS until it is answered, or there is no hope; with another token, if the first one is
    /// refused: clocks differ, or it was revoked.
    pub(super) async fn ask<T, F>(
        &self,
        policy: RetryPolicy,
        what: &str,
        ask: impl Fn(XetToken) -> F,
    ) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let counters = &self.call.counters;
        let token = self.credentials.token(counters).await?;
        let (token, ask) = (&token, &ask);
        let attempt = |_| self.credentials.ask(token, counters, ask);
        let asked = policy.run(counters, what, attempt).await;
        if asked.is_ok() {
            self.servers.cas.came(&authority(&token.cas_url));
        }
        asked.map_err(|error| {
            let is_of_network = matches!(error.kind(), Kind::Connection | Kind::Timeout);
            let error =
                if is_of_network { error.noting(&format!("that was to {what}")) } else { error };
            self.subject.locate(error)
        })
    }

    /// Sends content to the CAS, and gives the answer whatever its status.
    pub(super) async fn post(
        &self,
        token: &XetToken,
        path: &[&str],
        content: &Bytes,
        patience: Patience,
    ) -> Result<Response> {
        let request = self.request(Method::POST, cas_url(&token.cas_url, path)?, token);
        self.send(request, content, patience).await
    }

    /// Sends content, which counts as sent when a connection takes it.
    pub(super) async fn send(
        &self,
        request: Request,
        content: &Bytes,
        patience: Patience,
    ) -> Result<Response> {
        let (bytes, counters) = (content.clone(), Arc::clone(&self.call.counters));
        let body = Outgoing::new(Some(content.len() as u64), patience, move || {
            counted(stream::iter([Ok(bytes.clone())]), Arc::clone(&counters))
        });
        let body = body.harmless();
        self.http.execute_content(request, UPLOADS, &body, &self.call.counters).await
    }

    /// A request of the CAS.
    pub(super) fn request(&self, method: Method, url: Url, token: &XetToken) -> Request {
        let mut request = Request::new(method, url);
        *request.headers_mut() = self.extra.begin();
        request.headers_mut().insert(SESSION_ID_HEADER, self.session.clone());
        token.authorize(&mut request);
        request
    }

    /// An answer that isn't a refusal.
    pub(super) async fn accepted(&self, response: Response, token: &XetToken) -> Result<Response> {
        if response.status().is_success() {
            return Ok(response);
        }
        Err(self.refusal(response, token).await)
    }

    /// The error for an answer that is a refusal.
    pub(super) async fn refusal(&self, response: Response, token: &XetToken) -> Error {
        fault::refused(&self.http, response, token.token.as_ref()).await
    }

    pub(super) async fn json<T: DeserializeOwned>(&self, response: Response) -> Result<T> {
        body::read_json(&self.http, response, ANSWER, SERVER, &self.call.counters).await
    }

    pub(super) async fn read(&self, response: Response) -> Result<Bytes> {
        body::read(&self.http, response, ANSWER, &self.call.counters).await
    }

    /// Reads what is of no use, so that its connection is.
    pub(super) async fn pass(&self, response: Response) {
        if let Err(error) = self.read(response).await {
            tracing::debug!("gave up on an answer that is of no use: {error}");
        }
    }
}

/// How often storage may be knocked at that hasn't opened because of `error`. One that is being restarted has all
/// the patience that its other requests have; a wrong address is told at once.
fn knocks(error: &Error, policy: RetryPolicy) -> u32 {
    let context = error.context();
    let is_there = context.is_away || !context.is_unconnected;
    match error.kind() {
        _ if !error.is_transient() => 1,
        // The system has tried again and again by then.
        Kind::Timeout if context.is_unconnected => 1,
        Kind::Timeout => policy.attempts.min(KNOCKS),
        _ if is_there => policy.attempts,
        _ => policy.attempts.min(KNOCKS),
    }
}

/// For what there is another way to, or that one can do without: who was waited for in silence isn't waited for
/// again.
pub(super) fn final_if_silent(error: Error) -> Error {
    let is_silent = error.kind() == Kind::Timeout;
    error.with(|c| c.is_final |= is_silent)
}
