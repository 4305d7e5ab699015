//! Answers that are made up instead of handling the request.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;

use super::Action;

/// How much of a huge answer is made at a time.
const PIECE: usize = 64 << 10;

/// The answer to a request for `uri`, if `action` makes one up.
pub(super) fn made_up(action: &Action, uri: &Uri) -> Option<Response> {
    if action.redirect_loop {
        Some(redirect(uri))
    } else if action.garbage_json {
        Some(json(Body::from("{\"this is\": not JSON,")))
    } else if let Some(size) = action.huge_json {
        Some(json(huge(size)))
    } else {
        action.status.map(|status| plain(status, action.body.clone().unwrap_or_default()))
    }
}

fn redirect(uri: &Uri) -> Response {
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    let target = HeaderValue::from_str(target).unwrap_or(HeaderValue::from_static("/"));
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
    response.headers_mut().insert(header::LOCATION, target);
    response
}

fn json(body: Body) -> Response {
    let mut response = Response::new(body);
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

fn plain(status: u16, body: String) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response
}

/// A list of zeros, sound to its end and of no announced length; whoever holds all of it is lost.
fn huge(size: u64) -> Body {
    let zeros = Bytes::from(b"0,".repeat(PIECE / 2));
    let pieces = size.div_ceil(PIECE as u64);
    let pieces = (0..pieces).map(move |_| zeros.clone());
    let all = std::iter::once(Bytes::from_static(b"["))
        .chain(pieces)
        .chain(std::iter::once(Bytes::from_static(b"0]")));
    Body::from_stream(stream::iter(all.map(Ok::<_, std::convert::Infallible>)))
}
