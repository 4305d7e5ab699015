//! Section "cache" of `xet.h`.

use std::ffi::c_char;
use std::ptr::null;
use std::time::Duration;

use super::client::{XetClient, XetDeadlines, deadlines, milliseconds};
use super::downloading::utf8;
use super::list::{List, Texts};
use super::listing::repo_and_revision;
use super::progress::{CallObserver, XetCallbacks, struct_size};
use super::ptr::{self, Given};
use super::versioned::{self, check_flags};
use xet_ffi_core::cache::gc::{Finding, PruneOptions, Pruned, Unwanted};
use xet_ffi_core::client::maintenance::CacheUsage;
use xet_ffi_core::client::request::MaintenanceLimits;
use xet_ffi_core::model::error::{Error, Result};
use xet_ffi_core::model::repo::Repo;

c_struct! {
    struct XetCacheUsage {
        struct_size: u32,
        repos: u64,
        revisions: u64,
        files: u64,
        bytes: u64,
        bytes_unreferenced: u64,
        bytes_partial: u64,
        index_bytes: u64,
        indexed_files: u64,
        indexed_bytes: u64,
        read_bytes: u64,
    }
}

c_struct! {
    versions { 2: timeout_ms, 3: deadlines, 9: commits_len }
    struct XetCacheOptions {
        struct_size: u32,
        flags: u32,
        max_bytes: u64,
        older_than_s: u64,
        timeout_ms: u32,
        deadlines: *const XetDeadlines,
        repo_id: *const c_char,
        repo_type: *const c_char,
        commits: *const *const c_char,
        commits_len: usize,
    }
}

pub(crate) const XET_CACHE_DRY_RUN: u32 = 1;
pub(crate) const XET_CACHE_UNREFERENCED: u32 = 2;
pub(crate) const XET_CACHE_MAX_BYTES: u32 = 4;
pub(crate) const XET_CACHE_REBUILD: u32 = 8;

c_struct! {
    struct XetCacheItem {
        struct_size: u32,
        path: *const c_char,
        reason: *const c_char,
        bytes: u64,
    }
}

c_struct! {
    struct XetCacheReport {
        struct_size: u32,
        items: *const *const XetCacheItem,
        count: usize,
        files: u64,
        bytes: u64,
    }
}

impl Given for XetCacheReport {
    type Storage = (List<XetCacheItem>, Texts);
}

impl XetCacheReport {
    /// Gives the report to the caller, who owes an [`xet_cache_report_free`].
    fn of<'a>(
        files: u64,
        bytes: u64,
        findings: impl IntoIterator<Item = &'a Finding>,
    ) -> Result<*mut Self> {
        let mut texts = Texts::default();
        let items = findings.into_iter().map(|found| XetCacheItem::new(found, &mut texts));
        let items: List<_> = items.collect::<Result<_>>()?;
        let public = Self {
            struct_size: struct_size::<Self>(),
            items: items.pointers(),
            count: items.len(),
            files,
            bytes,
        };
        Ok(public.give((items, texts)))
    }

    /// The same of what has gone, and then of what was kept.
    fn of_removed(done: Pruned) -> Result<*mut Self> {
        let kept = done.kept.into_iter().map(|mut kept| {
            kept.reason = format!("kept: {}", kept.reason);
            kept
        });
        let files = done.removed.len() as u64;
        let items: Vec<_> = done.removed.into_iter().chain(kept).collect();
        Self::of(files, done.bytes, &items)
    }
}

impl XetCacheItem {
    fn new(found: &Finding, texts: &mut Texts) -> Result<Self> {
        Ok(Self {
            struct_size: struct_size::<Self>(),
            path: texts.keep(utf8(&found.path)?),
            reason: texts.keep(&found.reason),
            bytes: found.bytes,
        })
    }
}

impl Given for XetCacheUsage {
    type Storage = ();
}

