//! Content by its Xet hash: what the CAS says about a file, the rights to ask it, and where the chunks
//! can be had that it names.

pub(crate) mod block;
pub(crate) mod chunker;
pub(crate) mod chunks;
pub(crate) mod decode;
mod extra;
mod folder;
pub(crate) mod newer;
mod outages;
pub(crate) mod parts;
mod refusals;
pub(crate) mod resolve;
pub(crate) mod shards;
pub(crate) mod sharing;
pub(crate) mod sources;
mod subject;
mod token;
#[cfg(test)]
pub(crate) mod vectors;

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::stream::BoxStream;
use reqwest::header::{ACCEPT_ENCODING, HeaderValue, RANGE};
use reqwest::{Method, Request, Response, StatusCode};
use url::Url;
use uuid::Uuid;
use xet_client::cas_types::{
    QueryReconstructionResponse, QueryReconstructionResponseV2, SESSION_ID_HEADER,
};
use xet_core_structures::merklehash::MerkleHash;

use crate::call::Call;
use crate::call::progress::Counters;
use crate::call::waits::Waits;
use crate::config::{Config, Deadlines};
use crate::http::origin::authority;
use crate::http::range::ContentRange;
use crate::http::{CONTENT, Coding, Http, Pool, RetryPolicy, Sort, body};
use crate::hub::XetToken;
use crate::model::content::MAX_SIZE;
use crate::model::error::{Error, Kind, Result};
use crate::tier::Tier;
use block::{Fetch, lie};
use chunks::ChunksRoute;
use newer::is_refused_route;
use refusals::Refusals;
use sharing::Sharing;
use subject::Asked;

pub(crate) use extra::ExtraHeaders;
pub(crate) use folder::LocalFolder;
pub(crate) use outages::Outages;
pub(crate) use subject::Subject;
pub(crate) use token::TokenSlot;
pub use token::{Credentials, HubTokens, TokenSource};

/// The most that a reconstruction answer may weigh. One for 1 GiB of file has some hundred
/// kilobytes.
const MAX_RECONSTRUCTION: usize = 64 * 1024 * 1024;

/// What the CAS may limit.
const RECONSTRUCTIONS: Sort = "questions about files";
const CHUNKS: Sort = "questions about chunks";

/// The CAS, seen with the rights to what the work is about.
pub(crate) struct Cas {
    config: Arc<Config>,
    http: Arc<Http>,
    policy: RetryPolicy,
    credentials: Credentials,
    subject: Subject,
    extra: ExtraHeaders,
    /// Groups this call's requests in the CAS's own logs.
    session: HeaderValue,
    /// The CAS has no V2 reconstructions: ask V1 at once.
    only_v1: AtomicBool,
    chunks_route: Arc<ChunksRoute>,
    outages: Arc<Outages>,
    /// What became of the last request for a token, if it failed. The call's other files don't find that
    /// out again, each by itself.
    failed: tokio::sync::Mutex<Option<(Instant, Error)>>,
    /// What the CAS has refused to this call.
    refusals: Refusals,
    /// The content is in a folder, and no server is asked for anything.
    folder: Option<LocalFolder>,
    /// What other nodes have of what it tells about; `None`: nothing is shared.
    sharing: Option<Arc<Sharing>>,
}

/// What we believe to talk to; an answer that isn't JSON makes one ask.
const XET_STORAGE: &str = "Xet storage";

/// How long what has failed is left alone. A call may be a long one, and an outage a short.
pub(crate) const LEFT_ALONE: Duration = Duration::from_mins(1);

impl Cas {
    pub(crate) fn new(
        config: Arc<Config>,
        http: Arc<Http>,
        credentials: Credentials,
        subject: Subject,
        extra: ExtraHeaders,
        chunks_route: Arc<ChunksRoute>,
        outages: Arc<Outages>,
    ) -> Result<Self> {
        let session = HeaderValue::try_from(Uuid::new_v4().to_string()).map_err(Error::internal)?;
        let policy = RetryPolicy::new(&config);
        Ok(Self {
            config,
            http,
            policy,
            credentials,
            subject,
            extra,
            session,
            only_v1: AtomicBool::new(false),
            chunks_route,
            outages,
            failed: tokio::sync::Mutex::default(),
            refusals: Refusals::default(),
            folder: None,
            sharing: None,
        })
    }

