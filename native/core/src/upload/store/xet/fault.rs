//! What storage refuses, and what fails of xet-core's own files, in our words.

use std::error::Error as StdError;
use std::io;
use std::path::Path;

use reqwest::Response;
use reqwest::header::LOCATION;
use url::Url;

use crate::config::Token;
use crate::http::origin::{authority, bare};
use crate::http::ratelimit::asked_wait;
use crate::http::{ByWayOf, Http, body};
use crate::hub::XetToken;
use crate::hub::refusal::quotable;
use crate::model::error::{Error, Kind};

/// The most that is read of what storage says with a refusal, in bytes.
const WORDS: usize = 4 << 10;

/// Whether an upload failed at xet-core's own files.
pub(super) fn is_of_cache(error: &Error) -> bool {
    error.context().is_of_xet_cache
}

/// Whether an upload failed since what is known of chunks doesn't hold.
pub(super) fn is_of_known_chunks(error: &Error) -> bool {
    error.context().is_of_known_chunks
}

/// An error whose cause may be what is known of chunks: a shard named some that storage hasn't got, or not so.
pub(super) fn of_known_chunks(error: Error) -> Error {
    error.with(|c| c.is_of_known_chunks = true)
}

/// Whether storage has given the same reason for two failures, in its own words.
pub(super) fn agree(one: &Error, other: &Error) -> bool {
    let words = &one.context().words;
    words.is_some() && *words == other.context().words
}

