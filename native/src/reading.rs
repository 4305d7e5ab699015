//! Section "reading" of `xet.h`.

use std::ffi::{c_char, c_void};
use std::ptr::NonNull;

use super::client::{XetClient, XetDeadlines, deadlines, milliseconds};
use super::downloading::repo_path;
use super::list::Texts;
use super::listing::repo_and_revision;
use super::progress::{CallObserver, XetCallbacks, struct_size};
use super::ptr::{self, Given, Shared};
use super::versioned::{self, check_flags};
use xet_ffi_core::client::open_file::{FileReport, OpenFile, OpenRequest, Part};
use xet_ffi_core::model::error::{Error, Result};

pub(crate) const XET_OPEN_LOCAL_FILES_ONLY: u32 = 1;
pub(crate) const XET_OPEN_REQUIRE_PROOF: u32 = 2;
pub(crate) const XET_OPEN_NO_READAHEAD: u32 = 4;

pub(crate) const XET_PROOF_NONE: u32 = 0;
pub(crate) const XET_PROOF_MERKLE: u32 = 1;
pub(crate) const XET_PROOF_CACHE: u32 = 2;

const _: () = {
    use xet_ffi_core::client::open_file::Proven;
    assert!(Proven::No as u32 == XET_PROOF_NONE);
    assert!(Proven::ByTree as u32 == XET_PROOF_MERKLE);
    assert!(Proven::ByCache as u32 == XET_PROOF_CACHE);
};

c_struct! {
    versions { 10: deadlines }
    struct XetOpenOptions {
        struct_size: u32,
        flags: u32,
        repo_id: *const c_char,
        repo_type: *const c_char,
        revision: *const c_char,
        filename: *const c_char,
        window_bytes: u64,
        timeout_ms: u32,
        deadlines: *const XetDeadlines,
    }
}

c_struct! {
    struct XetFileReport {
        struct_size: u32,
        kind: u32,
        size: u64,
        path: *const c_char,
        commit: *const c_char,
        etag: *const c_char,
        xet_hash: *const c_char,
        proof: u32,
        reads: u64,
        bytes_read: u64,
        bytes_network: u64,
        bytes_proof: u64,
        bytes_reused: u64,
        retries: u32,
        stalls: u32,
    }
}

c_struct! {
    versions { 10: timeout_ms }
    struct XetReadOptions {
        struct_size: u32,
        timeout_ms: u32,
    }
}

c_struct! {
    struct XetReadRange {
        offset: u64,
        len: usize,
        buffer: *mut c_void,
        filled: usize,
    }
}

/// The most ranges of one call.
const MOST_RANGES: usize = 4 << 20;

/// What the caller holds.
pub(crate) struct XetFile(OpenFile);

impl Shared for XetFile {}

impl Given for XetFileReport {
    type Storage = Texts;
}

impl XetFileReport {
    /// Gives the report to the caller, who owes an [`xet_file_report_free`].
    fn of(report: &FileReport) -> *mut Self {
        let mut texts = Texts::default();
        let few = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        let public = Self {
            struct_size: struct_size::<Self>(),
            kind: report.kind,
            size: report.size,
            path: texts.keep(&report.path),
            commit: texts.keep(&report.commit),
            etag: texts.keep(&report.etag),
            xet_hash: texts.keep_optional(report.xet_hash.as_deref()),
            proof: report.proof as u32,
            reads: report.reads,
            bytes_read: report.bytes_read,
            bytes_network: report.bytes_network,
            bytes_proof: report.bytes_proof,
            bytes_reused: report.bytes_reused,
            retries: few(report.retries),
            stalls: few(report.stalls),
        };
        public.give(texts)
    }
}

impl XetOpenOptions {
    /// # Safety
    /// The pointers are as for [`ptr::text`] and [`deadlines`].
    unsafe fn to_request(self) -> Result<OpenRequest> {
        let known = XET_OPEN_LOCAL_FILES_ONLY | XET_OPEN_REQUIRE_PROOF | XET_OPEN_NO_READAHEAD;
        check_flags(self.flags, known, "options.flags")?;
        // SAFETY: the caller's promise is the same.
        let ((repo, revision), filename, deadlines) = unsafe {
            (
                repo_and_revision(self.repo_id, self.repo_type, self.revision, Some("options"))?,
                ptr::required_text(self.filename, "options.filename")?,
                deadlines(self.deadlines)?,
            )
        };
        Ok(OpenRequest {
            repo,
            revision,
            path: repo_path(&filename, "options.filename")?,
            local_files_only: self.flags & XET_OPEN_LOCAL_FILES_ONLY != 0,
            require_proof: self.flags & XET_OPEN_REQUIRE_PROOF != 0,
            no_readahead: self.flags & XET_OPEN_NO_READAHEAD != 0,
            window: (self.window_bytes != 0).then_some(self.window_bytes),
            timeout: milliseconds(self.timeout_ms),
            deadlines,
        })
    }
}

entry! {
    fn xet_client_open(
        client: *mut XetClient,
        options: *const XetOpenOptions,
        callbacks: *const XetCallbacks,
        out_file: *mut *mut XetFile,
    ) -> Result {
        // SAFETY: `xet.h` asks for pointers that are NULL or valid, for strings that are
        // NUL-terminated, and for callbacks that may be called until this function returns.
        let (client, out, request, mut observer) = unsafe {
            let client = ptr::share_handle(client, "client")?;
            let out = ptr::Out::new(out_file, "out_file")?;
            let request = versioned::read_required(options, "options")?.to_request()?;
            (client, out, request, CallObserver::from_callbacks(callbacks)?)
        };
        out.write(ptr::give_handle(XetFile(client.client.open(&request, &mut observer)?)));
        Ok(())
    }
}

