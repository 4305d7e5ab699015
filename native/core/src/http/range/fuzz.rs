//! Content-Range headers: none, or one that doesn't contradict itself.

use proptest::prelude::*;

use super::*;
use crate::fuzz::mutated_text;

proptest! {
    /// Whatever is read was written there.
    #[test]
    fn content_ranges_mean_what_they_say(text in mutated_text("bytes 500-999/1234", &["*", "-"])) {
        if let Some(range) = ContentRange::parse(&text) {
            for number in [range.start, range.total].into_iter().flatten() {
                // Leading zeros and a plus are spellings of the same.
                let digits = number.to_string();
                prop_assert!(text.contains(&digits), "{digits} isn't in {text:?}");
            }
            if let (Some(start), Some(total)) = (range.start, range.total) {
                prop_assert!(start < total);
            }
        }
    }
}
