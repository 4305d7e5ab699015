//! Section "uploading" of `xet.h`.

use std::ffi::{CString, c_char, c_void};
use std::path::PathBuf;
use std::ptr::null;

use super::client::{XetClient, XetDeadlines, deadlines, milliseconds, qualify};
use super::errors::XetError;
use super::listing::repo_and_revision;
use super::progress::{CallObserver, Stream, XetCallbacks, XetReadCallback, struct_size};
use super::versioned::{self, check_flags};
use super::{guard, ptr};
use xet_ffi_core::hub::Visibility;
use xet_ffi_core::model::error::{Error, Result};
use xet_ffi_core::model::pattern::PatternSet;
use xet_ffi_core::model::repo::{RepoPath, Revision};
use xet_ffi_core::upload::{
    BorrowGuard, Borrowed, CommitOptions, CommitReport, CommitRequest, ContentSource,
    CreateRepoRequest, FolderRequest, Operation, ParentId, RepoReport, place,
};

pub(crate) const XET_OPERATION_ADD_PATH: u32 = 1;
pub(crate) const XET_OPERATION_ADD_BYTES: u32 = 2;
pub(crate) const XET_OPERATION_ADD_STREAM: u32 = 3;
pub(crate) const XET_OPERATION_DELETE: u32 = 4;
pub(crate) const XET_OPERATION_DELETE_FOLDER: u32 = 5;
pub(crate) const XET_OPERATION_COPY: u32 = 6;

pub(crate) const XET_COMMIT_CREATE_PR: u32 = 1;

pub(crate) const XET_CREATE_REPO_EXIST_OK: u32 = 1;
pub(crate) const XET_CREATE_REPO_PRIVATE: u32 = 2;
pub(crate) const XET_CREATE_REPO_PUBLIC: u32 = 4;

/// Most operations of one commit.
const MAX_OPERATIONS: usize = 100_000;

c_struct! {
    versions { 2: src_revision }
    struct XetOperation {
        struct_size: u32,
        kind: u32,
        path_in_repo: *const c_char,
        local_path: *const c_char,
        data: *const c_void,
        data_len: usize,
        read: Option<XetReadCallback>,
        user_data: *mut c_void,
        src_path: *const c_char,
        src_revision: *const c_char,
    }
}

c_struct! {
    versions { 2: deadlines }
    struct XetCommitOptions {
        struct_size: u32,
        flags: u32,
        repo_id: *const c_char,
        repo_type: *const c_char,
        revision: *const c_char,
        message: *const c_char,
        description: *const c_char,
        parent_commit: *const c_char,
        operations: *const *const XetOperation,
        operations_len: usize,
        timeout_ms: u32,
        deadlines: *const XetDeadlines,
    }
}

c_struct! {
    versions { 2: deadlines }
    struct XetUploadFolderOptions {
        struct_size: u32,
        flags: u32,
        repo_id: *const c_char,
        repo_type: *const c_char,
        revision: *const c_char,
        message: *const c_char,
        description: *const c_char,
        parent_commit: *const c_char,
        folder_path: *const c_char,
        path_in_repo: *const c_char,
        allow_patterns: *const *const c_char,
        allow_patterns_len: usize,
        ignore_patterns: *const *const c_char,
        ignore_patterns_len: usize,
        delete_patterns: *const *const c_char,
        delete_patterns_len: usize,
        timeout_ms: u32,
        deadlines: *const XetDeadlines,
    }
}

c_struct! {
    versions { 2: deadlines }
    struct XetCreateRepoOptions {
        struct_size: u32,
        flags: u32,
        repo_id: *const c_char,
        repo_type: *const c_char,
        space_sdk: *const c_char,
        timeout_ms: u32,
        deadlines: *const XetDeadlines,
    }
}

