//! The wall between Rust and C, which every entry point is built with: nothing unwinds across it,
//! and a panic becomes an error.

use std::any::Any;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::null_mut;

use super::errors::XetError;
use super::logs;
use xet_ffi_core::model::error::{Error, Result};

/// Runs the body of an entry point that returns `XetError *`.
///
/// Log records are delivered before and after, since both moments are on the caller's thread.
pub(crate) fn fallible(function: &'static str, body: impl FnOnce() -> Result<()>) -> *mut XetError {
    let result = catch(function, || {
        logs::deliver();
        let result = body();
        logs::deliver();
        result
    });
    match result {
        Ok(()) => null_mut(),
        Err(error) => XetError::of(&error),
    }
}

/// Runs the body of an entry point that has no error to return. After a panic it returns
/// `fallback`.
///
/// Logs nothing and calls nobody: these are the small functions, which a caller expects to be
/// inert.
pub(crate) fn infallible<T>(function: &'static str, fallback: T, body: impl FnOnce() -> T) -> T {
    catch(function, || Ok(body())).unwrap_or(fallback)
}

/// Runs `body` and turns a panic into an error that says where it was.
pub(crate) fn catch<T>(function: &'static str, body: impl FnOnce() -> Result<T>) -> Result<T> {
    // Unwind safety: whatever the body was changing is either dropped with it or guarded by a lock
    // that copes with poisoning.
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|payload| {
        let place = PANICKED_AT.try_with(|place| place.borrow_mut().take()).ok().flatten();
        let place = place.map(|place| format!(" at {place}")).unwrap_or_default();
        Err(Error::internal(format!("{function} panicked{place}: {}", panic_text(&*payload))))
    })
}

thread_local! {
    /// Where this thread's last panic was, for the message of its error.
    static PANICKED_AT: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Makes panics of this library's threads log records instead of output on stderr, which belongs to
/// the program.
///
/// The panic hook is that of the Rust runtime inside this library; a Rust program that loads libxet
/// keeps its own.
pub(crate) fn keep_panics_off_stderr() {
    #[cfg(not(test))]
    {
        static ONCE: std::sync::Once = std::sync::Once::new();
        ONCE.call_once(|| {
            std::panic::set_hook(Box::new(|panic| {
                let place = panic.location().map(ToString::to_string).unwrap_or_default();
                tracing::error!(target: "xet::panic", "panic at {place}: {}", panic_text(panic.payload()));
                // Not there any more if the thread is ending: then nobody will ask for it either.
                let _ = PANICKED_AT.try_with(|slot| slot.replace(Some(place)));
            }));
        });
    }
}

/// What `panic!` was given.
fn panic_text(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("(no text)")
}

#[cfg(test)]
mod tests {
    use super::super::{errors, ptr};
    use super::*;
    use crate::logs::with_queue;
    use xet_ffi_core::model::error::Code;

    /// A panic becomes `XET_CODE_UNKNOWN`, with its text and the function's name.
    #[test]
    fn a_panic_becomes_an_error() {
        with_queue(|| {
            let raw = fallible("xet_example", || panic!("the {} is loose", "cat"));
            // SAFETY: `fallible` returned it, and it is freed below.
            let (code, message) =
                unsafe { ((*raw).code, ptr::required_text((*raw).message, "message")) };
            assert_eq!(code, Code::Unknown as i32);
            let message = message.unwrap();
            assert!(message.contains("xet_example panicked"), "{message}");
            assert!(message.contains("the cat is loose"), "{message}");
            // SAFETY: as above; not used afterwards.
            unsafe { errors::xet_free_error(raw) };
        });
    }

    /// A function without an error to return answers with its fallback.
    #[test]
    fn a_panic_of_an_infallible_function_gives_the_fallback() {
        assert_eq!(infallible("xet_example", 7, || panic!("no")), 7);
    }
}
