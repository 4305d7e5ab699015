//! Section "downloading" of `xet.h`.

use std::ffi::c_char;
use std::path::Path;

use super::client::{XetClient, XetDeadlines, deadlines, milliseconds, qualify};
use super::list::{List, Texts};
use super::listing::repo_and_revision;
use super::progress::{CallObserver, XetCallbacks, struct_size};
use super::ptr::{self, Given};
use super::versioned::{self, check_flags};
use xet_ffi_core::call::file_transfer::{FileTransfer, PublishedHash};
use xet_ffi_core::download::request::{DownloadRequest, Report, Selection};
use xet_ffi_core::model::error::{Error, Kind, Result};
use xet_ffi_core::model::pattern::PatternSet;
use xet_ffi_core::model::repo::RepoPath;

c_struct! {
    versions { 2: deadlines }
    struct XetDownloadOptions {
        struct_size: u32,
        flags: u32,
        repo_id: *const c_char,
        repo_type: *const c_char,
        revision: *const c_char,
        filename: *const c_char,
        local_dir: *const c_char,
        allow_patterns: *const *const c_char,
        allow_patterns_len: usize,
        ignore_patterns: *const *const c_char,
        ignore_patterns_len: usize,
        timeout_ms: u32,
        deadlines: *const XetDeadlines,
    }
}

pub(crate) const XET_DOWNLOAD_LOCAL_FILES_ONLY: u32 = 1;
pub(crate) const XET_DOWNLOAD_FORCE: u32 = 2;

pub(crate) const XET_HASH_NONE: u32 = 0;
pub(crate) const XET_HASH_GIT_BLOB: u32 = 1;
pub(crate) const XET_HASH_SHA256: u32 = 2;
pub(crate) const XET_HASH_XET: u32 = 3;

c_struct! {
    struct XetFileTransfer {
        struct_size: u32,
        way: u32,
        path: *const c_char,
        bytes_total: u64,
        bytes_network: u64,
        bytes_reused: u64,
        retries: u32,
        fallbacks: u32,
        local_path: *const c_char,
        hash: *const c_char,
        hash_kind: u32,
        verified: u32,
        bytes_shared: u64,
    }
}

c_struct! {
    struct XetTransfer {
        struct_size: u32,
        files: u32,
        path: *const c_char,
        commit: *const c_char,
        bytes_total: u64,
        bytes_network: u64,
        bytes_reused: u64,
        retries: u32,
        fallbacks: u32,
        seconds: f64,
        file_transfers: *const *const XetFileTransfer,
        stalls: u32,
        refreshes: u32,
        refetches: u32,
        sources_dropped: u32,
        bytes_shared: u64,
        tier_errors: u64,
    }
}

impl Given for XetTransfer {
    type Storage = (List<XetFileTransfer>, Texts);
}

impl XetTransfer {
    /// Gives the report to the caller, who owes an [`xet_transfer_free`].
    fn of(report: &Report) -> Result<*mut Self> {
        let mut texts = Texts::default();
        let files = report.file_transfers.iter();
        let files: List<_> =
            files.map(|file| XetFileTransfer::new(file, &mut texts)).collect::<Result<_>>()?;
        let public = Self {
            struct_size: struct_size::<Self>(),
            // Callers walk the array by it, so it is counted there.
            files: u32::try_from(files.len()).map_err(Error::internal)?,
            path: texts.keep(utf8(&report.path)?),
            commit: texts.keep(report.commit.as_str()),
            bytes_total: report.bytes_total,
            bytes_network: report.bytes_network,
            bytes_reused: report.bytes_reused,
            retries: report.retries,
            fallbacks: report.fallbacks,
            seconds: report.duration.as_secs_f64(),
            file_transfers: files.pointers(),
            stalls: report.stalls,
            refreshes: report.refreshes,
            refetches: report.refetches,
            sources_dropped: report.sources_dropped,
            bytes_shared: report.bytes_shared,
            tier_errors: report.tier_errors.into(),
        };
        Ok(public.give((files, texts)))
    }
}

impl XetFileTransfer {
    fn new(file: &FileTransfer, texts: &mut Texts) -> Result<Self> {
        Ok(Self {
            struct_size: struct_size::<Self>(),
            way: file.way as u32,
            path: texts.keep(&file.path),
            bytes_total: file.bytes_total,
            bytes_network: file.bytes_network,
            bytes_reused: file.bytes_reused,
            retries: file.retries,
            fallbacks: file.fallbacks,
            local_path: texts.keep(utf8(&file.local_path)?),
            hash: texts.keep_optional(file.hash.as_ref().map(PublishedHash::digits)),
            hash_kind: match file.hash {
                None => XET_HASH_NONE,
                Some(PublishedHash::GitBlob(_)) => XET_HASH_GIT_BLOB,
                Some(PublishedHash::Sha256(_)) => XET_HASH_SHA256,
                Some(PublishedHash::Xet(_)) => XET_HASH_XET,
            },
            verified: file.verified.into(),
            bytes_shared: file.bytes_shared,
        })
    }
}

