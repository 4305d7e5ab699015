//! Sending content: on connections of its own, one request at a time, so that what a connection's peer
//! acknowledges tells whether this request gets on.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use reqwest::header::{CONTENT_LENGTH, HeaderValue};

use super::origin::{authority, bare};
use super::payload::{self, Outgoing};
use super::wire::Wire;
use super::{Http, Sort};
use crate::call::progress::Counters;
use crate::model::error::Result;

/// How often a request is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// A client that has one request at a time.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) client: reqwest::Client,
    pub(crate) wire: Wire,
}

/// Lines that wait for content.
#[derive(Debug, Default)]
pub(super) struct Idle(Mutex<Vec<Line>>);

impl Idle {
    pub(super) fn take(&self) -> Option<Line> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    pub(super) fn put(&self, line: Line) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }
}

impl Http {
    /// Sends a request with content, whose own failure to be read is what counts then. Ends once the
    /// server has been silent for as long as the content's patience lasts: it is not while it takes more,
    /// or acknowledges what was sent, which is also seen in `counters`.
    pub(super) async fn execute_content(
        &self,
        mut request: reqwest::Request,
        sort: Sort,
        content: &Outgoing,
        counters: &Counters,
    ) -> Result<reqwest::Response> {
        let url = request.url().clone();
        let line = self.line(&url).await?;
        self.check_hold(&url, sort)?;
        let begun = Instant::now();
        let (body, pulse) = content.body();
        if let Some(length) = content.length() {
            request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        *request.body_mut() = Some(body);
        let mut answer = std::pin::pin!(line.client.execute(request));
        let look = || (pulse.feel(), line.wire.unacknowledged());
        let (mut seen, mut alive) = (look(), begun);
        loop {
            match tokio::time::timeout(LOOK, &mut answer).await {
                Ok(Ok(answer)) => {
                    self.give_back(line, &url);
                    return self.received(answer, sort, begun);
                }
                Ok(Err(error)) => {
                    return Err(pulse.take_error().unwrap_or_else(|| self.fault(&error, &url)));
                }
                Err(_) => {}
            }
            let now = look();
            if now != seen {
                (seen, alive) = (now, Instant::now());
                counters.beat();
            }
            let (felt, _) = seen;
            let limit = content.limit(felt.is_finished);
            if alive.elapsed() >= limit {
                let error = payload::stalled(&authority(&url), felt.is_finished, limit);
                return Err(error.with(|c| c.url = Some(bare(&url))));
            }
        }
    }
}
