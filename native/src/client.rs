//! Section "client" of `xet.h`.

use std::ffi::c_char;
use std::time::Duration;

use arc_swap::ArcSwapOption;

use super::base::ClientProgress;
use super::downloading::utf8;
use super::headers::{XetHeader, headers};
use super::list::Texts;
use super::progress::struct_size;
use super::ptr::{self, Given, Shared};
use super::versioned::{self, check_flags};
use super::{guard, logs};
use xet_ffi_core::client::Client;
use xet_ffi_core::config::options::{ClientOptions, DeadlineOptions};
use xet_ffi_core::config::{Config, Transport};
use xet_ffi_core::model::error::{Error, Result};

c_struct! {
    versions { 2: max_bytes_per_second, 9: headers_len, 12: shared_cache_secret }
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
        transport: u32,
        first_byte_timeout_ms: u32,
        min_speed: u32,
        max_bytes_per_second: u64,
        headers: *const XetHeader,
        headers_len: usize,
        shared_cache: *const c_char,
        shared_cache_secret: *const c_char,
    }
}

c_struct! {
    versions { 2: min_speed }
    struct XetDeadlines {
        struct_size: u32,
        connect_timeout_ms: u32,
        first_byte_timeout_ms: u32,
        read_timeout_ms: u32,
        min_speed: u32,
    }
}

c_struct! {
    struct XetClientInfo {
        struct_size: u32,
        flags: u32,
        endpoint: *const c_char,
        cache_dir: *const c_char,
        xet_cache_dir: *const c_char,
        token_source: *const c_char,
        transport: u32,
        max_concurrent_downloads: u32,
    }
}

impl Given for XetClientInfo {
    type Storage = Texts;
}

impl XetClientInfo {
    /// Gives the information to the caller, who owes an [`xet_client_info_free`].
    fn of(config: &Config) -> Result<*mut Self> {
        let mut texts = Texts::default();
        let flag = |holds, flag| if holds { flag } else { 0 };
        let public = Self {
            struct_size: struct_size::<Self>(),
            flags: flag(config.token.is_none(), XET_CLIENT_ANONYMOUS)
                | flag(config.offline, XET_CLIENT_OFFLINE),
            endpoint: texts.keep(config.endpoint.as_str()),
            cache_dir: texts.keep(utf8(&config.hub_cache)?),
            xet_cache_dir: texts.keep(utf8(&config.xet_cache)?),
            token_source: texts.keep(&config.token_source),
            transport: match config.transport {
                Transport::Auto => XET_TRANSPORT_AUTO,
                Transport::Xet => XET_TRANSPORT_XET,
                Transport::Http => XET_TRANSPORT_HTTP,
            },
            max_concurrent_downloads: config.max_concurrent_downloads,
        };
        Ok(public.give(texts))
    }
}

/// The deadlines that a call brings along.
///
/// # Safety
/// As for [`versioned::read`].
pub(crate) unsafe fn deadlines(given: *const XetDeadlines) -> Result<DeadlineOptions> {
    // SAFETY: the caller's promise is the same.
    let given = unsafe { versioned::read(given, "options.deadlines")? };
    Ok(given.map_or_else(DeadlineOptions::default, |given| DeadlineOptions {
        connect_timeout: milliseconds(given.connect_timeout_ms),
        first_byte_timeout: milliseconds(given.first_byte_timeout_ms),
        read_timeout: milliseconds(given.read_timeout_ms),
        min_speed: number(given.min_speed),
    }))
}

pub(crate) const XET_CLIENT_ANONYMOUS: u32 = 1;
pub(crate) const XET_CLIENT_OFFLINE: u32 = 2;

pub(crate) const XET_TRANSPORT_DEFAULT: u32 = 0;
pub(crate) const XET_TRANSPORT_AUTO: u32 = 1;
pub(crate) const XET_TRANSPORT_XET: u32 = 2;
pub(crate) const XET_TRANSPORT_HTTP: u32 = 3;

/// What the caller holds: a client, and what the base interface hangs on it.
pub(crate) struct XetClient {
    pub(crate) client: Client,
    /// Replaced without a lock, which a forked child could inherit locked.
    pub(crate) progress: ArcSwapOption<ClientProgress>,
}

impl Shared for XetClient {}

impl XetClient {
    /// Gives a new client to the caller, who owes an [`xet_client_free`].
    pub(crate) fn make(options: &ClientOptions, struct_name: &str) -> Result<*mut Self> {
        guard::keep_panics_off_stderr();
        logs::follow_environment();
        let client = Client::new(options).map_err(|error| qualify(error, struct_name))?;
        Ok(ptr::give_handle(Self { client, progress: ArcSwapOption::empty() }))
    }
}

