//! The shared blob store.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Barrier;

use xet_ffi_core::cache::Target;
use xet_ffi_core::model::repo::Entry;

use crate::support::{World, adopt, commit, download, git, list, model, xet};

fn content_path(world: &World, entry: &Entry) -> PathBuf {
    let hash = entry.xet_hash().unwrap().hex();
    world.cache.root().join("blobs").join(&hash[..2]).join(hash)
}

fn other_repo(world: &World) -> Target {
    Target::Cache { repo: world.cache.repo(&model("other")), commit: commit('b') }
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

/// A Xet file that was verified moves to the store; its blob is a relative link with a reference.
#[test]
fn verified_content_is_published() {
    let world = World::new();
    let entry = xet("w.bin", b"weights");
    fs::create_dir_all(world.cache.root()).unwrap();
    fs::set_permissions(world.cache.root(), fs::Permissions::from_mode(0o750)).unwrap();
    let installed = download(&world.snapshot(), &entry, b"weights");
    let content = content_path(&world, &entry);
    assert_eq!(fs::canonicalize(&installed).unwrap(), fs::canonicalize(&content).unwrap());
    let hash = entry.xet_hash().unwrap().hex();
    let link = fs::read_link(world.repo().blob_path(&entry).unwrap()).unwrap();
    assert_eq!(link.to_str().unwrap(), format!("../../blobs/{}/{hash}", &hash[..2]));
    let manifest = fs::read_to_string(content.with_extension("refs")).unwrap();
    assert_eq!(manifest, format!("models--org--name/blobs/{}\n", entry.etag()));
    let marker = world.cache.root().join("blobs/.huggingface-shared-blobs");
    assert_eq!(fs::read_to_string(&marker).unwrap(), "1\n");
    // Readable for whoever may enter the cache folder: here its group, but not others.
    assert_eq!((mode(&content), mode(&marker)), (0o440, 0o440));
    assert_eq!((mode(content.parent().unwrap()), mode(marker.parent().unwrap())), (0o750, 0o750));
    assert_eq!(mode(&content.with_extension("refs")), 0o666);
    assert_eq!(mode(&content.with_extension("lock")), 0o666);
}

/// The first files of a cache all get into the store, although each of them finds none.
#[test]
fn files_that_arrive_side_by_side_are_published() {
    for _ in 0..50 {
        let world = World::new();
        let entries: Vec<Entry> = (0..8_u8).map(|i| xet(&format!("{i}.bin"), &[i; 9])).collect();
        let start = Barrier::new(entries.len());
        std::thread::scope(|scope| {
            for (entry, i) in entries.iter().zip(0..) {
                let (world, start) = (&world, &start);
                scope.spawn(move || {
                    start.wait();
                    download(&world.snapshot(), entry, &[i; 9]);
                });
            }
        });
        for entry in &entries {
            assert!(world.repo().blob_path(entry).unwrap().is_symlink(), "{}", entry.path);
        }
        let store = list(&world.cache.root().join("blobs"));
        let is_temporary =
            |name: &String| std::path::Path::new(name).extension() == Some("tmp".as_ref());
        assert!(!store.iter().any(is_temporary), "{store:?}");
    }
}

/// Another repo takes the content from the store, with a reference of its own.
#[test]
fn another_repo_adopts_shared_content() {
    let world = World::new();
    let entry = xet("w.bin", b"weights");
    download(&world.snapshot(), &entry, b"weights");
    let adopted = adopt(&other_repo(&world), &entry).unwrap();
    assert_eq!(fs::read(adopted).unwrap(), b"weights");
    let manifest = content_path(&world, &entry).with_extension("refs");
    assert_eq!(fs::read_to_string(manifest).unwrap().lines().count(), 2);
    let copied = adopt(&world.local(commit('b')), &entry).unwrap();
    assert_eq!(fs::read(copied).unwrap(), b"weights");
}

/// Content of another size isn't taken.
#[test]
fn shared_content_of_another_size_is_not_adopted() {
    let world = World::new();
    let entry = xet("w.bin", b"weights");
    download(&world.snapshot(), &entry, b"weights");
    let content = content_path(&world, &entry);
    fs::remove_file(&content).unwrap();
    fs::write(&content, b"weight").unwrap();
    assert_eq!(adopt(&other_repo(&world), &entry), None);
}

/// Verified content replaces what is in the store, for all that link to it.
#[test]
fn verified_content_heals_the_store() {
    let world = World::new();
    let entry = xet("w.bin", b"weights");
    let first = download(&world.snapshot(), &entry, b"weights");
    let content = content_path(&world, &entry);
    fs::remove_file(&content).unwrap();
    fs::write(&content, b"wrights").unwrap();
    download(&other_repo(&world), &entry, b"weights");
    assert_eq!(fs::read(first).unwrap(), b"weights");
}

/// What wasn't checked against its Xet hash stays in its repo, and so do git files.
#[test]
fn other_content_is_not_published() {
    let world = World::new();
    let target = world.snapshot();
    download(&target, &git("f", b"text"), b"text");
    let entry = xet("w.bin", b"weights");
    let held = crate::support::lock(&target, &entry);
    let partial = target.partial_path(&entry, &held).unwrap();
    fs::write(&partial, b"weights").unwrap();
    target.install(&entry, &partial, false, true).unwrap();
    assert!(fs::symlink_metadata(world.repo().blob_path(&entry).unwrap()).unwrap().is_file());
    assert!(!world.cache.root().join("blobs").exists());
}

/// Switched off, the store isn't used in either direction.
#[test]
fn a_store_that_is_switched_off_is_not_used() {
    let world = World::with(true, false);
    let entry = xet("w.bin", b"weights");
    download(&world.snapshot(), &entry, b"weights");
    assert!(!world.cache.root().join("blobs").exists());
    assert_eq!(adopt(&other_repo(&world), &entry), None);
}

/// A folder `blobs` that is somebody else's is left alone.
#[test]
fn a_foreign_blobs_folder_is_left_alone() {
    let world = World::new();
    let foreign = world.cache.root().join("blobs");
    fs::create_dir_all(&foreign).unwrap();
    fs::write(foreign.join("mine"), b"").unwrap();
    let entry = xet("w.bin", b"weights");
    let installed = download(&world.snapshot(), &entry, b"weights");
    assert_eq!(list(&foreign), ["mine"]);
    assert_eq!(fs::read(installed).unwrap(), b"weights");
    fs::write(foreign.join(".huggingface-shared-blobs"), "2\n").unwrap();
    fs::remove_file(foreign.join("mine")).unwrap();
    download(&world.snapshot(), &entry, b"weights");
    assert_eq!(list(&foreign), [".huggingface-shared-blobs"], "a newer layout");
}

/// A marker that a killed process didn't finish doesn't stop the next one.
#[test]
fn an_abandoned_marker_is_cleaned_up() {
    let world = World::new();
    let store = world.cache.root().join("blobs");
    fs::create_dir_all(&store).unwrap();
    fs::write(store.join(".huggingface-shared-blobs.0123abcd.tmp"), b"1").unwrap();
    let entry = xet("w.bin", b"weights");
    download(&world.snapshot(), &entry, b"weights");
    assert!(content_path(&world, &entry).is_file());
    assert!(!list(&store).iter().any(|name| name.contains(".tmp")));
}
