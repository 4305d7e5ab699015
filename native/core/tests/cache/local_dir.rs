//! Downloads to a local folder.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::time::{Duration, SystemTime};

use tokio_util::sync::CancellationToken;
use xet_ffi_core::cache::LocalDir;
use xet_ffi_core::model::error::Kind;
use xet_ffi_core::model::repo::Entry;

use crate::support::{World, adopt, commit, download, git, list, lock, path, xet};

/// An installed file is a real file, with metadata that the official client reads.
#[test]
fn an_installed_file_is_real_and_has_metadata() {
    let world = World::new();
    let (target, entry) = (world.local(commit('a')), xet("d/w.bin", b"weights"));
    let installed = download(&target, &entry, b"weights");
    assert_eq!(installed, target.root().join("d/w.bin"));
    assert!(fs::symlink_metadata(&installed).unwrap().is_file());
    assert_eq!(target.find_current(&entry).unwrap(), Some(installed));
    assert_eq!(
        list(&target.root()),
        [
            ".cache/huggingface/.gitignore",
            ".cache/huggingface/CACHEDIR.TAG",
            ".cache/huggingface/download/d/w.bin.lock",
            ".cache/huggingface/download/d/w.bin.metadata",
            ".cache/huggingface/download/d/w.bin.verified",
            "d/w.bin",
        ]
    );
    let bookkeeping = target.root().join(".cache/huggingface");
    assert_eq!(fs::read_to_string(bookkeeping.join(".gitignore")).unwrap(), "*");
    let metadata = fs::read_to_string(bookkeeping.join("download/d/w.bin.metadata")).unwrap();
    let lines: Vec<&str> = metadata.split('\n').collect();
    assert_eq!(lines[..2], [commit('a').as_str(), entry.etag()]);
    assert!(lines[2].parse::<f64>().unwrap() > 1e9);
    assert_eq!(lines[3..], [""]);
    assert!(!world.cache.root().exists(), "the main cache isn't touched");
}

/// A file that was written to later is only current if its hash says so.
#[test]
fn a_file_changed_later_is_judged_by_its_hash() {
    let world = World::new();
    let target = world.local(commit('a'));
    for entry in [xet("w.bin", b"weights"), git("f.txt", b"content")] {
        let content: &[u8] = if entry.xet_hash().is_some() { b"weights" } else { b"content" };
        let installed = download(&target, &entry, content);
        let touch = |content: &[u8]| {
            fs::write(&installed, content).unwrap();
            let later = SystemTime::now() + Duration::from_mins(1);
            File::options().write(true).open(&installed).unwrap().set_modified(later).unwrap();
        };
        touch(content);
        assert_eq!(target.find_current(&entry).unwrap(), None);
        assert_eq!(adopt(&target, &entry).as_ref(), Some(&installed));
        touch(b"CHANGED");
        assert_eq!(adopt(&target, &entry), None);
    }
}

/// A new commit with the same file costs a new metadata file and nothing else.
#[test]
fn an_unchanged_file_of_a_new_commit_is_adopted() {
    let world = World::new();
    let entry = git("f.txt", b"content");
    let installed = download(&world.local(commit('a')), &entry, b"content");
    let next = world.local(commit('b'));
    assert_eq!(next.find_current(&entry).unwrap(), None);
    assert_eq!(adopt(&next, &entry), Some(installed));
    assert!(next.find_current(&entry).unwrap().is_some());
    assert_eq!(adopt(&next, &git("f.txt", b"Content")), None, "another etag");
}

/// Broken metadata are no metadata, and the next ones replace them.
#[test]
fn broken_metadata_are_ignored() {
    let world = World::new();
    let (target, entry) = (world.local(commit('a')), git("f.txt", b"content"));
    download(&target, &entry, b"content");
    let metadata = target.root().join(".cache/huggingface/download/f.txt.metadata");
    for text in ["", "a\nb\n", "a\nb\nsoon\n"] {
        fs::write(&metadata, text).unwrap();
        assert_eq!(target.find_current(&entry).unwrap(), None, "{text:?}");
    }
    assert!(adopt(&target, &entry).is_some());
    assert!(target.find_current(&entry).unwrap().is_some());
}

/// Content in the main cache is copied, after a check.
#[test]
fn content_is_copied_from_the_cache_and_checked() {
    let world = World::new();
    let (good, bad) = (git("good", b"content"), git("bad", b"precise"));
    download(&world.snapshot(), &good, b"content");
    let spoilt = download(&world.snapshot(), &bad, b"precise");
    fs::write(spoilt, b"PRECISE").unwrap();
    let target = world.local(commit('a'));
    let copied = adopt(&target, &good).unwrap();
    assert_eq!(fs::read(&copied).unwrap(), b"content");
    assert!(fs::symlink_metadata(&copied).unwrap().is_file());
    assert_eq!(adopt(&target, &bad), None);
    assert!(!list(&target.root()).iter().any(|name| name.contains(".copy") || name == "bad"));
}

