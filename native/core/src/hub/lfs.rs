//! Git LFS over HTTP: where objects are to be sent, sending them, and saying that they are there.
//!
//! Format: git-lfs `docs/api/batch.md`; `multipart` is the Hub's own. Storage gets nothing of ours
//! but the content: its URLs are signed.

use std::collections::BTreeMap;

use reqwest::Method;
use reqwest::header::{ETAG, HeaderMap};
use serde::{Deserialize, Serialize};
use url::Url;

use super::refusal::About;
use super::{HUB, Hub, routes};
use crate::call::progress::Counters;
use crate::http::body::nonsense;
use crate::http::origin::{authority, is_same_origin};
use crate::http::{Answer, CONTENT, Follow, Outgoing, Payload, Request};
use crate::model::error::{Error, Kind, Result};
use crate::model::repo::{Repo, RepoPath, Revision};

/// An object: content, by its SHA-256.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LfsObject {
    /// SHA-256, 64 lower-case hex digits.
    pub oid: String,
    /// In bytes.
    pub size: u64,
}

/// How an object is to be sent.
#[derive(Clone, Debug)]
pub struct LfsUpload {
    way: Way,
    verify: Option<Url>,
}

impl LfsUpload {
    /// The server that it is to be sent to.
    pub(crate) fn host(&self) -> String {
        let (Way::Basic(url) | Way::Multipart { complete: url, .. }) = &self.way;
        authority(url)
    }
}

#[derive(Clone, Debug)]
enum Way {
    /// All of it to one URL.
    Basic(Url),
    /// Parts of `part_size` bytes to a URL each, then the list of them to the last URL.
    Multipart { part_size: u64, parts: Vec<Url>, complete: Url },
}

#[derive(Serialize)]
struct Question<'a> {
    operation: &'static str,
    transfers: &'static [&'static str],
    hash_algo: &'static str,
    #[serde(skip_serializing_if = "Option::is_none", rename = "ref")]
    reference: Option<Reference<'a>>,
    objects: &'a [LfsObject],
}

#[derive(Serialize)]
struct Reference<'a> {
    name: &'a str,
}

#[derive(Deserialize)]
struct Reply {
    objects: Vec<Replied>,
}

#[derive(Deserialize)]
struct Replied {
    oid: String,
    #[serde(default)]
    actions: Option<Actions>,
    #[serde(default)]
    error: Option<Refused>,
}

#[derive(Deserialize)]
struct Actions {
    #[serde(default)]
    upload: Option<Action>,
    #[serde(default)]
    verify: Option<Action>,
}

#[derive(Deserialize)]
struct Action {
    href: String,
    #[serde(default)]
    header: BTreeMap<String, serde_json::Value>,
}

#[derive(Deserialize)]
struct Refused {
    code: u16,
    #[serde(default)]
    message: String,
}

#[derive(Serialize)]
struct Completion<'a> {
    oid: &'a str,
    parts: Vec<Part>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Part {
    part_number: usize,
    etag: String,
}

impl Hub {
    /// Where each object is to be sent, in their order; `None`: it is there already.
    pub async fn lfs_batch(
        &self,
        repo: &Repo,
        revision: Option<&Revision>,
        objects: &[LfsObject],
        counters: &Counters,
    ) -> Result<Vec<Option<LfsUpload>>> {
        let about =
            self.about(repo, revision.map_or(Revision::MAIN, Revision::as_str), None).writing();
        let url = routes::lfs_batch(&self.config.endpoint, repo);
        let question = Question {
            operation: "upload",
            transfers: &["basic", "multipart"],
            hash_algo: "sha256",
            reference: revision.map(|revision| Reference { name: revision.as_str() }),
            objects,
        };
        let body = serde_json::to_vec(&question).map_err(Error::internal)?;
        let kind = "application/vnd.git-lfs+json";
        let mut request =
            self.write_request(Method::POST, url.clone(), kind, Payload::Bytes(body.into()));
        let accept = reqwest::header::HeaderValue::from_static(kind);
        request.headers.insert(reqwest::header::ACCEPT, accept);
        let what = format!("ask where to upload LFS objects of {repo}");
        let read = |answer: Answer| async move {
            let body = crate::http::body::MAX_JSON;
            crate::http::body::read_json(&self.http, answer.response, body, HUB, counters).await
        };
        let call = self.call(&about, &what, counters, &request, Follow::Any, read);
        let reply: Reply = call.await?;
        let mut replies: BTreeMap<String, Replied> =
            reply.objects.into_iter().map(|object| (object.oid.clone(), object)).collect();
        let answer = |object: &LfsObject| {
            let Some(reply) = replies.remove(&object.oid) else {
                let problem = format!("nothing about LFS object {}", object.oid);
                return Err(about.locate(nonsense(&url, 200, problem)));
            };
            self.upload_of(reply, object, &url).map_err(|error| about.locate(error))
        };
        objects.iter().map(answer).collect()
    }

