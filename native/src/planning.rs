//! Section "planning" of `xet.h`.

use std::ffi::{CStr, CString, c_char};
use std::ptr::null;

use super::client::XetClient;
use super::downloading::XetDownloadOptions;
use super::errors::XetError;
use super::progress::{CallObserver, XetCallbacks, struct_size};
use super::{guard, ptr, versioned};
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
    }
}

/// What a [`XetPlan`] points at.
struct PlanStorage {
    pointers: Vec<*const XetPlannedFile>,
    _files: Vec<XetPlannedFile>,
    commit: CString,
    _texts: Vec<CString>,
}

impl XetPlan {
    /// Gives the plan to the caller, who owes an [`xet_plan_free`].
    fn give(plan: &Plan) -> *mut Self {
        let texts: Vec<_> = plan.files.iter().map(|file| ptr::c_string(&file.path)).collect();
        let files: Vec<_> = plan
            .files
            .iter()
            .zip(&texts)
            .map(|(file, path)| XetPlannedFile::new(file, path))
            .collect();
        let storage = PlanStorage {
            // Pointers, so that XetPlannedFile can grow without moving its neighbours for older
            // callers.
            pointers: files.iter().map(std::ptr::from_ref).collect(),
            _files: files,
            commit: ptr::c_string(plan.commit.as_str()),
            _texts: texts,
        };
        let count = storage.pointers.len();
        let public = Self {
            struct_size: struct_size::<Self>(),
            files: if count == 0 { null() } else { storage.pointers.as_ptr() },
            count,
            commit: storage.commit.as_ptr(),
            bytes_total: plan.sum(|file| file.bytes_total),
            bytes_present: plan.sum(|file| file.bytes_present),
            bytes_reusable: plan.sum(|file| file.bytes_reusable),
            bytes_remote: plan.sum(|file| file.bytes_remote),
            disk_need: plan.disk_need,
            disk_free: plan.disk_free.unwrap_or(u64::MAX),
        };
        ptr::Owned::give(public, storage)
    }
}

impl XetPlannedFile {
    fn new(file: &PlannedFile, path: &CStr) -> Self {
        Self {
            struct_size: struct_size::<Self>(),
            path: path.as_ptr(),
            bytes_total: file.bytes_total,
            bytes_present: file.bytes_present,
            bytes_reusable: file.bytes_reusable,
            bytes_remote: file.bytes_remote,
        }
    }
}

#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn xet_client_plan(
    client: *mut XetClient,
    options: *const XetDownloadOptions,
    callbacks: *const XetCallbacks,
    out_plan: *mut *mut XetPlan,
) -> *mut XetError {
    guard::fallible("xet_client_plan", || {
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
        out.write(XetPlan::give(&client.client.plan(&request, &mut observer)?));
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn xet_plan_free(plan: *mut XetPlan) {
    guard::infallible("xet_plan_free", (), || {
        // SAFETY: `xet.h` asks for NULL or a plan that the library returned, freed once.
        unsafe { ptr::Owned::<XetPlan, PlanStorage>::take(plan) }
    });
}