/// The second of two equal files is copied from the first.
#[test]
fn an_equal_file_is_duplicated() {
    let world = World::new();
    let (target, first, second) = (world.local(commit('a')), git("a", b"x"), git("d/b", b"x"));
    download(&target, &first, b"x");
    let held = lock(&target, &second);
    let copy = target.duplicate(&first, &second, &held, &CancellationToken::new()).unwrap();
    assert_eq!(fs::read(copy).unwrap(), b"x");
    assert!(target.find_current(&second).unwrap().is_some());
    assert_ne!(
        target.partial_path(&git("d/c", b"x"), &held).unwrap(),
        target.partial_path(&second, &held).unwrap(),
    );
}

/// A folder that is a link out of the root is an error that names it; nothing is written there.
#[test]
fn a_folder_link_out_of_the_root_is_refused() {
    let world = World::new();
    let (target, entry) = (world.local(commit('a')), git("d/f", b"content"));
    let outside = world.folder.path().join("outside");
    fs::create_dir_all(&outside).unwrap();
    fs::create_dir_all(target.root()).unwrap();
    symlink(&outside, target.root().join("d")).unwrap();
    let held = lock(&target, &entry);
    let partial = target.partial_path(&entry, &held).unwrap();
    fs::write(&partial, b"content").unwrap();
    let error = target.install(&entry, &partial, false, true).unwrap_err();
    assert_eq!(error.kind(), Kind::UnsafePath);
    assert!(error.context().file.as_ref().unwrap().ends_with("local/d"), "{error}");
    assert!(list(&outside).is_empty());

    symlink(&outside, target.root().join(".cache/huggingface/download/e")).unwrap();
    let other = git("e/f", b"");
    assert_eq!(target.lock_path(&other).unwrap_err().kind(), Kind::UnsafePath);
    assert_eq!(target.partial_path(&other, &held).unwrap_err().kind(), Kind::UnsafePath);
    assert!(list(&outside).is_empty());
}

/// A link in the place of a partial file is removed before anyone writes through it.
#[test]
fn a_planted_partial_link_is_removed() {
    let world = World::new();
    for target in [world.local(commit('a')), world.snapshot()] {
        let entry = git("f", b"content");
        let held = lock(&target, &entry);
        let partial = target.partial_path(&entry, &held).unwrap();
        symlink(world.folder.path().join("outside"), &partial).unwrap();
        assert_eq!(target.partial_path(&entry, &held).unwrap(), partial);
        assert!(fs::symlink_metadata(&partial).is_err());
        fs::write(&partial, b"cont").unwrap();
        target.partial_path(&entry, &held).unwrap();
        assert_eq!(fs::read(&partial).unwrap(), b"cont", "a real one is kept");
    }
}

/// The old metadata are gone before the new file has its name: whoever is killed in between leaves
/// a file that is judged by its hash.
#[test]
fn old_metadata_never_describe_a_new_file() {
    let world = World::new();
    let (target, old, new) = (world.local(commit('a')), git("f", b"old"), git("f", b"new"));
    let installed = download(&target, &old, b"old");
    let held = lock(&target, &new);
    let partial = target.partial_path(&new, &held).unwrap();
    fs::write(&partial, b"new").unwrap();
    // A folder with something of the user's in its place stops the installation right at the rename.
    fs::remove_file(&installed).unwrap();
    fs::create_dir(&installed).unwrap();
    fs::write(installed.join("mine"), "mine").unwrap();
    assert!(target.install(&new, &partial, false, true).is_err());
    assert!(!target.root().join(".cache/huggingface/download/f.metadata").exists());
    assert!(partial.exists(), "the download isn't lost");
}

/// Who has the new file has no use for what was fetched of the old one; other files' parts stay.
#[test]
fn parts_of_outdated_content_go() {
    let world = World::new();
    let (old, new, other) = (git("f", b"old"), git("f", b"new"), git("g", b"other"));
    let earlier = world.local(commit('a'));
    let [outdated, unfinished] = [&old, &other].map(|entry| {
        let partial = earlier.partial_path(entry, &lock(&earlier, entry)).unwrap();
        fs::write(&partial, b"o").unwrap();
        fs::write(partial.with_extension("partial.chunks"), b"notes").unwrap();
        partial
    });
    let target = world.local(commit('b'));
    download(&target, &git("a", b"first of this call"), b"first of this call");
    download(&target, &new, b"new");
    assert!(!outdated.exists());
    assert!(!outdated.with_extension("partial.chunks").exists());
    assert!(unfinished.exists());
    assert!(unfinished.with_extension("partial.chunks").exists());
}

