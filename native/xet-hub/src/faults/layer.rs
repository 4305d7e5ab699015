//! The one middleware of all three origins: counts, faults, request ids and the log.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use futures_util::StreamExt;
use http_body::Body as _;

use super::body::faulty;
use super::{Action, answer, content};
use crate::app::App;
use crate::net::ResetSwitch;
use crate::ranges;
use crate::route::{Route, RouteClass};
use crate::stats::{InFlight, Origin, StoredKind};
use crate::sync::lock;

/// What the middleware knows: the server, and which of its origins this is.
#[derive(Debug, Clone)]
pub(crate) struct Side {
    /// The server.
    pub(crate) app: Arc<App>,
    /// The origin.
    pub(crate) origin: Origin,
}

/// Marks a request whose `Range` was taken away: that was the server's fault, so the client may have
/// asked for what its URL allows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RangeIgnored;

impl Side {
    fn class(&self, path: &str) -> RouteClass {
        match self.origin {
            Origin::Hub => match Route::parse(path) {
                Ok(Some(route)) => route.class(),
                _ => RouteClass::Unknown,
            },
            // Older clients name no version, and some only one thing.
            Origin::Cas => match path.split('/').find(|name| !matches!(*name, "" | "v1" | "v2")) {
                Some("reconstructions" | "reconstruction" | "files") => RouteClass::Reconstruction,
                Some("chunks" | "chunk") => RouteClass::Chunks,
                Some("file-chunk-hashes") => RouteClass::FileChunkHashes,
                Some("xorbs" | "xorb" | "xorb-grants" | "xorb-commits") => RouteClass::Xorb,
                Some("shards" | "shard") => RouteClass::Shard,
                Some("telemetry") => RouteClass::Telemetry,
                _ => RouteClass::Unknown,
            },
            Origin::Storage => RouteClass::Storage,
        }
    }
}

/// Wraps every request of an origin.
pub(crate) async fn observe(
    State(side): State<Side>,
    ConnectInfo(reset): ConnectInfo<ResetSwitch>,
    request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path().to_owned();
    if side.origin == Origin::Hub && path.starts_with("/_hub/") {
        return next.run(request).await;
    }
    let (class, method, begun) = (side.class(&path), request.method().clone(), Instant::now());
    let kind = (side.origin == Origin::Storage).then(|| StoredKind::of(&path));
    let in_flight = InFlight::begin(&side.app, side.origin);
    side.app.stats.request(side.origin, class, kind, method.as_str());
    let latency = lock(&side.app.latency).of(side.origin);
    if latency > 0.0 {
        tokio::time::sleep(Duration::from_secs_f64(latency)).await;
    }
    let ranged = request.headers().contains_key(header::RANGE);
    let action = side.app.faults.take(class, method.as_str(), &path, ranged);
    let mut response = match action {
        None => next.run(request).await,
        Some(action) => {
            tracing::info!(?class, %method, path, ?action, "fault");
            misbehave(action, reset, request, next).await
        }
    };
    let id = HeaderValue::from_str(&uuid::Uuid::new_v4().to_string());
    if let Ok(id) = id {
        response.headers_mut().insert("x-request-id", id);
    }
    let status = response.status().as_u16();
    side.app.stats.count(|counts| *counts.statuses.entry(status).or_default() += 1);
    // Never the query: it may be a signature.
    let micros = begun.elapsed().as_micros();
    tracing::debug!(origin = ?side.origin, ?class, %method, path, status, micros, "request");
    counted(side, kind, in_flight, method == Method::HEAD, response)
}

/// Counts the bytes of the body as they go out, and the request until the last one has.
fn counted(
    side: Side,
    kind: Option<StoredKind>,
    in_flight: InFlight,
    is_head: bool,
    response: Response,
) -> Response {
    let (mut parts, body) = response.into_parts();
    if is_head {
        return Response::from_parts(parts, body);
    }
    // A stream has no length of its own, so it has to be said before the body becomes one.
    let has_length = parts.headers.contains_key(header::CONTENT_LENGTH);
    let empty_by_law = parts.status == StatusCode::NOT_MODIFIED;
    if let (Some(length), false, false) = (body.size_hint().exact(), has_length, empty_by_law) {
        parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    let stream = body.into_data_stream().then(move |piece| {
        let _until_the_stream_is_dropped = &in_flight;
        let side = side.clone();
        async move {
            if let Ok(piece) = &piece {
                if side.origin == Origin::Storage {
                    side.app.line.send(piece.len()).await;
                }
                side.app.stats.sent(side.origin, kind, piece.len());
            }
            piece
        }
    });
    Response::from_parts(parts, Body::from_stream(stream))
}

async fn misbehave(
    action: Action,
    reset: ResetSwitch,
    mut request: Request,
    next: Next,
) -> Response {
    if let Some(secs) = action.stall_before {
        tokio::time::sleep(Duration::from_secs_f64(secs)).await;
    }
    if action.ignore_range {
        request.headers_mut().remove(header::RANGE);
        request.extensions_mut().insert(RangeIgnored);
    }
    if let Some(most) = action.at_most
        && let Some(less) = ranges::shortened(request.headers(), most)
    {
        request.headers_mut().insert(header::RANGE, less);
    }
    let response = match answer::made_up(&action, request.uri()) {
        Some(response) => response,
        None => next.run(request).await,
    };
    let response = match action.lie {
        Some(lie) => lie.told_in(response).await,
        None => response,
    };
    let mut response = content::changed(&action, response).await;
    for (name, value) in &action.headers {
        let parsed = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value));
        if let (Ok(name), Ok(value)) = parsed {
            response.headers_mut().insert(name, value);
        }
    }
    let (mut parts, body) = response.into_parts();
    let length = body.size_hint().exact();
    let has_length = parts.headers.contains_key(header::CONTENT_LENGTH);
    if action.truncate.is_some() {
        // Short, but with a framing that says that nothing is missing.
        parts.headers.remove(header::CONTENT_LENGTH);
    } else if let (Some(length), false) = (length, has_length) {
        parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    Response::from_parts(parts, faulty(body, action, reset))
}
