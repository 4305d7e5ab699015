//! Notes that another program, or a crash, has left: read as written, or ignored.

use proptest::prelude::*;

use super::*;
use crate::fuzz::mutated_text;

const NOTE: &str =
    "1111111111111111111111111111111111111111 12 345 1700000000000000000 1700000000000000001\n";

proptest! {
    /// Nothing is made up.
    #[test]
    fn a_note_is_read_or_ignored(text in mutated_text(NOTE, &["NaN", "-", " ", "\n", "18446744073709551616"])) {
        if let Some((etag, stamp)) = parse(&text) {
            prop_assert!(text.starts_with(etag) && !etag.contains(' '));
            let again = format!("{etag} {stamp}\n");
            prop_assert_eq!(parse(&again), Some((etag, stamp)));
        }
    }
}