c_struct! {
    struct XetCommitReport {
        struct_size: u32,
        commits: u32,
        commit: *const c_char,
        commit_url: *const c_char,
        pull_request_url: *const c_char,
        files: u32,
        files_changed: u32,
        bytes_total: u64,
        bytes_new: u64,
        bytes_on_hub: u64,
        bytes_repeated: u64,
        bytes_sent: u64,
        xorbs: u32,
        retries: u32,
        seconds: f64,
    }
}

c_struct! {
    struct XetRepoReport {
        struct_size: u32,
        repo_id: *const c_char,
        url: *const c_char,
    }
}

/// The strings of a [`XetCommitReport`].
type CommitStorage = (CString, CString, Option<CString>);
/// The strings of a [`XetRepoReport`].
type RepoStorage = (CString, CString);

impl XetCommitReport {
    /// Gives the report to the caller, who owes an [`xet_commit_report_free`].
    fn give(report: &CommitReport) -> *mut Self {
        let storage: CommitStorage = (
            ptr::c_string(report.commit.as_str()),
            ptr::c_string(&report.commit_url),
            report.pull_request_url.as_deref().map(ptr::c_string),
        );
        let public = Self {
            struct_size: struct_size::<Self>(),
            commits: report.commits,
            commit: storage.0.as_ptr(),
            commit_url: storage.1.as_ptr(),
            pull_request_url: ptr::optional_pointer(storage.2.as_deref()),
            files: report.files,
            files_changed: report.files_changed,
            bytes_total: report.bytes_total,
            bytes_new: report.bytes_new,
            bytes_on_hub: report.bytes_on_hub,
            bytes_repeated: report.bytes_repeated,
            bytes_sent: report.bytes_sent,
            xorbs: report.xorbs,
            retries: report.retries,
            seconds: report.duration.as_secs_f64(),
        };
        ptr::Owned::give(public, storage)
    }
}

impl XetRepoReport {
    /// Gives the report to the caller, who owes an [`xet_repo_report_free`].
    fn give(report: &RepoReport) -> *mut Self {
        let storage: RepoStorage = (ptr::c_string(&report.id), ptr::c_string(&report.url));
        let public = Self {
            struct_size: struct_size::<Self>(),
            repo_id: storage.0.as_ptr(),
            url: storage.1.as_ptr(),
        };
        ptr::Owned::give(public, storage)
    }
}

/// What the two kinds of upload have in common.
struct Common {
    flags: u32,
    repo_id: *const c_char,
    repo_type: *const c_char,
    revision: *const c_char,
    message: *const c_char,
    description: *const c_char,
    parent_commit: *const c_char,
    timeout_ms: u32,
    deadlines: *const XetDeadlines,
}

impl Common {
    /// # Safety
    /// The pointers are as for [`ptr::text`] and [`deadlines`].
    unsafe fn to_options(&self) -> Result<CommitOptions> {
        check_flags(self.flags, XET_COMMIT_CREATE_PR, "options.flags")?;
        // SAFETY: the caller's promise is the same.
        let ((repo, revision), message, description, parent, deadlines) = unsafe {
            (
                repo_and_revision(self.repo_id, self.repo_type, self.revision, Some("options"))?,
                ptr::optional_text(self.message, "options.message")?,
                ptr::optional_text(self.description, "options.description")?,
                ptr::optional_text(self.parent_commit, "options.parent_commit")?,
                deadlines(self.deadlines)?,
            )
        };
        let parent = parent.as_deref().map(ParentId::new).transpose();
        Ok(CommitOptions {
            repo,
            revision,
            message,
            description: description.unwrap_or_default(),
            create_pr: self.flags & XET_COMMIT_CREATE_PR != 0,
            parent: parent.map_err(|error| qualify(error, "options"))?,
            timeout: milliseconds(self.timeout_ms),
            deadlines,
        })
    }
}

/// The operations of a commit, and what they need from the caller during the call.
struct Operations {
    list: Vec<Operation>,
    streams: Vec<Stream>,
    loans: Vec<BorrowGuard>,
}

