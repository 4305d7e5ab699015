//! Sending xorbs past the CAS: it grants a signed URL of what is behind it, is told when the content is there, and
//! checks it.
//!
//! Where that place is out of reach, or refuses, or the CAS grants nothing, in whichever words, content goes by way
//! of the CAS, which costs nothing but its time: so not every xorb finds that out by itself.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use crc_fast::CrcAlgorithm;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Request, Response, StatusCode};
use serde_json::Value;
use url::Url;
use xet_client::cas_types::{Checksum, XorbUploadGrant, XorbUploadGrantRequest};
use xet_core_structures::merklehash::MerkleHash;

use super::fault;
use super::storage::{PREFIX, Storage, final_if_silent};
use crate::cas::newer::{Newer, is_refusal};
use crate::http::origin::authority;
use crate::http::{Patience, RetryPolicy};
use crate::hub::XetToken;
use crate::model::error::{Error, Kind, Result};

/// Grants that are asked for one xorb, as xet-core has it: a signature may have run out.
const GRANTS: u32 = 3;
/// Attempts to send content by one grant, since there is another way.
const ATTEMPTS: u32 = 2;

/// What the CAS says to the wish for a grant.
enum Granted {
    Here(XorbUploadGrant),
    /// It has the xorb.
    IsThere,
    /// It grants nothing to anyone.
    Never(Error),
}

/// Why a xorb has to go by way of the CAS.
enum Failed {
    /// It's known that the other way leads nowhere.
    IsKnown,
    /// The CAS has no such way, and says so as the protocol has it.
    Never(Error),
    /// The CAS, or whoever is before it, has refused it.
    Refused(Error),
    /// What is behind the CAS has failed.
    Now(Error),
}

impl Storage {
    /// Sends a xorb, unless it's there, and returns how many bytes that took.
    pub(super) async fn send_xorb(&self, xorb: &MerkleHash, content: &Bytes) -> Result<u64> {
        if let Some(folder) = &self.folder {
            return folder.keep_xorb(xorb, content).await;
        }
        let mut sent = 0;
        let Err(failed) = self.send_by_grant(xorb, content, &mut sent).await? else {
            return Ok(sent);
        };
        match (self.send_through_cas(xorb, content).await, failed) {
            (Ok(()), failed) => {
                if let Failed::Never(refused) | Failed::Refused(refused) = failed {
                    self.does_without(Newer::Grants, &refused).await?;
                }
                Ok(sent + content.len() as u64)
            }
            (Err(error), Failed::IsKnown | Failed::Never(_)) => Err(error),
            (Err(error), Failed::Refused(first) | Failed::Now(first)) => {
                Err(Error::cause(("straight to storage", first), ("by way of the CAS", error)))
            }
        }
    }

    /// `Ok(Err(..))`: it has to go by way of the CAS. `sent` grows by what was taken.
    async fn send_by_grant(
        &self,
        xorb: &MerkleHash,
        content: &Bytes,
        sent: &mut u64,
    ) -> Result<Result<(), Failed>> {
        let is_offered = self.offers_grants.load(Ordering::Relaxed);
        if !is_offered || !self.is_open(Newer::Grants).await? {
            return Ok(Err(Failed::IsKnown));
        }
        let checksum = self.checksum(content).await?;
        let mut last = None;
        for _ in 0..GRANTS {
            let grant = match self.grant(xorb, content, checksum).await {
                Ok(Granted::Here(grant)) => grant,
                Ok(Granted::IsThere) => return Ok(Ok(())),
                Ok(Granted::Never(error)) => return Ok(Err(self.refused(Failed::Never(error)))),
                Err(error) if is_refusal(&error) => {
                    return Ok(Err(self.refused(Failed::Refused(error))));
                }
                Err(error) => return Err(error),
            };
            let target = match Target::of(&grant) {
                Ok(target) => target,
                Err(error) => return Ok(Err(Failed::Now(error))),
            };
            let host = authority(&target.url);
            if self.servers.places.reason(&host).is_some() {
                break;
            }
            match self.send_to(&target, content).await {
                Ok(()) => {
                    *sent += content.len() as u64;
                    match self.commit(xorb, &grant.id).await {
                        Ok(true) => {
                            self.servers.places.came(&host);
                            return Ok(Ok(()));
                        }
                        Ok(false) => {}
                        Err(error) if is_refusal(&error) => {
                            return Ok(Err(self.refused(Failed::Refused(error))));
                        }
                        Err(error) => return Err(error),
                    }
                    let what = "it takes content, of which the CAS finds nothing";
                    last = Some((host, fault::nonsense(&target.url, 200, what)));
                }
                // Another grant may be taken.
                Err(error) if matches!(error.context().http_status, Some(400 | 403 | 409)) => {
                    last = Some((host, error));
                }
                Err(error) => {
                    self.servers.places.gave_up(&host, &error);
                    return Ok(Err(Failed::Now(error)));
                }
            }
        }
        let Some((host, error)) = last else { return Ok(Err(Failed::IsKnown)) };
        // Somebody else is storing the same: that says nothing about the place.
        if error.context().http_status != Some(409) {
            self.servers.places.gave_up(&host, &error);
        }
        Ok(Err(Failed::Now(error)))
    }

    /// No other xorb of this upload asks for a grant.
    fn refused(&self, failed: Failed) -> Failed {
        self.offers_grants.store(false, Ordering::Relaxed);
        failed
    }

