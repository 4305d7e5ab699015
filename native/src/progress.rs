//! Section "progress and cancellation" of `xet.h`: the callbacks of one call, as the [`Observer`]
//! that the call is run with.

use std::ffi::{c_char, c_void};
use std::task::Poll;
use std::time::{Duration, Instant};

use super::storage::tokens::TokenCallback;
use super::uploading::Stream;
use super::{logs, ptr, versioned};
use xet_ffi_core::call::progress::Progress;
use xet_ffi_core::call::{CallerToken, Observer};
use xet_ffi_core::model::error::{Error, Result};

pub(crate) type XetCallProgressCallback =
    unsafe extern "C" fn(progress: *const XetProgress, user_data: *mut c_void);
/// Returns C's `bool`. It is a number here, because a callee that was compiled as returning `int`
/// may leave something else than 0 or 1 in it, which a Rust `bool` must never hold.
pub(crate) type XetCancellationCallback = unsafe extern "C" fn(user_data: *mut c_void) -> u8;

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
        rate_limited_seconds: u64,
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

/// Who is told about progress; the string is the current file, or NULL.
pub(crate) type Listener = Box<dyn Fn(&Progress, *const c_char)>;

/// The eyes and the brake of one call.
pub(crate) struct CallObserver {
    listener: Option<Listener>,
    interval: Duration,
    /// When the listener was last told.
    told: Option<Instant>,
    /// The highest numbers so far.
    high: Option<Progress>,
    cancel: Option<(XetCancellationCallback, *mut c_void)>,
    /// The answer of `cancel`, once it is true; then it isn't asked again.
    cancelled: bool,
    streams: Vec<Stream>,
    tokens: Option<TokenCallback>,
}

/// How often progress is reported where the caller leaves that open.
pub(crate) const DEFAULT_INTERVAL: Duration = Duration::from_millis(50);

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
        let listener = callbacks.progress.map(|callback| -> Listener {
            Box::new(move |progress, file| {
                let progress = XetProgress::of(progress, file);
                // SAFETY: the caller's promise; struct and string live until the callback returns.
                unsafe { callback(&raw const progress, user_data) }
            })
        });
        let interval = interval(callbacks.progress_interval_ms);
        Ok(Self::new(listener, interval, callbacks.cancel.map(|f| (f, user_data))))
    }

    /// What is told and asked, the progress once in `interval` at most. The observer must not outlive
    /// what both may be used for.
    pub(crate) fn new(
        listener: Option<Listener>,
        interval: Duration,
        cancel: Option<(XetCancellationCallback, *mut c_void)>,
    ) -> Self {
        Self {
            listener,
            interval,
            told: None,
            high: None,
            cancel,
            cancelled: false,
            streams: Vec::new(),
            tokens: None,
        }
    }

    /// With the streams that the call reads from. Their callbacks are as those of
    /// [`from_callbacks`](Self::from_callbacks).
    pub(crate) fn with_streams(self, streams: Vec<Stream>) -> Self {
        Self { streams, ..self }
    }

    /// With whom work of a storage asks for tokens, if it asks anybody.
    pub(crate) fn with_tokens(self, tokens: Option<TokenCallback>) -> Self {
        Self { tokens, ..self }
    }
}

impl Observer for CallObserver {
    fn tick(&mut self) {
        logs::deliver();
    }

    fn progress(&mut self, progress: &Progress, last: bool) {
        let Some(listener) = &self.listener else { return };
        let now = progress.not_less_than(self.high.take());
        if last || self.told.is_none_or(|told| told.elapsed() >= self.interval) {
            self.told = Some(Instant::now());
            let file = now.file.as_deref().map(ptr::c_string);
            listener(&now, ptr::optional_pointer(file.as_deref()));
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

    fn token(&mut self) -> Result<Poll<CallerToken>> {
        let tokens = self.tokens.ok_or_else(|| Error::internal("nobody was named for tokens"))?;
        tokens.ask()
    }
}

impl XetProgress {
    fn of(progress: &Progress, file: *const c_char) -> Self {
        Self {
            struct_size: struct_size::<Self>(),
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
            rate_limited_seconds: progress.rate_limited_seconds,
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
