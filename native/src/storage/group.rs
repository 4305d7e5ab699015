//! Groups: files on their way out of a storage, or into it.

use std::ffi::{c_char, c_void};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::XetStorage;
use super::report::XetGroupReport;
use crate::client::milliseconds;
use crate::progress::{CallObserver, XetCallbacks};
use crate::ptr::{self, Shared};
use crate::versioned;
use xet_ffi_core::call::Owned;
use xet_ffi_core::model::error::{Error, Result};
use xet_ffi_core::storage::{
    Download, Group, GroupKind, NewUpload, UploadSha256, UploadSource, content_hash,
};
use xet_ffi_core::upload::{BorrowGuard, Borrowed};

pub(crate) const XET_GROUP_DOWNLOADS: u32 = 1;
pub(crate) const XET_GROUP_UPLOADS: u32 = 2;

pub(crate) const XET_SHA256_COMPUTED: u32 = 0;
pub(crate) const XET_SHA256_GIVEN: u32 = 1;
pub(crate) const XET_SHA256_NONE: u32 = 2;

c_struct! {
    versions { 7: timeout_ms }
    struct XetGroupOptions {
        struct_size: u32,
        kind: u32,
        timeout_ms: u32,
    }
}

c_struct! {
    versions { 7: size }
    struct XetGroupDownload {
        struct_size: u32,
        flags: u32,
        hash: *const c_char,
        path: *const c_char,
        size: u64,
    }
}

c_struct! {
    versions { 7: name }
    struct XetGroupUpload {
        struct_size: u32,
        sha256_from: u32,
        sha256: *const c_char,
        path: *const c_char,
        data: *const c_void,
        data_len: usize,
        name: *const c_char,
    }
}

/// What the caller holds: a group, and the storage that it's of.
pub(crate) struct XetGroup {
    group: Group,
    storage: Arc<XetStorage>,
    /// Memory of the caller's, until the group is freed. A forked child leaves it alone: a thread that isn't there may
    /// hold one of its locks, and nobody reads it there.
    loans: Owned<Mutex<Vec<BorrowGuard>>>,
}

impl Shared for XetGroup {}

