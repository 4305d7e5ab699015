//! How long a server asks us to wait: `Retry-After` and the Hub's `RateLimit` header.
//!
//! `RateLimit: "api";r=0;t=55` follows draft-ietf-httpapi-ratelimit-headers-09: bucket, requests
//! remaining, and seconds to the reset; of several buckets, one after the other. It comes with every answer, so it
//! explains a 429 only where nothing remains.

use std::time::SystemTime;

use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};

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
    /// From the headers of an answer; `None` if absent or of another form. Of several buckets, that which is empty for
    /// longest; the first, if none is.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let lists = headers.get_all("ratelimit").iter().filter_map(|list| list.to_str().ok());
        let all: Vec<Self> = lists.flat_map(members).filter_map(Self::parse).collect();
        let empty = all.iter().filter(|limit| limit.remaining == 0).max_by_key(|limit| limit.reset);
        empty.or(all.first()).cloned()
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

/// The members of a list (RFC 9651, 3.1); strings may have commas.
fn members(list: &str) -> impl Iterator<Item = &str> {
    let mut is_quoted = false;
    list.split(move |c| {
        is_quoted ^= c == '"';
        c == ',' && !is_quoted
    })
}

/// What a bucket takes: `RateLimit-Policy: "fixed window";"api";q=500;w=300`, of the same draft, in which the
/// bucket comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Requests in a window; at least 1.
    pub quota: u64,
    /// Its seconds.
    pub window: Option<u64>,
}

impl Policy {
    /// That of `bucket`, from the headers of an answer; `None` if absent or of another form.
    #[must_use]
    pub fn of(headers: &HeaderMap, bucket: &str) -> Option<Self> {
        let lists =
            headers.get_all("ratelimit-policy").iter().filter_map(|list| list.to_str().ok());
        // Of several of one bucket, the longest is the one that a long wait is about.
        let policies = lists.flat_map(members).filter_map(|policy| Self::parse(policy, bucket));
        policies.max_by_key(|policy| policy.window)
    }

    fn parse(text: &str, bucket: &str) -> Option<Self> {
        let parts = || text.split(';').map(str::trim);
        let is_named = |part: &str| part.trim_matches('"') == bucket;
        let number = |name: &str| {
            let value =
                parts().filter_map(|part| part.split_once('=')).find(|(n, _)| n.trim() == name);
            value.and_then(|(_, value)| value.trim().parse().ok())
        };
        let quota = number("q").filter(|&quota| quota > 0)?;
        parts().any(is_named).then(|| Self { quota, window: number("w") })
    }
}

/// The wait that a refusal with `status` asks for, in seconds: the reset of an empty bucket, else
/// `Retry-After`, which is a number of seconds or a date (RFC 9110, 10.2.3). A date that has passed
/// means now.
#[must_use]
pub fn asked_wait(status: u16, headers: &HeaderMap) -> Option<u64> {
    let empty = RateLimit::of(headers).filter(|limit| status == 429 && limit.remaining == 0);
    // A window that ends now says nothing of the refusal.
    if let Some(limit) = empty.filter(|limit| limit.reset > 0 || !headers.contains_key(RETRY_AFTER))
    {
        return Some(limit.reset);
    }
    let after = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Some(seconds) = seconds(after) {
        return Some(seconds);
    }
    let at = httpdate::parse_http_date(after).ok()?;
    let wait = at.duration_since(clock_of(headers)).unwrap_or_default();
    Some(wait.as_secs() + u64::from(wait.subsec_nanos() > 0))
}

/// A whole number, however large, or one with a part, of which some servers are so exact.
fn seconds(text: &str) -> Option<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let are_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !are_digits(whole) || !are_digits(part) {
        return None;
    }
    let more = u64::from(part.bytes().any(|digit| digit != b'0'));
    Some(whole.parse().unwrap_or(u64::MAX).saturating_add(more))
}

/// The time by the server's own clock, if it tells: ours may be another one.
#[must_use]
pub fn clock_of(headers: &HeaderMap) -> SystemTime {
    let said = headers.get(DATE).and_then(|date| date.to_str().ok());
    let said = said.and_then(|date| httpdate::parse_http_date(date.trim()).ok());
    said.unwrap_or_else(SystemTime::now)
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

    /// Of several buckets, in one header or in several, the one counts that is empty for longest.
    #[test]
    fn each_bucket_is_read_by_itself() {
        let of = |lists: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for list in lists {
                headers.append("ratelimit", reqwest::header::HeaderValue::from_static(list));
            }
            RateLimit::of(&headers).map(|limit| (limit.bucket, limit.remaining, limit.reset))
        };
        let found = |bucket: &str, left, reset| Some((bucket.to_owned(), left, reset));
        assert_eq!(of(&[r#""api";r=0;t=280, "burst";r=3;t=1"#]), found("api", 0, 280));
        assert_eq!(of(&[r#""burst";r=0;t=1"#, r#""api";r=0;t=280"#]), found("api", 0, 280));
        assert_eq!(of(&[r#""a,b";r=5;t=9, "api";r=7;t=280"#]), found("a,b", 5, 9));
        assert_eq!(of(&["nonsense", r#""api";r=7;t=280"#]), found("api", 7, 280));
        assert_eq!(of(&["nonsense"]), None);
    }

    /// The policy's form is read with and without its kind, and for the right bucket.
    #[test]
    fn the_policy_is_read() {
        let policy = |quota, window| Some(Policy { quota, window });
        for (text, expected) in [
            (r#""fixed window";"api";q=500;w=300"#, policy(500, Some(300))),
            (r#""api"; q = 500"#, policy(500, None)),
            (r#""pages";q=100;w=300, "fixed window";"api";q=7;w=3"#, policy(7, Some(3))),
            (r#""api";q=7;w=1.5"#, policy(7, None)),
            (r#""pages";q=100;w=300"#, None),
            (r#""api";q=0;w=300"#, None),
            (r#""api";q=-1"#, None),
            (r#""api";q"#, None),
            ("", None),
        ] {
            assert_eq!(
                Policy::of(&headers(&[("ratelimit-policy", text)]), "api"),
                expected,
                "{text}"
            );
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
            (429, &[("ratelimit", r#""api";r=0;t=0"#), after][..], Some(120)),
            (429, &[("ratelimit", r#""api";r=0;t=0"#)][..], Some(0)),
            (503, &[("retry-after", "1.5")][..], Some(2)),
            (503, &[("retry-after", "2.00")][..], Some(2)),
            (503, &[("retry-after", "99999999999999999999999")][..], Some(u64::MAX)),
            (503, &[("retry-after", "1.x")][..], None),
            (503, &[("retry-after", ".5")][..], None),
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
