//! Section "client" of `xet.h`.

use std::ffi::{c_char, c_void};
use std::path::PathBuf;
use std::ptr::null_mut;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;

use super::callbacks::{self, ClientProgress, XetProgressCallback};
use super::error::{self, XetError};
use super::versioned::{self, Versioned, check_flags};
use super::{guard, log, ptr};
use crate::client::{Client, ClientOptions};
use crate::error::{Error, Result};

c_struct! {
    struct XetConfig {
        endpoint: *const c_char,
        token: *const c_char,
        cache_dir: *const c_char,
        max_concurrent_downloads: u32,
        /// C's `bool`, and never looked at.
        enable_dedup: u8,
    }
}

c_struct! {
    struct XetClientOptions {
        struct_size: u32,
        max_concurrent_downloads: u32,
        endpoint: *const c_char,
        token: *const c_char,
        cache_dir: *const c_char,
        user_agent: *const c_char,
        flags: u32,
        connect_timeout_ms: u32,
        read_timeout_ms: u32,
        max_attempts: u32,
    }
}

// SAFETY: `struct_size` comes first, and numbers and pointers may be zero.
unsafe impl Versioned for XetClientOptions {}

pub(super) const XET_CLIENT_ANONYMOUS: u32 = 1;
pub(super) const XET_CLIENT_OFFLINE: u32 = 2;

const MAX_CONCURRENT_DOWNLOADS: u32 = 256;
const MAX_ATTEMPTS: u32 = 20;

/// What the caller holds: a client, and what the base interface hangs on it.
pub(super) struct XetClient {
    pub(super) client: Client,
    /// Replaced without a lock, which a forked child could inherit locked.
    progress: ArcSwapOption<ClientProgress>,
}

impl XetClient {
    /// Gives a new client to the caller, who owes an [`xet_client_free`].
    fn give(options: &ClientOptions, struct_name: &str) -> Result<*mut Self> {
        guard::keep_panics_off_stderr();
        log::follow_environment();
        let client = Client::new(options).map_err(|error| qualify(error, struct_name))?;
        Ok(ptr::give_handle(Self { client, progress: ArcSwapOption::empty() }))
    }

    /// The client-wide callback, for a call that begins now.
    pub(super) fn progress(&self) -> Option<Arc<ClientProgress>> {
        self.progress.load_full()
    }
}

/// Names the field as the C caller knows it: `endpoint` becomes `options.endpoint`.
pub(super) fn qualify(error: Error, struct_name: &str) -> Error {
    error.with(|context| {
        if let Some(field) = context.field.as_mut().filter(|field| !field.contains('.')) {
            *field = format!("{struct_name}.{field}");
        }
    })
}

/// A limit in milliseconds, of which 0 means "none" or "default".
pub(super) fn milliseconds(value: u32) -> Option<Duration> {
    (value != 0).then(|| Duration::from_millis(value.into()))
}

/// A number from 1 to `most`, of which 0 means "default".
fn bounded(value: u32, most: u32, field: &str) -> Result<Option<u32>> {
    if value > most {
        return Err(Error::invalid(field, format!("is {value}, but must be at most {most}")));
    }
    Ok((value != 0).then_some(value))
}

/// Copies a string that goes into an HTTP header. The error doesn't show it: it may be a token.
///
/// # Safety
/// As for [`ptr::text`].
unsafe fn header_text(pointer: *const c_char, field: &str) -> Result<Option<String>> {
    // SAFETY: the caller's promise is the same.
    let text = unsafe { ptr::optional_text(pointer, field) }?;
    if text.as_ref().is_some_and(|text| !text.bytes().all(|b| b == b' ' || b.is_ascii_graphic())) {
        return Err(Error::invalid(field, "holds characters other than printable ASCII"));
    }
    Ok(text)
}

