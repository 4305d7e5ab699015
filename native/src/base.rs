//! Section "for existing callers" of `xet.h`: the first interface, each function of which is a few lines
//! over what the others do.

use std::cell::RefCell;
use std::ffi::{c_char, c_void};
use std::path::PathBuf;
use std::ptr::{null, null_mut};
use std::sync::Arc;
use std::time::Duration;

use super::client::{XetClient, number};
use super::downloading::{repo_path, utf8};
use super::errors::XetError;
use super::list::{List, Texts};
use super::listing::repo_and_revision;
use super::progress::{self, CallObserver, Listener, XetCancellationCallback};
use super::ptr::{self, Given};
use super::{guard, logs};
use xet_ffi_core::call::progress::Progress;
use xet_ffi_core::client::request::ListRequest;
use xet_ffi_core::config::options::{ClientOptions, DeadlineOptions};
use xet_ffi_core::download::request::{DownloadRequest, Selection};
use xet_ffi_core::model::error::{Error, Result};
use xet_ffi_core::model::pattern::PatternSet;
use xet_ffi_core::model::repo::{Listing, Repo, Revision};

pub(crate) type XetProgressCallback =
    unsafe extern "C" fn(update: *const XetProgressUpdate, user_data: *mut c_void);

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
    struct XetFileInfo {
        path: *mut c_char,
        hash: *mut c_char,
        size: u64,
    }
}

c_struct! {
    struct XetFileList {
        files: *mut XetFileInfo,
        count: usize,
    }
}

c_struct! {
    struct XetDownloadRequest {
        repo_id: *const c_char,
        repo_type: *const c_char,
        revision: *const c_char,
        filename: *const c_char,
        local_dir: *const c_char,
    }
}

c_struct! {
    /// In the header since the first version; no function takes it yet.
    #[cfg_attr(not(test), expect(dead_code, reason = "declared for its layout"))]
    struct XetSnapshotRequest {
        repo_id: *const c_char,
        repo_type: *const c_char,
        revision: *const c_char,
        local_dir: *const c_char,
        allow_patterns: *mut *const c_char,
        allow_patterns_len: usize,
        ignore_patterns: *mut *const c_char,
        ignore_patterns_len: usize,
    }
}

entry! {
    fn xet_version_1_0_0() -> () = () {}
}

/// Most files in flight at a time.
const MAX_CONCURRENT_DOWNLOADS: u32 = 256;

impl XetConfig {
    /// # Safety
    /// The pointers are as for [`ptr::text`].
    unsafe fn to_options(self) -> Result<ClientOptions> {
        // SAFETY: the caller's promise is the same.
        let (endpoint, token, cache_dir) = unsafe {
            (
                ptr::optional_text(self.endpoint, "config.endpoint")?,
                ptr::optional_text(self.token, "config.token")?,
                ptr::optional_path(self.cache_dir, "config.cache_dir")?,
            )
        };
        // Without an error to return, this struct accepts any number.
        let downloads = self.max_concurrent_downloads.min(MAX_CONCURRENT_DOWNLOADS);
        Ok(ClientOptions {
            endpoint,
            token,
            cache_dir,
            max_concurrent_downloads: number(downloads),
            ..ClientOptions::default()
        })
    }
}

entry! {
    fn xet_client_new(config: *const XetConfig) -> *mut XetClient = (null_mut()) {
        let made = guard::catch("xet_client_new", || {
            let options = if config.is_null() {
                ClientOptions::default()
            } else {
                // SAFETY: `xet.h` asks for NULL or a filled struct.
                unsafe { config.read().to_options() }?
            };
            XetClient::make(&options, "config")
        });
        logs::deliver();
        set_last(made.as_ref().err());
        made.unwrap_or(null_mut())
    }
}

/// A [`XetError`] that the library keeps.
struct Kept(*mut XetError);

impl Drop for Kept {
    fn drop(&mut self) {
        // SAFETY: it came from XetError::of, and nobody else frees it.
        unsafe { ptr::take(self.0) }
    }
}

thread_local! {
    /// What [`xet_last_error`] shows.
    static LAST_ERROR: RefCell<Option<Kept>> = const { RefCell::new(None) };
}

/// Sets or clears what [`xet_last_error`] shows on this thread.
fn set_last(error: Option<&Error>) {
    let kept = error.map(|error| Kept(XetError::of(error)));
    // A thread that is already ending has no last error any more, and nobody who could ask for it.
    let _ = LAST_ERROR.try_with(|last| last.replace(kept));
}