impl XetGroup {
    /// `None`: they are another process's.
    fn loans(&self) -> Option<MutexGuard<'_, Vec<BorrowGuard>>> {
        // Each change leaves it whole.
        self.loans.get().map(|loans| loans.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The eyes and the brake of one wait.
    ///
    /// # Safety
    /// As for [`CallObserver::from_callbacks`].
    unsafe fn observer(&self, callbacks: *const XetCallbacks) -> Result<CallObserver> {
        // SAFETY: the caller's promise is the same.
        let observer = unsafe { CallObserver::from_callbacks(callbacks)? };
        Ok(observer.with_tokens(self.storage.tokens))
    }
}

impl XetGroupDownload {
    /// # Safety
    /// The strings are as for [`ptr::text`].
    unsafe fn to_download(self) -> Result<Download> {
        versioned::check_flags(self.flags, 0, "download.flags")?;
        // SAFETY: the caller's promise is the same.
        let (hash, path) = unsafe {
            (
                ptr::required_text(self.hash, "download.hash")?,
                ptr::optional_path(self.path, "download.path")?,
            )
        };
        let path = path.ok_or_else(|| Error::invalid("download.path", "is NULL or empty"))?;
        let hash = content_hash("download.hash", &hash)?;
        Ok(Download { hash, size: (self.size != 0).then_some(self.size), path })
    }
}

impl XetGroupUpload {
    /// # Safety
    /// The strings are as for [`ptr::text`]; `data` is NULL or `data_len` bytes that stay as they are until the loan
    /// ends.
    unsafe fn to_upload(self) -> Result<(NewUpload, Option<BorrowGuard>)> {
        // SAFETY: the caller's promise is the same.
        let (digits, path, name) = unsafe {
            (
                ptr::optional_text(self.sha256, "upload.sha256")?,
                ptr::optional_path(self.path, "upload.path")?,
                ptr::text(self.name, "upload.name")?,
            )
        };
        let sha256 = match (self.sha256_from, digits) {
            (XET_SHA256_GIVEN, Some(digits)) => UploadSha256::given("upload.sha256", &digits)?,
            (XET_SHA256_GIVEN, None) => {
                return Err(Error::invalid("upload.sha256", "is NULL or empty"));
            }
            (_, Some(_)) => {
                let problem = "is given, but upload.sha256_from isn't XET_SHA256_GIVEN";
                return Err(Error::invalid("upload.sha256", problem));
            }
            (XET_SHA256_COMPUTED, None) => UploadSha256::Computed,
            (XET_SHA256_NONE, None) => UploadSha256::None,
            (other, None) => {
                let problem = format!("{other} is none of XET_SHA256_*");
                return Err(Error::invalid("upload.sha256_from", problem));
            }
        };
        let shown = path.as_ref().map(|path| path.display().to_string());
        let name = name.or(shown).unwrap_or_default();
        let (source, loan) = match (path, self.data.is_null()) {
            (Some(path), true) => (UploadSource::Path(path), None),
            (Some(_), false) => {
                return Err(Error::invalid("upload.data", "is given, and upload.path, too"));
            }
            (None, true) if self.data_len > 0 => {
                let problem = format!("is NULL, but data_len is {}", self.data_len);
                return Err(Error::invalid("upload.data", problem));
            }
            (None, true) => (UploadSource::Stream, None),
            (None, false) => {
                if isize::try_from(self.data_len).is_err() {
                    return Err(Error::invalid("upload.data_len", "is no length of anything"));
                }
                // SAFETY: the caller's promise; and the loan is dropped when the group is freed.
                let (lent, loan) = unsafe { Borrowed::borrow(self.data.cast(), self.data_len) };
                (UploadSource::Memory(lent), Some(loan))
            }
        };
        Ok((NewUpload { name, source, sha256 }, loan))
    }
}

entry! {
    fn xet_storage_begin_group(
        storage: *mut XetStorage,
        options: *const XetGroupOptions,
        out_group: *mut *mut XetGroup,
    ) -> Result {
        // SAFETY: `xet.h` asks for pointers that are NULL or valid.
        let (storage, out, options) = unsafe {
            let storage = ptr::share_handle(storage, "storage")?;
            let out = ptr::Out::new(out_group, "out_group")?;
            (storage, out, versioned::read_required(options, "options")?)
        };
        let kind = match options.kind {
            XET_GROUP_DOWNLOADS => GroupKind::Downloads,
            XET_GROUP_UPLOADS => GroupKind::Uploads,
            other => {
                let problem = format!("{other} is none of XET_GROUP_*");
                return Err(Error::invalid("options.kind", problem));
            }
        };
        let group = storage.storage.begin_group(kind, milliseconds(options.timeout_ms))?;
        out.write(ptr::give_handle(XetGroup { group, storage, loans: Owned::new(Mutex::default()) }));
        Ok(())
    }
}

entry! {
    fn xet_group_add_download(
        group: *mut XetGroup,
        download: *const XetGroupDownload,
        out_task: *mut u64,
    ) -> Result {
        // SAFETY: `xet.h` asks for pointers that are NULL or valid, and for strings that are
        // NUL-terminated.
        let (group, out, download) = unsafe {
            let group = ptr::share_handle(group, "group")?;
            let out = ptr::OutNumber::new(out_task, "out_task")?;
            let download = versioned::read_required(download, "download")?.to_download()?;
            (group, out, download)
        };
        out.write(group.group.add_download(&download)?);
        Ok(())
    }
}

entry! {
    fn xet_group_add_upload(
        group: *mut XetGroup,
        upload: *const XetGroupUpload,
        out_task: *mut u64,
    ) -> Result {
        // SAFETY: `xet.h` asks for pointers that are NULL or valid, for strings that are
        // NUL-terminated, and for data that stays as it is until the group is freed.
        let (group, out, (upload, loan)) = unsafe {
            let group = ptr::share_handle(group, "group")?;
            let out = ptr::OutNumber::new(out_task, "out_task")?;
            (group, out, versioned::read_required(upload, "upload")?.to_upload()?)
        };
        // Before anybody reads. In a forked child nobody does.
        if let Some(mut loans) = group.loans() {
            loans.extend(loan);
        }
        out.write(group.group.add_upload(upload)?);
        Ok(())
    }
}

entry! {
    fn xet_group_write(
        group: *mut XetGroup,
        task: u64,
        data: *const c_void,
        data_len: usize,
    ) -> Result {
        // SAFETY: `xet.h` asks for NULL or a group that isn't freed.
        let group = unsafe { ptr::share_handle(group, "group")? };
        if data.is_null() && data_len > 0 {
            return Err(Error::invalid("data", format!("is NULL, but data_len is {data_len}")));
        }
        if isize::try_from(data_len).is_err() {
            return Err(Error::invalid("data_len", "is no length of anything"));
        }
        // SAFETY: `xet.h` asks for as many bytes, which are read before this function returns.
        let data = if data_len == 0 { &[] } else { unsafe { std::slice::from_raw_parts(data.cast(), data_len) } };
        group.group.write(task, data)
    }
}

entry! {
    fn xet_group_end_stream(group: *mut XetGroup, task: u64) -> Result {
        // SAFETY: `xet.h` asks for NULL or a group that isn't freed.
        let group = unsafe { ptr::share_handle(group, "group")? };
        group.group.end_stream(task)
    }
}

entry! {
    fn xet_group_close(group: *mut XetGroup) -> Result {
        // SAFETY: `xet.h` asks for NULL or a group that isn't freed.
        let group = unsafe { ptr::share_handle(group, "group")? };
        group.group.close()
    }
}

entry! {
    fn xet_group_report(group: *mut XetGroup, out_report: *mut *mut XetGroupReport) -> Result {
        // SAFETY: `xet.h` asks for pointers that are NULL or valid.
        let (group, out) = unsafe {
            (ptr::share_handle(group, "group")?, ptr::Out::new(out_report, "out_report")?)
        };
        out.write(XetGroupReport::of(&group.group.report()?));
        Ok(())
    }
}

entry! {
    fn xet_group_wait(
        group: *mut XetGroup,
        callbacks: *const XetCallbacks,
        out_report: *mut *mut XetGroupReport,
    ) -> Result {
        // SAFETY: `xet.h` asks for pointers that are NULL or valid, and for callbacks that may be
        // called until this function returns.
        let (group, out, mut observer) = unsafe {
            let group = ptr::share_handle(group, "group")?;
            let observer = group.observer(callbacks)?;
            (group, ptr::Out::new(out_report, "out_report")?, observer)
        };
        out.write(XetGroupReport::of(&group.group.wait(&mut observer)?));
        Ok(())
    }
}

entry! {
    fn xet_group_serve(group: *mut XetGroup, callbacks: *const XetCallbacks) -> Result {
        // SAFETY: `xet.h` asks for pointers that are NULL or valid, and for callbacks that may be
        // called until this function returns.
        let (group, mut observer) = unsafe {
            let group = ptr::share_handle(group, "group")?;
            let observer = group.observer(callbacks)?;
            (group, observer)
        };
        group.group.serve(&mut observer)
    }
}

entry! {
    fn xet_group_wait_task(
        group: *mut XetGroup,
        task: u64,
        callbacks: *const XetCallbacks,
        out_report: *mut *mut XetGroupReport,
    ) -> Result {
        // SAFETY: `xet.h` asks for pointers that are NULL or valid, and for callbacks that may be
        // called until this function returns.
        let (group, out, mut observer) = unsafe {
            let group = ptr::share_handle(group, "group")?;
            let observer = group.observer(callbacks)?;
            (group, ptr::Out::new(out_report, "out_report")?, observer)
        };
        out.write(XetGroupReport::of(&group.group.wait_task(task, &mut observer)?));
        Ok(())
    }
}

entry! {
    fn xet_group_cancel(group: *mut XetGroup, task: u64) -> Result {
        // SAFETY: `xet.h` asks for NULL or a group that isn't freed.
        let group = unsafe { ptr::share_handle(group, "group")? };
        group.group.cancel((task != 0).then_some(task))
    }
}

entry! {
    fn xet_group_free(group: *mut XetGroup) -> () = () {
        // SAFETY: `xet.h` asks for NULL or a group that isn't freed twice, and that no call begins on
        // afterwards.
        unsafe {
            if let Ok(group) = ptr::share_handle(group, "group") {
                // Calls that are still inside have the group, but not the caller's memory. A child of a fork has
                // neither.
                let _ = group.group.cancel(None);
                if let Some(mut loans) = group.loans() {
                    loans.clear();
                }
            }
            ptr::release_handle(group);
        }
    }
}
