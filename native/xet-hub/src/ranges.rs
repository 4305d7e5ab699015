//! HTTP range requests (RFC 9110, section 14).

use axum::http::{HeaderMap, HeaderValue, header};

/// What a `Range` header asks of a body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Everything: there is no usable `Range` header.
    All,
    /// These positions, first and last included, in the order asked for.
    Parts(Vec<(u64, u64)>),
    /// Nothing that exists.
    Unsatisfiable,
}

/// Reads the `Range` header for a body of `total` bytes. As the RFC wants, a header that can't be
/// read is ignored.
pub(crate) fn wanted(headers: &HeaderMap, total: u64) -> Wanted {
    let Some(value) = headers.get(header::RANGE) else {
        return Wanted::All;
    };
    value.to_str().map_or(Wanted::All, |value| parts(value, total))
}

/// Whether all that `headers` ask for lies in `ranges`, as a `Range` header lists them.
pub(crate) fn within(headers: &HeaderMap, ranges: &str) -> bool {
    let (Wanted::Parts(asked), Wanted::Parts(allowed)) =
        (wanted(headers, u64::MAX), parts(ranges, u64::MAX))
    else {
        return false;
    };
    let inside = |&(first, last): &(u64, u64)| {
        allowed.iter().any(|&(start, end)| start <= first && last <= end)
    };
    asked.iter().all(inside)
}

/// The first `most` bytes of the one range that `headers` ask for; `None`: they don't ask for one.
pub(crate) fn shortened(headers: &HeaderMap, most: u64) -> Option<HeaderValue> {
    let value = headers.get(header::RANGE)?.to_str().ok()?.strip_prefix("bytes=")?;
    let (first, last) = value.split_once('-')?;
    let first: u64 = first.parse().ok()?;
    let end = first.checked_add(most)?;
    let last = last.parse().map_or(end - 1, |last: u64| last.min(end - 1));
    HeaderValue::try_from(format!("bytes={first}-{last}")).ok()
}

fn parts(value: &str, total: u64) -> Wanted {
    let Some(list) = value.strip_prefix("bytes=") else {
        return Wanted::All;
    };
    let mut parts = Vec::new();
    for part in list.split(',') {
        match parse(part.trim(), total) {
            Part::Malformed => return Wanted::All,
            Part::Outside => {}
            Part::Inside(from, to) => parts.push((from, to)),
        }
    }
    if parts.is_empty() { Wanted::Unsatisfiable } else { Wanted::Parts(parts) }
}

enum Part {
    Malformed,
    Outside,
    Inside(u64, u64),
}

fn parse(part: &str, total: u64) -> Part {
    let Some((first, last)) = part.split_once('-') else {
        return Part::Malformed;
    };
    let end = if last.is_empty() { Ok(u64::MAX) } else { last.parse() };
    match (first.parse::<u64>(), end) {
        (Ok(first), Ok(last)) if first > last => Part::Malformed,
        (Ok(first), Ok(_)) if first >= total => Part::Outside,
        (Ok(first), Ok(last)) => Part::Inside(first, last.min(total - 1)),
        // `-n`: the last n bytes.
        (Err(_), Ok(length)) if first.is_empty() && !last.is_empty() => {
            if length == 0 || total == 0 {
                return Part::Outside;
            }
            Part::Inside(total.saturating_sub(length), total - 1)
        }
        _ => Part::Malformed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(value: &str, total: u64) -> Wanted {
        let mut headers = HeaderMap::new();
        headers.insert(header::RANGE, value.parse().unwrap());
        wanted(&headers, total)
    }

    /// Each form of the RFC, cut to the length of the body.
    #[test]
    fn ranges_are_cut_to_the_body() {
        assert_eq!(of("bytes=0-4", 10), Wanted::Parts(vec![(0, 4)]));
        assert_eq!(of("bytes=5-", 10), Wanted::Parts(vec![(5, 9)]));
        assert_eq!(of("bytes=-3", 10), Wanted::Parts(vec![(7, 9)]));
        assert_eq!(of("bytes=-30", 10), Wanted::Parts(vec![(0, 9)]));
        assert_eq!(of("bytes=8-99", 10), Wanted::Parts(vec![(8, 9)]));
        assert_eq!(of("bytes=0-0, 4-5", 10), Wanted::Parts(vec![(0, 0), (4, 5)]));
        assert_eq!(of("bytes=0-0,40-50", 10), Wanted::Parts(vec![(0, 0)]));
    }

    /// A start behind the end can't be satisfied; nonsense is ignored.
    #[test]
    fn impossible_ranges_differ_from_malformed_ones() {
        assert_eq!(of("bytes=10-", 10), Wanted::Unsatisfiable);
        assert_eq!(of("bytes=0-", 0), Wanted::Unsatisfiable);
        assert_eq!(of("bytes=-0", 10), Wanted::Unsatisfiable);
        for nonsense in ["bytes=", "bytes=x-y", "bytes=5-4", "items=0-1", "bytes=1"] {
            assert_eq!(of(nonsense, 10), Wanted::All, "{nonsense}");
        }
    }

    /// A permission for ranges holds for parts of each, and for nothing else.
    #[test]
    fn asking_is_within_what_is_allowed() {
        let may = |asked: &'static str| {
            let headers = HeaderMap::from_iter([(header::RANGE, asked.parse().unwrap())]);
            within(&headers, "bytes=10-19,30-39")
        };
        assert!(may("bytes=10-19") && may("bytes=12-12") && may("bytes=30-39,10-11"));
        for outside in
            ["bytes=9-19", "bytes=19-20", "bytes=10-39", "bytes=30-", "bytes=-5", "bytes=10-19,5-5"]
        {
            assert!(!may(outside), "{outside}");
        }
        assert!(!within(&HeaderMap::new(), "bytes=10-19"));
    }
}