impl XetCommitOptions {
    fn common(&self) -> Common {
        Common {
            flags: self.flags,
            repo_id: self.repo_id,
            repo_type: self.repo_type,
            revision: self.revision,
            message: self.message,
            description: self.description,
            parent_commit: self.parent_commit,
            timeout_ms: self.timeout_ms,
            deadlines: self.deadlines,
        }
    }

    /// # Safety
    /// `operations` is NULL or points at as many pointers as its length says, each as for
    /// [`XetOperation::add_to`].
    unsafe fn operations(&self) -> Result<Operations> {
        let field = "options.operations";
        if self.operations.is_null() {
            return Err(Error::invalid(field, "is NULL, but a value is required"));
        }
        if self.operations_len == 0 || self.operations_len > MAX_OPERATIONS {
            let problem = format!("is {}, not 1 to {MAX_OPERATIONS}", self.operations_len);
            return Err(Error::invalid("options.operations_len", problem));
        }
        let mut all = Operations { list: Vec::new(), streams: Vec::new(), loans: Vec::new() };
        for index in 0..self.operations_len {
            let name = format!("{field}[{index}]");
            // SAFETY: the caller promises `operations_len` pointers, and `index` is less.
            unsafe {
                let pointer = self.operations.add(index).read();
                versioned::read_required(pointer, &name)?.add_to(&mut all, &name)?;
            }
        }
        Ok(all)
    }
}

impl XetOperation {
    /// # Safety
    /// The pointers are as for [`ptr::text`]; `data` is NULL or `data_len` bytes that stay as they
    /// are until the loan ends; `read` may be called on this thread until the call returns.
    unsafe fn add_to(self, all: &mut Operations, name: &str) -> Result<()> {
        let field = |part: &str| format!("{name}.{part}");
        if !(XET_OPERATION_ADD_PATH..=XET_OPERATION_COPY).contains(&self.kind) {
            return Err(Error::invalid(field("kind"), format!("is {}, not a kind", self.kind)));
        }
        // SAFETY: the caller's promise is the same.
        let path = unsafe { required_place(self.path_in_repo, &field("path_in_repo"))? };
        let operation = match self.kind {
            XET_OPERATION_ADD_PATH => {
                let name = field("local_path");
                // SAFETY: the caller's promise is the same.
                let local = unsafe { ptr::optional_text(self.local_path, &name)? };
                let local = local.ok_or_else(|| Error::invalid(name, "is NULL or empty"))?;
                Operation::Add { path, source: ContentSource::Path(PathBuf::from(local)) }
            }
            XET_OPERATION_ADD_BYTES => {
                if self.data.is_null() && self.data_len > 0 {
                    let problem = format!("is NULL, but data_len is {}", self.data_len);
                    return Err(Error::invalid(field("data"), problem));
                }
                if isize::try_from(self.data_len).is_err() {
                    return Err(Error::invalid(field("data_len"), "is no length of anything"));
                }
                // SAFETY: the caller's promise; and the loan is dropped before the call returns.
                let (lent, loan) = unsafe { Borrowed::borrow(self.data.cast(), self.data_len) };
                all.loans.push(loan);
                Operation::Add { path, source: ContentSource::Memory(lent) }
            }
            XET_OPERATION_ADD_STREAM => {
                let read = self.read.ok_or_else(|| {
                    Error::invalid(field("read"), "is NULL, but a value is required")
                })?;
                let name = path.to_string();
                all.streams.push(Stream { read, user_data: self.user_data, path: name });
                Operation::Add { path, source: ContentSource::Stream(all.streams.len() - 1) }
            }
            XET_OPERATION_DELETE => Operation::Delete(path),
            XET_OPERATION_DELETE_FOLDER => Operation::DeleteFolder(path),
            // XET_OPERATION_COPY, the only one that is left.
            _ => {
                // SAFETY: the caller's promise is the same.
                let (from, revision) = unsafe {
                    (
                        required_place(self.src_path, &field("src_path"))?,
                        ptr::optional_text(self.src_revision, &field("src_revision"))?,
                    )
                };
                let revision = revision.as_deref().map(Revision::new).transpose();
                let from_revision =
                    revision.map_err(|error| rename(&error, &field("src_revision")))?;
                Operation::Copy { from, from_revision, to: path }
            }
        };
        all.list.push(operation);
        Ok(())
    }
}

