//! Headers that ask to wait: nothing, or a number that stands in them.

use proptest::prelude::*;
use reqwest::header::HeaderValue;

use super::*;
use crate::fuzz::mutated;

proptest! {
    /// A wait is one of the numbers that were sent, rounded up; one that is too large is the largest there is;
    /// everything else is no wait.
    #[test]
    fn waits_stand_in_the_headers(
        limit in mutated(&br#""api";r=0;t=55"#[..], &["r=", ";", "t=1"]),
        retry in mutated(&b"120"[..], &["Wed, 21 Oct 2015 07:28:00 GMT", "+", " "]),
        status in prop::sample::select(vec![429_u16, 503]),
    ) {
        let mut headers = HeaderMap::new();
        for (name, value) in [("ratelimit", &limit), ("retry-after", &retry)] {
            if let Ok(value) = HeaderValue::from_bytes(value) {
                headers.insert(name, value);
            }
        }
        if let Some(seconds) = asked_wait(status, &headers) {
            let sent = [limit, retry].concat();
            let is_sent =
                |number: u64| String::from_utf8_lossy(&sent).contains(&number.to_string());
            let is_rounded = sent.contains(&b'.') && is_sent(seconds.saturating_sub(1));
            prop_assert!(is_sent(seconds) || is_rounded || seconds == u64::MAX);
        }
    }
}
