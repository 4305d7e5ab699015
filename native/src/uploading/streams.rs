//! The streams of an upload: read by callbacks of the caller's, on the caller's thread.

use std::cell::RefCell;
use std::ffi::{c_char, c_void};
use std::task::Poll;

use crate::ptr;
use xet_ffi_core::model::error::{Error, Kind, Result};

/// How many bytes were read, or one of `XET_READ_*`.
pub(crate) type XetReadCallback =
    unsafe extern "C" fn(buffer: *mut u8, length: usize, user_data: *mut c_void) -> i64;

#[cfg_attr(not(test), expect(dead_code, reason = "every other negative number means the same"))]
pub(crate) const XET_READ_CANCEL: i64 = -1;
// Far from -1 and from errno, which programs returned before these had a meaning.
pub(crate) const XET_READ_AGAIN: i64 = -100_001;
pub(crate) const XET_READ_FAILED: i64 = -100_002;

/// The most of a reason that is kept, in bytes.
const MAX_REASON: usize = 4096;

thread_local! {
    /// What [`xet_read_fail`] was told on this thread, since its last read callback began.
    static REASON: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// The callback of a stream, and what it's called with.
pub(crate) type StreamKey = (*const (), *mut c_void);

/// A stream of the caller's.
pub(crate) struct Stream {
    read: XetReadCallback,
    user_data: *mut c_void,
    /// Where its content goes in the repo.
    path: String,
}

impl Stream {
    /// # Safety
    /// `read` may be called with `user_data` on this thread for as long as the stream exists.
    pub(crate) unsafe fn new(read: XetReadCallback, user_data: *mut c_void, path: String) -> Self {
        Self { read, user_data, path }
    }

    /// What it has in common with those alone that are the same.
    pub(crate) fn key(&self) -> StreamKey {
        (self.read as *const (), self.user_data)
    }

    /// Reads into `buffer`: how many bytes, 0 at the end of the stream; pending if there are none yet.
    pub(crate) fn read(&self, buffer: &mut [u8]) -> Result<Poll<usize>> {
        // A callback may call the library, and that one read from a stream, too.
        let outer = REASON.with(RefCell::take);
        // SAFETY: the promise made to `new`; the buffer is as long as said, and initialised.
        let read = unsafe { (self.read)(buffer.as_mut_ptr(), buffer.len(), self.user_data) };
        let reason = REASON.with(|slot| slot.replace(outer));
        match (usize::try_from(read), read) {
            (Ok(read), _) if read <= buffer.len() => Ok(Poll::Ready(read)),
            (Ok(_), _) => {
                Err(Error::invalid("read", "says that it has read more than it was asked for"))
            }
            (Err(_), XET_READ_AGAIN) => Ok(Poll::Pending),
            (Err(_), XET_READ_FAILED) => {
                let reason = reason.as_deref().unwrap_or("its callback doesn't say why");
                let message = format!("the stream of {} is broken: {reason}", self.path);
                let file = Some(self.path.clone());
                Err(Error::new(Kind::ReadFailed, message).with(|context| context.file = file))
            }
            (Err(_), _) => Err(Error::new(Kind::Cancelled, "a read callback has ended the call")),
        }
    }
}

entry! {
    fn xet_read_fail(reason: *const c_char) -> i64 = XET_READ_FAILED {
        // SAFETY: `xet.h` asks for NULL or a string that is NUL-terminated.
        let reason = unsafe { ptr::lossy_text(reason, MAX_REASON) };
        // A thread that is ending runs no callback.
        let _ = REASON.try_with(|slot| slot.replace(reason));
        XET_READ_FAILED
    }
}
