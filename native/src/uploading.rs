//! Section "uploading" of `xet.h`.

pub(crate) mod operations;
pub(crate) mod options;
pub(crate) mod streams;

use std::ffi::c_char;

use self::options::{
    XetCommitOptions, XetCreateBranchOptions, XetCreateRepoOptions, XetUploadFolderOptions,
};
pub(crate) use self::streams::Stream;
use super::client::XetClient;
use super::list::Texts;
use super::progress::{CallObserver, XetCallbacks, struct_size};
use super::ptr::{self, Given};
use super::versioned;
use xet_ffi_core::upload::{CommitReport, CommitRequest, RepoReport};

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
        files_left_out: u64,
        dedup_asked: u64,
        dedup_answered: u64,
        dedup_failed: u64,
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
            files_left_out: report.left_out,
            dedup_asked: report.dedup_asked,
            dedup_answered: report.dedup_answered,
            dedup_failed: report.dedup_failed,
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

entry! {
    fn xet_client_create_branch(
        client: *mut XetClient,
        options: *const XetCreateBranchOptions,
        callbacks: *const XetCallbacks,
    ) -> Result {
        // SAFETY: as for `xet_client_create_repo`.
        let (client, request, mut observer) = unsafe {
            let client = ptr::share_handle(client, "client")?;
            let request = versioned::read_required(options, "options")?.to_request()?;
            (client, request, CallObserver::from_callbacks(callbacks)?)
        };
        client.client.create_branch(&request, &mut observer)
    }
}
