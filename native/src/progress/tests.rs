//! The observer against callbacks as C would pass them: functions and a pointer.

use std::ptr::null;

use super::*;
use crate::base::{self, ClientProgress, XetCancellationToken, XetProgressUpdate};
use xet_ffi_core::call::progress::Phase;

/// What the callbacks of a test saw, behind `user_data`.
#[derive(Default)]
struct Seen {
    progress: Vec<(u64, Option<String>)>,
    asked: u32,
    answer: u8,
}

unsafe extern "C" fn on_progress(progress: *const XetProgress, user_data: *mut c_void) {
    // SAFETY: the observer passes a valid struct, and the test passes a Seen.
    unsafe {
        let file = ptr::text((*progress).file, "file").unwrap();
        (*user_data.cast::<Seen>()).progress.push(((*progress).bytes_completed, file));
    }
}

unsafe extern "C" fn on_update(update: *const XetProgressUpdate, user_data: *mut c_void) {
    // SAFETY: as above.
    unsafe {
        let file = ptr::text((*update).current_file, "file").unwrap();
        (*user_data.cast::<Seen>()).progress.push(((*update).completed_bytes, file));
    }
}

unsafe extern "C" fn on_cancel(user_data: *mut c_void) -> u8 {
    // SAFETY: as above.
    let seen = unsafe { &mut *user_data.cast::<Seen>() };
    seen.asked += 1;
    seen.answer
}

fn observer(seen: &mut Seen, progress_interval_ms: u32) -> CallObserver {
    let callbacks = XetCallbacks {
        struct_size: struct_size::<XetCallbacks>(),
        progress_interval_ms,
        progress: Some(on_progress),
        cancel: Some(on_cancel),
        user_data: (&raw mut *seen).cast(),
    };
    // SAFETY: a complete struct, whose callbacks take a Seen.
    unsafe { CallObserver::from_callbacks(&raw const callbacks) }.unwrap()
}

fn progress(bytes_completed: u64, file: &str) -> Progress {
    Progress {
        phase: Phase::Downloading,
        bytes_total: 100,
        bytes_completed,
        bytes_network: 0,
        bytes_reused: 0,
        files_total: 2,
        files_completed: 0,
        file: Some(file.into()),
        file_bytes_completed: bytes_completed,
        file_bytes_total: 100,
        rate_limited_seconds: 0,
    }
}

/// Between the first and the last report, those that come too early are left out.
#[test]
fn reports_are_throttled_except_the_first_and_the_last() {
    let mut seen = Seen::default();
    let mut observer = observer(&mut seen, u32::MAX);
    for bytes in [1, 2, 3] {
        observer.progress(&progress(bytes, "a"), false);
    }
    observer.progress(&progress(4, "b"), true);
    assert_eq!(seen.progress, [(1, Some("a".into())), (4, Some("b".into()))]);
}

/// A number that shrinks keeps its highest value, even when the higher one was not reported; a new
/// file begins anew.
#[test]
fn numbers_never_shrink() {
    let mut seen = Seen::default();
    let mut observer = observer(&mut seen, u32::MAX);
    observer.progress(&progress(1, "a"), false);
    observer.progress(&progress(9, "a"), false);
    observer.progress(&progress(5, "a"), true);
    assert_eq!(seen.progress.last(), Some(&(9, Some("a".into()))));
    let next = progress(3, "b").not_less_than(Some(progress(9, "a")));
    assert_eq!((next.bytes_completed, next.file_bytes_completed), (9, 3));
}

/// Once the callback has said so, the call is cancelled, and it isn't asked again.
#[test]
fn cancellation_is_asked_until_the_first_yes() {
    let mut seen = Seen::default();
    let mut observer = observer(&mut seen, 0);
    assert!(!observer.cancelled());
    // Any other byte than 0 means true.
    seen.answer = 2;
    assert!(observer.cancelled());
    seen.answer = 0;
    assert!(observer.cancelled());
    assert_eq!(seen.asked, 2);
}

/// A call of the base interface reports to its client's callback and asks its token.
#[test]
fn base_calls_use_the_clients_callback_and_their_token() {
    let mut seen = Seen { answer: 1, ..Seen::default() };
    let user_data = (&raw mut seen).cast();
    let client = ClientProgress { callback: on_update, user_data, interval: interval(0) };
    let client = Some(std::sync::Arc::new(client));
    let token = XetCancellationToken { callback: Some(on_cancel), user_data };
    // SAFETY: the callbacks take a Seen.
    let mut observer = unsafe { base::observer(client, &raw const token) };
    observer.progress(&progress(7, "a"), false);
    assert!(observer.cancelled());
    assert_eq!(seen.progress, [(7, Some("a".into()))]);
}

/// Without callbacks nothing is called and nothing is cancelled.
#[test]
fn no_callbacks_are_fine() {
    // SAFETY: NULL is allowed.
    let mut silent = unsafe { CallObserver::from_callbacks(null()) }.unwrap();
    silent.progress(&progress(1, "a"), true);
    assert!(!silent.cancelled());
    let empty = XetCancellationToken { callback: None, user_data: std::ptr::null_mut() };
    // SAFETY: there is nothing to call.
    assert!(!unsafe { base::observer(None, &raw const empty) }.cancelled());
}
