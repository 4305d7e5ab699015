//! Section "storage" of `xet.h`.

pub(crate) mod group;
pub(crate) mod hash;
pub(crate) mod report;
pub(crate) mod stream;
pub(crate) mod tokens;

use std::ffi::{c_char, c_void};

use self::tokens::{TokenCallback, XetTokenCallback};
use super::client::{XetClient, XetDeadlines, deadlines, milliseconds};
use super::headers::{XetHeader, headers};
use super::progress::{CallObserver, XetCallbacks};
use super::ptr::{self, Shared};
use super::versioned;
use xet_ffi_core::config::Token;
use xet_ffi_core::model::error::{Error, Result};
use xet_ffi_core::storage::{GivenToken, Storage, StorageOptions};

c_struct! {
    versions { 7: deadlines }
    struct XetStorageOptions {
        struct_size: u32,
        timeout_ms: u32,
        endpoint: *const c_char,
        token: *const c_char,
        token_expires: u64,
        refresh_url: *const c_char,
        refresh_headers: *const XetHeader,
        refresh_headers_len: usize,
        token_callback: Option<XetTokenCallback>,
        token_user_data: *mut c_void,
        headers: *const XetHeader,
        headers_len: usize,
        deadlines: *const XetDeadlines,
    }
}

/// What the caller holds: a storage, and whom it asks for tokens.
pub(crate) struct XetStorage {
    pub(crate) storage: Storage,
    pub(crate) tokens: Option<TokenCallback>,
}

impl Shared for XetStorage {}

impl XetStorageOptions {
    /// # Safety
    /// The pointers are as for [`ptr::text`], [`headers`] and [`deadlines`].
    unsafe fn to_options(self) -> Result<StorageOptions> {
        // SAFETY: the caller's promise is the same.
        let (endpoint, token, refresh_url, refresh_headers, extra, deadlines) = unsafe {
            let name = "options.refresh_headers";
            (
                ptr::optional_text(self.endpoint, "options.endpoint")?,
                ptr::optional_text(self.token, "options.token")?,
                ptr::optional_text(self.refresh_url, "options.refresh_url")?,
                headers(self.refresh_headers, self.refresh_headers_len, name)?,
                headers(self.headers, self.headers_len, "options.headers")?,
                deadlines(self.deadlines)?,
            )
        };
        if refresh_url.is_none() && !refresh_headers.is_empty() {
            let problem = "are given, but options.refresh_url isn't";
            return Err(Error::invalid("options.refresh_headers", problem));
        }
        let expires = (self.token_expires != 0).then_some(self.token_expires);
        let token = token.map(|token| {
            Token::new("options.token", token.trim()).map(|token| GivenToken { token, expires })
        });
        Ok(StorageOptions {
            endpoint,
            token: token.transpose()?,
            refresh: refresh_url.map(|url| (url, refresh_headers)),
            asks_caller: self.token_callback.is_some(),
            headers: extra,
            timeout: milliseconds(self.timeout_ms),
            deadlines,
        })
    }
}

entry! {
    fn xet_client_open_storage(
        client: *mut XetClient,
        options: *const XetStorageOptions,
        callbacks: *const XetCallbacks,
        out_storage: *mut *mut XetStorage,
    ) -> Result {
        // SAFETY: `xet.h` asks for pointers that are NULL or valid, for strings that are
        // NUL-terminated, for callbacks that may be called until this function returns, and for a
        // token callback that may be called while work of the storage is waited for.
        let (client, out, options, tokens, mut observer) = unsafe {
            let client = ptr::share_handle(client, "client")?;
            let out = ptr::Out::new(out_storage, "out_storage")?;
            let raw = versioned::read_required(options, "options")?;
            let tokens = raw.token_callback.map(|call| TokenCallback::new(call, raw.token_user_data));
            let observer = CallObserver::from_callbacks(callbacks)?.with_tokens(tokens);
            (client, out, raw.to_options()?, tokens, observer)
        };
        let storage = client.client.open_storage(&options, &mut observer)?;
        out.write(ptr::give_handle(XetStorage { storage, tokens }));
        Ok(())
    }
}

entry! {
    fn xet_storage_free(storage: *mut XetStorage) -> () = () {
        // SAFETY: `xet.h` asks for NULL or a storage that isn't freed twice, and that no call begins
        // on afterwards.
        unsafe { ptr::release_handle(storage) }
    }
}
