//! Requests of ours, and following redirects by hand: what is meant for one server must not travel on
//! to others.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use reqwest::Method;
use reqwest::header::{HeaderMap, LOCATION};
use reqwest::{Response, StatusCode};
use url::Url;

use super::body::{nonsense, peek};
use super::holds::CONTENT;
use super::origin::{authority, bare, is_same_origin};
use super::payload::{Outgoing, Patience, Payload};
use super::{ByWayOf, Http, Pool, Sort};
use crate::call::progress::Counters;
use crate::config::Endpoint;
use crate::model::error::{Error, Hold, Kind, Result};

/// A request that begins at its home: the server that may know who asks.
#[derive(Clone, Debug)]
pub struct Request {
    /// With a payload, a redirect must not change it, nor lead elsewhere.
    pub method: Method,
    /// At home.
    pub url: Url,
    /// The server, whose redirects may not know below which path it is.
    pub home: Endpoint,
    /// What any server may see: ranges, encodings.
    pub headers: HeaderMap,
    /// What it alone may see: the token, and headers that nobody else understands.
    pub home_headers: HeaderMap,
    /// Longest wait for the head of the answer, redirects included; `None`: the first-byte timeout
    /// for each of them.
    pub head_timeout: Option<Duration>,
    /// Of what sort it is for servers that limit requests. What a redirect elsewhere leads to is content.
    pub sort: Sort,
    /// The body.
    pub payload: Payload,
}

/// Which redirects are followed.
#[derive(Clone, Copy, Debug)]
pub enum Follow {
    /// Those up to the first whose own headers are what was asked for, as this says.
    Until(fn(&HeaderMap) -> bool),
    /// All.
    Any,
}

/// The answer at the end of the redirects that were followed.
#[derive(Debug)]
pub struct Answer {
    /// Any status but a redirect that was to be followed.
    pub response: Response,
    /// Whether it came from home, and not from where redirects led.
    pub from_home: bool,
    /// The headers of the redirects that were followed, in their order.
    pub passed: Vec<HeaderMap>,
}

/// Where one request was led, if it was refused there for now: its next attempt goes on from there, and doesn't
/// cost what has led there once more.
#[derive(Debug, Default)]
pub struct Trail(Mutex<Option<Way>>);

/// How far a request has come.
#[derive(Clone, Debug)]
struct Way {
    url: Url,
    from_home: bool,
    /// The URLs before it.
    visited: Vec<Url>,
    /// The headers of the redirects.
    passed: Vec<HeaderMap>,
    /// A proxy that a redirect elsewhere came through, and may have made it.
    led_by: Option<ByWayOf>,
    begun: Instant,
}

/// Whatever is signed is so for longer; but a branch moves on.
const GOOD_FOR: Duration = Duration::from_mins(5);

impl Trail {
    fn keep(&self, way: Way) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(way);
    }

    fn take(&self) -> Option<Way> {
        let way = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        way.filter(|way| way.begun.elapsed() < GOOD_FOR)
    }
}

impl Way {
    fn begin(request: &Request) -> Self {
        let (url, begun) = (request.url.clone(), Instant::now());
        let (visited, passed) = (Vec::new(), Vec::new());
        Self { url, from_home: true, visited, passed, led_by: None, begun }
    }

    fn answer(self, response: Response) -> Answer {
        Answer { response, from_home: self.from_home, passed: self.passed }
    }
}

/// As `huggingface_hub`'s.
const MAX_HOPS: usize = 20;
/// A redirect's own body is a line of text. Read, its connection can be used again; longer ones
/// aren't worth it.
const REDIRECT_BODY: usize = 8 << 10;
/// The most that is sent within the time for an answer, whatever the line: longer bodies take what their
/// sending takes.
const SHORT: usize = 32 << 10;

impl Http {
    /// Sends `request` and follows its redirects. Once they have left the origin where it began,
    /// `home_headers` are gone for good, even where a further redirect leads back. That a long payload gets on
    /// is seen in `counters`. All attempts of one request share one `trail`.
    pub async fn send(
        &self,
        request: &Request,
        follow: Follow,
        trail: &Trail,
        counters: &Counters,
    ) -> Result<Answer> {
        let sent = self.follow(request, follow, trail, counters);
        let Some(limit) = request.head_timeout else { return sent.await };
        tokio::time::timeout(limit, sent).await.unwrap_or_else(|_| {
            let message = format!("{} sent no answer within {limit:?}", authority(&request.url));
            Err(Error::new(Kind::Timeout, message).with(|c| c.url = Some(bare(&request.url))))
        })
    }

