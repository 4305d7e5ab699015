//! Listings of a hostile Hub: an error, or entries of which those that have a place are safe to use.

use proptest::prelude::*;

use super::*;
use crate::fuzz::mutated;
use crate::model::refused::Refused;
use crate::model::repo::Entry;

const PAGE: &str = r#"[
  {"type": "directory", "oid": "0123456789012345678901234567890123456789", "size": 0, "path": "a"},
  {"type": "file", "oid": "0123456789012345678901234567890123456789", "size": 5, "path": "a/b.txt"},
  {"type": "file", "oid": "abcdefabcdefabcdefabcdefabcdefabcdefabcd", "size": 7, "path": "c \u00fc.bin",
   "lfs": {"oid": "0123456789012345678901234567890123456789012345678901234567890123",
           "size": 7, "pointerSize": 130},
   "xetHash": "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210"}]"#;

const WORDS: [&str; 9] =
    ["file", "../x", "a/../../x", "/etc/passwd", "C:", "{}", "[", "\"lfs\":null,", "\\u0000"];

/// What `page` does with a body, and a snapshot with that.
fn read(body: &[u8]) -> Option<Vec<Entry>> {
    let url = Url::parse("https://hub.example/api/models/a/tree/x").unwrap();
    let text = String::from_utf8_lossy(body);
    let nodes: Vec<Loose<'_, Node<'_>>> = serde_json::from_str(&text).ok()?;
    let seen = nodes.iter().filter_map(Loose::object).map(|node| node.read(&url));
    let listed = seen.filter_map(|seen| match seen {
        Seen::File(file) | Seen::Masked(file) => Some(file),
        _ => None,
    });
    Some(Refused::default().sort_out(listed))
}

/// The sample itself is a listing.
#[test]
fn the_sample_is_read() {
    assert_eq!(read(PAGE.as_bytes()).unwrap().len(), 2);
}

/// Paths that are made of what makes paths hostile.
fn path() -> impl Strategy<Value = String> {
    let segment = prop::sample::select(vec!["a", "..", ".", "", "C:", "c:b", "\\", "\0", "..b"]);
    let between = prop::sample::select(vec!["/", "\\"]);
    prop::collection::vec((segment, between), 1..5)
        .prop_map(|parts| parts.into_iter().flat_map(|(part, slash)| [part, slash]).collect())
        .prop_map(|path: String| path[..path.len() - 1].to_owned())
}

/// Whether a path stays below the folder that it is joined to, on any platform.
fn is_inside(path: &str) -> bool {
    let mut parts = std::path::Path::new(path).components();
    parts.all(|part| matches!(part, std::path::Component::Normal(_)))
        && !path.split(['/', '\\']).any(|part| part == "..")
}

proptest! {
    /// A path of hostile parts is inside, or refused.
    #[test]
    fn paths_are_inside_or_refused(path in path()) {
        let node = serde_json::json!([{"type": "file", "path": path, "oid": "a".repeat(40)}]);
        for entry in read(node.to_string().as_bytes()).unwrap_or_default() {
            prop_assert!(is_inside(entry.path.as_str()));
        }
    }

    /// No path leaves the folder that it is joined to, and hashes are hashes: they name files.
    #[test]
    fn entries_are_safe(body in mutated(PAGE, &WORDS)) {
        for entry in read(&body).unwrap_or_default() {
            prop_assert!(is_inside(entry.path.as_str()));
            prop_assert!(is_lower_hex(&entry.oid, 40));
            match &entry.storage {
                Storage::Git => {}
                Storage::Lfs { sha256 } | Storage::Xet { sha256, .. } => {
                    prop_assert!(is_lower_hex(sha256, 64));
                }
                Storage::XetAlone { .. } => prop_assert!(false, "no SHA-256"),
            }
        }
    }
}