    /// The same for content that is in a folder. Nodes that see that share it.
    pub(crate) fn in_folder(self, folder: LocalFolder) -> Self {
        Self { folder: Some(folder), sharing: None, ..self }
    }

    /// The same where nodes share what they fetch.
    pub(crate) fn shared_by(self, tier: Option<&Arc<Tier>>) -> Self {
        Self { sharing: tier.map(|tier| Sharing::new(Arc::clone(tier))), ..self }
    }

    /// What other nodes have of what it tells about.
    pub(crate) fn sharing(&self) -> Option<&Arc<Sharing>> {
        self.sharing.as_ref()
    }

    /// How often, and after which pauses, a failed fetch may be made again.
    pub(crate) fn policy(&self) -> RetryPolicy {
        self.policy
    }

    /// Bytes per second below which a fetch counts as stalled.
    pub(crate) fn min_speed(&self) -> u32 {
        self.http.deadlines().min_speed
    }

    /// How long its requests may take.
    pub(crate) fn deadlines(&self) -> &Deadlines {
        self.http.deadlines()
    }

    /// How many bytes the file with this hash has, of which nobody has said it. All of its terms are asked for.
    pub(crate) async fn size(&self, file: &MerkleHash, counters: &Counters) -> Result<u64> {
        if *file == MerkleHash::default() {
            return Ok(0);
        }
        let answer = self.reconstruction(file, &(0..MAX_SIZE), counters).await?;
        let mut lengths = answer.terms.iter().map(|term| u64::from(term.unpacked_length));
        lengths.try_fold(0_u64, u64::checked_add).ok_or_else(|| {
            let message = format!("Xet storage says of file {} that it is endless", file.hex());
            Error::new(Kind::InvalidResponse, message)
        })
    }

    /// The better one of two reasons for which content failed that was said to have so many bytes, if it was: this `error`, or that
    /// it has another number of them.
    pub(crate) async fn unless_sizes_differ(
        &self,
        file: &MerkleHash,
        said: Option<u64>,
        error: Error,
        call: &Call,
    ) -> Error {
        // An answer that doesn't fit the size looks like one that can't be true.
        if !matches!(error.kind(), Kind::InvalidResponse | Kind::ChecksumMismatch | Kind::NotFound)
        {
            return error;
        }
        let Some(said) = said else { return error };
        match self.size(file, &call.counters).await {
            Ok(size) if size != said => {
                let hash = file.hex();
                let message = format!(
                    "the content with the Xet hash {hash} has {size} bytes, and not {said} as was said; give its \
                     true size, or none"
                );
                Error::new(Kind::InvalidArgument, message)
                    .with(|c| c.field = Some("size".to_owned()))
            }
            _ => error,
        }
    }

    /// Where the bytes `wanted` of the file with this hash are.
    pub(crate) async fn reconstruction(
        &self,
        file: &MerkleHash,
        wanted: &Range<u64>,
        counters: &Counters,
    ) -> Result<QueryReconstructionResponseV2> {
        if let Some(folder) = &self.folder {
            return folder.reconstruction(file, wanted).await;
        }
        let token = self.token(counters).await?;
        let (token, url) = (&token, &token.cas_url);
        if counters.has_another_way() {
            self.refusals.check()?;
        }
        let ask = |_| async move {
            self.in_reach(url, counters)?;
            let begun = Instant::now();
            let ask = |token| self.reconstruction_by(token, file, wanted, counters);
            let asked = self.credentials.ask(token, counters, ask).await;
            match &asked {
                Ok(_) => {
                    self.came_from(url);
                    self.refusals.answered();
                }
                Err(error) if error.is_transient() || error.is_final() => {
                    self.nothing_from(url, begun, error, counters);
                }
                Err(_) => {}
            }
            asked
        };
        let asked = self.policy.run(counters, "ask the CAS for a reconstruction", ask).await;
        asked.map_err(|error| {
            let is_outage = error.is_transient() || error.is_final();
            if !counters.has_another_way() {
                return error;
            }
            if matches!(error.kind(), Kind::Forbidden | Kind::Unauthorized) {
                return self.refusals.add(&authority(url), error);
            }
            if !is_outage {
                return error;
            }
            self.outages.gave_up(&authority(url), &error);
            error.with(|c| c.is_known = true)
        })
    }