/// The same error, about `field`.
fn rename(error: &Error, field: &str) -> Error {
    let message = format!("{field}: {}", error.message());
    let context = error.context().clone();
    Error::new(error.kind(), message).with(|new| {
        *new = context;
        new.field = Some(field.to_owned());
    })
}

/// Copies the path of something in a repo.
///
/// # Safety
/// As for [`ptr::text`].
unsafe fn required_place(pointer: *const c_char, field: &str) -> Result<RepoPath> {
    // SAFETY: the caller's promise is the same.
    let text = unsafe { ptr::required_text(pointer, field)? };
    place(&text).map_err(|error| rename(&error, field))
}

impl XetUploadFolderOptions {
    /// # Safety
    /// The pointers are as for [`ptr::text`] and [`ptr::texts`].
    unsafe fn to_request(self) -> Result<FolderRequest> {
        let common = Common {
            flags: self.flags,
            repo_id: self.repo_id,
            repo_type: self.repo_type,
            revision: self.revision,
            message: self.message,
            description: self.description,
            parent_commit: self.parent_commit,
            timeout_ms: self.timeout_ms,
            deadlines: self.deadlines,
        };
        let patterns = |array, length, field: &str| {
            // SAFETY: the caller's promise is the same.
            unsafe { ptr::texts(array, length, field) }
        };
        // SAFETY: the caller's promise is the same.
        let (options, folder, path_in_repo) = unsafe {
            (
                common.to_options()?,
                ptr::optional_text(self.folder_path, "options.folder_path")?,
                ptr::optional_text(self.path_in_repo, "options.path_in_repo")?,
            )
        };
        let folder =
            folder.ok_or_else(|| Error::invalid("options.folder_path", "is NULL or empty"))?;
        let root = |text: &String| !matches!(text.as_str(), "." | "./" | "/");
        let path_in_repo = path_in_repo.filter(root).map(|text| place(&text)).transpose();
        let allow =
            patterns(self.allow_patterns, self.allow_patterns_len, "options.allow_patterns")?;
        let ignore =
            patterns(self.ignore_patterns, self.ignore_patterns_len, "options.ignore_patterns")?;
        let delete =
            patterns(self.delete_patterns, self.delete_patterns_len, "options.delete_patterns")?;
        let taken = PatternSet::new(allow.as_deref(), &ignore.unwrap_or_default());
        let delete = delete.map(|list| PatternSet::new(Some(&list), &[])).transpose();
        Ok(FolderRequest {
            options,
            folder: PathBuf::from(folder),
            path_in_repo: path_in_repo.map_err(|error| rename(&error, "options.path_in_repo"))?,
            patterns: taken.map_err(|error| qualify(error, "options"))?,
            delete: delete.map_err(|error| rename(&error, "options.delete_patterns"))?,
        })
    }
}

impl XetCreateRepoOptions {
    /// # Safety
    /// The pointers are as for [`ptr::text`] and [`deadlines`].
    unsafe fn to_request(self) -> Result<CreateRepoRequest> {
        let known = XET_CREATE_REPO_EXIST_OK | XET_CREATE_REPO_PRIVATE | XET_CREATE_REPO_PUBLIC;
        check_flags(self.flags, known, "options.flags")?;
        let visibility = match (
            self.flags & XET_CREATE_REPO_PRIVATE != 0,
            self.flags & XET_CREATE_REPO_PUBLIC != 0,
        ) {
            (false, false) => Visibility::Default,
            (true, false) => Visibility::Private,
            (false, true) => Visibility::Public,
            (true, true) => {
                return Err(Error::invalid("options.flags", "say both private and public"));
            }
        };
        // SAFETY: the caller's promise is the same.
        let ((repo, _), space_sdk, deadlines) = unsafe {
            (
                repo_and_revision(self.repo_id, self.repo_type, null(), Some("options"))?,
                ptr::optional_text(self.space_sdk, "options.space_sdk")?,
                deadlines(self.deadlines)?,
            )
        };
        Ok(CreateRepoRequest {
            repo,
            visibility,
            exist_ok: self.flags & XET_CREATE_REPO_EXIST_OK != 0,
            space_sdk,
            timeout: milliseconds(self.timeout_ms),
            deadlines,
        })
    }
}

