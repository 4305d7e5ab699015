use serde_json::json;

use super::*;
use crate::model::error::Kind;

/// Parses one node of a page, and makes an entry of it.
fn entry(node: &serde_json::Value) -> Result<Listed> {
    let url = Url::parse("https://hub.example/api/models/a/tree/x").unwrap();
    let text = node.to_string();
    serde_json::from_str::<Node>(&text).unwrap().entry(&url)
}

fn file(path: &str) -> serde_json::Value {
    json!({"type": "file", "path": path, "oid": "a".repeat(40), "size": 5})
}

/// A node becomes a git, LFS or Xet file by what it holds; unknown fields are passed over.
#[test]
fn files_are_told_apart() {
    let sha256 = "b".repeat(64);
    let xet = "c".repeat(64);
    let mut node = file("dir/ünï \"q\".bin");
    node["lastCommit"] = json!({"id": "x"});
    let git = entry(&node).unwrap();
    assert_eq!((git.path.as_str(), git.size), ("dir/ünï \"q\".bin", 5));
    assert_eq!((git.oid, git.storage), ("a".repeat(40), Storage::Git));

    node["lfs"] = json!({"oid": sha256, "size": 9, "pointerSize": 130});
    let lfs = Storage::Lfs { sha256: sha256.clone() };
    assert_eq!(entry(&node).unwrap().storage, lfs);
    assert_eq!(entry(&node).unwrap().size, 9);

    node["xetHash"] = json!(xet);
    let hash = MerkleHash::from_hex(&xet).unwrap();
    assert_eq!(entry(&node).unwrap().storage, Storage::Xet { sha256, hash });

    for bad in ["", "c", &"g".repeat(64)] {
        node["xetHash"] = json!(bad);
        assert_eq!(entry(&node).unwrap().storage, lfs, "{bad}");
    }
}

/// A path is listed as the Hub says it, and has no place if it could leave the folder it is joined to.
#[test]
fn a_hostile_path_is_listed_and_has_no_place() {
    for path in ["../x", "a/../../x", "/etc/passwd", "C:\\x", "a//b", "a\u{0}b", ""] {
        let listed = entry(&file(path)).unwrap();
        assert_eq!(listed.path, path);
        let error = listed.placed().unwrap_err();
        assert_eq!(error.kind(), Kind::UnsafePath, "{path:?}");
        assert_eq!(error.context().file.as_deref(), Some(path));
    }
}

/// A path that is no UTF-8, raw or as half of a surrogate, is listed with a replacement.
#[test]
fn a_path_that_is_no_text_is_listed() {
    let url = Url::parse("https://hub.example/api/models/a/tree/x").unwrap();
    let oid = "a".repeat(40);
    let page = |path: &[u8]| {
        let (head, tail) = (r#"[{"type":"file","path":""#, format!(r#"","oid":"{oid}"}}]"#));
        [head.as_bytes(), path, tail.as_bytes()].concat()
    };
    for path in [&b"caf\xe9.txt"[..], br"caf\ud800.txt"] {
        let listed = files(&url, &page(path)).unwrap();
        let name = listed[0].path.strip_prefix("caf").unwrap();
        assert_eq!(name.trim_start_matches('\u{fffd}'), ".txt");
        assert_ne!(name, ".txt");
    }
}

/// Hashes of a wrong form are refused, as they name files in the cache.
#[test]
fn hashes_of_a_wrong_form_are_refused() {
    let with = |key: &str, value: serde_json::Value| {
        let mut node = file("f");
        node[key] = value;
        node
    };
    let lfs = |oid: &str| with("lfs", json!({"oid": oid, "size": 1}));
    for node in [
        with("oid", json!("../../../../x")),
        with("oid", json!("A".repeat(40))),
        with("oid", json!("")),
        lfs("../x"),
        lfs(&"b".repeat(63)),
        lfs(&"B".repeat(64)),
        with("xetHash", json!("c".repeat(64))),
    ] {
        let error = entry(&node).unwrap_err();
        assert_eq!(error.kind(), Kind::InvalidResponse, "{node}");
        assert_eq!(error.context().file.as_deref(), Some("f"), "{node}");
    }
}