    /// Fails if the server at `url` is known to be out of reach, and there is another way.
    pub(crate) fn in_reach(&self, url: &Url, counters: &Counters) -> Result<()> {
        if counters.has_another_way() { self.not_left_alone(url) } else { Ok(()) }
    }

    /// Fails if the server at `url` is known to be out of reach. Whoever asks this may be the one to find
    /// out how it is now.
    fn not_left_alone(&self, url: &Url) -> Result<()> {
        self.outages.reason(&authority(url)).map_or(Ok(()), Err)
    }

    /// Something came from the server at `url`.
    pub(crate) fn came_from(&self, url: &Url) {
        self.outages.came(&authority(url));
    }

    /// Something comes from the server at `url`, of which it isn't known yet whether it's right.
    pub(crate) fn comes_from(&self, url: &Url) {
        self.outages.comes(&authority(url));
    }

    /// What came for `fetch` is wrong, again. Where there is no other way, that's for the attempts to tell.
    pub(crate) fn wrong_for(&self, fetch: &Fetch, error: &Error, counters: &Counters) {
        if counters.has_another_way() {
            let (host, what) = (authority(&fetch.url.0), (fetch.xorb, fetch.chunks.start));
            self.outages.gave_wrong(&host, what, error);
        }
    }

    /// An attempt that was `begun` then brought nothing from the server at `url`. Where there is no other
    /// way, that's for the attempts to tell.
    pub(crate) fn nothing_from(
        &self,
        url: &Url,
        begun: Instant,
        error: &Error,
        counters: &Counters,
    ) {
        let was_asked = error.context().hold.is_none_or(|hold| hold.was_sent);
        if counters.has_another_way() && was_asked {
            self.outages.failed(&authority(url), begun, error);
        }
    }

    /// The same, in one attempt: for answers that one can do without.
    pub(crate) async fn try_reconstruction(
        &self,
        file: &MerkleHash,
        wanted: &Range<u64>,
        counters: &Counters,
    ) -> Result<QueryReconstructionResponseV2> {
        if let Some(folder) = &self.folder {
            return folder.reconstruction(file, wanted).await;
        }
        let token = self.token(counters).await?;
        self.not_left_alone(&token.cas_url)?;
        self.refusals.check()?;
        let ask = |token| self.reconstruction_by(token, file, wanted, counters);
        // Whoever looks whether the CAS is back tells the others.
        let asked = self.credentials.ask(&token, counters, ask).await;
        asked.inspect(|_| self.came_from(&token.cas_url))
    }

    /// A token for the CAS, unless the Hub has failed already when asked for one.
    pub(crate) async fn token(&self, counters: &Counters) -> Result<XetToken> {
        // Held while the first file finds out, so that the others wait for its result.
        let what = "another file's request for a Xet token";
        let waiting = counters.waits.begin(what, Duration::ZERO);
        let mut failed = self.failed.lock().await;
        drop(waiting);
        if let Some((at, error)) = failed.as_ref()
            && at.elapsed() < LEFT_ALONE
        {
            return Err(error.clone());
        }
        let token = self.credentials.token(counters).await;
        if let Err(error) = &token {
            *failed = Some((Instant::now(), error.clone()));
        }
        token
    }

    async fn reconstruction_by(
        &self,
        token: XetToken,
        file: &MerkleHash,
        wanted: &Range<u64>,
        counters: &Counters,
    ) -> Result<QueryReconstructionResponseV2> {
        if !self.only_v1.load(Ordering::Relaxed) {
            match self.get_reconstruction(&token, "v2", file, wanted, counters).await {
                // Either there is no such file, or no right to it, or there is no V2; V1 tells which.
                Err(error) if is_refused_route(&error) => {}
                other => return other,
            }
        }
        let v1: QueryReconstructionResponse =
            self.get_reconstruction(&token, "v1", file, wanted, counters).await?;
        self.only_v1.store(true, Ordering::Relaxed);
        Ok(v1.into())
    }

    async fn get_reconstruction<T: serde::de::DeserializeOwned>(
        &self,
        token: &XetToken,
        version: &str,
        file: &MerkleHash,
        wanted: &Range<u64>,
        counters: &Counters,
    ) -> Result<T> {
        let mut request = self.get_of_cas(token, &[version, "reconstructions", &file.hex()])?;
        request.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip, zstd"));
        // Both ends are inside in HTTP; `wanted` is never empty.
        request.headers_mut().insert(RANGE, range(wanted.start, wanted.end - 1)?);
        let response = self.send(request, RECONSTRUCTIONS, Asked::File(file)).await?;
        body::read_json(&self.http, response, MAX_RECONSTRUCTION, XET_STORAGE, counters).await
    }

