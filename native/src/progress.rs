//! Section "progress and cancellation" of `xet.h`: the callbacks of one call, as the [`Observer`]
//! that the call is run with.

use std::cell::RefCell;
use std::ffi::{c_char, c_void};
use std::task::Poll;
use std::time::{Duration, Instant};

use super::{guard, logs, ptr, versioned};
use xet_ffi_core::call::Observer;
use xet_ffi_core::call::progress::Progress;
use xet_ffi_core::model::error::{Error, Kind, Result};

pub(crate) type XetProgressCallback =
    unsafe extern "C" fn(update: *const XetProgressUpdate, user_data: *mut c_void);
pub(crate) type XetCallProgressCallback =
    unsafe extern "C" fn(progress: *const XetProgress, user_data: *mut c_void);
/// Returns C's `bool`. It is a number here, because a callee that was compiled as returning `int`
/// may leave something else than 0 or 1 in it, which a Rust `bool` must never hold.
pub(crate) type XetCancellationCallback = unsafe extern "C" fn(user_data: *mut c_void) -> u8;
/// How many bytes were read, or one of `XET_READ_*`.
pub(crate) type XetReadCallback =
    unsafe extern "C" fn(buffer: *mut u8, length: usize, user_data: *mut c_void) -> i64;

pub(crate) const XET_READ_CANCEL: i64 = -1;
// Far from -1 and from errno, which programs returned before these had a meaning.
pub(crate) const XET_READ_AGAIN: i64 = -100_001;
pub(crate) const XET_READ_FAILED: i64 = -100_002;

c_struct! {
    struct XetProgressUpdate {
        phase: u32,
        total_bytes: u64,
        completed_bytes: u64,
        total_files: u32,
        completed_files: u32,
        current_file: *const c_char,
        current_file_completed_bytes: u64,
        current_file_total_bytes: u64,
    }
}

c_struct! {
    struct XetCancellationToken {
        callback: Option<XetCancellationCallback>,
        user_data: *mut c_void,
    }
}

c_struct! {
    struct XetProgress {
        struct_size: u32,
        phase: u32,
        bytes_total: u64,
        bytes_completed: u64,
        bytes_network: u64,
        bytes_reused: u64,
        files_total: u32,
        files_completed: u32,
        file: *const c_char,
        file_bytes_completed: u64,
        file_bytes_total: u64,
    }
}

c_struct! {
    versions { 2: user_data }
    struct XetCallbacks {
        struct_size: u32,
        progress_interval_ms: u32,
        progress: Option<XetCallProgressCallback>,
        cancel: Option<XetCancellationCallback>,
        user_data: *mut c_void,
    }
}

/// The client-wide callback of the base interface.
#[derive(Clone, Copy)]
pub(crate) struct ClientProgress {
    pub(crate) callback: XetProgressCallback,
    pub(crate) user_data: *mut c_void,
    pub(crate) interval: Duration,
}

// SAFETY: `xet.h` says that the callback runs on the thread of whichever call reports, with this
// pointer, which the library only hands on.
unsafe impl Send for ClientProgress {}
// SAFETY: as above.
unsafe impl Sync for ClientProgress {}

/// Who is told about progress.
enum Listener {
    Nobody,
    Call(XetCallProgressCallback, *mut c_void),
    Client(XetProgressCallback, *mut c_void),
}

/// The eyes and the brake of one call.
pub(crate) struct CallObserver {
    listener: Listener,
    interval: Duration,
    /// When the listener was last told.
    told: Option<Instant>,
    /// The highest numbers so far.
    high: Option<Progress>,
    cancel: Option<(XetCancellationCallback, *mut c_void)>,
    /// The answer of `cancel`, once it is true; then it isn't asked again.
    cancelled: bool,
    streams: Vec<Stream>,
}

/// A stream of the caller's.
pub(crate) struct Stream {
    pub(crate) read: XetReadCallback,
    pub(crate) user_data: *mut c_void,
    /// Where its content goes in the repo.
    pub(crate) path: String,
}

thread_local! {
    /// What [`xet_read_fail`] was told, while a read callback runs on this thread.
    static REASON: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// The most of a reason that is kept, in bytes.
const MAX_REASON: usize = 4096;

/// Sets what [`Stream::read`] takes; nobody takes it elsewhere, and the next callback clears it.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn xet_read_fail(reason: *const c_char) -> i64 {
    guard::infallible("xet_read_fail", XET_READ_FAILED, || {
        // SAFETY: `xet.h` asks for NULL or a string that is NUL-terminated.
        let reason = unsafe { ptr::lossy_text(reason, MAX_REASON) };
        // A thread that is ending runs no callback.
        let _ = REASON.try_with(|slot| slot.replace(reason));
        XET_READ_FAILED
    })
}

