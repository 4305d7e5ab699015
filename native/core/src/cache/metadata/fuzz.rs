//! Metadata files that another program, or a crash, has left: read as written, or ignored.

use proptest::prelude::*;

use super::*;
use crate::fuzz::mutated_text;

const FILE: &str = "1111111111111111111111111111111111111111\n2222222222222222222222222222222222222222\n1700000000.5\n";

proptest! {
    /// Nothing is made up, and no time, not even NaN or infinity, is trouble.
    #[test]
    fn metadata_is_read_or_ignored(text in mutated_text(FILE, &["NaN", "inf", "-inf", "\r\n", "1e308"])) {
        if let Some(metadata) = Metadata::parse(&text) {
            prop_assert!(text.contains(&metadata.commit) && text.contains(&metadata.etag));
            prop_assert!(!metadata.commit.contains('\n') && !metadata.etag.contains('\n'));
        }
    }
}
