//! Cached listings that another program, or a crash, has left: safe to use, or ignored.

use proptest::prelude::*;

use super::*;
use crate::fuzz::mutated_text;

const FILE: &str = r#"{
 "format_version": 1,
 "files": {
  "a/b.txt": {
   "size": 5,
   "blob_id": "0123456789012345678901234567890123456789"
  },
  "c.bin": {
   "size": 7,
   "blob_id": "abcdefabcdefabcdefabcdefabcdefabcdefabcd",
   "lfs_sha256": "0123456789012345678901234567890123456789012345678901234567890123",
   "lfs_size": 7,
   "xet_hash": "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210"
  }
 }
}"#;

const WORDS: [&str; 5] = ["../x", "C:", "{", "\\ud83e\\udd80", "true"];

proptest! {
    /// Hashes are hashes, and what was read is written the same again.
    #[test]
    fn listings_are_safe_or_ignored(text in mutated_text(FILE, &WORDS)) {
        if let Ok(entries) = parse(&text) {
            for entry in &entries {
                prop_assert!(is_lower_hex(&entry.oid, 40));
                if let Storage::Lfs { sha256 } | Storage::Xet { sha256, .. } = &entry.storage {
                    prop_assert!(is_lower_hex(sha256, 64));
                }
            }
            let written = String::from_utf8(to_json(&entries).unwrap()).unwrap();
            prop_assert_eq!(parse(&written).unwrap(), entries);
        }
    }
}
