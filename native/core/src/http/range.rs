//! Which part of a whole an answer has.

use reqwest::header::{CONTENT_RANGE, HeaderMap};

/// `bytes 5-9/10`, `bytes 5-9/*` or `bytes */10` (RFC 9110, 14.4).
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ContentRange {
    pub(crate) start: Option<u64>,
    /// The last byte, which is in it; as `start`.
    pub(crate) last: Option<u64>,
    pub(crate) total: Option<u64>,
}

impl ContentRange {
    /// What an answer says; `None`: nothing, or what can't be.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        headers.get(CONTENT_RANGE).and_then(|value| Self::parse(value.to_str().ok()?))
    }

    /// Whether it is what was asked for from that offset on, of a whole of that size if it's known. Caches on the
    /// way may give another part, which they have.
    pub(crate) fn is_from(&self, start: u64, size: Option<u64>) -> bool {
        let is_of_size = |total| size.is_none_or(|size| size == total);
        self.start == Some(start) && self.total.is_none_or(is_of_size)
    }

    fn parse(text: &str) -> Option<Self> {
        let (range, total) = text.trim().strip_prefix("bytes ")?.trim().split_once('/')?;
        let total = if total == "*" { None } else { Some(total.parse().ok()?) };
        if range == "*" {
            return Some(Self { start: None, last: None, total });
        }
        let (start, end) = range.split_once('-')?;
        let (start, end): (u64, u64) = (start.parse().ok()?, end.parse().ok()?);
        let sound = start <= end && total.is_none_or(|total| end < total);
        sound.then_some(Self { start: Some(start), last: Some(end), total })
    }
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests {
    use super::*;

    /// A Content-Range is read in its three forms; one that contradicts itself is none.
    #[test]
    fn content_ranges_are_read() {
        let range =
            |start: Option<u64>, total| Some(ContentRange { start, last: start.map(|_| 9), total });
        for (text, expected) in [
            ("bytes 5-9/10", range(Some(5), Some(10))),
            ("bytes 5-9/*", range(Some(5), None)),
            ("bytes */10", range(None, Some(10))),
            ("bytes 5-10/10", None),
            ("bytes 9-5/10", None),
            ("bytes 5-/10", None),
            ("items 5-9/10", None),
            ("bytes 5-9", None),
            ("bytes -5-9/10", None),
        ] {
            assert_eq!(ContentRange::parse(text), expected, "{text}");
        }
    }
}
