//! Snapshots: blobs, pointers and refs.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use tokio_util::sync::CancellationToken;
use xet_ffi_core::cache::dedupe;
use xet_ffi_core::model::error::Kind;

use crate::support::{World, adopt, commit, download, git, list, lock, revision, xet};

/// An installed file is a relative link to its blob, and nothing else is left in the snapshot.
#[test]
fn an_installed_file_is_a_relative_link_to_its_blob() {
    let world = World::new();
    let (target, entry) = (world.snapshot(), git("a/b/c.txt", b"content"));
    assert_eq!(target.find_current(&entry).unwrap(), None);
    let installed = download(&target, &entry, b"content");
    assert_eq!(target.find_current(&entry).unwrap().as_ref(), Some(&installed));
    let link = fs::read_link(&installed).unwrap();
    assert_eq!(link.to_str().unwrap(), format!("../../../../blobs/{}", entry.etag()));
    assert_eq!(fs::read(&installed).unwrap(), b"content");
    let repo = world.repo();
    assert_eq!(
        list(repo.folder()),
        [format!("blobs/{}", entry.etag()), format!("snapshots/{}/a/b/c.txt", commit('a')),]
    );
    assert!(world.cache.root().join("CACHEDIR.TAG").is_file());
}

/// A blob gets the permissions of any new file, whatever those of its partial file were.
#[test]
fn a_blob_gets_the_permissions_of_a_new_file() {
    let world = World::new();
    let (target, entry) = (world.snapshot(), git("a", b"content"));
    let held = lock(&target, &entry);
    let partial = target.partial_path(&entry, &held).unwrap();
    fs::write(&partial, b"content").unwrap();
    fs::set_permissions(&partial, fs::Permissions::from_mode(0o600)).unwrap();
    let installed = target.install(&entry, &partial, false, true).unwrap();
    let plain = world.folder.path().join("plain");
    fs::write(&plain, b"").unwrap();
    assert_eq!(fs::metadata(installed).unwrap().mode(), fs::metadata(plain).unwrap().mode());
}

/// A pointer to nothing, or to content of another size, isn't the file; both are replaced.
#[test]
fn wrong_pointers_are_not_found_and_are_replaced() {
    let world = World::new();
    let (target, repo, entry) = (world.snapshot(), world.repo(), git("f", b"content"));
    let pointer = target.final_path(&entry).unwrap();
    fs::create_dir_all(pointer.parent().unwrap()).unwrap();
    symlink("../../blobs/gone", &pointer).unwrap();
    assert_eq!(target.find_current(&entry).unwrap(), None);
    download(&target, &entry, b"content");
    assert_eq!(fs::read(&pointer).unwrap(), b"content");

    fs::remove_file(&pointer).unwrap();
    fs::write(&pointer, b"other content").unwrap();
    assert!(repo.find(&commit('a'), &entry.path).unwrap().is_some());
    assert_eq!(target.find_current(&entry).unwrap(), None);
    assert_eq!(adopt(&target, &entry).as_ref(), Some(&pointer));
    assert!(fs::symlink_metadata(&pointer).unwrap().is_symlink());
    assert_eq!(fs::read(&pointer).unwrap(), b"content");
}

/// A blob that is cut short isn't adopted, and the next download replaces it.
#[test]
fn a_truncated_blob_is_not_adopted() {
    let world = World::new();
    let (target, entry) = (world.snapshot(), git("f", b"content"));
    let installed = download(&target, &entry, b"content");
    fs::write(world.repo().blob_path(&entry).unwrap(), b"cont").unwrap();
    assert_eq!(target.find_current(&entry).unwrap(), None);
    assert_eq!(adopt(&target, &entry), None);
    download(&target, &entry, b"content");
    assert_eq!(fs::read(installed).unwrap(), b"content");
}

/// A link that someone put in a blob's place is replaced; what it leads to isn't touched.
#[test]
fn a_planted_blob_link_is_replaced_and_not_followed() {
    let world = World::new();
    let (target, entry) = (world.snapshot(), git("f", b"content"));
    let outside = world.folder.path().join("outside");
    fs::write(&outside, b"precious").unwrap();
    let blob = world.repo().blob_path(&entry).unwrap();
    fs::create_dir_all(blob.parent().unwrap()).unwrap();
    symlink(&outside, &blob).unwrap();
    download(&target, &entry, b"content");
    assert_eq!(fs::read(&outside).unwrap(), b"precious");
    assert!(fs::symlink_metadata(&blob).unwrap().is_file());
}

/// A folder of a snapshot that is a link to elsewhere is refused, and nothing is written there.
#[test]
fn a_planted_folder_link_is_refused() {
    let world = World::new();
    let (target, entry) = (world.snapshot(), git("d/f", b"content"));
    let outside = world.folder.path().join("outside");
    fs::create_dir_all(&outside).unwrap();
    fs::create_dir_all(target.root()).unwrap();
    symlink(&outside, target.root().join("d")).unwrap();
    let held = lock(&target, &entry);
    let partial = target.partial_path(&entry, &held).unwrap();
    fs::write(&partial, b"content").unwrap();
    let error = target.install(&entry, &partial, false, true).unwrap_err();
    assert_eq!(error.kind(), Kind::UnsafePath);
    assert!(error.message().contains("/d is a link"), "{error}");
    assert!(list(&outside).is_empty());
}

