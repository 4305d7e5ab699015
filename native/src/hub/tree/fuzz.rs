//! Listings of a hostile Hub: an error, or entries that are safe to use.

use proptest::prelude::*;

use super::*;
use crate::fuzz::mutated;

const PAGE: &str = r#"[
  {"type": "directory", "oid": "0123456789012345678901234567890123456789", "size": 0, "path": "a"},
  {"type": "file", "oid": "0123456789012345678901234567890123456789", "size": 5, "path": "a/b.txt"},
  {"type": "file", "oid": "abcdefabcdefabcdefabcdefabcdefabcdefabcd", "size": 7, "path": "c \u00fc.bin",
   "lfs": {"oid": "0123456789012345678901234567890123456789012345678901234567890123",
           "size": 7, "pointerSize": 130},
   "xetHash": "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210"}]"#;

const WORDS: [&str; 8] =
    ["file", "../x", "/etc/passwd", "C:", "{}", "[", "\"lfs\":null,", "\\u0000"];

/// What `page` does with a body.
fn read(body: &[u8]) -> Option<Vec<Entry>> {
    let url = Url::parse("https://hub.example/api/models/a/tree/x").unwrap();
    let nodes: Vec<Node> = serde_json::from_slice(body).ok()?;
    let files = nodes.iter().filter(|node| node.kind == "file");
    files.map(|node| node.entry(&url)).collect::<Result<_>>().ok()
}

/// The sample itself is a listing.
#[test]
fn the_sample_is_read() {
    assert_eq!(read(PAGE.as_bytes()).unwrap().len(), 2);
}

proptest! {
    /// No path leaves the folder that it is joined to, and hashes are hashes: they name files.
    #[test]
    fn entries_are_safe(body in mutated(PAGE, &WORDS)) {
        for entry in read(&body).unwrap_or_default() {
            let joined = std::path::Path::new("/root").join(entry.path.as_str());
            let mut parts = joined.components().skip(2);
            prop_assert!(parts.all(|part| matches!(part, std::path::Component::Normal(_))));
            prop_assert!(joined.starts_with("/root"));
            prop_assert!(is_lower_hex(&entry.oid, 40));
            match &entry.storage {
                Storage::Git => {}
                Storage::Lfs { sha256 } | Storage::Xet { sha256, .. } => {
                    prop_assert!(is_lower_hex(sha256, 64));
                }
            }
        }
    }
}