impl Stream {
    fn read(&self, buffer: &mut [u8]) -> Result<Poll<usize>> {
        // A callback may call the library, and that one read from a stream, too.
        let outer = REASON.with(RefCell::take);
        // SAFETY: the promise made when the stream was handed over; the buffer is as long as said,
        // and initialised.
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

/// How often progress is reported where the caller leaves that open.
const DEFAULT_INTERVAL: Duration = Duration::from_millis(50);

/// An interval in milliseconds, of which 0 means the default.
pub(crate) fn interval(milliseconds: u32) -> Duration {
    match milliseconds {
        0 => DEFAULT_INTERVAL,
        some => Duration::from_millis(some.into()),
    }
}

impl CallObserver {
    /// The callbacks of one call; NULL: none.
    ///
    /// # Safety
    /// As for [`versioned::read`]; and the callbacks may be called with `user_data` on this thread
    /// until the call returns.
    pub(crate) unsafe fn from_callbacks(callbacks: *const XetCallbacks) -> Result<Self> {
        // SAFETY: the caller's promise is the same.
        let callbacks = unsafe { versioned::read(callbacks, "callbacks") }?;
        let callbacks = callbacks.unwrap_or_else(versioned::default);
        let user_data = callbacks.user_data;
        Ok(Self {
            listener: callbacks.progress.map_or(Listener::Nobody, |f| Listener::Call(f, user_data)),
            interval: interval(callbacks.progress_interval_ms),
            told: None,
            high: None,
            cancel: callbacks.cancel.map(|f| (f, user_data)),
            cancelled: false,
            streams: Vec::new(),
        })
    }

    /// The callbacks of a call of the base interface: the client's, and the call's token (NULL:
    /// none).
    ///
    /// # Safety
    /// `token` is NULL or points at a token; and both callbacks may be called on this thread until
    /// the call returns.
    pub(crate) unsafe fn from_token(
        progress: Option<&ClientProgress>,
        token: *const XetCancellationToken,
    ) -> Self {
        let token = if token.is_null() {
            None
        } else {
            // SAFETY: not NULL, so the caller promises a token.
            Some(unsafe { token.read() })
        };
        Self {
            listener: progress
                .map_or(Listener::Nobody, |p| Listener::Client(p.callback, p.user_data)),
            interval: progress.map_or(DEFAULT_INTERVAL, |p| p.interval),
            told: None,
            high: None,
            cancel: token.and_then(|token| Some((token.callback?, token.user_data))),
            cancelled: false,
            streams: Vec::new(),
        }
    }

    /// With the streams that the call reads from. Their callbacks are as those of
    /// [`from_callbacks`](Self::from_callbacks).
    pub(crate) fn with_streams(self, streams: Vec<Stream>) -> Self {
        Self { streams, ..self }
    }
}

impl Observer for CallObserver {
    fn tick(&mut self) {
        logs::deliver();
    }

    fn progress(&mut self, progress: &Progress, last: bool) {
        if matches!(self.listener, Listener::Nobody) {
            return;
        }
        let now = progress.not_less_than(self.high.take());
        if last || self.told.is_none_or(|told| told.elapsed() >= self.interval) {
            self.told = Some(Instant::now());
            self.listener.tell(&now);
        }
        self.high = Some(now);
    }

    fn cancelled(&mut self) -> bool {
        if let (false, Some((callback, user_data))) = (self.cancelled, self.cancel) {
            // SAFETY: the promise made when this observer was built; it doesn't outlive the call.
            self.cancelled = unsafe { callback(user_data) } != 0;
        }
        self.cancelled
    }

    fn read(&mut self, stream: usize, buffer: &mut [u8]) -> Result<Poll<usize>> {
        let stream = self
            .streams
            .get(stream)
            .ok_or_else(|| Error::internal(format!("there is no stream {stream}")))?;
        stream.read(buffer)
    }
}

impl Listener {
    fn tell(&self, progress: &Progress) {
        let file = progress.file.as_deref().map(ptr::c_string);
        let file = ptr::optional_pointer(file.as_deref());
        match *self {
            Self::Nobody => {}
            Self::Call(callback, user_data) => {
                let progress = XetProgress {
                    struct_size: struct_size::<XetProgress>(),
                    phase: progress.phase as u32,
                    bytes_total: progress.bytes_total,
                    bytes_completed: progress.bytes_completed,
                    bytes_network: progress.bytes_network,
                    bytes_reused: progress.bytes_reused,
                    files_total: progress.files_total,
                    files_completed: progress.files_completed,
                    file,
                    file_bytes_completed: progress.file_bytes_completed,
                    file_bytes_total: progress.file_bytes_total,
                };
                // SAFETY: the promise made when the observer was built; struct and string live
                // until the callback returns.
                unsafe { callback(&raw const progress, user_data) }
            }
            Self::Client(callback, user_data) => {
                let update = XetProgressUpdate {
                    phase: progress.phase as u32,
                    total_bytes: progress.bytes_total,
                    completed_bytes: progress.bytes_completed,
                    total_files: progress.files_total,
                    completed_files: progress.files_completed,
                    current_file: file,
                    current_file_completed_bytes: progress.file_bytes_completed,
                    current_file_total_bytes: progress.file_bytes_total,
                };
                // SAFETY: as above.
                unsafe { callback(&raw const update, user_data) }
            }
        }
    }
}

/// What the library puts into the `struct_size` of the structs that it fills.
pub(crate) const fn struct_size<T>() -> u32 {
    // Our structs have a few dozen bytes.
    #[allow(clippy::cast_possible_truncation, reason = "checked by the assertion")]
    const fn cast(size: usize) -> u32 {
        assert!(size <= u32::MAX as usize);
        size as u32
    }
    cast(size_of::<T>())
}

#[cfg(test)]
mod tests;
