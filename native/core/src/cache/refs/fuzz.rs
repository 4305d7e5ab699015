//! Refs that another program, or a crash, has left: a commit, or ignored.

use proptest::prelude::*;

use super::*;
use crate::fuzz::mutated;
use crate::model::repo::is_lower_hex;

proptest! {
    /// What isn't exactly a commit id is no ref: it would name a folder.
    #[test]
    fn refs_are_commits_or_ignored(
        bytes in mutated(&b"0123456789012345678901234567890123456789"[..], &["../", "main"]),
    ) {
        let refs = tempfile::tempdir().unwrap();
        std::fs::write(refs.path().join("main"), &bytes).unwrap();
        if let Ok(Some(commit)) = read(refs.path(), &Revision::new("main").unwrap()) {
            prop_assert!(is_lower_hex(commit.as_str(), 40));
            prop_assert_eq!(commit.as_str().as_bytes(), bytes);
        }
    }
}
