//! A value that belongs to one process: threads and connections don't survive `fork`, so a child
//! makes its own.

use std::mem::ManuallyDrop;
use std::sync::Arc;

use arc_swap::ArcSwapOption;

use crate::model::error::Result;

/// Holds a `T` made by, and for, the current process.
///
/// In a forked child the parent's value is left alone: it is neither used (its threads don't exist
/// there) nor dropped (dropping a runtime waits for its threads). Nothing here takes a lock, since
/// a lock that another thread held at the moment of the fork stays locked for ever in the child.
pub(crate) struct PerProcess<T> {
    current: ArcSwapOption<Owned<T>>,
}

struct Owned<T> {
    pid: u32,
    value: ManuallyDrop<Arc<T>>,
}

impl<T> PerProcess<T> {
    /// Empty; the value is made at the first `get`.
    pub(crate) fn new() -> Self {
        Self { current: ArcSwapOption::empty() }
    }

    /// This process's value, made with `make` if there is none. If two threads make one at a time,
    /// one of the values is dropped.
    pub(crate) fn get(&self, make: impl FnOnce() -> Result<T>) -> Result<Arc<T>> {
        let pid = std::process::id();
        let seen = self.current.load();
        if let Some(owned) = seen.as_deref().filter(|owned| owned.pid == pid) {
            return Ok(Arc::clone(&owned.value));
        }
        let own = Arc::new(Owned { pid, value: ManuallyDrop::new(Arc::new(make()?)) });
        let replaced = self.current.compare_and_swap(&*seen, Some(Arc::clone(&own)));
        match replaced.as_deref().filter(|owned| owned.pid == pid) {
            Some(winner) => Ok(Arc::clone(&winner.value)),
            None => Ok(Arc::clone(&own.value)),
        }
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        if self.pid == std::process::id() {
            // SAFETY: `value` isn't used after this, the only place that drops it.
            unsafe { ManuallyDrop::drop(&mut self.value) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The value is made once and shared.
    #[test]
    fn the_value_is_made_once() {
        let cell = PerProcess::new();
        let first = cell.get(|| Ok(1)).unwrap();
        let second = cell.get(|| panic!("made twice")).unwrap();
        assert!(Arc::ptr_eq(&first, &second));
    }

    /// A forked child makes its own value and can drop the cell it inherited.
    #[test]
    fn a_forked_child_makes_its_own() {
        let cell = PerProcess::new();
        cell.get(|| Ok(std::process::id())).unwrap();
        // SAFETY: the child only calls code that takes no lock, and leaves with _exit.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let mine = cell.get(|| Ok(std::process::id())).map(|pid| *pid).unwrap_or_default();
            let right = mine == std::process::id();
            drop(cell);
            // SAFETY: ends the process at once.
            unsafe { libc::_exit(i32::from(!right)) }
        }
        let mut status = -1;
        // SAFETY: `child` is our child, `status` is valid.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        assert_eq!(status, 0);
    }
}