impl From<CacheUsage> for XetCacheUsage {
    fn from(usage: CacheUsage) -> Self {
        Self {
            struct_size: struct_size::<Self>(),
            repos: usage.cache.repos,
            revisions: usage.cache.revisions,
            files: usage.cache.files,
            bytes: usage.cache.bytes,
            bytes_unreferenced: usage.cache.bytes_unreferenced,
            bytes_partial: usage.cache.bytes_partial,
            index_bytes: usage.index_bytes,
            indexed_files: usage.indexed_files,
            indexed_bytes: usage.indexed_bytes,
            read_bytes: usage.cache.read_bytes,
        }
    }
}

/// The options, of which a function takes some flags; NULL means the defaults.
///
/// # Safety
/// As for [`versioned::read`].
unsafe fn read(
    options: *const XetCacheOptions,
    known: u32,
) -> Result<(XetCacheOptions, MaintenanceLimits)> {
    // SAFETY: the caller's promise is the same.
    let options = unsafe { versioned::read(options, "options")? };
    let options = options.unwrap_or_else(versioned::default::<XetCacheOptions>);
    check_flags(options.flags, known, "options.flags")?;
    // SAFETY: as above.
    let limits = unsafe { options.limits()? };
    Ok((options, limits))
}

impl XetCacheOptions {
    /// # Safety
    /// The pointers are as for [`deadlines`].
    unsafe fn limits(&self) -> Result<MaintenanceLimits> {
        // SAFETY: the caller's promise is the same.
        let deadlines = unsafe { deadlines(self.deadlines)? };
        Ok(MaintenanceLimits { timeout: milliseconds(self.timeout_ms), deadlines })
    }

    /// The repo that is meant, if one is.
    ///
    /// # Safety
    /// The pointers are as for [`ptr::text`].
    unsafe fn repo(&self) -> Result<Option<Repo>> {
        if self.repo_id.is_null() {
            return Ok(None);
        }
        // SAFETY: the caller's promise is the same.
        let (repo, _) =
            unsafe { repo_and_revision(self.repo_id, self.repo_type, null(), Some("options"))? };
        Ok(Some(repo))
    }

    /// What is to go from which repo.
    ///
    /// # Safety
    /// The pointers are as for [`ptr::text`] and [`ptr::texts`].
    unsafe fn unwanted(&self) -> Result<Unwanted> {
        // SAFETY: the caller's promise is the same.
        let (repo, commits) = unsafe {
            (self.repo()?, ptr::texts(self.commits, self.commits_len, "options.commits")?)
        };
        let missing = || Error::invalid("options.repo_id", "is NULL, but a value is required");
        let dry_run = self.flags & XET_CACHE_DRY_RUN != 0;
        Ok(Unwanted { repo: repo.ok_or_else(missing)?, commits, dry_run })
    }

    /// Refuses a repo where a function is about the whole cache.
    fn is_of_all(&self) -> Result<()> {
        if self.repo_id.is_null() && self.commits.is_null() {
            return Ok(());
        }
        Err(Error::invalid("options.repo_id", "is for verify and remove only"))
    }

    /// What may go. A limit that isn't meant would remove too much, so one has to be named.
    fn what_may_go(&self) -> Result<PruneOptions> {
        let limits = PruneOptions {
            unreferenced: self.flags & XET_CACHE_UNREFERENCED != 0,
            older_than: (self.older_than_s > 0).then(|| Duration::from_secs(self.older_than_s)),
            max_bytes: (self.flags & XET_CACHE_MAX_BYTES != 0).then_some(self.max_bytes),
            dry_run: self.flags & XET_CACHE_DRY_RUN != 0,
        };
        if !limits.unreferenced && limits.older_than.is_none() && limits.max_bytes.is_none() {
            return Err(Error::invalid(
                "options",
                "name no limit: unreferenced, older_than_s or max_bytes",
            ));
        }
        Ok(limits)
    }
}

entry! {
    fn xet_client_cache_usage(
        client: *mut XetClient,
        options: *const XetCacheOptions,
        callbacks: *const XetCallbacks,
        out_usage: *mut *mut XetCacheUsage,
    ) -> Result {
        // SAFETY: `xet.h` asks for pointers that are NULL or valid, and for callbacks that may be
        // called until this function returns.
        let (client, out, (options, limits), mut observer) = unsafe {
            let client = ptr::share_handle(client, "client")?;
            let out = ptr::Out::new(out_usage, "out_usage")?;
            (client, out, read(options, 0)?, CallObserver::from_callbacks(callbacks)?)
        };
        options.is_of_all()?;
        let usage = client.client.cache_usage(&limits, &mut observer)?;
        out.write(XetCacheUsage::from(usage).give(()));
        Ok(())
    }
}