/// The error for an upload that can't use xet-core's own files, which are somewhere in `cache`.
pub(super) fn of_cache(cache: &Path, cause: &(dyn StdError + 'static)) -> Error {
    let found = std::iter::successors(Some(cause), |cause| (**cause).source())
        .find_map(|cause| cause.downcast_ref::<io::Error>());
    let kind = found.map_or(io::ErrorKind::Other, io::Error::kind);
    let cause = io::Error::new(kind, cause.to_string());
    Error::io("upload by way of the Xet cache", cache, cause).with(|c| c.is_of_xet_cache = true)
}

/// The error for an answer with this status, with what it says. What storage is asked is what it, or the Hub, said to
/// ask: it isn't for the caller to correct. `token` is the one that went along.
pub(super) async fn refused(http: &Http, response: Response, token: Option<&Token>) -> Error {
    let (status, url) = (response.status().as_u16(), response.url().clone());
    let url = &url;
    let (kind, sentence) = match status {
        401 if token.is_some() => (Kind::Unauthorized, "refused the token"),
        401..=403 => (Kind::Forbidden, "forbids the upload"),
        407 => {
            return http.refused_by_proxy(url).unwrap_or_else(|| {
                nonsense(url, status, "the demand of a proxy for a password (HTTP 407)")
            });
        }
        408 => (Kind::Timeout, "gave up waiting for the request"),
        409 | 412 => (Kind::Conflict, "has seen a change meanwhile"),
        429 => (Kind::RateLimited, "has reached its rate limit"),
        500..=599 => (Kind::ServerError, "failed"),
        300..=399 => {
            let to = response.headers().get(LOCATION).and_then(|to| to.to_str().ok());
            let to = to.and_then(|to| url.join(to).ok());
            let to = to.map(|to| format!(" to {}", authority(&to))).unwrap_or_default();
            return nonsense(url, status, &format!("a redirect (HTTP {status}){to}"));
        }
        _ => (Kind::InvalidResponse, "refused the upload"),
    };
    let wait = asked_wait(status, response.headers());
    let hold = response.extensions().get().copied();
    let asks = wait.map(|seconds| format!("; it asks to wait {seconds} s")).unwrap_or_default();
    let by_way_of = ByWayOf::instead(&response).map(ByWayOf::note);
    let by_way_of = by_way_of.map(|note| format!("; {note}")).unwrap_or_default();
    let words = words(&body::peek(response, WORDS).await, token);
    if words.is_none() && kind == Kind::InvalidResponse {
        return nonsense(url, status, &format!("HTTP {status}"));
    }
    let says = words.as_ref().map(|words| format!("; it says: {words}")).unwrap_or_default();
    let host = authority(url);
    let message =
        format!("Xet storage at {host} {sentence} (HTTP {status}){asks}{says}{by_way_of}");
    Error::new(kind, message).with(|c| {
        c.http_status = Some(status);
        c.url = Some(bare(url));
        c.retry_after = wait;
        c.hold = hold;
        c.words = words;
    })
}

/// What a server says in its own words: not a page, such as that of a gateway or a login. Of XML only the code: S3
/// repeats the request that it refuses, with its signature. Of JSON only what is a sentence.
fn words(body: &[u8], token: Option<&Token>) -> Option<String> {
    let text = std::str::from_utf8(body).ok()?.trim();
    if text.starts_with('<') {
        let (code, _) = text.split_once("<Code>")?.1.split_once("</Code>")?;
        return code.bytes().all(|b| b.is_ascii_alphanumeric()).then(|| quotable(code, None));
    }
    if text.is_empty() {
        return None;
    }
    // Never all of it: it may repeat the request, field by field.
    let said = if text.starts_with(['{', '[', '"']) {
        let value: serde_json::Value = serde_json::from_str(text).ok()?;
        let places = ["", "/error", "/message", "/detail", "/error/message"];
        places.iter().find_map(|place| Some(value.pointer(place)?.as_str()?.to_owned()))?
    } else {
        text.to_owned()
    };
    Some(quotable(&said, token))
}

/// The error for what storage has looked at, and won't have.
pub(super) fn rejected(url: &Url, words: &str, token: &XetToken) -> Error {
    let words = quoted(words, token);
    let message = format!("Xet storage at {} rejects the upload; it says: {words}", authority(url));
    Error::new(Kind::InvalidResponse, message).with(|c| {
        c.http_status = Some(200);
        c.url = Some(bare(url));
        c.words = Some(words);
    })
}

/// The error for an answer that makes no sense.
pub(super) fn nonsense(url: &Url, status: u16, what: &str) -> Error {
    let message = format!(
        "Xet storage at {} answered an upload with {what}; a gateway, proxy or login page may answer in its place",
        authority(url)
    );
    Error::new(Kind::InvalidResponse, message).with(|c| {
        c.http_status = Some(status);
        c.url = Some(bare(url));
    })
}

/// The same for an answer that somebody else may have given, so that another one may come next time.
pub(super) fn garbled(url: &Url, status: u16, what: &str) -> Error {
    nonsense(url, status, what).with(|c| c.may_pass = true)
}

/// Storage's words, which may be a page, or echo the token.
pub(super) fn quoted(words: &str, token: &XetToken) -> String {
    quotable(words, token.token.as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A refusal may repeat the request, with what signs it.
    #[test]
    fn words_tell_no_secrets() {
        let s3 = b"<?xml version='1.0'?><Error><Code>SignatureDoesNotMatch</Code><CanonicalRequest>PUT\n/x\n\
            Expires=1&amp;Signature=secret</CanonicalRequest></Error>";
        assert_eq!(words(s3, None).as_deref(), Some("SignatureDoesNotMatch"));
        assert_eq!(words(b"<html>log in</html>", None), None);
        let json = [
            (r#"{"error":"no","X-Amz-Signature":"secret"}"#, Some("no")),
            (r#"{"error":{"message":"no","request":"secret"}}"#, Some("no")),
            (r#""no""#, Some("no")),
            (r#"{"error":{"request":{"key":"secret"}}}"#, None),
            (r#"["secret"]"#, None),
            // Cut off where it got too long.
            (r#"{"message":"no","request":"secret"#, None),
        ];
        for (said, expected) in json {
            assert_eq!(words(said.as_bytes(), None).as_deref(), expected, "{said}");
        }
        for said in
            ["no PUT to https://s3.example/x?X-Amz-Signature=secret", "Signature=secret&Expires=1"]
        {
            let words = words(said.as_bytes(), None).unwrap();
            assert!(!words.contains("secret"), "{words}");
        }
    }

    /// It's told from other errors by what it is, and names a path that programs can use.
    #[test]
    fn a_failure_of_the_cache_names_its_path() {
        let cache = Path::new("/nonexistent/xet");
        let error = of_cache(cache, &io::Error::from(io::ErrorKind::StorageFull));
        assert!(is_of_cache(&error) && error.kind() == Kind::NoSpace, "{error}");
        assert_eq!(error.context().file.as_deref(), cache.to_str());
        let other = Error::io("write", cache, io::ErrorKind::StorageFull.into());
        assert!(!is_of_cache(&other));
    }
}