    /// What the CAS is told of content that it doesn't see itself.
    async fn checksum(&self, content: &Bytes) -> Result<u64> {
        let content = content.clone();
        let make = move || Ok(crc_fast::checksum(CrcAlgorithm::Crc64Nvme, &content));
        self.call.blocking("a processor to make a checksum of content", make).await
    }

    async fn grant(&self, xorb: &MerkleHash, content: &Bytes, checksum: u64) -> Result<Granted> {
        let checksum = Checksum::Crc64Nvme(checksum);
        let question = &XorbUploadGrantRequest { length: content.len() as u64, checksum };
        let path = &["v1", "xorb-grants", PREFIX, &xorb.hex()];
        let ask = |token: XetToken| async move {
            let response = self.ask_cas(&token, path, Some(question)).await?;
            match response.status() {
                StatusCode::CREATED => self.json(response).await.map(Granted::Here),
                StatusCode::OK => self.said_of_xorb(response).await.map(|()| Granted::IsThere),
                StatusCode::NOT_FOUND => Ok(Granted::Never(self.refusal(response, &token).await)),
                status if status.is_success() => {
                    let what = format!("HTTP {}", status.as_u16());
                    Err(fault::nonsense(response.url(), status.as_u16(), &what))
                }
                _ => Err(self.refusal(response, &token).await),
            }
        };
        self.ask(self.policy, "ask Xet storage where content is to be sent", ask).await
    }

    /// Sends content by a grant. That there is something already is as good; that it's just being stored is worth
    /// another attempt.
    async fn send_to(&self, target: &Target, content: &Bytes) -> Result<()> {
        let limit = self.http.deadlines().first_byte;
        let patience = Patience { sending: limit, answer: limit };
        let send = |_| async move {
            let mut request = Request::new(target.method.clone(), target.url.clone());
            request.headers_mut().clone_from(&target.headers);
            let sent = self.send(request, content, patience).await;
            let response = sent.map_err(final_if_silent)?;
            let status = response.status();
            if status.is_success() || status == StatusCode::PRECONDITION_FAILED {
                return Ok(());
            }
            if status == StatusCode::CONFLICT {
                let message =
                    format!("{} is storing the same at this moment", authority(&target.url));
                let error = Error::new(Kind::ServerError, message);
                return Err(error.with(|c| c.http_status = Some(status.as_u16())));
            }
            Err(fault::refused(&self.http, response, None).await)
        };
        let policy = RetryPolicy { waits_out: false, attempts: ATTEMPTS, ..self.policy };
        let host = authority(&target.url);
        policy.run(&self.call.counters, &format!("send content to {host}"), send).await
    }

    /// Says that content is there; false: the CAS hasn't found it.
    async fn commit(&self, xorb: &MerkleHash, grant: &str) -> Result<bool> {
        let path = &["v1", "xorb-commits", PREFIX, &xorb.hex(), "grant", grant];
        let ask = |token: XetToken| async move {
            let response = self.ask_cas(&token, path, None::<&()>).await?;
            if response.status() == StatusCode::NOT_FOUND {
                self.pass(response).await;
                return Ok(false);
            }
            let response = self.accepted(response, &token).await?;
            self.said_of_xorb(response).await.map(|()| true)
        };
        self.ask(self.policy, "have Xet storage take what it was sent", ask).await
    }

    /// Whatever the CAS says of a xorb with a status that is good; but a page, such as that of a login, knows nothing of
    /// a xorb, and neither does what breaks off, nor a gateway's error that comes with a status that is none.
    async fn said_of_xorb(&self, response: Response) -> Result<()> {
        let (url, status) = (response.url().clone(), response.status().as_u16());
        let said = self.read(response).await?;
        let is_an_answer = match serde_json::from_slice(&said) {
            Ok(Value::Object(fields)) => {
                !["error", "errors"].iter().any(|e| fields.contains_key(*e))
            }
            Ok(_) => true,
            Err(_) => said.trim_ascii().is_empty(),
        };
        if is_an_answer {
            return Ok(());
        }
        Err(fault::garbled(&url, status, "something that isn't an answer about a xorb"))
    }
}

/// Where a grant leads.
struct Target {
    method: Method,
    url: Url,
    /// All that go along, and nothing of ours: the URL is signed.
    headers: HeaderMap,
}

impl Target {
    fn of(grant: &XorbUploadGrant) -> Result<Self> {
        let problem = |what: &str| {
            let message = format!("Xet storage granted a place for content with {what}");
            Error::new(Kind::InvalidResponse, message).with(|c| c.http_status = Some(201))
        };
        let url = Url::parse(&grant.url).ok();
        let url = url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        let url = url.ok_or_else(|| problem("a URL that isn't http(s)"))?;
        // In a path of ours, it would be another one.
        if matches!(grant.id.as_str(), "" | "." | "..") {
            return Err(problem("a number that isn't one"));
        }
        let method = Method::from_bytes(grant.method.as_bytes())
            .map_err(|_| problem("a method that isn't one"))?;
        let mut headers = HeaderMap::with_capacity(grant.headers.len());
        for (name, value) in &grant.headers {
            let header = HeaderName::from_bytes(name.as_bytes()).ok();
            let header = header.zip(HeaderValue::from_str(value).ok());
            let (name, value) = header.ok_or_else(|| problem("headers that aren't any"))?;
            headers.insert(name, value);
        }
        Ok(Self { method, url, headers })
    }
}
