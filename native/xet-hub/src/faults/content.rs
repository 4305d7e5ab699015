//! Bodies of other content than what was asked for, or in another coding.
//!
//! The lengths stay what they were (but for `append`, `gzip` and `zstd`), so only a check of the content can tell.

use std::io::Write;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

use super::Action;

/// Gives `response` the content that `action` wants. The whole body is held in memory meanwhile.
pub(super) async fn changed(action: &Action, response: Response) -> Response {
    let is_changed = action.invert
        || action.rotate.is_some()
        || action.append.is_some()
        || action.gzip
        || action.zstd
        || action.empty;
    if !is_changed {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    if action.empty {
        parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(0));
        return Response::from_parts(parts, Body::empty());
    }
    let Ok(body) = to_bytes(body, usize::MAX).await else {
        return failed("the body to be changed broke off");
    };
    let mut body = Vec::from(body);
    if action.invert {
        for byte in &mut body {
            *byte = !*byte;
        }
    }
    if let Some(by) = action.rotate
        && !body.is_empty()
    {
        let by = by % body.len() as u64;
        body.rotate_left(usize::try_from(by).unwrap_or_default());
    }
    if let Some(more) = action.append {
        body.resize(body.len() + more, b'?');
        parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    }
    if action.gzip {
        body = match gzipped(&body) {
            Ok(body) => body,
            Err(_) => return failed("the body can't be compressed"),
        };
        parts.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    }
    if action.zstd {
        body = compress_to_vec(body.as_slice(), CompressionLevel::Fastest);
        parts.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("zstd"));
        parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    }
    Response::from_parts(parts, Body::from(Bytes::from(body)))
}

fn gzipped(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes)?;
    encoder.finish()
}

/// For a fault that can't be injected: a status that nothing else has, so that a test can make sure
/// that there was none.
pub(super) fn failed(why: &'static str) -> Response {
    tracing::error!(why, "a fault can't be injected");
    let mut response = Response::new(Body::from(why));
    *response.status_mut() = StatusCode::from_u16(599).unwrap_or_default();
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn sent(action: serde_json::Value) -> (Vec<u8>, Option<HeaderValue>) {
        let action: Action = serde_json::from_value(action).unwrap();
        let response = changed(&action, Response::new(Body::from("0123456789"))).await;
        let encoding = response.headers().get(header::CONTENT_ENCODING).cloned();
        (to_bytes(response.into_body(), usize::MAX).await.unwrap().into(), encoding)
    }

    /// The length stays; the content doesn't.
    #[tokio::test]
    async fn content_changes_in_place() {
        assert_eq!(sent(serde_json::json!({"rotate": 13})).await.0, b"3456789012");
        let inverted: Vec<u8> = b"0123456789".iter().map(|byte| !byte).collect();
        assert_eq!(sent(serde_json::json!({"invert": true})).await.0, inverted);
    }

    /// What is behind the body is counted in its length.
    #[tokio::test]
    async fn more_comes() {
        assert_eq!(sent(serde_json::json!({"append": 2})).await.0, b"0123456789??");
    }

    /// Nothing comes, whatever the rest of the answer says.
    #[tokio::test]
    async fn nothing_comes() {
        assert!(sent(serde_json::json!({"empty": true})).await.0.is_empty());
    }

    /// A compressed body says that it is one.
    #[tokio::test]
    async fn gzip_comes_unasked() {
        use std::io::Read;
        let (body, encoding) = sent(serde_json::json!({"gzip": true})).await;
        assert_eq!(encoding.unwrap(), "gzip");
        let mut found = String::new();
        flate2::read::GzDecoder::new(body.as_slice()).read_to_string(&mut found).unwrap();
        assert_eq!(found, "0123456789");
    }
}