release! {
    fn xet_cache_usage_free(usage: XetCacheUsage)
}

entry! {
    fn xet_client_cache_verify(
        client: *mut XetClient,
        options: *const XetCacheOptions,
        callbacks: *const XetCallbacks,
        out_report: *mut *mut XetCacheReport,
    ) -> Result {
        // SAFETY: as for `xet_client_cache_usage`.
        let (client, out, repo, limits, mut observer) = unsafe {
            let client = ptr::share_handle(client, "client")?;
            let out = ptr::Out::new(out_report, "out_report")?;
            let (options, limits) = read(options, 0)?;
            (client, out, options.repo()?, limits, CallObserver::from_callbacks(callbacks)?)
        };
        let done = client.client.cache_verify(repo, &limits, &mut observer)?;
        let items = done.damaged.iter().chain(&done.missing).chain(&done.left_out);
        out.write(XetCacheReport::of(done.files, done.bytes, items)?);
        Ok(())
    }
}

entry! {
    fn xet_client_cache_remove(
        client: *mut XetClient,
        options: *const XetCacheOptions,
        callbacks: *const XetCallbacks,
        out_report: *mut *mut XetCacheReport,
    ) -> Result {
        // SAFETY: as for `xet_client_cache_usage`.
        let (client, out, unwanted, limits, mut observer) = unsafe {
            let client = ptr::share_handle(client, "client")?;
            let out = ptr::Out::new(out_report, "out_report")?;
            let (options, limits) = read(options, XET_CACHE_DRY_RUN)?;
            let observer = CallObserver::from_callbacks(callbacks)?;
            (client, out, options.unwanted()?, limits, observer)
        };
        let done = client.client.cache_remove(unwanted, &limits, &mut observer)?;
        out.write(XetCacheReport::of_removed(done)?);
        Ok(())
    }
}

entry! {
    fn xet_client_cache_prune(
        client: *mut XetClient,
        options: *const XetCacheOptions,
        callbacks: *const XetCallbacks,
        out_report: *mut *mut XetCacheReport,
    ) -> Result {
        let known = XET_CACHE_DRY_RUN | XET_CACHE_UNREFERENCED | XET_CACHE_MAX_BYTES;
        // SAFETY: as for `xet_client_cache_usage`.
        let (client, out, (options, limits), mut observer) = unsafe {
            let client = ptr::share_handle(client, "client")?;
            let out = ptr::Out::new(out_report, "out_report")?;
            (client, out, read(options, known)?, CallObserver::from_callbacks(callbacks)?)
        };
        options.is_of_all()?;
        let what = options.what_may_go()?;
        let done = client.client.cache_prune(what, &limits, &mut observer)?;
        out.write(XetCacheReport::of_removed(done)?);
        Ok(())
    }
}

entry! {
    fn xet_client_cache_index(
        client: *mut XetClient,
        options: *const XetCacheOptions,
        callbacks: *const XetCallbacks,
        out_report: *mut *mut XetCacheReport,
    ) -> Result {
        // SAFETY: as for `xet_client_cache_usage`.
        let (client, out, (options, limits), mut observer) = unsafe {
            let client = ptr::share_handle(client, "client")?;
            let out = ptr::Out::new(out_report, "out_report")?;
            let options = read(options, XET_CACHE_REBUILD)?;
            (client, out, options, CallObserver::from_callbacks(callbacks)?)
        };
        options.is_of_all()?;
        let rebuild = options.flags & XET_CACHE_REBUILD != 0;
        let done = client.client.cache_index(rebuild, &limits, &mut observer)?;
        out.write(XetCacheReport::of(done.files, done.bytes, &done.skipped)?);
        Ok(())
    }
}

release! {
    fn xet_cache_report_free(report: XetCacheReport)
}