    fn upload_of(
        &self,
        reply: Replied,
        object: &LfsObject,
        asked: &Url,
    ) -> Result<Option<LfsUpload>> {
        if let Some(refused) = reply.error {
            let kind = match refused.code {
                401 => Kind::Unauthorized,
                403 => Kind::Forbidden,
                409 => Kind::Conflict,
                507 => Kind::ServerError,
                _ => Kind::BadRequest,
            };
            let why = crate::hub::refusal::quotable(&refused.message, self.config.token.as_ref());
            let message = format!("the Hub refuses LFS object {}: {why}", object.oid);
            return Err(Error::new(kind, message).with(|c| c.http_status = Some(refused.code)));
        }
        let Some(upload) = reply.actions else { return Ok(None) };
        let (Some(action), verify) = (upload.upload, upload.verify) else { return Ok(None) };
        let verify = verify.map(|verify| self.lfs_url(&verify.href, asked)).transpose()?;
        let target = self.lfs_url(&action.href, asked)?;
        let Some(part_size) = action.header.get("chunk_size") else {
            return Ok(Some(LfsUpload { way: Way::Basic(target), verify }));
        };
        let part_size: u64 = part_size
            .as_u64()
            .or_else(|| part_size.as_str()?.parse().ok())
            .filter(|size| *size > 0)
            .ok_or_else(|| nonsense(asked, 200, "a chunk_size that is no number"))?;
        let mut parts = Vec::new();
        for number in 1..=object.size.div_ceil(part_size) {
            let href = action.header.get(&number.to_string()).and_then(|href| href.as_str());
            let href = href.ok_or_else(|| {
                nonsense(asked, 200, format!("no URL for part {number} of an LFS object"))
            })?;
            parts.push(self.lfs_url(href, asked)?);
        }
        let way = Way::Multipart { part_size, parts, complete: target };
        Ok(Some(LfsUpload { way, verify }))
    }

    /// An address that the Hub gave. It may be signed, so no error shows it.
    fn lfs_url(&self, href: &str, asked: &Url) -> Result<Url> {
        let url = Url::parse(href)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        let url = url.ok_or_else(|| nonsense(asked, 200, "an LFS URL that isn't http(s)"))?;
        Ok(self.config.endpoint.localize(url))
    }

    /// Sends an object, which is to be `file`, and says whether the Hub has seen that it's there; otherwise the batch call tells. `content`
    /// makes the body for `length` bytes from an offset, of one part after the other.
    pub async fn lfs_upload(
        &self,
        repo: &Repo,
        file: &RepoPath,
        object: &LfsObject,
        upload: &LfsUpload,
        content: impl Fn(u64, u64) -> Outgoing,
        counters: &Counters,
    ) -> Result<bool> {
        let about = self.about(repo, Revision::MAIN, Some(file)).writing();
        match &upload.way {
            Way::Basic(url) => {
                let body = content(0, object.size);
                self.lfs_put(&about, url, body, counters).await?;
            }
            Way::Multipart { part_size, parts, complete } => {
                let mut sent = Vec::with_capacity(parts.len());
                for (url, part_number) in parts.iter().zip(1..) {
                    let start = part_size * (part_number as u64 - 1);
                    let length = (*part_size).min(object.size - start);
                    let headers =
                        self.lfs_put(&about, url, content(start, length), counters).await?;
                    let etag = headers.get(ETAG).and_then(|etag| etag.to_str().ok());
                    let etag = etag.ok_or_else(|| {
                        about.locate(nonsense(url, 200, "no ETag for a part of an LFS object"))
                    })?;
                    sent.push(Part { part_number, etag: etag.to_owned() });
                }
                let body = Completion { oid: &object.oid, parts: sent };
                self.lfs_post(&about, complete, &body, counters).await?;
            }
        }
        let Some(url) = &upload.verify else { return Ok(false) };
        match self.lfs_post(&about, url, object, counters).await {
            Ok(()) => Ok(true),
            // Not there, or not known under this address.
            Err(error) if matches!(error.context().http_status, Some(404 | 410)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Sends content to storage, and returns the headers of its answer.
    async fn lfs_put(
        &self,
        about: &About<'_>,
        url: &Url,
        body: Outgoing,
        counters: &Counters,
    ) -> Result<HeaderMap> {
        let request = Request {
            method: Method::PUT,
            url: url.clone(),
            home: self.config.endpoint.clone(),
            headers: HeaderMap::new(),
            home_headers: HeaderMap::new(),
            head_timeout: None,
            sort: CONTENT,
            payload: Payload::Stream(body),
        };
        let what = "upload an LFS object";
        let read = |answer: Answer| async move { Ok(answer.response.headers().clone()) };
        let from_storage = self.at_storage(&request.url);
        self.call_from(about, what, counters, &request, from_storage, read).await
    }

    /// Tells the Hub, or storage, what was sent. The token goes along to the Hub only.
    async fn lfs_post(
        &self,
        about: &About<'_>,
        url: &Url,
        body: &impl Serialize,
        counters: &Counters,
    ) -> Result<()> {
        let body = serde_json::to_vec(body).map_err(Error::internal)?;
        let kind = "application/vnd.git-lfs+json";
        let mut request =
            self.write_request(Method::POST, url.clone(), kind, Payload::Bytes(body.into()));
        let from_storage = self.at_storage(url);
        if from_storage {
            request.home_headers.clear();
        }
        let what = "complete an LFS object";
        let read = |_: Answer| async move { Ok(()) };
        self.call_from(about, what, counters, &request, from_storage, read).await
    }

    fn at_storage(&self, url: &Url) -> bool {
        !is_same_origin(self.config.endpoint.url(), url)
    }
}