entry! {
    fn xet_last_error() -> *const XetError = (null()) {
        let last =
            LAST_ERROR.try_with(|last| last.borrow().as_ref().map(|kept| kept.0.cast_const()));
        last.ok().flatten().unwrap_or(null())
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

impl ClientProgress {
    fn tell(&self, progress: &Progress, file: *const c_char) {
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
        // SAFETY: `xet.h` lets the callback be called until the call returns that reports; struct
        // and string live until the callback returns.
        unsafe { (self.callback)(&raw const update, self.user_data) }
    }
}

/// The callbacks of a call: its client's, and its own token (NULL: none).
///
/// # Safety
/// `token` is NULL or points at a token; and both callbacks may be called on this thread until the
/// call returns.
pub(crate) unsafe fn observer(
    progress: Option<Arc<ClientProgress>>,
    token: *const XetCancellationToken,
) -> CallObserver {
    let token = if token.is_null() {
        None
    } else {
        // SAFETY: not NULL, so the caller promises a token.
        Some(unsafe { token.read() })
    };
    let interval = progress.as_ref().map_or(progress::DEFAULT_INTERVAL, |all| all.interval);
    let listener = progress
        .map(|all| -> Listener { Box::new(move |progress, file| all.tell(progress, file)) });
    let cancel = token.and_then(|token| Some((token.callback?, token.user_data)));
    CallObserver::new(listener, interval, cancel)
}

entry! {
    fn xet_client_set_progress_callback(
        client: *mut XetClient,
        callback: Option<XetProgressCallback>,
        user_data: *mut c_void,
        throttle_ms: u32,
    ) -> Result {
        // SAFETY: `xet.h` asks for NULL or a client that isn't freed.
        let client = unsafe { ptr::share_handle(client, "client") }?;
        client.progress.store(callback.map(|callback| {
            let interval = progress::interval(throttle_ms);
            Arc::new(ClientProgress { callback, user_data, interval })
        }));
        Ok(())
    }
}

impl Given for XetFileList {
    type Storage = (List<XetFileInfo>, Texts);
}

impl XetFileList {
    /// Gives the list to the caller, who owes an [`xet_free_file_list`].
    fn of(listing: &Listing) -> *mut Self {
        let mut texts = Texts::default();
        let files = listing.entries.iter().map(|entry| XetFileInfo {
            path: texts.keep(&entry.path).cast_mut(),
            hash: texts.keep(&entry.oid).cast_mut(),
            size: entry.size,
        });
        let mut files: List<_> = files.collect();
        let public = Self { files: files.structs(), count: files.len() };
        public.give((files, texts))
    }
}

entry! {
    fn xet_list_files(
        client: *mut XetClient,
        repo_id: *const c_char,
        revision: *const c_char,
        out_files: *mut *mut XetFileList,
    ) -> Result {
        // SAFETY: `xet.h` asks for pointers that are NULL or valid, and for strings that are
        // NUL-terminated.
        let (client, out, (repo, revision)) = unsafe {
            (
                ptr::share_handle(client, "client")?,
                ptr::Out::new(out_files, "out_files")?,
                repo_and_revision(repo_id, null(), revision, None)?,
            )
        };
        // SAFETY: there are no callbacks.
        let mut observer = unsafe { observer(None, null()) };
        let request =
            ListRequest { repo, revision, timeout: None, deadlines: DeadlineOptions::default() };
        out.write(XetFileList::of(&client.client.list_files(&request, &mut observer)?));
        Ok(())
    }
}

release! {
    fn xet_free_file_list(list: XetFileList)
}

entry! {
    fn xet_download_file(
        client: *mut XetClient,
        request: *const XetDownloadRequest,
        cancel_token: *const XetCancellationToken,
        out_path: *mut *mut c_char,
    ) -> Result {
        if request.is_null() {
            return Err(Error::invalid("request", "is NULL, but a value is required"));
        }
        // SAFETY: `xet.h` asks for pointers that are NULL or valid, and for strings that are
        // NUL-terminated.
        let (repo, revision, filename, local_dir) = unsafe {
            let request = request.read();
            let (repo, revision) = repo_and_revision(
                request.repo_id,
                request.repo_type,
                request.revision,
                Some("request"),
            )?;
            let filename = ptr::required_text(request.filename, "request.filename")?;
            let local_dir = ptr::optional_path(request.local_dir, "request.local_dir")?;
            (repo, revision, repo_path(&filename, "request.filename")?, local_dir)
        };
        let request = plain_request(repo, revision, Selection::File(filename), local_dir);
        // SAFETY: as above; and the callbacks may be called until this function returns.
        unsafe { download_for_base(client, &request, cancel_token, out_path) }
    }
}

entry! {
    fn xet_download_snapshot(
        client: *mut XetClient,
        repo_id: *const c_char,
        repo_type: *const c_char,
        revision: *const c_char,
        local_dir: *const c_char,
        cancel_token: *const XetCancellationToken,
        out_path: *mut *mut c_char,
    ) -> Result {
        // SAFETY: `xet.h` asks for pointers that are NULL or valid, and for strings that are
        // NUL-terminated.
        let ((repo, revision), local_dir) = unsafe {
            (
                repo_and_revision(repo_id, repo_type, revision, None)?,
                ptr::optional_path(local_dir, "local_dir")?,
            )
        };
        let all = Selection::Snapshot(PatternSet::new(None, &[])?);
        let request = plain_request(repo, revision, all, local_dir);
        // SAFETY: as above; and the callbacks may be called until this function returns.
        unsafe { download_for_base(client, &request, cancel_token, out_path) }
    }
}

/// All that these two functions can ask for; the rest is "default".
fn plain_request(
    repo: Repo,
    revision: Revision,
    selection: Selection,
    local_dir: Option<PathBuf>,
) -> DownloadRequest {
    DownloadRequest {
        repo,
        revision,
        selection,
        local_dir,
        local_files_only: false,
        force: false,
        timeout: None,
        deadlines: DeadlineOptions::default(),
    }
}

/// What these two functions have in common.
///
/// # Safety
/// As for [`ptr::share_handle`], [`ptr::Out::new`] and [`observer`].
unsafe fn download_for_base(
    client: *mut XetClient,
    request: &DownloadRequest,
    cancel_token: *const XetCancellationToken,
    out_path: *mut *mut c_char,
) -> Result<()> {
    // SAFETY: the caller's promise is the same.
    let (client, out) =
        unsafe { (ptr::share_handle(client, "client")?, ptr::Out::new(out_path, "out_path")?) };
    let progress = client.progress.load_full();
    // SAFETY: as above.
    let mut observer = unsafe { observer(progress, cancel_token) };
    let report = client.client.download(request, &mut observer)?;
    out.write(ptr::give_string(utf8(&report.path)?));
    Ok(())
}
