//! `HEAD`/`GET /{repo}/resolve/{revision}/{path}`: where a file's bytes are.
//!
//! Large files are a redirect to storage that carries their metadata itself. Plain files are a
//! relative redirect to the resolve cache (which the Hub has for its CDN) and then the bytes.

use std::io::Write as _;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::{Answer, Ask};
use crate::errors::ApiError;
use crate::git::Oid;
use crate::ranges::{Wanted, wanted};
use crate::stats::Origin;
use crate::store::bucket::{BucketFile, BucketState};
use crate::store::repo::Repo;
use crate::store::state::State;
use crate::store::tree::Content;

/// Everything but RFC 3986's unreserved characters.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A file as resolve finds it.
struct Target {
    commit: Oid,
    content: Content,
    planted: Option<Bytes>,
    xet: bool,
}

fn find(ask: &Ask, repo: &Repo, revision: &str, path: &str) -> Result<Target, ApiError> {
    let state = repo.state();
    ask.caller.may_see(&state)?;
    let commit = super::listing::commit(&state, revision)?;
    ask.caller.may_read(&state)?;
    let found = commit.tree.file(path).map(|file| (file.content.clone(), None));
    let (content, planted) = found
        .or_else(|| planted(&state, path))
        .ok_or_else(|| ApiError::entry_not_found(&commit.id.to_string()).into_text())?;
    Ok(Target { commit: commit.id, content, planted, xet: state.xet })
}

fn planted(state: &State, path: &str) -> Option<(Content, Option<Bytes>)> {
    let found = state.planted.iter().find(|planted| planted.path == path)?;
    Some((found.content.clone(), found.bytes.clone()))
}

fn value(text: impl Into<String>) -> Result<HeaderValue, ApiError> {
    HeaderValue::try_from(text.into()).map_err(ApiError::internal)
}

/// The first hop.
pub(super) fn resolve(ask: &Ask, repo: &Repo, revision: &str, path: &str) -> Answer {
    let target = find(ask, repo, revision, path)?;
    match &target.content {
        Content::Large { .. } => large(ask, repo, &target),
        Content::Plain { .. } if ask.app.config.resolve_cache_redirect => {
            to_cache(ask, repo, &target, path)
        }
        Content::Plain { .. } => plain(ask, repo, target),
    }
}

/// The second hop, for plain files.
pub(super) fn resolve_cache(ask: &Ask, repo: &Repo, commit: &str, path: &str) -> Answer {
    let target = find(ask, repo, commit, path)?;
    match &target.content {
        Content::Large { .. } => large(ask, repo, &target),
        Content::Plain { .. } => plain(ask, repo, target),
    }
}

fn to_cache(ask: &Ask, repo: &Repo, target: &Target, path: &str) -> Answer {
    let encode = |text: &str| utf8_percent_encode(text, ENCODED).to_string();
    let key = repo.state().key.clone();
    let segments: Vec<String> = path.split('/').map(encode).collect();
    let original = encode(ask.parts.uri.path());
    let etag = encode(&format!("\"{}\"", target.content.oid()));
    let location = format!(
        "/api/resolve-cache/{}/{}/{}?{original}=&etag={etag}",
        key.api_path(),
        target.commit,
        segments.join("/"),
    );
    // The etag of what is behind the redirect; it has none of its own.
    let text = format!("Temporary Redirect. Redirecting to {location}");
    let length = HeaderValue::from(text.len());
    let mut response = (StatusCode::TEMPORARY_REDIRECT, text).into_response();
    let headers = response.headers_mut();
    headers.insert(header::LOCATION, value(location)?);
    headers.insert("x-repo-commit", value(target.commit.to_string())?);
    headers.insert("x-linked-etag", value(format!("\"{}\"", target.content.oid()))?);
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    // Of the text, not of the file; also on HEAD.
    headers.insert(header::CONTENT_LENGTH, length);
    Ok(response)
}

/// Whether the client has this version already.
fn is_known(request: &HeaderMap, etag: &str) -> bool {
    let value = request.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    value.is_some_and(|value| {
        value.split(',').any(|tag| tag.trim().trim_start_matches("W/") == etag)
    })
}

fn large(ask: &Ask, repo: &Repo, target: &Target) -> Answer {
    let Content::Large { sha256, size, xet, .. } = &target.content else {
        return Err(ApiError::internal("not a large file"));
    };
    let storage_path = match xet {
        Some(hash) => format!("/files/{hash}"),
        None => format!("/lfs/{sha256}"),
    };
    let api_path = repo.state().key.api_path();
    let token = format!("{}/api/{api_path}/xet-read-token/{}", ask.endpoint(), target.commit);
    let xet = xet.as_ref().filter(|_| target.xet).map(|hash| (hash.as_str(), token));
    let mut headers = HeaderMap::new();
    headers.insert("x-repo-commit", value(target.commit.to_string())?);
    to_storage(ask, headers, (sha256, *size), &storage_path, xet)
}

