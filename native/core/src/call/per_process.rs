//! A value that belongs to one process: threads and connections don't survive `fork`, so a child
//! makes its own.

use std::mem::ManuallyDrop;
use std::sync::Arc;

use arc_swap::ArcSwapOption;

use crate::model::error::{Error, Kind, Result};

/// Holds a `T` made by, and for, the current process.
///
/// In a forked child the parent's value is left alone: it is neither used (its threads don't exist
/// there) nor dropped (dropping a runtime waits for its threads). Nothing here takes a lock, since
/// a lock that another thread held at the moment of the fork stays locked for ever in the child.
pub(crate) struct PerProcess<T> {
    current: ArcSwapOption<Owned<Arc<T>>>,
}

/// A value of the process that made it. In a forked child it's neither used nor dropped.
#[derive(Debug)]
pub struct Owned<T> {
    pid: u32,
    value: ManuallyDrop<T>,
}

impl<T> Owned<T> {
    /// This process's.
    pub fn new(value: T) -> Self {
        Self { pid: std::process::id(), value: ManuallyDrop::new(value) }
    }

    /// The value; `None`: it's another process's.
    #[must_use]
    pub fn get(&self) -> Option<&T> {
        (self.pid == std::process::id()).then_some(&*self.value)
    }

    /// The same, where `what` ("this group") can't be used in a fork of its process.
    pub(crate) fn get_here(&self, what: &str) -> Result<&T> {
        self.get().ok_or_else(|| {
            let message = format!(
                "{what} belongs to the process that made it, of which this one is a fork: make another one here"
            );
            Error::new(Kind::InvalidArgument, message)
        })
    }
}

impl<T> PerProcess<T> {
    /// Empty; the value is made at the first `get`.
    pub(crate) fn new() -> Self {
        Self { current: ArcSwapOption::empty() }
    }

    /// This process's value, if there is one.
    pub(crate) fn here(&self) -> Option<Arc<T>> {
        self.current.load().as_deref().and_then(Owned::get).map(Arc::clone)
    }

    /// This process's value, made with `make` if there is none. If two threads make one at a time,
    /// one of the values is dropped.
    pub(crate) fn get(&self, make: impl FnOnce() -> Result<T>) -> Result<Arc<T>> {
        let seen = self.current.load();
        if let Some(value) = seen.as_deref().and_then(Owned::get) {
            return Ok(Arc::clone(value));
        }
        let value = Arc::new(make()?);
        let own = Arc::new(Owned::new(Arc::clone(&value)));
        let replaced = self.current.compare_and_swap(&*seen, Some(own));
        Ok(replaced.as_deref().and_then(Owned::get).map_or(value, Arc::clone))
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
