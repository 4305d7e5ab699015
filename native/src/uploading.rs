//! Section "uploading" of `xet.h`.

pub(crate) mod operations;
pub(crate) mod streams;

use std::ffi::c_char;
use std::path::PathBuf;
use std::ptr::null;

use self::operations::XetOperation;
pub(crate) use self::streams::Stream;
use super::client::{XetClient, XetDeadlines, deadlines, milliseconds, qualify};
use super::list::Texts;
use super::listing::repo_and_revision;
use super::progress::{CallObserver, XetCallbacks, struct_size};
use super::ptr::{self, Given};
use super::versioned::{self, check_flags};
use xet_ffi_core::hub::Visibility;
use xet_ffi_core::model::error::{Error, Result};
use xet_ffi_core::model::pattern::PatternSet;
use xet_ffi_core::upload::{
    CommitOptions, CommitReport, CommitRequest, CreateRepoRequest, FolderRequest, ParentId,
    RepoReport, place,
};

pub(crate) const XET_COMMIT_CREATE_PR: u32 = 1;

pub(crate) const XET_CREATE_REPO_EXIST_OK: u32 = 1;
pub(crate) const XET_CREATE_REPO_PRIVATE: u32 = 2;
pub(crate) const XET_CREATE_REPO_PUBLIC: u32 = 4;

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

impl Given for XetCommitReport {
    type Storage = Texts;
}

impl XetCommitReport {
    /// Gives the report to the caller, who owes an [`xet_commit_report_free`].
    fn of(report: &CommitReport) -> *mut Self {
        let mut texts = Texts::default();
        let public = Self {
            struct_size: struct_size::<Self>(),
            commits: report.commits,
            commit: texts.keep(report.commit.as_str()),
            commit_url: texts.keep(&report.commit_url),
            pull_request_url: texts.keep_optional(report.pull_request_url.as_deref()),
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
        public.give(texts)
    }
}

impl Given for XetRepoReport {
    type Storage = Texts;
}

impl XetRepoReport {
    /// Gives the report to the caller, who owes an [`xet_repo_report_free`].
    fn of(report: &RepoReport) -> *mut Self {
        let mut texts = Texts::default();
        let public = Self {
            struct_size: struct_size::<Self>(),
            repo_id: texts.keep(&report.id),
            url: texts.keep(&report.url),
        };
        public.give(texts)
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

entry! {
    fn xet_client_create_commit(
        client: *mut XetClient,
        options: *const XetCommitOptions,
        callbacks: *const XetCallbacks,
        out_report: *mut *mut XetCommitReport,
    ) -> Result {
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
        out.write(XetCommitReport::of(&report?));
        Ok(())
    }
}

entry! {
    fn xet_client_upload_folder(
        client: *mut XetClient,
        options: *const XetUploadFolderOptions,
        callbacks: *const XetCallbacks,
        out_report: *mut *mut XetCommitReport,
    ) -> Result {
        // SAFETY: `xet.h` asks for pointers that are NULL or valid, for strings that are
        // NUL-terminated, and for callbacks that may be called until this function returns.
        let (client, out, request, mut observer) = unsafe {
            let client = ptr::share_handle(client, "client")?;
            let out = ptr::Out::new(out_report, "out_report")?;
            let request = versioned::read_required(options, "options")?.to_request()?;
            (client, out, request, CallObserver::from_callbacks(callbacks)?)
        };
        let report = client.client.upload_folder(request, &mut observer)?;
        out.write(XetCommitReport::of(&report));
        Ok(())
    }
}

release! {
    fn xet_commit_report_free(report: XetCommitReport)
}

entry! {
    fn xet_client_create_repo(
        client: *mut XetClient,
        options: *const XetCreateRepoOptions,
        callbacks: *const XetCallbacks,
        out_report: *mut *mut XetRepoReport,
    ) -> Result {
        // SAFETY: `xet.h` asks for pointers that are NULL or valid, for strings that are
        // NUL-terminated, and for callbacks that may be called until this function returns.
        let (client, out, request, mut observer) = unsafe {
            let client = ptr::share_handle(client, "client")?;
            let out = ptr::Out::new(out_report, "out_report")?;
            let request = versioned::read_required(options, "options")?.to_request()?;
            (client, out, request, CallObserver::from_callbacks(callbacks)?)
        };
        out.write(XetRepoReport::of(&client.client.create_repo(&request, &mut observer)?));
        Ok(())
    }
}

release! {
    fn xet_repo_report_free(report: XetRepoReport)
}