    async fn follow(
        &self,
        request: &Request,
        follow: Follow,
        trail: &Trail,
        counters: &Counters,
    ) -> Result<Answer> {
        let mut way = trail.take().unwrap_or_else(|| Way::begin(request));
        let mut is_taken_up = !way.visited.is_empty();
        loop {
            let answered = if way.visited.is_empty() {
                self.first_hop(request, counters).await
            } else {
                self.hop(request, &way.url, way.from_home, counters).await
            };
            let is_for_now = is_refused_for_now(&answered);
            if is_for_now && !way.visited.is_empty() {
                trail.keep(way.clone());
            }
            let mut response = answered.map_err(|error| match &way.led_by {
                Some(ByWayOf(proxy)) => {
                    let note = format!("{proxy} has led there, or the server behind it");
                    error.noting(&note)
                }
                None => error,
            })?;
            if is_taken_up && !is_for_now && may_be_out_of_date(response.status()) {
                tracing::debug!(url = bare(&way.url), "asking anew where this leads");
                (way, is_taken_up) = (Way::begin(request), false);
                continue;
            }
            is_taken_up = false;
            if let Some(proxy) = &way.led_by {
                response.extensions_mut().insert(proxy.clone());
            }
            let Way { url, from_home, visited, passed, led_by, .. } = &mut way;
            let status = response.status();
            if !is_redirect(status) {
                return Ok(way.answer(response));
            }
            let target = request.home.below(target(&response, url)?);
            let stays = *from_home && is_same_origin(&request.url, &target);
            if !matches!(request.payload, Payload::Empty)
                && (!stays || !matches!(status.as_u16(), 307 | 308))
            {
                let what = format!("a redirect (HTTP {}) of an upload", status.as_u16());
                return Err(nonsense(url, status.as_u16(), what));
            }
            if let Follow::Until(is_enough) = follow
                && is_enough(response.headers())
            {
                return Ok(way.answer(response));
            }
            tracing::debug!(
                status = status.as_u16(),
                from = bare(url),
                to = bare(&target),
                "redirect"
            );
            visited.push(std::mem::replace(url, target.clone()));
            if visited.contains(&target) || visited.len() > MAX_HOPS {
                return Err(nonsense(
                    &target,
                    status.as_u16(),
                    format!("a redirect that never ends, number {}", visited.len()),
                ));
            }
            if !stays && led_by.is_none() {
                *led_by = response.extensions().get().cloned();
            }
            passed.push(response.headers().clone());
            peek(response, REDIRECT_BODY).await;
            *from_home = stays;
        }
    }

    /// The request itself, which is what servers count; what it leads to may be a cache's answer, and old.
    async fn first_hop(&self, request: &Request, counters: &Counters) -> Result<Response> {
        let to = (&request.url, request.sort);
        let _on_its_way = self.windows.admit(to.0, to.1).await?;
        let begun = Instant::now();
        let answer = self.hop(request, &request.url, true, counters).await?;
        self.windows.answered(to, begun, answer.headers());
        Ok(answer)
    }

    async fn hop(
        &self,
        request: &Request,
        url: &Url,
        at_home: bool,
        counters: &Counters,
    ) -> Result<Response> {
        let (pool, sort) =
            if at_home { (Pool::Multiplexed, request.sort) } else { (Pool::Separate, CONTENT) };
        let mut hop = reqwest::Request::new(request.method.clone(), url.clone());
        hop.headers_mut().extend(request.headers.clone());
        if at_home {
            hop.headers_mut().extend(request.home_headers.clone());
        }
        match &request.payload {
            Payload::Empty => {}
            Payload::Bytes(bytes) if bytes.len() > SHORT => {
                let limit = self.deadlines().first_byte;
                let patience = Patience { sending: limit, answer: limit };
                let content = Outgoing::of(bytes.clone(), patience);
                return Box::pin(self.execute_content(hop, sort, &content, counters)).await;
            }
            Payload::Bytes(bytes) => *hop.body_mut() = Some(bytes.clone().into()),
            Payload::Stream(content) => {
                return Box::pin(self.execute_content(hop, sort, content, counters)).await;
            }
        }
        self.execute(pool, sort, hop).await
    }
}

/// Whether a request was refused for now, or wasn't even sent because others were.
fn is_refused_for_now(answered: &Result<Response>) -> bool {
    match answered {
        Ok(response) => response.extensions().get::<Hold>().is_some(),
        Err(error) => error.context().hold.is_some(),
    }
}

/// Whether an answer may be about a URL that was good when the redirect led there. One about a range is about the
/// file.
fn may_be_out_of_date(status: StatusCode) -> bool {
    status.is_client_error() && status != StatusCode::RANGE_NOT_SATISFIABLE
}

/// Whether the status asks to look elsewhere.
fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// Where a redirect leads: an http or https URL.
fn target(response: &Response, url: &Url) -> Result<Url> {
    let status = response.status().as_u16();
    let location = response
        .headers()
        .get(LOCATION)
        .ok_or_else(|| nonsense(url, status, "a redirect without a Location"))?;
    // The text isn't shown: it may be a signed URL.
    location
        .to_str()
        .ok()
        .and_then(|location| url.join(location).ok())
        .filter(|target| matches!(target.scheme(), "http" | "https") && target.has_host())
        .ok_or_else(|| nonsense(url, status, "a redirect to something that isn't an http(s) URL"))
}
