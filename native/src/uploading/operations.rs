//! The operations of a commit: what the caller's structs come to.

use std::collections::HashMap;
use std::ffi::{c_char, c_void};

use super::options::{XetCommitOptions, rename};
use super::streams::{Stream, StreamKey, XetReadCallback};
use crate::{ptr, versioned};
use xet_ffi_core::model::error::{Error, Result};
use xet_ffi_core::model::repo::{RepoPath, Revision};
use xet_ffi_core::upload::{BorrowGuard, Borrowed, ContentSource, Operation, place};

pub(crate) const XET_OPERATION_ADD_PATH: u32 = 1;
pub(crate) const XET_OPERATION_ADD_BYTES: u32 = 2;
pub(crate) const XET_OPERATION_ADD_STREAM: u32 = 3;
pub(crate) const XET_OPERATION_DELETE: u32 = 4;
pub(crate) const XET_OPERATION_DELETE_FOLDER: u32 = 5;
pub(crate) const XET_OPERATION_COPY: u32 = 6;

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

/// The operations of a commit, and what they need from the caller during the call.
pub(crate) struct Operations {
    pub(crate) list: Vec<Operation>,
    pub(crate) streams: Vec<Stream>,
    /// Those, by what tells them apart.
    numbers: HashMap<StreamKey, usize>,
    pub(crate) loans: Vec<BorrowGuard>,
}

impl XetCommitOptions {
    /// # Safety
    /// `operations` is NULL or points at as many pointers as its length says, each as for
    /// [`XetOperation::add_to`].
    pub(crate) unsafe fn operations(&self) -> Result<Operations> {
        let field = "options.operations";
        if self.operations.is_null() {
            return Err(Error::invalid(field, "is NULL, but a value is required"));
        }
        if self.operations_len == 0 || self.operations_len > MAX_OPERATIONS {
            let problem = format!("is {}, not 1 to {MAX_OPERATIONS}", self.operations_len);
            return Err(Error::invalid("options.operations_len", problem));
        }
        let mut all = Operations {
            list: Vec::new(),
            streams: Vec::new(),
            numbers: HashMap::new(),
            loans: Vec::new(),
        };
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
                let local = unsafe { ptr::optional_path(self.local_path, &name)? };
                let local = local.ok_or_else(|| Error::invalid(name, "is NULL or empty"))?;
                Operation::Add { path, source: ContentSource::Path(local) }
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
                // SAFETY: the caller's promise; streams are dropped before the call returns.
                let stream = unsafe { Stream::new(read, self.user_data, path.to_string()) };
                // What one of two that are the same has read, the other wouldn't find.
                let next = all.streams.len();
                let number = *all.numbers.entry(stream.key()).or_insert(next);
                if number == next {
                    all.streams.push(stream);
                }
                Operation::Add { path, source: ContentSource::Stream(number) }
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

/// Copies the path of something in a repo.
///
/// # Safety
/// As for [`ptr::text`].
unsafe fn required_place(pointer: *const c_char, field: &str) -> Result<RepoPath> {
    // SAFETY: the caller's promise is the same.
    let text = unsafe { ptr::required_text(pointer, field)? };
    place(&text).map_err(|error| rename(&error, field))
}