/// A file of a bucket, which is a large one, has no commit, and no other hash than Xet's.
pub(super) fn bucket_file(ask: &Ask, state: &BucketState, file: &BucketFile) -> Answer {
    let token = format!("{}/api/{}/xet-read-token", ask.endpoint(), state.api_path());
    let (storage_path, headers) = (format!("/files/{}", file.hash), HeaderMap::new());
    let xet = Some((file.hash.as_str(), token));
    to_storage(ask, headers, (&file.hash, file.size), &storage_path, xet)
}

/// The redirect to the bytes of a file with this etag and size. `xet`: its hash, and where tokens are from.
fn to_storage(
    ask: &Ask,
    mut headers: HeaderMap,
    (etag, size): (&str, u64),
    storage_path: &str,
    xet: Option<(&str, String)>,
) -> Answer {
    let etag = format!("\"{etag}\"");
    let mut set = |name: &'static str, text: String| -> Result<(), ApiError> {
        headers.append(HeaderName::from_static(name), value(text)?);
        Ok(())
    };
    set("x-linked-etag", etag.clone())?;
    set("x-linked-size", size.to_string())?;
    set("accept-ranges", "bytes".to_owned())?;
    if let Some((hash, token)) = xet {
        let cas = ask.app.url_of(Origin::Cas, ask.host());
        set("x-xet-hash", hash.to_owned())?;
        set(
            "link",
            format!(
                "<{token}>; rel=\"xet-auth\", \
                 <{cas}/v1/reconstructions/{hash}>; rel=\"xet-reconstruction-info\""
            ),
        )?;
        set("x-xet-refresh-route", token)?;
    }
    if is_known(&ask.parts.headers, &etag) {
        return Ok((StatusCode::NOT_MODIFIED, headers).into_response());
    }
    let location = ask.app.bridge_url(ask.host(), storage_path);
    let text = format!("Found. Redirecting to {location}");
    set("location", location)?;
    // Of the text, not of the file; also on HEAD.
    set("content-length", text.len().to_string())?;
    set("content-type", "text/plain; charset=utf-8".to_owned())?;
    Ok((StatusCode::FOUND, headers, text).into_response())
}

fn plain(ask: &Ask, repo: &Repo, target: Target) -> Answer {
    let Content::Plain { oid, size, offset } = target.content else {
        return Err(ApiError::internal("not a plain file"));
    };
    let etag = format!("\"{oid}\"");
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    headers.insert("x-repo-commit", value(target.commit.to_string())?);
    headers.insert(header::ETAG, value(etag.clone())?);
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    headers.insert(header::CONTENT_TYPE, text);
    if is_known(&ask.parts.headers, &etag) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return Ok(response);
    }
    let all = match target.planted {
        Some(bytes) => bytes,
        None => repo.read_blob(offset, size)?,
    };
    let body = match wanted(&ask.parts.headers, all.len() as u64) {
        Wanted::Parts(parts) if parts.len() == 1 => {
            let (first, last) = parts[0];
            let range = format!("bytes {first}-{last}/{}", all.len());
            response.headers_mut().insert(header::CONTENT_RANGE, value(range)?);
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            let bound = |at: u64| usize::try_from(at).map_err(ApiError::internal);
            all.slice(bound(first)?..=bound(last)?)
        }
        Wanted::Unsatisfiable if !all.is_empty() => {
            let error = ApiError::new(StatusCode::RANGE_NOT_SATISFIABLE, "Range not satisfiable");
            return Err(error.with(header::CONTENT_RANGE, value(format!("bytes */{}", all.len()))?));
        }
        // Several parts of a small file aren't worth a multipart answer; all of it is allowed.
        _ if ask.app.config.gzip && accepts_gzip(&ask.parts.headers) && is_text(&all) => {
            return gzipped(response, &all, &etag);
        }
        _ => all,
    };
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    *response.body_mut() = Body::from(body);
    Ok(response)
}

fn accepts_gzip(request: &HeaderMap) -> bool {
    let value = request.get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok());
    value.is_some_and(|value| value.split(',').any(|coding| coding.trim().starts_with("gzip")))
}

fn is_text(bytes: &[u8]) -> bool {
    !bytes.contains(&0) && std::str::from_utf8(bytes).is_ok()
}

/// The real Hub's answer for small texts: compressed, chunked, with a weak etag and no length.
fn gzipped(mut response: Response, bytes: &[u8], etag: &str) -> Answer {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes)?;
    let compressed = Bytes::from(encoder.finish()?);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    headers.insert(header::ETAG, value(format!("W/{etag}"))?);
    let stream = futures_util::stream::iter([Ok::<_, std::io::Error>(compressed)]);
    *response.body_mut() = Body::from_stream(stream);
    Ok(response)
}