/// The same error, with its field named as the C caller knows it: what safe code calls `repo_id` or
/// `options.endpoint` is a field of the struct `struct_name`. Environment variables keep their
/// names.
pub(crate) fn qualify(error: Error, struct_name: &str) -> Error {
    let Some(field) = error.context().field.clone() else { return error };
    let name = field.strip_prefix("options.").unwrap_or(&field);
    if name.starts_with(|first: char| first.is_ascii_uppercase()) {
        return error;
    }
    let qualified = format!("{struct_name}.{name}");
    let message = error.message().replacen(&field, &qualified, 1);
    let context = error.context().clone();
    Error::new(error.kind(), message).with(|new| {
        *new = context;
        new.field = Some(qualified);
    })
}

/// A limit in milliseconds, of which 0 means "none" or "default".
pub(crate) fn milliseconds(value: u32) -> Option<Duration> {
    (value != 0).then(|| Duration::from_millis(value.into()))
}

/// A number of which 0 means "default".
pub(crate) fn number(value: u32) -> Option<u32> {
    (value != 0).then_some(value)
}

fn transport(number: u32) -> Result<Option<Transport>> {
    match number {
        XET_TRANSPORT_DEFAULT => Ok(None),
        XET_TRANSPORT_AUTO => Ok(Some(Transport::Auto)),
        XET_TRANSPORT_XET => Ok(Some(Transport::Xet)),
        XET_TRANSPORT_HTTP => Ok(Some(Transport::Http)),
        other => {
            Err(Error::invalid("options.transport", format!("{other} is none of XET_TRANSPORT_*")))
        }
    }
}

impl XetClientOptions {
    /// # Safety
    /// The pointers are as for [`ptr::text`] and [`headers`].
    unsafe fn to_options(self) -> Result<ClientOptions> {
        let known = XET_CLIENT_ANONYMOUS | XET_CLIENT_OFFLINE;
        check_flags(self.flags, known, "options.flags")?;
        // SAFETY: the caller's promise is the same.
        let (endpoint, token, cache_dir, user_agent, headers, (shared_cache, shared_cache_secret)) = unsafe {
            (
                ptr::optional_text(self.endpoint, "options.endpoint")?,
                ptr::optional_text(self.token, "options.token")?,
                ptr::optional_path(self.cache_dir, "options.cache_dir")?,
                ptr::optional_text(self.user_agent, "options.user_agent")?,
                headers(self.headers, self.headers_len, "options.headers")?,
                (
                    ptr::optional_text(self.shared_cache, "options.shared_cache")?,
                    ptr::optional_text(self.shared_cache_secret, "options.shared_cache_secret")?,
                ),
            )
        };
        Ok(ClientOptions {
            endpoint,
            token,
            anonymous: self.flags & XET_CLIENT_ANONYMOUS != 0,
            cache_dir,
            max_concurrent_downloads: number(self.max_concurrent_downloads),
            user_agent,
            headers,
            offline: self.flags & XET_CLIENT_OFFLINE != 0,
            deadlines: DeadlineOptions {
                connect_timeout: milliseconds(self.connect_timeout_ms),
                first_byte_timeout: milliseconds(self.first_byte_timeout_ms),
                read_timeout: milliseconds(self.read_timeout_ms),
                min_speed: number(self.min_speed),
            },
            max_attempts: number(self.max_attempts),
            transport: transport(self.transport)?,
            max_bytes_per_second: Some(self.max_bytes_per_second).filter(|&speed| speed != 0),
            shared_cache,
            shared_cache_secret,
        })
    }
}

entry! {
    fn xet_client_create(
        options: *const XetClientOptions,
        out_client: *mut *mut XetClient,
    ) -> Result {
        // SAFETY: `xet.h` asks for pointers that are NULL or valid, and for strings that are
        // NUL-terminated.
        let (out, options) = unsafe {
            let out = ptr::Out::new(out_client, "out_client")?;
            let options = versioned::read(options, "options")?;
            (out, options.unwrap_or_else(versioned::default).to_options()?)
        };
        out.write(XetClient::make(&options, "options")?);
        Ok(())
    }
}

entry! {
    fn xet_client_free(client: *mut XetClient) -> () = () {
        // SAFETY: `xet.h` asks for NULL or a client that isn't freed twice, and that no call begins
        // on afterwards.
        unsafe { ptr::release_handle(client) }
    }
}

entry! {
    fn xet_client_info(
        client: *mut XetClient,
        out_info: *mut *mut XetClientInfo,
    ) -> Result {
        // SAFETY: `xet.h` asks for NULL or a client that isn't freed, and for an out-parameter.
        let (client, out) =
            unsafe { (ptr::share_handle(client, "client")?, ptr::Out::new(out_info, "out_info")?) };
        out.write(XetClientInfo::of(client.client.config())?);
        Ok(())
    }
}

release! {
    fn xet_client_info_free(info: XetClientInfo)
}
