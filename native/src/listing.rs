//! Section "listing" of `xet.h`.

use std::ffi::{CString, c_char};
use std::ptr::{null, null_mut};

use super::client::{XetClient, XetDeadlines, deadlines, milliseconds, qualify};
use super::errors::XetError;
use super::progress::{CallObserver, XetCallbacks, struct_size};
use super::versioned;
use super::{guard, ptr};
use xet_ffi_core::client::request::ListRequest;
use xet_ffi_core::config::options::DeadlineOptions;
use xet_ffi_core::model::error::{Error, Result};
use xet_ffi_core::model::repo::{Entry, Listing, Repo, RepoType, Revision, Storage};

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
    struct XetEntry {
        struct_size: u32,
        kind: u32,
        size: u64,
        path: *const c_char,
        oid: *const c_char,
        sha256: *const c_char,
        xet_hash: *const c_char,
    }
}

c_struct! {
    struct XetEntryList {
        struct_size: u32,
        entries: *const *const XetEntry,
        count: usize,
        commit: *const c_char,
    }
}

c_struct! {
    versions { 2: deadlines }
    struct XetListOptions {
        struct_size: u32,
        timeout_ms: u32,
        repo_id: *const c_char,
        repo_type: *const c_char,
        revision: *const c_char,
        deadlines: *const XetDeadlines,
    }
}

pub(crate) const XET_FILE_KIND_GIT: u32 = 0;
pub(crate) const XET_FILE_KIND_LFS: u32 = 1;
pub(crate) const XET_FILE_KIND_XET: u32 = 2;

/// Copies and validates the three strings that name what a call is about. `prefix` stands before
/// the fields' names in errors: `options.`, or nothing for plain arguments.
///
/// # Safety
/// The pointers are as for [`ptr::text`].
pub(crate) unsafe fn repo_and_revision(
    repo_id: *const c_char,
    repo_type: *const c_char,
    revision: *const c_char,
    struct_name: Option<&str>,
) -> Result<(Repo, Revision)> {
    let name = |field: &str| struct_name.map_or(field.to_owned(), |s| format!("{s}.{field}"));
    // SAFETY: the caller's promise is the same.
    let (id, repo_type, revision) = unsafe {
        (
            ptr::required_text(repo_id, &name("repo_id"))?,
            ptr::optional_text(repo_type, &name("repo_type"))?,
            ptr::optional_text(revision, &name("revision"))?,
        )
    };
    let validated = || {
        let repo_type = repo_type.as_deref().map_or(Ok(RepoType::Model), RepoType::parse)?;
        Ok((Repo::new(repo_type, &id)?, Revision::new(revision.as_deref().unwrap_or_default())?))
    };
    validated().map_err(|error: Error| match struct_name {
        Some(struct_name) => qualify(error, struct_name),
        None => error,
    })
}

/// What a [`XetFileList`] points at.
struct FileStorage {
    files: Vec<XetFileInfo>,
    _texts: Vec<CString>,
}

impl XetFileList {
    /// Gives the list to the caller, who owes an [`xet_free_file_list`].
    fn give(listing: &Listing) -> *mut Self {
        let mut texts = Texts::with_capacity(2 * listing.entries.len());
        let files = listing.entries.iter().map(|entry| XetFileInfo {
            path: texts.keep(entry.path.as_str()).cast_mut(),
            hash: texts.keep(&entry.oid).cast_mut(),
            size: entry.size,
        });
        let mut storage = FileStorage { files: files.collect(), _texts: texts.0 };
        let count = storage.files.len();
        let files = if count == 0 { null_mut() } else { storage.files.as_mut_ptr() };
        ptr::Owned::give(Self { files, count }, storage)
    }
}

/// What a [`XetEntryList`] points at.
struct EntryStorage {
    pointers: Vec<*const XetEntry>,
    _entries: Vec<XetEntry>,
    _texts: Vec<CString>,
}

impl XetEntryList {
    /// Gives the list to the caller, who owes an [`xet_entry_list_free`].
    fn give(listing: &Listing) -> *mut Self {
        let mut texts = Texts::with_capacity(4 * listing.entries.len() + 1);
        let commit = texts.keep(listing.commit.as_str());
        let entries: Vec<_> =
            listing.entries.iter().map(|entry| XetEntry::new(entry, &mut texts)).collect();
        // Pointers, so that XetEntry can grow without moving its neighbours for older callers.
        let pointers = entries.iter().map(std::ptr::from_ref).collect();
        let storage = EntryStorage { pointers, _entries: entries, _texts: texts.0 };
        let count = storage.pointers.len();
        let public = Self {
            struct_size: struct_size::<Self>(),
            entries: if count == 0 { null() } else { storage.pointers.as_ptr() },
            count,
            commit,
        };
        ptr::Owned::give(public, storage)
    }
}

