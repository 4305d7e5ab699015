use serde_json::json;

use super::*;
use crate::model::error::Kind;

/// Parses one node of a page, and makes an entry of it.
fn entry(node: &serde_json::Value) -> Result<Entry> {
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

/// A path that could leave the folder it is joined to is refused by name.
#[test]
fn a_hostile_path_is_refused_by_name() {
    for path in ["../x", "a/../../x", "/etc/passwd", "C:\\x", "a//b", "a\u{0}b", ""] {
        let error = entry(&file(path)).unwrap_err();
        assert_eq!(error.kind(), Kind::UnsafePath, "{path:?}");
        assert_eq!(error.context().file.as_deref(), Some(path));
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
