//! Section "listing" of `xet.h`.

use std::ffi::c_char;
use std::ptr::null;

use super::client::{XetClient, XetDeadlines, deadlines, milliseconds, qualify};
use super::list::{List, Texts};
use super::progress::{CallObserver, XetCallbacks, struct_size};
use super::ptr::{self, Given};
use super::versioned;
use xet_ffi_core::client::request::ListRequest;
use xet_ffi_core::model::error::{Error, Result};
use xet_ffi_core::model::repo::{Listed, Listing, Repo, RepoType, Revision, Storage};

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

impl Given for XetEntryList {
    type Storage = (List<XetEntry>, Texts);
}

impl XetEntryList {
    /// Gives the list to the caller, who owes an [`xet_entry_list_free`].
    fn of(listing: &Listing) -> *mut Self {
        let mut texts = Texts::default();
        let commit = texts.keep(listing.commit.as_str());
        let entries = listing.entries.iter().map(|entry| XetEntry::new(entry, &mut texts));
        let entries: List<_> = entries.collect();
        let public = Self {
            struct_size: struct_size::<Self>(),
            entries: entries.pointers(),
            count: entries.len(),
            commit,
        };
        public.give((entries, texts))
    }
}

impl XetEntry {
    fn new(entry: &Listed, texts: &mut Texts) -> Self {
        let (kind, sha256, xet_hash) = match &entry.storage {
            Storage::Git => (XET_FILE_KIND_GIT, null(), null()),
            Storage::Lfs { sha256 } => (XET_FILE_KIND_LFS, texts.keep(sha256), null()),
            Storage::Xet { sha256, hash } => {
                (XET_FILE_KIND_XET, texts.keep(sha256), texts.keep(&hash.hex()))
            }
            Storage::XetAlone { digits, .. } => (XET_FILE_KIND_XET, null(), texts.keep(digits)),
        };
        Self {
            struct_size: struct_size::<Self>(),
            kind,
            size: entry.size,
            path: texts.keep(&entry.path),
            oid: texts.keep(&entry.oid),
            sha256,
            xet_hash,
        }
    }
}

entry! {
    fn xet_client_list_files(
        client: *mut XetClient,
        options: *const XetListOptions,
        callbacks: *const XetCallbacks,
        out_list: *mut *mut XetEntryList,
    ) -> Result {
        // SAFETY: `xet.h` asks for pointers that are NULL or valid, for strings that are
        // NUL-terminated, and for callbacks that may be called until this function returns.
        let (client, out, request, mut observer) = unsafe {
            let client = ptr::share_handle(client, "client")?;
            let out = ptr::Out::new(out_list, "out_list")?;
            let request = versioned::read_required(options, "options")?.to_request()?;
            (client, out, request, CallObserver::from_callbacks(callbacks)?)
        };
        out.write(XetEntryList::of(&client.client.list_files(&request, &mut observer)?));
        Ok(())
    }
}

entry! {
    fn xet_client_resolve(
        client: *mut XetClient,
        options: *const XetListOptions,
        callbacks: *const XetCallbacks,
        out_commit: *mut *mut c_char,
    ) -> Result {
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
    }
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

release! {
    fn xet_entry_list_free(list: XetEntryList)
}
