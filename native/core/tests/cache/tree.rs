//! Cached listings.

use std::fs;

use xet_core_structures::merklehash::MerkleHash;
use xet_ffi_core::model::repo::{Listed, Listing, Storage};

use crate::support::{World, commit, git};

/// What `huggingface_hub` 2.4.0 writes for the listing below.
const OFFICIAL: &str = concat!(
    "{\n \"format_version\": 1,\n \"files\": {\n",
    "  \"B\": {\n   \"size\": 1,\n   \"blob_id\": \"1111111111111111111111111111111111111111\",\n",
    "   \"lfs_sha256\": \"cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc\",\n",
    "   \"lfs_size\": 1\n  },\n",
    "  \"a/\\u00fc \\\"q\\\"\\\\\\t\\u007f\\u65e5\\ud83d\\ude00.bin\": {\n   \"size\": 3,\n",
    "   \"blob_id\": \"0000000000000000000000000000000000000000\",\n",
    "   \"lfs_sha256\": \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\",\n",
    "   \"lfs_size\": 3,\n",
    "   \"xet_hash\": \"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\"\n  },\n",
    "  \"z\": {\n   \"size\": 0,\n",
    "   \"blob_id\": \"e69de29bb2d1d6434b8b29ae775ad8c2e48c5391\"\n  }\n }\n}",
);

fn listing() -> Listing {
    let lfs = Listed {
        path: "B".into(),
        size: 1,
        oid: "1".repeat(40),
        storage: Storage::Lfs { sha256: "c".repeat(64) },
    };
    let xet = Listed {
        path: "a/ü \"q\"\\\t\u{7f}日😀.bin".into(),
        size: 3,
        oid: "0".repeat(40),
        storage: Storage::Xet {
            sha256: "a".repeat(64),
            hash: MerkleHash::from_hex(&"b".repeat(64)).unwrap(),
        },
    };
    Listing { commit: commit('a'), entries: vec![git("z", b"").into(), xet, lfs] }
}

/// A listing is written byte for byte as the official client writes it, and read back in order.
#[test]
fn listings_are_written_as_by_the_official_client() {
    let world = World::new();
    let (repo, listing) = (world.repo(), listing());
    assert!(repo.read_tree(&commit('a')).unwrap().is_none());
    repo.write_tree(&listing).unwrap();
    let file = repo.folder().join("trees").join(format!("{}.json", commit('a')));
    assert_eq!(fs::read_to_string(file).unwrap(), OFFICIAL);
    let mut sorted = listing.entries;
    sorted.sort_by(|a, b| a.path.cmp(&b.path));
    assert_eq!(repo.read_tree(&commit('a')).unwrap().unwrap().entries, sorted);
}

/// An empty repo has a listing too.
#[test]
fn an_empty_listing_is_written_as_by_the_official_client() {
    let world = World::new();
    world.dir().write_tree(&Listing { commit: commit('a'), entries: Vec::new() }).unwrap();
    let trees = world.dir().root().join(".cache/huggingface/trees");
    let text = fs::read_to_string(trees.join(format!("{}.json", commit('a')))).unwrap();
    assert_eq!(text, "{\n \"format_version\": 1,\n \"files\": {}\n}");
    assert!(world.dir().read_tree(&commit('a')).unwrap().unwrap().entries.is_empty());
}

/// A listing that can't be trusted counts as absent.
#[test]
fn broken_listings_are_ignored() {
    let world = World::new();
    let trees = world.repo().folder().join("trees");
    fs::create_dir_all(&trees).unwrap();
    let broken = [
        OFFICIAL.replace("\"format_version\": 1", "\"format_version\": 2"),
        OFFICIAL.replace("bbbb", "bbbx"),
        OFFICIAL.replace("cccc", "../."),
        OFFICIAL.replace("1111", "xxxx"),
        OFFICIAL.replace("\"size\": 1,", "\"size\": -1,"),
        OFFICIAL[..OFFICIAL.len() / 2].to_owned(),
        String::new(),
    ];
    for text in broken {
        fs::write(trees.join(format!("{}.json", commit('a'))), &text).unwrap();
        assert!(world.repo().read_tree(&commit('a')).unwrap().is_none(), "{text}");
    }
}