    /// Opens some of what a fetch has: the bytes from `first` to `last` of its xorb, both included. Its URL carries its
    /// own rights, so no token goes along. `waits` are the call's.
    pub(crate) async fn open(
        &self,
        fetch: &Fetch,
        (first, last): (u64, u64),
        waits: &Waits,
    ) -> Result<Opened> {
        if let Some(folder) = &self.folder {
            return folder.open(&fetch.xorb, first, last).await;
        }
        if fetch.url.0.scheme() == block::LOCAL {
            return Err(lie("a fetch URL that is no http(s) URL"));
        }
        let mut request = self.get(fetch.url.0.clone());
        request.headers_mut().insert(RANGE, range(first, last)?);
        let response = self.send(request, CONTENT, Asked::Xorb(&fetch.xorb)).await?;
        let all = last - first + 1;
        let coding = Coding::of_content(&response, all);
        if let Coding::Other(_) = coding {
            return Err(coding.undecodable(&fetch.url.0, response.status().as_u16()));
        }
        let part = ContentRange::of(response.headers());
        let end = part.as_ref().and_then(|part| part.last);
        let mut length = all;
        match (response.status(), response.content_length()) {
            (StatusCode::PARTIAL_CONTENT, _)
                if part.is_some_and(|part| part.is_from(first, None)) =>
            {
                // Some give no more than so many bytes at once.
                length = end.map_or(all, |end| all.min(end - first + 1));
            }
            (status @ StatusCode::PARTIAL_CONTENT, _) => {
                let xorb = fetch.xorb.hex();
                let what = format!("another part of xorb {xorb} than was asked for");
                return Err(body::nonsense(&fetch.url.0, status.as_u16(), what));
            }
            // xet-core's simulation answers ranges with 200 and the range.
            (StatusCode::OK, Some(len)) if len == all => {}
            (status, len) => {
                let sent =
                    len.map_or_else(|| "an unknown number of".to_owned(), |len| len.to_string());
                let what = format!("{sent} bytes of xorb {} instead of {all}", fetch.xorb.hex());
                return Err(body::nonsense(&fetch.url.0, status.as_u16(), what));
            }
        }
        Ok(Opened { length, body: body::stream(Arc::clone(&self.http), response, coding, waits) })
    }

    /// A request of the CAS.
    fn get_of_cas(&self, token: &XetToken, path: &[&str]) -> Result<Request> {
        let mut request = Request::new(Method::GET, cas_url(&token.cas_url, path)?);
        *request.headers_mut() = self.extra.begin();
        request.headers_mut().insert(SESSION_ID_HEADER, self.session.clone());
        token.authorize(&mut request);
        Ok(request)
    }

    /// One of anybody else.
    fn get(&self, url: Url) -> Request {
        let mut request = Request::new(Method::GET, url);
        request.headers_mut().insert(SESSION_ID_HEADER, self.session.clone());
        request
    }

    /// Sends a request to the CAS or to storage. Neither redirects.
    async fn send(&self, request: Request, sort: Sort, asked: Asked<'_>) -> Result<Response> {
        let response = self.http.execute(Pool::Separate, sort, request).await?;
        if response.status().is_success() {
            return Ok(response);
        }
        Err(self.subject.explain(&self.config.endpoint, response, asked).await)
    }
}

/// The body of an answer of storage.
pub(crate) struct Opened {
    /// How many bytes it says that it gives, which may be fewer than were asked for.
    pub(crate) length: u64,
    /// They may be fewer, or more.
    pub(crate) body: BoxStream<'static, Result<Bytes>>,
}

fn range(first: u64, last: u64) -> Result<HeaderValue> {
    HeaderValue::try_from(format!("bytes={first}-{last}")).map_err(Error::internal)
}

/// A route of the CAS.
pub(crate) fn cas_url(cas: &Url, path: &[&str]) -> Result<Url> {
    let mut url = cas.clone();
    url.path_segments_mut()
        .map_err(|()| Error::new(Kind::InvalidResponse, "the URL of the CAS has no path"))?
        .pop_if_empty()
        .extend(path);
    Ok(url)
}

#[cfg(test)]
mod tests;
