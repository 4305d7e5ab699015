//! Locks, in one process and with others.

use std::fs;
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Poll;
use std::time::Duration;

use xet_ffi_core::model::error::Result;
use xet_ffi_core::sys::lock::FileLock;

/// Waits for a lock whose holder never stops to get on.
fn wait_for(path: &Path) -> impl Future<Output = Result<FileLock>> + Send + use<> {
    let sign = AtomicU32::new(0);
    let signs = move || sign.fetch_add(1, Ordering::Relaxed);
    FileLock::acquire(path.to_path_buf(), Duration::from_millis(1), signs, || ())
}

/// A holder of which nothing is heard keeps nobody out: who waits goes on without the lock.
#[tokio::test]
async fn a_holder_that_hangs_is_passed_by() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.lock");
    let held = FileLock::try_acquire(&path).unwrap().unwrap();
    let passed = FileLock::acquire(&path, Duration::from_millis(30), || (), || ()).await.unwrap();
    assert!(!passed.is_exclusive());
    drop(passed);
    assert!(FileLock::try_acquire(&path).unwrap().is_none(), "it isn't the passer's to free");
    drop(held);
}

/// A second holder waits until the first lets go, in the same process too.
#[tokio::test]
async fn a_second_holder_waits_for_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sub/x.lock");
    let first = wait_for(&path).await.unwrap();
    assert!(first.is_exclusive());
    assert!(FileLock::try_acquire(&path).unwrap().is_none());
    let waiter = tokio::spawn(wait_for(&path));
    tokio::task::yield_now().await;
    assert!(!waiter.is_finished());
    drop(first);
    let second = waiter.await.unwrap().unwrap();
    assert!(FileLock::try_acquire(&path).unwrap().is_none());
    drop(second);
    assert!(FileLock::try_acquire(&path).unwrap().is_some());
}

/// Who stops waiting doesn't get the lock later.
#[tokio::test]
async fn a_dropped_wait_takes_no_lock() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.lock");
    let first = wait_for(&path).await.unwrap();
    let mut wait = Box::pin(wait_for(&path));
    assert!(matches!(futures_util::poll!(&mut wait), Poll::Pending));
    drop(wait);
    drop(first);
    // The attempt that was under way may still hold it for an instant; then it's free for good.
    let free = tokio::time::timeout(Duration::from_secs(30), wait_for(&path)).await;
    drop(free.expect("the lock is free").unwrap());
}

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