impl XetConfig {
    /// # Safety
    /// The pointers are as for [`ptr::text`].
    unsafe fn to_options(self) -> Result<ClientOptions> {
        // SAFETY: the caller's promise is the same.
        unsafe {
            Ok(ClientOptions {
                endpoint: ptr::optional_text(self.endpoint, "config.endpoint")?,
                token: header_text(self.token, "config.token")?,
                cache_dir: ptr::optional_text(self.cache_dir, "config.cache_dir")?
                    .map(PathBuf::from),
                // This struct has always accepted any number.
                max_concurrent_downloads: bounded(
                    self.max_concurrent_downloads.min(MAX_CONCURRENT_DOWNLOADS),
                    MAX_CONCURRENT_DOWNLOADS,
                    "config.max_concurrent_downloads",
                )?,
                ..ClientOptions::default()
            })
        }
    }
}

impl XetClientOptions {
    /// # Safety
    /// The pointers are as for [`ptr::text`].
    unsafe fn to_options(self) -> Result<ClientOptions> {
        let known = XET_CLIENT_ANONYMOUS | XET_CLIENT_OFFLINE;
        check_flags(self.flags, known, "options.flags")?;
        let anonymous = self.flags & XET_CLIENT_ANONYMOUS != 0;
        // SAFETY: the caller's promise is the same.
        let options = unsafe {
            ClientOptions {
                endpoint: ptr::optional_text(self.endpoint, "options.endpoint")?,
                token: header_text(self.token, "options.token")?,
                anonymous,
                cache_dir: ptr::optional_text(self.cache_dir, "options.cache_dir")?
                    .map(PathBuf::from),
                max_concurrent_downloads: bounded(
                    self.max_concurrent_downloads,
                    MAX_CONCURRENT_DOWNLOADS,
                    "options.max_concurrent_downloads",
                )?,
                user_agent: header_text(self.user_agent, "options.user_agent")?,
                offline: self.flags & XET_CLIENT_OFFLINE != 0,
                connect_timeout: milliseconds(self.connect_timeout_ms),
                read_timeout: milliseconds(self.read_timeout_ms),
                max_attempts: bounded(self.max_attempts, MAX_ATTEMPTS, "options.max_attempts")?,
            }
        };
        if anonymous && options.token.is_some() {
            return Err(Error::invalid("options.token", "excludes XET_CLIENT_ANONYMOUS"));
        }
        Ok(options)
    }
}

#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn xet_client_new(config: *const XetConfig) -> *mut XetClient {
    let made = guard::catch("xet_client_new", || {
        let options = if config.is_null() {
            ClientOptions::default()
        } else {
            // SAFETY: `xet.h` asks for NULL or a filled struct.
            unsafe { config.read().to_options() }?
        };
        XetClient::give(&options, "config")
    });
    guard::infallible("xet_client_new", null_mut(), || {
        log::deliver();
        error::set_last(made.as_ref().err());
        made.unwrap_or(null_mut())
    })
}

#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn xet_client_create(
    options: *const XetClientOptions,
    out_client: *mut *mut XetClient,
) -> *mut XetError {
    guard::fallible("xet_client_create", || {
        // SAFETY: `xet.h` asks for pointers that are NULL or valid, and for strings that are NUL-terminated.
        let (out, options) = unsafe {
            let out = ptr::Out::new(out_client, "out_client")?;
            let options = versioned::read(options, "options")?;
            (out, options.unwrap_or_else(versioned::default).to_options()?)
        };
        out.write(XetClient::give(&options, "options")?);
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn xet_client_free(client: *mut XetClient) {
    guard::infallible("xet_client_free", (), || {
        // SAFETY: `xet.h` asks for NULL or a client that isn't freed twice, and that no call begins on afterwards.
        unsafe { ptr::release_handle(client) }
    });
}

#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn xet_client_set_progress_callback(
    client: *mut XetClient,
    callback: Option<XetProgressCallback>,
    user_data: *mut c_void,
    throttle_ms: u32,
) -> *mut XetError {
    guard::fallible("xet_client_set_progress_callback", || {
        // SAFETY: `xet.h` asks for NULL or a client that isn't freed.
        let client = unsafe { ptr::share_handle(client, "client") }?;
        client.progress.store(callback.map(|callback| {
            let interval = callbacks::interval(throttle_ms);
            Arc::new(ClientProgress { callback, user_data, interval })
        }));
        Ok(())
    })
}
