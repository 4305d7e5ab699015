//! The options of an upload, and of a repo to create: what the caller's structs come to.

use std::ffi::c_char;
use std::ptr::null;

use super::operations::XetOperation;
use crate::client::{XetDeadlines, deadlines, milliseconds, qualify};
use crate::listing::repo_and_revision;
use crate::ptr;
use crate::versioned::check_flags;
use xet_ffi_core::hub::Visibility;
use xet_ffi_core::model::error::{Error, Result};
use xet_ffi_core::model::pattern::PatternSet;
use xet_ffi_core::model::repo::Revision;
use xet_ffi_core::upload::{
    CommitOptions, CreateBranchRequest, CreateRepoRequest, FolderRequest, ParentId, place,
};

pub(crate) const XET_COMMIT_CREATE_PR: u32 = 1;

pub(crate) const XET_CREATE_REPO_EXIST_OK: u32 = 1;
pub(crate) const XET_CREATE_REPO_PRIVATE: u32 = 2;
pub(crate) const XET_CREATE_REPO_PUBLIC: u32 = 4;

pub(crate) const XET_CREATE_BRANCH_EXIST_OK: u32 = 1;

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
    versions { 9: deadlines }
    struct XetCreateBranchOptions {
        struct_size: u32,
        flags: u32,
        repo_id: *const c_char,
        repo_type: *const c_char,
        branch: *const c_char,
        revision: *const c_char,
        timeout_ms: u32,
        deadlines: *const XetDeadlines,
    }
}

/// What the two kinds of upload have in common.
pub(crate) struct Common {
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
    pub(crate) unsafe fn to_options(&self) -> Result<CommitOptions> {
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
    pub(crate) fn common(&self) -> Common {
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
pub(crate) fn rename(error: &Error, field: &str) -> Error {
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
    pub(crate) unsafe fn to_request(self) -> Result<FolderRequest> {
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
                ptr::optional_path(self.folder_path, "options.folder_path")?,
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
            folder,
            path_in_repo: path_in_repo.map_err(|error| rename(&error, "options.path_in_repo"))?,
            patterns: taken.map_err(|error| qualify(error, "options"))?,
            delete: delete.map_err(|error| rename(&error, "options.delete_patterns"))?,
        })
    }
}

impl XetCreateRepoOptions {
    /// # Safety
    /// The pointers are as for [`ptr::text`] and [`deadlines`].
    pub(crate) unsafe fn to_request(self) -> Result<CreateRepoRequest> {
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

impl XetCreateBranchOptions {
    /// # Safety
    /// The pointers are as for [`ptr::text`] and [`deadlines`].
    pub(crate) unsafe fn to_request(self) -> Result<CreateBranchRequest> {
        check_flags(self.flags, XET_CREATE_BRANCH_EXIST_OK, "options.flags")?;
        // SAFETY: the caller's promise is the same.
        let ((repo, from), branch, deadlines) = unsafe {
            (
                repo_and_revision(self.repo_id, self.repo_type, self.revision, Some("options"))?,
                ptr::required_text(self.branch, "options.branch")?,
                deadlines(self.deadlines)?,
            )
        };
        if branch.is_empty() {
            return Err(Error::invalid("options.branch", "is empty"));
        }
        let branch = Revision::new(&branch).map_err(|_| {
            Error::invalid("options.branch", format!("{branch:?} can't be the name of a branch"))
        })?;
        Ok(CreateBranchRequest {
            repo,
            branch,
            from,
            exist_ok: self.flags & XET_CREATE_BRANCH_EXIST_OK != 0,
            timeout: milliseconds(self.timeout_ms),
            deadlines,
        })
    }
}