entry! {
    fn xet_file_report(file: *mut XetFile, out_report: *mut *mut XetFileReport) -> Result {
        // SAFETY: `xet.h` asks for pointers that are NULL or valid.
        let (file, out) = unsafe {
            (ptr::share_handle(file, "file")?, ptr::Out::new(out_report, "out_report")?)
        };
        out.write(XetFileReport::of(&file.0.report()?));
        Ok(())
    }
}

release! {
    fn xet_file_report_free(report: XetFileReport)
}

/// Memory of the caller's that parts of a file are written to.
struct Buffer {
    start: *mut u8,
    len: usize,
}

impl Buffer {
    /// # Safety
    /// `start` is NULL, or `len` bytes may be written there as long as this lives.
    unsafe fn new(start: *mut c_void, len: usize, field: &str) -> Result<Self> {
        if start.is_null() && len > 0 {
            return Err(Error::invalid(field, format!("is NULL, but {len} bytes are to go there")));
        }
        Ok(Self { start: start.cast(), len })
    }

    fn fill(&self, at: usize, bytes: &[u8]) {
        let end = at.checked_add(bytes.len());
        // What a read gives is inside of what was asked for.
        if end.is_some_and(|end| end <= self.len) {
            // SAFETY: inside of the memory that was promised to `new`; what is read came from elsewhere.
            unsafe { self.start.add(at).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) }
        }
    }
}

/// Reads into the caller's buffers; how many bytes there were for each.
///
/// # Safety
/// `options` and `callbacks` are as for their own readers.
unsafe fn read(
    file: &XetFile,
    parts: &[Part],
    buffers: &[Buffer],
    options: *const XetReadOptions,
    callbacks: *const XetCallbacks,
) -> Result<Vec<usize>> {
    // SAFETY: the caller's promise is the same.
    let (options, mut observer) =
        unsafe { (versioned::read(options, "options")?, CallObserver::from_callbacks(callbacks)?) };
    let timeout = options.and_then(|options| milliseconds(options.timeout_ms));
    let mut place = |number: usize, at: usize, bytes: &[u8]| buffers[number].fill(at, bytes);
    file.0.read(parts, &mut place, timeout, &mut observer)?;
    let filled = parts.iter().map(|part| part.within(file.0.size()));
    filled.map(|range| usize::try_from(range.end - range.start).map_err(Error::internal)).collect()
}

entry! {
    fn xet_file_read_at(
        file: *mut XetFile,
        offset: u64,
        buffer: *mut c_void,
        len: usize,
        options: *const XetReadOptions,
        callbacks: *const XetCallbacks,
        out_len: *mut usize,
    ) -> Result {
        let out = NonNull::new(out_len).ok_or_else(|| Error::invalid("out_len", "is NULL"))?;
        // SAFETY: `xet.h` asks for pointers that are NULL or valid, for a buffer of `len` bytes, and for callbacks
        // that may be called until this function returns.
        let filled = unsafe {
            let file = ptr::share_handle(file, "file")?;
            let buffer = Buffer::new(buffer, len, "buffer")?;
            read(&file, &[Part { offset, len }], &[buffer], options, callbacks)?
        };
        // SAFETY: not NULL, so valid.
        unsafe { out.write(filled.first().copied().unwrap_or_default()) };
        Ok(())
    }
}

entry! {
    fn xet_file_read_ranges(
        file: *mut XetFile,
        ranges: *mut XetReadRange,
        ranges_len: usize,
        options: *const XetReadOptions,
        callbacks: *const XetCallbacks,
    ) -> Result {
        // SAFETY: `xet.h` asks for pointers that are NULL or valid.
        let file = unsafe { ptr::share_handle(file, "file")? };
        if ranges.is_null() && ranges_len > 0 {
            return Err(Error::invalid("ranges", format!("is NULL, but ranges_len is {ranges_len}")));
        }
        if ranges_len > MOST_RANGES {
            let problem = format!("is {ranges_len}, but at most {MOST_RANGES} are allowed");
            return Err(Error::invalid("ranges_len", problem));
        }
        let (mut parts, mut buffers) = (Vec::new(), Vec::new());
        for number in 0..ranges_len {
            // SAFETY: `ranges` has so many of them, each with room for `len` bytes.
            unsafe {
                let XetReadRange { offset, len, buffer, .. } = ranges.add(number).read();
                buffers.push(Buffer::new(buffer, len, &format!("ranges[{number}].buffer"))?);
                parts.push(Part { offset, len });
            }
        }
        // SAFETY: `xet.h` asks for callbacks that may be called until this function returns.
        let filled = unsafe { read(&file, &parts, &buffers, options, callbacks)? };
        for (number, filled) in filled.into_iter().enumerate() {
            // SAFETY: as above; the array belongs to the caller, who lends it to this call alone.
            unsafe { (&raw mut (*ranges.add(number)).filled).write(filled) };
        }
        Ok(())
    }
}

entry! {
    fn xet_file_free(file: *mut XetFile) -> () = () {
        // SAFETY: `xet.h` asks for NULL or a file that isn't freed twice, and that no call begins on
        // afterwards.
        unsafe { ptr::release_handle(file) }
    }
}
