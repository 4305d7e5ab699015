//! Answers without the network.

use std::fs;

use xet_ffi_core::call::walk::Walk;
use xet_ffi_core::model::error::Kind;
use xet_ffi_core::model::pattern::PatternSet;
use xet_ffi_core::model::repo::Listing;

use crate::support::{World, commit, download, git, path, revision};

fn only(pattern: &str) -> PatternSet {
    PatternSet::new(Some(&[pattern.to_owned()]), &[]).unwrap()
}

/// A snapshot is answered if all selected files of its listing are there, else what lacks is named.
#[test]
fn a_snapshot_is_located_if_nothing_is_missing() {
    let world = World::new();
    let (repo, target) = (world.repo(), world.snapshot());
    let (first, second) = (git("a.txt", b"1"), git("b.bin", b"22"));
    let all = PatternSet::default();
    let absent = repo.locate_snapshot(&revision("main"), &all, &Walk::default()).unwrap_err();
    assert_eq!(absent.kind(), Kind::LocalEntryNotFound);

    target
        .write_tree(&Listing {
            commit: commit('a'),
            entries: vec![first.clone().into(), second.clone().into()],
        })
        .unwrap();
    download(&target, &first, b"1");
    target.write_ref(&revision("main")).unwrap();
    let incomplete = repo.locate_snapshot(&revision("main"), &all, &Walk::default()).unwrap_err();
    assert_eq!(incomplete.kind(), Kind::LocalEntryNotFound);
    assert!(incomplete.message().contains("1 missing (b.bin)"), "{incomplete}");
    let part = repo.locate_snapshot(&revision("main"), &only("*.txt"), &Walk::default()).unwrap();
    assert_eq!((part.files.len(), part.bytes(), part.is_known_complete), (1, 1, true));

    download(&target, &second, b"22");
    let whole = repo.locate_snapshot(&revision(&"a".repeat(40)), &all, &Walk::default()).unwrap();
    assert_eq!(whole.files, [("a.txt".to_owned(), 1), ("b.bin".to_owned(), 2)]);
    assert_eq!(whole.bytes(), 3);
    assert_eq!((whole.path, whole.commit), (target.root(), commit('a')));
}

/// Without a listing, what is there is the answer, and says so.
#[test]
fn without_a_listing_the_folder_is_the_answer() {
    let world = World::new();
    let target = world.snapshot();
    download(&target, &git("d/a.txt", b"1"), b"1");
    target.write_ref(&revision("main")).unwrap();
    let found =
        world.repo().locate_snapshot(&revision("main"), &only("d/*"), &Walk::default()).unwrap();
    assert_eq!(found.files, [("d/a.txt".to_owned(), 1)]);
    assert!(!found.is_known_complete);
}

/// A single file is found through its ref, and an absent one is named.
#[test]
fn a_file_is_located_through_its_ref() {
    let world = World::new();
    let target = world.snapshot();
    let installed = download(&target, &git("a.txt", b"1"), b"1");
    target.write_ref(&revision("v1")).unwrap();
    let found = world.repo().locate_file(&revision("v1"), &path("a.txt")).unwrap();
    assert_eq!((found.path, found.commit), (installed, commit('a')));
    let absent = world.repo().locate_file(&revision("v1"), &path("b.txt")).unwrap_err();
    assert_eq!(absent.kind(), Kind::LocalEntryNotFound);
    assert_eq!(absent.context().file.as_deref(), Some("b.txt"));
}

/// A local folder answers for the revision that was downloaded to it, and for no other.
#[test]
fn a_local_folder_answers_for_its_own_revision() {
    let world = World::new();
    let (dir, repo, target) = (world.dir(), world.repo(), world.local(commit('a')));
    let (first, second) = (git("a.txt", b"1"), git("b.bin", b"22"));
    target
        .write_tree(&Listing {
            commit: commit('a'),
            entries: vec![first.clone().into(), second.into()],
        })
        .unwrap();
    download(&target, &first, b"1");
    target.write_ref(&revision("main")).unwrap();
    assert!(!repo.folder().join("refs").exists(), "no snapshot, so no ref in the cache");

    let part =
        dir.locate_snapshot(&repo, &revision("main"), &only("*.txt"), &Walk::default()).unwrap();
    assert_eq!((part.path.as_path(), part.commit, part.files.len()), (dir.root(), commit('a'), 1));
    let all = dir
        .locate_snapshot(&repo, &revision("main"), &PatternSet::default(), &Walk::default())
        .unwrap_err();
    assert!(all.message().contains("b.bin"), "{all}");
    let file = dir.locate_file(&repo, &revision("main"), &path("a.txt"), &Walk::default()).unwrap();
    assert_eq!(file.path, dir.root().join("a.txt"));
    let other =
        dir.locate_file(&repo, &revision("dev"), &path("a.txt"), &Walk::default()).unwrap_err();
    assert_eq!(other.kind(), Kind::LocalEntryNotFound);
}

/// Bookkeeping isn't counted as files.
#[test]
fn bookkeeping_is_not_counted() {
    let world = World::new();
    let target = world.local(commit('a'));
    download(&target, &git("a.txt", b"1"), b"1");
    fs::create_dir_all(target.root().join(".git")).unwrap();
    fs::write(target.root().join(".git/config"), b"").unwrap();
    target.write_ref(&revision("main")).unwrap();
    let all = PatternSet::default();
    let found = world
        .dir()
        .locate_snapshot(&world.repo(), &revision("main"), &all, &Walk::default())
        .unwrap();
    assert_eq!((found.files.len(), found.is_known_complete), (1, false));
}