impl XetEntry {
    fn new(entry: &Entry, texts: &mut Texts) -> Self {
        let (kind, sha256, xet_hash) = match &entry.storage {
            Storage::Git => (XET_FILE_KIND_GIT, null(), null()),
            Storage::Lfs { sha256 } => (XET_FILE_KIND_LFS, texts.keep(sha256), null()),
            Storage::Xet { sha256, hash } => {
                (XET_FILE_KIND_XET, texts.keep(sha256), texts.keep(&hash.hex()))
            }
        };
        Self {
            struct_size: struct_size::<Self>(),
            kind,
            size: entry.size,
            path: texts.keep(entry.path.as_str()),
            oid: texts.keep(&entry.oid),
            sha256,
            xet_hash,
        }
    }
}

/// Strings that live as long as the list that points at them.
pub(crate) struct Texts(Vec<CString>);

impl Texts {
    pub(crate) fn with_capacity(count: usize) -> Self {
        Self(Vec::with_capacity(count))
    }

    /// Keeps a copy of `text`, whose address doesn't change when the vector grows.
    pub(crate) fn keep(&mut self, text: &str) -> *const c_char {
        let text = ptr::c_string(text);
        let pointer = text.as_ptr();
        self.0.push(text);
        pointer
    }
}

#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn xet_list_files(
    client: *mut XetClient,
    repo_id: *const c_char,
    revision: *const c_char,
    out_files: *mut *mut XetFileList,
) -> *mut XetError {
    guard::fallible("xet_list_files", || {
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
        let mut observer = unsafe { CallObserver::from_token(None, null()) };
        let request =
            ListRequest { repo, revision, timeout: None, deadlines: DeadlineOptions::default() };
        out.write(XetFileList::give(&client.client.list_files(&request, &mut observer)?));
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn xet_free_file_list(list: *mut XetFileList) {
    guard::infallible("xet_free_file_list", (), || {
        // SAFETY: `xet.h` asks for NULL or a list that the library returned, freed once.
        unsafe { ptr::Owned::<XetFileList, FileStorage>::take(list) }
    });
}

#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn xet_client_list_files(
    client: *mut XetClient,
    options: *const XetListOptions,
    callbacks: *const XetCallbacks,
    out_list: *mut *mut XetEntryList,
) -> *mut XetError {
    guard::fallible("xet_client_list_files", || {
        // SAFETY: `xet.h` asks for pointers that are NULL or valid, for strings that are
        // NUL-terminated, and for callbacks that may be called until this function returns.
        let (client, out, request, mut observer) = unsafe {
            let client = ptr::share_handle(client, "client")?;
            let out = ptr::Out::new(out_list, "out_list")?;
            let request = versioned::read_required(options, "options")?.to_request()?;
            (client, out, request, CallObserver::from_callbacks(callbacks)?)
        };
        out.write(XetEntryList::give(&client.client.list_files(&request, &mut observer)?));
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn xet_client_resolve(
    client: *mut XetClient,
    options: *const XetListOptions,
    callbacks: *const XetCallbacks,
    out_commit: *mut *mut c_char,
) -> *mut XetError {
    guard::fallible("xet_client_resolve", || {
        // SAFETY: `xet.h` asks for pointers that are NULL or valid, for strings that are
        // NUL-terminated, and for callbacks that may be called until this function returns.
        let (client, out, request, mut observer) = unsafe {
            let client = ptr::share_handle(client, "client")?;
            let out = ptr::Out::new(out_commit, "out_commit")?;
            let request = versioned::read_required(options, "options")?.to_request()?;
            (client, out, request, CallObserver::from_callbacks(callbacks)?)
        };
        let commit = client.client.resolve(&request, &mut observer)?;
        out.write(ptr::give_string(commit.as_str()));
        Ok(())
    })
}

impl XetListOptions {
    /// # Safety
    /// The pointers are as for [`ptr::text`] and [`deadlines`].
    unsafe fn to_request(self) -> Result<ListRequest> {
        // SAFETY: the caller's promise is the same.
        let ((repo, revision), deadlines) = unsafe {
            (
                repo_and_revision(self.repo_id, self.repo_type, self.revision, Some("options"))?,
                deadlines(self.deadlines)?,
            )
        };
        Ok(ListRequest { repo, revision, timeout: milliseconds(self.timeout_ms), deadlines })
    }
}

#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn xet_entry_list_free(list: *mut XetEntryList) {
    guard::infallible("xet_entry_list_free", (), || {
        // SAFETY: `xet.h` asks for NULL or a list that the library returned, freed once.
        unsafe { ptr::Owned::<XetEntryList, EntryStorage>::take(list) }
    });
}
