//! What a lock is on the disk, and to other programs.

use std::fs;
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::{Command, Stdio};

use xet_ffi_core::sys::lock::FileLock;

/// The file stays, and other users of the cache may lock it.
#[test]
fn a_lock_file_stays_and_is_group_writable() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.lock");
    drop(FileLock::try_acquire(&path).unwrap());
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o664);
}

/// A child program that outlives the holder doesn't keep the lock.
#[test]
fn a_child_program_does_not_inherit_the_lock() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.lock");
    let held = FileLock::try_acquire(&path).unwrap().unwrap();
    let mut child =
        Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    // Nothing but this list shows that the child has no descriptor of the file; unlocking would
    // free the lock in either case.
    let open = fs::read_dir(format!("/proc/{}/fd", child.id()))
        .map(|list| list.filter_map(|fd| fs::read_link(fd.ok()?.path()).ok()).collect::<Vec<_>>());
    drop(held);
    assert!(FileLock::try_acquire(&path).unwrap().is_some());
    drop(child.stdin.take());
    child.stdout.take().unwrap().read_to_end(&mut Vec::new()).unwrap();
    child.wait().unwrap();
    if let Ok(open) = open {
        assert!(!open.contains(&path), "{open:?}");
    }
}

/// A link in the place of a lock file isn't followed.
#[test]
fn a_planted_lock_link_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.lock");
    let outside = folder.path().join("outside");
    fs::write(&outside, b"").unwrap();
    symlink(&outside, &path).unwrap();
    assert!(FileLock::try_acquire(&path).is_err());
}
