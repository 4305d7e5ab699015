//! Paged listings: a slice of a list, and the absolute `Link` to the next one.

use axum::http::{HeaderName, HeaderValue, header};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use super::{Ask, json};
use crate::errors::ApiError;

/// Answers with the page of `all` that the request's `cursor` asks for; only its entries are
/// rendered. `limit` in the query may shorten a page, never lengthen it.
pub(super) fn answer<T, V: Serialize>(
    ask: &Ask,
    all: &[T],
    page_size: usize,
    render: impl Fn(&T) -> V,
) -> Result<Response, ApiError> {
    let start = match ask.query("cursor") {
        None => 0,
        Some(cursor) => position(&cursor).ok_or_else(|| ApiError::bad_request("Invalid cursor"))?,
    };
    let limit = limit(ask, page_size)?;
    let (response, next) = slice(all, start, limit, render);
    match next {
        Some(next) => linked(ask, response, limit, "cursor", &cursor(next)),
        None => Ok(response),
    }
}

/// Answers with the page of `all` whose number, from 0, is the request's `p`, and with the length of
/// the whole list.
pub(super) fn numbered<T, V: Serialize>(
    ask: &Ask,
    all: &[T],
    page_size: usize,
    render: impl Fn(&T) -> V,
) -> Result<Response, ApiError> {
    let (page, limit) = (number(ask, "p")?.unwrap_or(0), limit(ask, page_size)?);
    let (mut response, next) = slice(all, page.saturating_mul(limit), limit, render);
    let total = HeaderName::from_static("x-total-count");
    response.headers_mut().insert(total, HeaderValue::from(all.len()));
    match next {
        Some(_) => linked(ask, response, limit, "p", &(page + 1).to_string()),
        None => Ok(response),
    }
}

/// Where a page begins, in a form that nobody counts with.
fn cursor(position: usize) -> String {
    STANDARD.encode(format!("{{\"after\":{position}}}"))
}

/// What [`cursor`] was made from.
fn position(cursor: &str) -> Option<usize> {
    let text = String::from_utf8(STANDARD.decode(cursor).ok()?).ok()?;
    text.strip_prefix("{\"after\":")?.strip_suffix('}')?.parse().ok()
}

fn number(ask: &Ask, name: &str) -> Result<Option<usize>, ApiError> {
    let parsed = ask.query(name).map(|text| text.parse::<usize>()).transpose();
    parsed.map_err(|_| ApiError::bad_request(format_args!("Invalid {name}")))
}

fn limit(ask: &Ask, page_size: usize) -> Result<usize, ApiError> {
    let asked = number(ask, "limit")?.filter(|&limit| limit > 0);
    Ok(asked.unwrap_or(page_size).min(page_size).max(1))
}

/// The entries from `start` on, and where the next page begins if there is one.
fn slice<T, V: Serialize>(
    all: &[T],
    start: usize,
    limit: usize,
    render: impl Fn(&T) -> V,
) -> (Response, Option<usize>) {
    let start = start.min(all.len());
    let end = start.saturating_add(limit).min(all.len());
    let page = json(all[start..end].iter().map(render).collect::<Vec<_>>());
    (page, (end < all.len()).then_some(end))
}

/// Adds the link to the next page: this request's URL with `name` changed.
fn linked(
    ask: &Ask,
    mut response: Response,
    limit: usize,
    name: &str,
    next: &str,
) -> Result<Response, ApiError> {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    for (found, value) in ask.query_pairs() {
        if found != name && found != "limit" {
            query.append_pair(&found, &value);
        }
    }
    query.append_pair("limit", &limit.to_string()).append_pair(name, next);
    let (path, query) = (ask.parts.uri.path(), query.finish());
    let link = format!("<{}{path}?{query}>; rel=\"next\"", ask.endpoint());
    let link = HeaderValue::try_from(link).map_err(ApiError::internal)?;
    response.headers_mut().insert(header::LINK, link);
    Ok(response)
}