/// A path as text. It can only fail where `HF_HOME` or the like brought in a path that isn't UTF-8,
/// which this interface can't express; a changed path would name another file.
pub(crate) fn utf8(path: &Path) -> Result<&str> {
    path.to_str().ok_or_else(|| {
        let shown = path.display();
        Error::new(Kind::InvalidArgument, format!("cache_dir: the path {shown} is not valid UTF-8"))
            .with(|context| context.field = Some("cache_dir".into()))
    })
}

impl XetDownloadOptions {
    /// # Safety
    /// The pointers are as for [`ptr::text`], [`ptr::texts`] and [`deadlines`].
    pub(crate) unsafe fn to_request(self) -> Result<DownloadRequest> {
        let known = XET_DOWNLOAD_LOCAL_FILES_ONLY | XET_DOWNLOAD_FORCE;
        check_flags(self.flags, known, "options.flags")?;
        // SAFETY: the caller's promise is the same.
        let ((repo, revision), local_dir, selection, deadlines) = unsafe {
            (
                repo_and_revision(self.repo_id, self.repo_type, self.revision, Some("options"))?,
                ptr::optional_path(self.local_dir, "options.local_dir")?,
                self.selection()?,
                deadlines(self.deadlines)?,
            )
        };
        Ok(DownloadRequest {
            repo,
            revision,
            selection,
            local_dir,
            local_files_only: self.flags & XET_DOWNLOAD_LOCAL_FILES_ONLY != 0,
            force: self.flags & XET_DOWNLOAD_FORCE != 0,
            timeout: milliseconds(self.timeout_ms),
            deadlines,
        })
    }

    /// # Safety
    /// As for [`to_request`](Self::to_request).
    unsafe fn selection(&self) -> Result<Selection> {
        // SAFETY: the caller's promise is the same.
        let (filename, allow, ignore) = unsafe {
            (
                ptr::text(self.filename, "options.filename")?,
                ptr::texts(self.allow_patterns, self.allow_patterns_len, "options.allow_patterns")?,
                ptr::texts(
                    self.ignore_patterns,
                    self.ignore_patterns_len,
                    "options.ignore_patterns",
                )?,
            )
        };
        let Some(filename) = filename else {
            let patterns = PatternSet::new(allow.as_deref(), &ignore.unwrap_or_default());
            return Ok(Selection::Snapshot(patterns.map_err(|e| qualify(e, "options"))?));
        };
        for (patterns, field) in
            [(allow, "options.allow_patterns"), (ignore, "options.ignore_patterns")]
        {
            if patterns.is_some() {
                return Err(Error::invalid(field, "is for snapshots, but options.filename is set"));
            }
        }
        repo_path(&filename, "options.filename").map(Selection::File)
    }
}

/// Validates the path of a file that the caller asks for, and names the field if it isn't one.
pub(crate) fn repo_path(path: &str, field: &str) -> Result<RepoPath> {
    RepoPath::new(path).map_err(|error| {
        let message = format!("{field}: {}", error.message());
        Error::new(error.kind(), message).with(|context| {
            context.field = Some(field.to_owned());
            context.file.clone_from(&error.context().file);
        })
    })
}

entry! {
    fn xet_client_download(
        client: *mut XetClient,
        options: *const XetDownloadOptions,
        callbacks: *const XetCallbacks,
        out_transfer: *mut *mut XetTransfer,
    ) -> Result {
        // SAFETY: `xet.h` asks for pointers that are NULL or valid, for strings that are
        // NUL-terminated, and for callbacks that may be called until this function returns.
        let (client, out, request, mut observer) = unsafe {
            let client = ptr::share_handle(client, "client")?;
            let out = ptr::Out::new(out_transfer, "out_transfer")?;
            let request = versioned::read_required(options, "options")?.to_request()?;
            (client, out, request, CallObserver::from_callbacks(callbacks)?)
        };
        out.write(XetTransfer::of(&client.client.download(&request, &mut observer)?)?);
        Ok(())
    }
}

release! {
    fn xet_transfer_free(transfer: XetTransfer)
}