#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn xet_client_create_commit(
    client: *mut XetClient,
    options: *const XetCommitOptions,
    callbacks: *const XetCallbacks,
    out_report: *mut *mut XetCommitReport,
) -> *mut XetError {
    guard::fallible("xet_client_create_commit", || {
        // SAFETY: `xet.h` asks for pointers that are NULL or valid, for strings that are
        // NUL-terminated, for data that stays as it is and callbacks that may be called until this
        // function returns.
        let (client, out, options, all, observer) = unsafe {
            let client = ptr::share_handle(client, "client")?;
            let out = ptr::Out::new(out_report, "out_report")?;
            let raw = versioned::read_required(options, "options")?;
            let options = raw.common().to_options()?;
            (client, out, options, raw.operations()?, CallObserver::from_callbacks(callbacks)?)
        };
        let mut observer = observer.with_streams(all.streams);
        let request = CommitRequest { options, operations: all.list };
        let report = client.client.commit(request, &mut observer);
        // From here on nobody reads the caller's memory.
        drop(all.loans);
        out.write(XetCommitReport::give(&report?));
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn xet_client_upload_folder(
    client: *mut XetClient,
    options: *const XetUploadFolderOptions,
    callbacks: *const XetCallbacks,
    out_report: *mut *mut XetCommitReport,
) -> *mut XetError {
    guard::fallible("xet_client_upload_folder", || {
        // SAFETY: `xet.h` asks for pointers that are NULL or valid, for strings that are
        // NUL-terminated, and for callbacks that may be called until this function returns.
        let (client, out, request, mut observer) = unsafe {
            let client = ptr::share_handle(client, "client")?;
            let out = ptr::Out::new(out_report, "out_report")?;
            let request = versioned::read_required(options, "options")?.to_request()?;
            (client, out, request, CallObserver::from_callbacks(callbacks)?)
        };
        let report = client.client.upload_folder(request, &mut observer)?;
        out.write(XetCommitReport::give(&report));
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn xet_commit_report_free(report: *mut XetCommitReport) {
    guard::infallible("xet_commit_report_free", (), || {
        // SAFETY: `xet.h` asks for NULL or a report that the library returned, freed once.
        unsafe { ptr::Owned::<XetCommitReport, CommitStorage>::take(report) }
    });
}

#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn xet_client_create_repo(
    client: *mut XetClient,
    options: *const XetCreateRepoOptions,
    callbacks: *const XetCallbacks,
    out_report: *mut *mut XetRepoReport,
) -> *mut XetError {
    guard::fallible("xet_client_create_repo", || {
        // SAFETY: `xet.h` asks for pointers that are NULL or valid, for strings that are
        // NUL-terminated, and for callbacks that may be called until this function returns.
        let (client, out, request, mut observer) = unsafe {
            let client = ptr::share_handle(client, "client")?;
            let out = ptr::Out::new(out_report, "out_report")?;
            let request = versioned::read_required(options, "options")?.to_request()?;
            (client, out, request, CallObserver::from_callbacks(callbacks)?)
        };
        out.write(XetRepoReport::give(&client.client.create_repo(&request, &mut observer)?));
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn xet_repo_report_free(report: *mut XetRepoReport) {
    guard::infallible("xet_repo_report_free", (), || {
        // SAFETY: `xet.h` asks for NULL or a report that the library returned, freed once.
        unsafe { ptr::Owned::<XetRepoReport, RepoStorage>::take(report) }
    });
}