/// A folder that is a link to another folder in the root is the user's own order.
#[test]
fn a_folder_link_inside_the_root_is_followed() {
    let world = World::new();
    let (target, entry) = (world.local(commit('a')), git("d/f", b"content"));
    fs::create_dir_all(target.root().join("real")).unwrap();
    symlink("real", target.root().join("d")).unwrap();
    download(&target, &entry, b"content");
    assert_eq!(fs::read(target.root().join("real/f")).unwrap(), b"content");
}

/// A link in a file's place is replaced; what it leads to isn't touched, and isn't taken for it.
#[test]
fn a_file_link_is_replaced_and_not_followed() {
    let world = World::new();
    let (target, entry) = (world.local(commit('a')), git("f", b"content"));
    let outside = world.folder.path().join("outside");
    fs::write(&outside, b"content").unwrap();
    fs::create_dir_all(target.root()).unwrap();
    symlink(&outside, target.root().join("f")).unwrap();
    assert_eq!(adopt(&target, &entry), None);
    fs::write(&outside, b"precious").unwrap();
    download(&target, &entry, b"content");
    assert_eq!(fs::read(&outside).unwrap(), b"precious");
    assert!(fs::symlink_metadata(target.root().join("f")).unwrap().is_file());
}

/// Nothing is written into `.git`, where a file can be a program.
#[test]
fn git_folders_are_refused() {
    let world = World::new();
    for name in [".git/config", "sub/.GIT/hooks/post-checkout"] {
        assert_eq!(world.dir().file_path(&path(name)).unwrap_err().kind(), Kind::UnsafePath);
    }
    for name in [".gitattributes", ".github/x"] {
        assert!(world.dir().file_path(&path(name)).is_ok(), "{name}");
    }
}

/// The folder's path is real and absolute, before and after it exists.
#[test]
fn the_root_is_a_real_path() {
    let folder = tempfile::tempdir().unwrap();
    let real = fs::canonicalize(folder.path()).unwrap().join("real");
    symlink(&real, real.with_file_name("link")).unwrap();
    let cache = xet_ffi_core::cache::Cache::new(folder.path().join("hub"), true, true);
    let root = |path: &std::path::Path| LocalDir::new(path, &cache).unwrap().root().to_path_buf();
    assert_eq!(root(&real.join("x/y")), real.join("x/y"));
    fs::create_dir_all(&real).unwrap();
    assert_eq!(root(&real.with_file_name("link")), real);
}

/// A name as long as names get has its bookkeeping under a hash, and is known again by it.
#[test]
fn the_longest_name_works() {
    let world = World::new();
    for len in [246, 247, 255] {
        let (target, entry) = (world.local(commit('a')), git(&"n".repeat(len), b"content"));
        let installed = download(&target, &entry, b"content");
        assert_eq!(target.find_current(&entry).unwrap(), Some(installed), "{len}");
    }
}

/// A folder of an earlier revision becomes a file, and that a folder again: nothing of either stays.
#[test]
fn a_folder_becomes_a_file_and_back() {
    let world = World::new();
    let (as_folder, as_file) = (world.local(commit('a')), world.local(commit('b')));
    let (deep, other, file) = (git("x/y/z", b"deep"), git("x/w", b"other"), git("x", b"file"));
    for _ in 0..2 {
        download(&as_folder, &deep, b"deep");
        download(&as_folder, &other, b"other");
        download(&as_file, &file, b"file");
        assert_eq!(fs::read(as_file.root().join("x")).unwrap(), b"file");
        assert!(as_file.find_current(&file).unwrap().is_some());
        assert!(as_folder.find_current(&deep).unwrap().is_none());
    }
}

/// What isn't as it was downloaded isn't removed for a file of another shape, nor is anything beside it.
#[test]
fn what_the_user_put_there_stays() {
    let world = World::new();
    let (target, root) = (world.local(commit('a')), world.dir().root().to_path_buf());
    let install = |entry: &Entry, content: &[u8]| {
        let lock = lock(&target, entry);
        let partial = target.partial_path(entry, &lock).unwrap();
        fs::write(&partial, content).unwrap();
        target.install(entry, &partial, false, true).unwrap_err()
    };
    download(&target, &git("x/ours", b"ours"), b"ours");
    fs::write(root.join("x/mine"), "mine").unwrap();
    let error = install(&git("x", b"file"), b"file");
    assert!(error.message().contains("x/mine"), "{error}");
    assert_eq!(fs::read(root.join("x/ours")).unwrap(), b"ours");

    fs::write(root.join("mine"), "mine").unwrap();
    let error = install(&git("mine/below", b"below"), b"below");
    assert!(error.message().starts_with("mine/below: "), "{error}");
    assert_eq!(fs::read(root.join("mine")).unwrap(), b"mine");
}
