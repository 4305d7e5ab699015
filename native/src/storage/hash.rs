//! The Xet hashes of files, without a storage.

use std::ffi::c_char;

use crate::client::{XetClient, XetDeadlines, deadlines, milliseconds};
use crate::list::{List, Texts};
use crate::progress::{CallObserver, XetCallbacks, struct_size};
use crate::ptr::{self, Given};
use crate::versioned;
use xet_ffi_core::client::request::MaintenanceLimits;
use xet_ffi_core::config::Environment;
use xet_ffi_core::model::error::{Error, Result};
use xet_ffi_core::storage::HashedFile;

c_struct! {
    versions { 7: deadlines }
    struct XetHashOptions {
        struct_size: u32,
        timeout_ms: u32,
        paths: *const *const c_char,
        paths_len: usize,
        deadlines: *const XetDeadlines,
    }
}

c_struct! {
    struct XetContent {
        struct_size: u32,
        hash: *const c_char,
        size: u64,
    }
}

c_struct! {
    struct XetContentList {
        struct_size: u32,
        contents: *const *const XetContent,
        count: usize,
    }
}

impl Given for XetContentList {
    type Storage = (List<XetContent>, Texts);
}

impl XetContentList {
    /// Gives the list to the caller, who owes an [`xet_content_list_free`].
    fn of(files: &[HashedFile]) -> *mut Self {
        let mut texts = Texts::default();
        let content = |file: &HashedFile| XetContent {
            struct_size: struct_size::<XetContent>(),
            hash: texts.keep(&file.hash),
            size: file.size,
        };
        let contents: List<_> = files.iter().map(content).collect();
        let public = Self {
            struct_size: struct_size::<Self>(),
            contents: contents.pointers(),
            count: contents.len(),
        };
        public.give((contents, texts))
    }
}

entry! {
    fn xet_client_hash_files(
        client: *mut XetClient,
        options: *const XetHashOptions,
        callbacks: *const XetCallbacks,
        out_list: *mut *mut XetContentList,
    ) -> Result {
        // SAFETY: `xet.h` asks for pointers that are NULL or valid, for strings that are
        // NUL-terminated, and for callbacks that may be called until this function returns.
        let (client, out, paths, limits, mut observer) = unsafe {
            let client = ptr::share_handle(client, "client")?;
            let out = ptr::Out::new(out_list, "out_list")?;
            let raw = versioned::read_required(options, "options")?;
            let paths = ptr::texts(raw.paths, raw.paths_len, "options.paths")?;
            let limits = MaintenanceLimits {
                timeout: milliseconds(raw.timeout_ms),
                deadlines: deadlines(raw.deadlines)?,
            };
            (client, out, paths, limits, CallObserver::from_callbacks(callbacks)?)
        };
        let paths = paths.unwrap_or_default();
        let user_path = |(index, path): (usize, &String)| {
            let field = format!("options.paths[{index}]");
            if path.is_empty() {
                return Err(Error::invalid(field, "is empty"));
            }
            Environment::process().user_path(&field, path)
        };
        let paths = paths.iter().enumerate().map(user_path).collect::<Result<_>>()?;
        let hashed = client.client.hash_files(paths, &limits, &mut observer)?;
        out.write(XetContentList::of(&hashed));
        Ok(())
    }
}

release! {
    fn xet_content_list_free(list: XetContentList)
}
