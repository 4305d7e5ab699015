//! Heads of answers about a file: an error, or an entry that is safe to use.

use proptest::prelude::*;
use reqwest::header::{HeaderName, HeaderValue};

use super::*;
use crate::fuzz::mutated;

const HEADERS: &str = "x-repo-commit: 1111111111111111111111111111111111111111
etag: W/\"2222222222222222222222222222222222222222\"
content-length: 7
x-linked-etag: \"3333333333333333333333333333333333333333333333333333333333333333\"
x-linked-size: 1048576
x-xet-hash: 4444444444444444444444444444444444444444444444444444444444444444
link: <https://hub.example/api/x>; rel=\"xet-auth\"";

const WORDS: [&str; 5] = ["W/", "identity", "gzip", "content-encoding: ", "../"];

/// Lines as headers; those that HTTP itself wouldn't carry are left out.
fn headers(text: &[u8]) -> HeaderMap {
    let lines = text.split(|&byte| byte == b'\n').filter_map(|line| {
        let colon = line.iter().position(|&byte| byte == b':')?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        Some((name, HeaderValue::from_bytes(&line[colon + 1..]).ok()?))
    });
    lines.collect()
}

proptest! {
    /// Commits and hashes have their forms whatever the headers say, and the path stays the asked.
    #[test]
    fn heads_are_read_or_refused(text in mutated(HEADERS, &WORDS), status in 200_u16..400) {
        let url = Url::parse("https://hub.example/org/name/resolve/main/f").unwrap();
        let (headers, path) = (headers(&text), RepoPath::new("f").unwrap());
        let head = Head { url: &url, status, headers: &headers, passed: &[] };
        if let Looked::Found(commit, entry) = head.read(&path, None) {
            prop_assert!(is_lower_hex(commit.as_str(), 40));
            prop_assert!(is_lower_hex(&entry.oid, 40));
            prop_assert_eq!(entry.path, path);
            if let Storage::Lfs { sha256 } | Storage::Xet { sha256, .. } = &entry.storage {
                prop_assert!(is_lower_hex(sha256, 64));
            }
        }
    }
}