/// A partial file stays under the same name for the next attempt, where pruning doesn't look.
#[test]
fn a_partial_file_keeps_its_name() {
    let world = World::new();
    let (target, entry) = (world.snapshot(), git("f", b"content"));
    let first = target.partial_path(&entry, &lock(&target, &entry)).unwrap();
    let again = target.partial_path(&entry, &lock(&target, &entry)).unwrap();
    assert_eq!(first, again);
    assert!(first.starts_with(world.repo().folder().join(".xet")));
}

/// Two files with the same content are one blob.
#[test]
fn files_with_the_same_content_share_a_blob() {
    let world = World::new();
    let target = world.snapshot();
    let entries = [git("a", b"x"), git("b", b"y"), git("d/c", b"x")];
    let groups = dedupe(entries.clone());
    assert_eq!(groups.len(), 2);
    assert_eq!(groups[0].others, entries[2..]);
    download(&target, &groups[0].first, b"x");
    let held = lock(&target, &entries[2]);
    let cancel = CancellationToken::new();
    let copy = target.duplicate(&groups[0].first, &entries[2], &held, &cancel).unwrap();
    assert_eq!(
        fs::read_link(copy).unwrap().components().next_back().unwrap().as_os_str(),
        entries[0].etag()
    );
}

/// Without symbolic links the snapshot holds the files themselves, each its own.
#[test]
fn without_symbolic_links_snapshots_hold_files() {
    let world = World::with(false, true);
    let target = world.snapshot();
    let (first, second) = (xet("a", b"x"), xet("b", b"x"));
    let installed = download(&target, &first, b"x");
    assert!(fs::symlink_metadata(&installed).unwrap().is_file());
    assert!(!world.repo().has_blob(&first).unwrap());
    let held = lock(&target, &second);
    let copy = target.duplicate(&first, &second, &held, &CancellationToken::new()).unwrap();
    assert!(fs::symlink_metadata(&copy).unwrap().is_file());
    assert_eq!(fs::read(copy).unwrap(), b"x");
    assert!(!world.cache.root().join("blobs").exists());
}

/// Without symbolic links a blob from before is copied.
#[test]
fn without_symbolic_links_a_blob_is_copied() {
    let world = World::with(false, false);
    let (target, entry) = (world.snapshot(), git("a", b"x"));
    let blob = world.repo().blob_path(&entry).unwrap();
    fs::create_dir_all(blob.parent().unwrap()).unwrap();
    fs::write(&blob, b"x").unwrap();
    let copy = adopt(&target, &entry).unwrap();
    assert!(fs::symlink_metadata(&copy).unwrap().is_file());
    assert_eq!(fs::read(&blob).unwrap(), b"x");
}

/// A copy that is cancelled leaves nothing behind.
#[test]
fn a_cancelled_copy_leaves_nothing() {
    let world = World::with(false, false);
    let (target, entry) = (world.snapshot(), git("a", b"x"));
    let blob = world.repo().blob_path(&entry).unwrap();
    fs::create_dir_all(blob.parent().unwrap()).unwrap();
    fs::write(&blob, b"x").unwrap();
    let cancel = CancellationToken::new();
    cancel.cancel();
    let error = target.adopt(&entry, &lock(&target, &entry), &cancel).unwrap_err();
    assert_eq!(error.kind(), Kind::Cancelled);
    assert_eq!(list(world.repo().folder()), [format!("blobs/{}", entry.etag())]);
}

/// A ref is 40 digits without a newline, in nested folders, and only there with its snapshot.
#[test]
fn refs_are_written_for_existing_snapshots() {
    let world = World::new();
    let (repo, target) = (world.repo(), world.snapshot());
    let pr = revision("refs/pr/1");
    assert!(!repo.write_ref(&pr, &commit('a')).unwrap());
    assert_eq!(repo.read_ref(&pr).unwrap(), None);
    download(&target, &git("f", b"x"), b"x");
    assert!(repo.write_ref(&pr, &commit('a')).unwrap());
    let file = repo.folder().join("refs/refs/pr/1");
    assert_eq!(fs::read_to_string(&file).unwrap(), "a".repeat(40));
    assert_eq!(repo.resolve(&pr).unwrap(), Some(commit('a')));
    assert_eq!(repo.resolve(&revision(&"b".repeat(40))).unwrap(), Some(commit('b')));
    assert_eq!(repo.read_ref(&revision("refs")).unwrap(), None, "a folder is no ref");
}

/// A ref that says the same already isn't written again: the cache may be read-only.
#[test]
fn an_equal_ref_is_not_rewritten() {
    let world = World::new();
    let repo = world.repo();
    download(&world.snapshot(), &git("f", b"x"), b"x");
    let inode = || fs::metadata(repo.folder().join("refs/main")).unwrap().ino();
    repo.write_ref(&revision("main"), &commit('a')).unwrap();
    let first = inode();
    assert!(repo.write_ref(&revision("main"), &commit('a')).unwrap());
    assert_eq!(inode(), first);
    fs::create_dir_all(repo.snapshot_folder(&commit('b'))).unwrap();
    repo.write_ref(&revision("main"), &commit('b')).unwrap();
    assert_ne!(inode(), first);
    assert!(
        !repo.write_ref(&revision(&"b".repeat(40)), &commit('b')).unwrap(),
        "a commit needs none"
    );
}

/// A ref with anything but a commit in it is no ref.
#[test]
fn a_broken_ref_is_ignored() {
    let world = World::new();
    let refs = world.repo().folder().join("refs");
    fs::create_dir_all(&refs).unwrap();
    for text in ["", "../../etc", &format!("{}\n", "a".repeat(40)), &"A".repeat(40)] {
        fs::write(refs.join("main"), text).unwrap();
        assert_eq!(world.repo().read_ref(&revision("main")).unwrap(), None, "{text:?}");
    }
}
