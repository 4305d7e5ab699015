//! Reading bodies with a bound, so that no server can fill our memory.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, BoxStream, StreamExt};
use reqwest::Response;
use reqwest::header::CONTENT_TYPE;
use serde::de::DeserializeOwned;
use url::Url;

use super::Http;
use super::origin::{authority, bare};
use crate::error::{Error, Kind, Result};

/// The largest JSON answer: some 200 times a page of 1,000 tree entries.
pub const MAX_JSON: usize = 64 << 20;

/// The body's pieces as they arrive, each after at most the read timeout. The end doesn't prove
/// that all of them came.
#[must_use]
pub fn stream(http: Arc<Http>, response: Response) -> BoxStream<'static, Result<Bytes>> {
    stream::try_unfold((http, response), |(http, mut response)| async move {
        match response.chunk().await {
            Ok(Some(chunk)) => Ok(Some((chunk, (http, response)))),
            Ok(None) => Ok(None),
            Err(error) => Err(http.fault(&error, response.url())),
        }
    })
    .boxed()
}

/// The whole body, which must be at most `limit` bytes after decoding.
pub async fn read(http: &Http, mut response: Response, limit: usize) -> Result<Bytes> {
    let url = response.url().clone();
    let status = response.status().as_u16();
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| http.fault(&error, &url))? {
        if body.len() + chunk.len() > limit {
            return Err(nonsense(&url, status, format!("more than {limit} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

/// The body's first bytes, for what is worth a look but no error: at most `limit`, and no more than
/// arrive unbroken.
pub async fn peek(mut response: Response, limit: usize) -> Bytes {
    let mut body = BytesMut::new();
    while body.len() < limit {
        match response.chunk().await {
            Ok(Some(chunk)) => {
                body.extend_from_slice(&chunk[..chunk.len().min(limit - body.len())]);
            }
            Ok(None) => break,
            Err(error) => {
                tracing::debug!("gave up on the rest of a body: {}", error.without_url());
                break;
            }
        }
    }
    body.freeze()
}

/// The body as JSON of at most `limit` bytes.
pub async fn read_json<T: DeserializeOwned>(
    http: &Http,
    response: Response,
    limit: usize,
) -> Result<T> {
    let url = response.url().clone();
    let status = response.status().as_u16();
    let content_type = response
        .headers()
        .get(CONTENT_TYPE)
        .map_or("no content type", |value| value.to_str().unwrap_or("an odd content type"))
        .to_owned();
    let body = read(http, response, limit).await?;
    serde_json::from_slice(&body).map_err(|error| {
        let what = if content_type.contains("json") {
            format!("JSON of another form than expected ({error})")
        } else {
            format!("{content_type} instead of JSON; is this a Hugging Face Hub?")
        };
        nonsense(&url, status, what).caused_by(error)
    })
}

/// The error for a complete answer that the protocol doesn't allow. Asking again would bring the
/// same, so the status is always part of it: that makes it permanent.
#[must_use]
pub fn nonsense(url: &Url, status: u16, what: impl std::fmt::Display) -> Error {
    Error::new(Kind::InvalidResponse, format!("{} answered with {what}", authority(url))).with(
        |c| {
            c.http_status = Some(status);
            c.url = Some(bare(url));
        },
    )
}
