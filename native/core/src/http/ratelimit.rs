//! How long a server asks us to wait: `Retry-After` and the Hub's `RateLimit` header.
//!
//! `RateLimit: "api";r=0;t=55` follows draft-ietf-httpapi-ratelimit-headers-09: bucket, requests
//! remaining, and seconds to the reset. It comes with every answer, so it explains a 429 only where
//! nothing remains.

use std::time::SystemTime;

use reqwest::header::{DATE, HeaderMap, HeaderName, RETRY_AFTER};

/// The state of one bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Such as `api` or `resolvers`.
    pub bucket: String,
    /// Requests left in this window.
    pub remaining: u64,
    /// Seconds to the end of the window.
    pub reset: u64,
}

impl RateLimit {
    /// From the headers of an answer; `None` if absent or of another form.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        Self::parse(headers.get("ratelimit")?.to_str().ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.trim().split(';').map(str::trim);
        let bucket = parts.next()?.strip_prefix('"')?.strip_suffix('"')?;
        let (mut remaining, mut reset) = (None, None);
        for part in parts {
            let (name, value) = part.split_once('=')?;
            match name.trim() {
                "r" => remaining = value.trim().parse().ok(),
                "t" => reset = value.trim().parse().ok(),
                _ => {}
            }
        }
        Some(Self { bucket: bucket.to_owned(), remaining: remaining?, reset: reset? })
    }
}

/// The wait that a refusal with `status` asks for, in seconds: the reset of an empty bucket, else
/// `Retry-After`, which is a number of seconds or a date (RFC 9110, 10.2.3). A date that has passed
/// means now.
#[must_use]
pub fn asked_wait(status: u16, headers: &HeaderMap) -> Option<u64> {
    let empty = RateLimit::of(headers).filter(|limit| status == 429 && limit.remaining == 0);
    if let Some(limit) = empty {
        return Some(limit.reset);
    }
    let after = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = after.parse() {
        return Some(seconds);
    }
    let at = httpdate::parse_http_date(after).ok()?;
    // By the server's own clock, if it tells: ours may be another one.
    let now = date(headers, &DATE).unwrap_or_else(SystemTime::now);
    let wait = at.duration_since(now).unwrap_or_default();
    Some(wait.as_secs() + u64::from(wait.subsec_nanos() > 0))
}

fn date(headers: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    httpdate::parse_http_date(headers.get(name)?.to_str().ok()?.trim()).ok()
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                (name.parse().unwrap(), reqwest::header::HeaderValue::from_static(value))
            })
            .collect()
    }

    /// The header's form is read with any spacing; other forms are no limit at all.
    #[test]
    fn the_ratelimit_header_is_read() {
        let limit = |bucket: &str, remaining, reset| {
            Some(RateLimit { bucket: bucket.to_owned(), remaining, reset })
        };
        for (text, expected) in [
            (r#""api";r=0;t=55"#, limit("api", 0, 55)),
            (r#" "resolvers" ; r = 2998 ; t = 172 "#, limit("resolvers", 2998, 172)),
            (r#""api";t=1;r=2;x=y"#, limit("api", 2, 1)),
            ("api;r=0;t=55", None),
            (r#""api";r=0"#, None),
            (r#""api";r=-1;t=5"#, None),
            (r#""api";r=0;t=99999999999999999999"#, None),
            ("", None),
        ] {
            assert_eq!(RateLimit::parse(text), expected, "{text}");
        }
    }

    /// An empty bucket beats Retry-After; a bucket with something left says nothing about this 429.
    #[test]
    fn the_asked_wait_comes_from_the_right_header() {
        let empty = ("ratelimit", r#""api";r=0;t=55"#);
        let left = ("ratelimit", r#""api";r=10;t=55"#);
        let after = ("retry-after", "120");
        for (status, pairs, expected) in [
            (429, &[empty, after][..], Some(55)),
            (429, &[left, after][..], Some(120)),
            (429, &[left][..], None),
            (503, &[empty, after][..], Some(120)),
            (503, &[("retry-after", "-1")][..], None),
            (503, &[("retry-after", "soon")][..], None),
            (503, &[][..], None),
        ] {
            assert_eq!(asked_wait(status, &headers(pairs)), expected, "{status} {pairs:?}");
        }
    }

    /// A date in any of its three forms is so far away as the server's clock says; one that has passed is
    /// now.
    #[test]
    fn dates_are_read_by_the_servers_clock() {
        let now = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
        for (after, expected) in [
            ("Sun, 06 Nov 1994 08:51:07 GMT", Some(90)),
            ("Sunday, 06-Nov-94 08:51:07 GMT", Some(90)),
            ("Sun Nov  6 08:51:07 1994", Some(90)),
            ("Mon, 07 Nov 1994 08:49:37 GMT", Some(86_400)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(0)),
            ("Sun, 06 Nov 1994 08:49:07 GMT", Some(0)),
            ("Sun, 06 Nov 1994", None),
        ] {
            for status in [429, 503] {
                let wait = asked_wait(status, &headers(&[now, ("retry-after", after)]));
                assert_eq!(wait, expected, "{after}");
            }
        }
        let past = &[("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT")];
        assert_eq!(asked_wait(503, &headers(past)), Some(0), "by our clock");
    }
}
