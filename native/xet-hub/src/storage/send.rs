//! Sends files by ranges, straight from disk in large pieces.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use tokio::task::JoinHandle;

use crate::errors::ApiError;
use crate::ranges::{Wanted, wanted};

/// Bytes per read: large enough that the cost of a hop to another thread doesn't count.
const PIECE: u64 = 512 << 10;

/// Answers a request for the file at `path`, as its `Range` header says, unless `limit` refuses its size.
pub(super) async fn file(
    path: &Path,
    etag: &str,
    headers: &HeaderMap,
    limit: impl FnOnce(u64) -> Result<(), ApiError>,
) -> Result<Response, ApiError> {
    let file = match tokio::fs::File::open(path).await {
        Ok(file) => file.into_std().await,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(super::missing()),
        Err(error) => return Err(error.into()),
    };
    let total = file.metadata()?.len();
    limit(total)?;
    let file = Arc::new(file);
    respond(total, etag, headers, |first, last| read(Arc::clone(&file), first, last).boxed())
}

/// A stream of body pieces.
pub(super) type Pieces = stream::BoxStream<'static, io::Result<Bytes>>;

/// Answers with the parts of a body of `total` bytes that `headers` ask for. `part` makes the
/// stream of the bytes from the first to the last position, both included.
pub(super) fn respond(
    total: u64,
    etag: &str,
    headers: &HeaderMap,
    part: impl Fn(u64, u64) -> Pieces,
) -> Result<Response, ApiError> {
    let mut response = Response::new(Body::empty());
    let answer = response.headers_mut();
    answer.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    let octets = HeaderValue::from_static("application/octet-stream");
    answer.insert(header::CONTENT_TYPE, octets);
    answer.insert(header::ETAG, value(format!("\"{etag}\""))?);
    let (status, length, body) = match wanted(headers, total) {
        Wanted::All => {
            let body = if total == 0 { stream::empty().boxed() } else { part(0, total - 1) };
            (StatusCode::OK, total, body)
        }
        Wanted::Unsatisfiable => {
            let error = ApiError::new(StatusCode::RANGE_NOT_SATISFIABLE, "Range not satisfiable");
            return Err(error.with(header::CONTENT_RANGE, value(format!("bytes */{total}"))?));
        }
        Wanted::Parts(parts) => match parts.as_slice() {
            &[(first, last)] => {
                let range = value(format!("bytes {first}-{last}/{total}"))?;
                answer.insert(header::CONTENT_RANGE, range);
                (StatusCode::PARTIAL_CONTENT, last - first + 1, part(first, last))
            }
            parts => {
                let boundary = uuid::Uuid::new_v4().simple().to_string();
                let kind = format!("multipart/byteranges; boundary={boundary}");
                answer.insert(header::CONTENT_TYPE, value(kind)?);
                let (length, body) = multipart(&boundary, total, parts, part);
                (StatusCode::PARTIAL_CONTENT, length, body)
            }
        },
    };
    answer.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    *response.status_mut() = status;
    *response.body_mut() = Body::from_stream(body);
    Ok(response)
}

fn value(text: String) -> Result<HeaderValue, ApiError> {
    HeaderValue::try_from(text).map_err(ApiError::internal)
}

/// Several ranges in one body, and its length.
fn multipart(
    boundary: &str,
    total: u64,
    parts: &[(u64, u64)],
    part: impl Fn(u64, u64) -> Pieces,
) -> (u64, Pieces) {
    let mut length = 0;
    let mut streams: Vec<Pieces> = Vec::new();
    let mut text = |text: String, streams: &mut Vec<Pieces>| {
        length += text.len() as u64;
        streams.push(stream::once(async { Ok(Bytes::from(text)) }).boxed());
    };
    let mut payload = 0;
    for &(first, last) in parts {
        let head = format!(
            "--{boundary}\r\nContent-Type: application/octet-stream\r\n\
             Content-Range: bytes {first}-{last}/{total}\r\n\r\n"
        );
        text(head, &mut streams);
        payload += last - first + 1;
        streams.push(part(first, last));
        text("\r\n".to_owned(), &mut streams);
    }
    text(format!("--{boundary}--\r\n"), &mut streams);
    (length + payload, stream::iter(streams).flatten().boxed())
}

/// Reads `file` from `next` to `last`, one piece ahead of the network.
fn read(file: Arc<File>, next: u64, last: u64) -> impl Stream<Item = io::Result<Bytes>> + Send {
    struct Ahead {
        file: Arc<File>,
        next: u64,
        last: u64,
        reading: Option<JoinHandle<io::Result<Bytes>>>,
    }
    impl Ahead {
        fn start(&mut self) {
            if self.next > self.last {
                return;
            }
            let length = (self.last - self.next + 1).min(PIECE);
            let (file, at) = (Arc::clone(&self.file), self.next);
            self.next += length;
            self.reading = Some(tokio::task::spawn_blocking(move || {
                let mut piece = vec![0; usize::try_from(length).map_err(io::Error::other)?];
                file.read_exact_at(&mut piece, at)?;
                Ok(piece.into())
            }));
        }
    }
    let mut ahead = Ahead { file, next, last, reading: None };
    ahead.start();
    stream::unfold(ahead, |mut ahead| async move {
        let piece = match ahead.reading.take()?.await {
            Ok(piece) => piece,
            Err(error) => Err(io::Error::other(error)),
        };
        if piece.is_ok() {
            ahead.start();
        }
        Some((piece, ahead))
    })
}
