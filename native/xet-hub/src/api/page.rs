//! Paged listings: a slice of a list, and the absolute `Link` to the next one.

use axum::http::{HeaderValue, header};
use axum::response::Response;
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
    let number = |name| match ask.query(name) {
        None => Ok(None),
        Some(text) => {
            let bad = |_| ApiError::bad_request(format_args!("Invalid {name}"));
            text.parse::<usize>().map(Some).map_err(bad)
        }
    };
    let start = number("cursor")?.unwrap_or(0).min(all.len());
    let limit = number("limit")?.filter(|&limit| limit > 0).unwrap_or(page_size).min(page_size);
    let end = start.saturating_add(limit.max(1)).min(all.len());
    let mut response = json(all[start..end].iter().map(render).collect::<Vec<_>>());
    if end < all.len() {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        for (name, value) in ask.query_pairs() {
            if name != "cursor" {
                query.append_pair(&name, &value);
            }
        }
        query.append_pair("cursor", &end.to_string());
        let (path, query) = (ask.parts.uri.path(), query.finish());
        let link = format!("<{}{path}?{query}>; rel=\"next\"", ask.endpoint());
        let link = HeaderValue::try_from(link).map_err(ApiError::internal)?;
        response.headers_mut().insert(header::LINK, link);
    }
    Ok(response)
}
