//! Section "planning" of `xet.h`.

use std::ffi::c_char;

use super::client::XetClient;
use super::downloading::XetDownloadOptions;
use super::list::{List, Texts};
use super::progress::{CallObserver, XetCallbacks, struct_size};
use super::ptr::{self, Given};
use super::versioned;
use xet_ffi_core::download::plan::{Plan, PlannedFile};
use xet_ffi_core::model::error::Error;

c_struct! {
    struct XetPlannedFile {
        struct_size: u32,
        path: *const c_char,
        bytes_total: u64,
        bytes_present: u64,
        bytes_reusable: u64,
        bytes_remote: u64,
    }
}

c_struct! {
    struct XetPlan {
        struct_size: u32,
        files: *const *const XetPlannedFile,
        count: usize,
        commit: *const c_char,
        bytes_total: u64,
        bytes_present: u64,
        bytes_reusable: u64,
        bytes_remote: u64,
        disk_need: u64,
        disk_free: u64,
        requests: u64,
        windows: u64,
    }
}

impl Given for XetPlan {
    type Storage = (List<XetPlannedFile>, Texts);
}

impl XetPlan {
    /// Gives the plan to the caller, who owes an [`xet_plan_free`].
    fn of(plan: &Plan) -> *mut Self {
        let mut texts = Texts::default();
        let files = plan.files.iter().map(|file| XetPlannedFile::new(file, &mut texts));
        let files: List<_> = files.collect();
        let public = Self {
            struct_size: struct_size::<Self>(),
            files: files.pointers(),
            count: files.len(),
            commit: texts.keep(plan.commit.as_str()),
            bytes_total: plan.sum(|file| file.bytes_total),
            bytes_present: plan.sum(|file| file.bytes_present),
            bytes_reusable: plan.sum(|file| file.bytes_reusable),
            bytes_remote: plan.sum(|file| file.bytes_remote),
            disk_need: plan.disk_need,
            disk_free: plan.disk_free.unwrap_or(u64::MAX),
            requests: plan.requests,
            windows: plan.windows.unwrap_or(0),
        };
        public.give((files, texts))
    }
}

impl XetPlannedFile {
    fn new(file: &PlannedFile, texts: &mut Texts) -> Self {
        Self {
            struct_size: struct_size::<Self>(),
            path: texts.keep(&file.path),
            bytes_total: file.bytes_total,
            bytes_present: file.bytes_present,
            bytes_reusable: file.bytes_reusable,
            bytes_remote: file.bytes_remote,
        }
    }
}

entry! {
    fn xet_client_plan(
        client: *mut XetClient,
        options: *const XetDownloadOptions,
        callbacks: *const XetCallbacks,
        out_plan: *mut *mut XetPlan,
    ) -> Result {
        // SAFETY: `xet.h` asks for pointers that are NULL or valid, for strings that are
        // NUL-terminated, and for callbacks that may be called until this function returns.
        let (client, out, request, mut observer) = unsafe {
            let client = ptr::share_handle(client, "client")?;
            let out = ptr::Out::new(out_plan, "out_plan")?;
            let request = versioned::read_required(options, "options")?.to_request()?;
            (client, out, request, CallObserver::from_callbacks(callbacks)?)
        };
        if request.local_files_only {
            return Err(Error::invalid(
                "options.flags",
                "a plan asks the Hub, so it can't be local",
            ));
        }
        out.write(XetPlan::of(&client.client.plan(&request, &mut observer)?));
        Ok(())
    }
}

release! {
    fn xet_plan_free(plan: XetPlan)
}
