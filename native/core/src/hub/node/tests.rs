use serde_json::json;

use super::*;
use crate::model::error::Kind;

/// Parses one entry, and reads it.
fn seen(node: &serde_json::Value) -> Seen {
    let url = Url::parse("https://hub.example/api/models/a/tree/x").unwrap();
    serde_json::from_str::<Node<'_>>(&node.to_string()).unwrap().read(&url)
}

fn entry(node: &serde_json::Value) -> Listed {
    match seen(node) {
        Seen::File(file) => file,
        other => panic!("{other:?}"),
    }
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
    let git = entry(&node);
    assert_eq!((git.path.as_str(), git.size), ("dir/ünï \"q\".bin", 5));
    assert_eq!((git.oid, git.storage), ("a".repeat(40), Storage::Git));

    node["lfs"] = json!({"oid": sha256, "size": 9, "pointerSize": 130});
    let lfs = Storage::Lfs { sha256: sha256.clone() };
    assert_eq!(entry(&node).storage, lfs);
    assert_eq!(entry(&node).size, 9);

    node["xetHash"] = json!(xet);
    let hash = MerkleHash::from_hex(&xet).unwrap();
    assert_eq!(entry(&node).storage, Storage::Xet { sha256, hash });

    node["xetHash"] = json!(xet.to_uppercase());
    assert!(matches!(entry(&node).storage, Storage::Xet { hash: found, .. } if found == hash));
}

/// What is no hash is the sign of one that isn't told.
#[test]
fn a_hash_that_is_not_told_is_seen() {
    let mut node = file("f");
    node["lfs"] = json!({"oid": "b".repeat(64), "size": 9});
    for xet_hash in [json!(null), json!(false)] {
        node["xetHash"] = xet_hash;
        assert!(matches!(entry(&node).storage, Storage::Lfs { .. }), "{node}");
    }
    let masks = ["", "c", &"*".repeat(64), &"g".repeat(64), &"c".repeat(63), &"ü".repeat(32)];
    for xet_hash in masks.map(|mask| json!(mask)).into_iter().chain([json!(5), json!({})]) {
        node["xetHash"] = xet_hash;
        let Seen::Masked(found) = seen(&node) else { panic!("{node}") };
        assert!(matches!(found.storage, Storage::Lfs { .. }), "{node}");
    }
}

/// What means the same in another form is read.
#[test]
fn other_spellings_are_read() {
    let (oid, sha256) = ("a".repeat(40), "b".repeat(64));
    let with = |changes: serde_json::Value| {
        let mut node = file("f");
        node.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        entry(&node)
    };
    for (changes, size) in [
        (json!({"size": 1000.0}), 1000),
        (json!({"size": "1000"}), 1000),
        (json!({"oid": format!("sha1:{oid}")}), 5),
        (json!({"lfs": null, "xetHash": null}), 5),
        (json!({"type": null}), 5),
    ] {
        let entry = with(changes.clone());
        assert_eq!((entry.size, entry.oid, entry.storage), (size, oid.clone(), Storage::Git));
    }
    for changes in [
        json!({"lfs": {"oid": format!("sha256:{sha256}"), "size": 9}}),
        json!({"lfs": {"oid": sha256, "size": 9.0}, "size": null}),
        json!({"lfs": {"oid": sha256, "size": 0}, "size": 9}),
        json!({"lfs": {"oid": sha256}, "size": 9}),
    ] {
        let entry = with(changes.clone());
        assert_eq!((entry.size, entry.etag()), (9, sha256.as_str()), "{changes}");
    }
    let pointed = with(json!({"lfs": {"oid": sha256, "size": 9}, "oid": null}));
    assert_eq!(pointed.oid, pointer_oid(&sha256, 9));
}

/// Of what isn't a file, or says too little, as much is known as it says.
#[test]
fn what_lacks_is_told() {
    let mut node = file("f");
    for size in [json!(null), json!(0), json!(-1), json!(1.5), json!(1e300), json!(u64::MAX)] {
        node["size"] = size;
        assert!(matches!(seen(&node), Seen::Vague(path, _) if path == "f"), "{node}");
    }
    let nothing = "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391";
    assert_eq!(entry(&json!({"type": "file", "path": "f", "oid": nothing, "size": 0})).size, 0);
    assert!(matches!(seen(&json!({"path": "f"})), Seen::Vague(..)));
    assert!(matches!(seen(&json!({"type": "directory", "path": "d"})), Seen::Folder(_)));
    assert!(matches!(seen(&json!({"type": "submodule", "path": "d"})), Seen::Other(_)));
    assert!(matches!(seen(&json!({"type": "file", "path": null})), Seen::Nameless));
    assert!(matches!(seen(&json!({"type": "file"})), Seen::Nameless));
}

/// A path is listed as the Hub says it, and has no place if it could leave the folder it is joined to.
#[test]
fn a_hostile_path_is_listed_and_has_no_place() {
    for path in ["../x", "a/../../x", "/etc/passwd", "C:\\x", "a//b", "a\u{0}b", ""] {
        let listed = entry(&file(path));
        assert_eq!(listed.path, path);
        let error = listed.placed().unwrap_err();
        assert_eq!(error.kind(), Kind::UnsafePath, "{path:?}");
        assert_eq!(error.context().file.as_deref(), Some(path));
    }
}

/// Hashes of a wrong form are none, as they name files in the cache.
#[test]
fn hashes_of_a_wrong_form_are_none() {
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
        with("oid", json!(5)),
        with("oid", json!({"sha1": "a".repeat(40)})),
        lfs("../x"),
        lfs(&"b".repeat(63)),
        lfs(&"B".repeat(64)),
        with("xetHash", json!("c".repeat(64))),
    ] {
        let Seen::Vague(path, error) = seen(&node) else { panic!("{node}") };
        assert_eq!(path, "f");
        assert_eq!(error.kind(), Kind::InvalidResponse, "{node}");
        assert_eq!(error.context().file.as_deref(), Some("f"), "{node}");
    }
}
