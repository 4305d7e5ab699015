//! Tokens of the caller's: got by a callback, on a thread of the caller's.

use std::cell::RefCell;
use std::ffi::{c_char, c_void};
use std::task::Poll;

use crate::ptr;
use xet_ffi_core::call::CallerToken;
use xet_ffi_core::model::error::Result;

/// One of `XET_TOKEN_*`, or what [`xet_token_give`] returns.
pub(crate) type XetTokenCallback = unsafe extern "C" fn(user_data: *mut c_void) -> i64;

pub(crate) const XET_TOKEN_AGAIN: i64 = -100_001;
pub(crate) const XET_TOKEN_FAILED: i64 = -100_002;

/// What [`xet_token_give`] returns.
const GIVEN: i64 = 0;

/// The most of a reason that is kept, in bytes.
const MAX_REASON: usize = 4096;

thread_local! {
    /// What the callback that runs on this thread has said so far.
    static SAID: RefCell<Option<Said>> = const { RefCell::new(None) };
}

enum Said {
    /// The token, and its end.
    Token(Result<String>, u64),
    /// Why there is none.
    Failed(Option<String>),
}

/// Whom a storage asks for tokens.
#[derive(Clone, Copy)]
pub(crate) struct TokenCallback {
    call: XetTokenCallback,
    user_data: *mut c_void,
}

// SAFETY: `xet.h` has it called on any thread that waits for work of its storage, with what it was given.
unsafe impl Send for TokenCallback {}
// SAFETY: as above.
unsafe impl Sync for TokenCallback {}

impl TokenCallback {
    /// # Safety
    /// `call` may be called with `user_data` while work of its storage is waited for.
    pub(crate) unsafe fn new(call: XetTokenCallback, user_data: *mut c_void) -> Self {
        Self { call, user_data }
    }

    /// Asks for a token; pending if there is none yet.
    pub(crate) fn ask(&self) -> Result<Poll<CallerToken>> {
        // A callback may call the library, and that one ask for a token, too.
        let outer = SAID.with(RefCell::take);
        // SAFETY: the promise made to `new`.
        let returned = unsafe { (self.call)(self.user_data) };
        let said = SAID.with(|slot| slot.replace(outer));
        match (returned, said) {
            (GIVEN, Some(Said::Token(token, expires))) => {
                let token = token.map_err(|error| CallerToken::missing(error.message()))?;
                Ok(Poll::Ready(CallerToken { token, expires }))
            }
            (XET_TOKEN_AGAIN, _) => Ok(Poll::Pending),
            (_, said) => {
                let reason = match said {
                    Some(Said::Failed(Some(reason))) => reason,
                    Some(Said::Failed(None)) => "it doesn't say why".to_owned(),
                    _ => format!("it returned {returned}"),
                };
                Err(CallerToken::missing(reason))
            }
        }
    }
}

entry! {
    fn xet_token_give(token: *const c_char, expires: u64) -> i64 = XET_TOKEN_FAILED {
        // SAFETY: `xet.h` asks for NULL or a string that is NUL-terminated.
        let token = unsafe { ptr::required_text(token, "token") };
        // A thread that is ending runs no callback.
        let _ = SAID.try_with(|slot| slot.replace(Some(Said::Token(token, expires))));
        GIVEN
    }
}

entry! {
    fn xet_token_fail(reason: *const c_char) -> i64 = XET_TOKEN_FAILED {
        // SAFETY: `xet.h` asks for NULL or a string that is NUL-terminated.
        let reason = unsafe { ptr::lossy_text(reason, MAX_REASON) };
        let _ = SAID.try_with(|slot| slot.replace(Some(Said::Failed(reason))));
        XET_TOKEN_FAILED
    }
}
