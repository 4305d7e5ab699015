//! The structs and constants of `xet.h` as data, so that they can be compared with the header.
//!
//! Every struct that crosses the boundary is made with [`c_struct!`] and stands in [`STRUCTS`];
//! every number stands in
//! [`CONSTANTS`]. The test below compares both with `tests/abi/layout.json`, and the tests in that folder compare the same file
//! with what a C compiler and CFFI read in `xet.h`. What is missing on any side makes one of them
//! fail.

/// Declares a `repr(C)` struct together with its [`StructLayout`].
///
/// One that the caller fills names, before `struct`, the last field that it had in each version of
/// the interface that changed it, which makes it [`Versioned`](crate::versioned::Versioned):
/// `versions { 2: timeout_ms, 3: deadlines }`.
macro_rules! c_struct {
    (
        versions { $($abi:literal: $last:ident),+ }
        struct $name:ident { struct_size: u32, $($field:ident: $type:ty,)+ }
    ) => {
        c_struct! { struct $name { struct_size: u32, $($field: $type,)+ } }

        const _: () = {
            const fn may_be_zero<T: crate::versioned::MayBeZero>() {}
            $(may_be_zero::<$type>();)+
        };

        // SAFETY: `struct_size` comes first, and all fields may be zero, as was just checked.
        unsafe impl crate::versioned::Versioned for $name {
            const SIZES: &[(u32, usize)] = &[$((
                $abi,
                crate::layout::end(&<$name as crate::layout::Layout>::LAYOUT, stringify!($last)),
            )),+];
        }
    };
    (
        $(#[$meta:meta])*
        struct $name:ident { $($(#[$field_meta:meta])* $field:ident: $type:ty,)+ }
    ) => {
        $(#[$meta])*
        #[repr(C)]
        #[derive(Clone, Copy)]
        pub(crate) struct $name { $($(#[$field_meta])* pub(crate) $field: $type,)+ }

        impl crate::layout::Layout for $name {
            const LAYOUT: crate::layout::StructLayout = crate::layout::StructLayout {
                name: stringify!($name),
                size: size_of::<$name>(),
                align: align_of::<$name>(),
                fields: &[$(crate::layout::FieldLayout {
                    name: stringify!($field),
                    offset: std::mem::offset_of!($name, $field),
                    size: size_of::<$type>(),
                    kind: stringify!($type),
                },)+],
            };
        }
    };
}

/// How a struct lies in memory.
pub(crate) struct StructLayout {
    pub(crate) name: &'static str,
    pub(crate) size: usize,
    pub(crate) align: usize,
    pub(crate) fields: &'static [FieldLayout],
}

/// How a field lies in its struct. All numbers are bytes.
pub(crate) struct FieldLayout {
    pub(crate) name: &'static str,
    pub(crate) offset: usize,
    pub(crate) size: usize,
    /// Its Rust type. Python and Go are told by it how to copy a field (`build_faces.py`).
    #[cfg_attr(not(test), expect(dead_code, reason = "only tests print layouts"))]
    pub(crate) kind: &'static str,
}

/// The size that a struct had when `last` was its last field.
pub(crate) const fn end(layout: &StructLayout, last: &str) -> usize {
    let mut index = layout.fields.len();
    while index > 0 {
        index -= 1;
        let field = &layout.fields[index];
        if is_same(field.name.as_bytes(), last.as_bytes()) {
            return (field.offset + field.size).next_multiple_of(layout.align);
        }
    }
    panic!("the struct has no such field")
}

const fn is_same(a: &[u8], b: &[u8]) -> bool {
    let mut index = 0;
    while index < a.len() && index < b.len() && a[index] == b[index] {
        index += 1;
    }
    index == a.len() && index == b.len()
}

/// A struct made with [`c_struct!`].
pub(crate) trait Layout {
    /// Its layout.
    const LAYOUT: StructLayout;
}

#[cfg(test)]
mod tests {
    use super::super::{
        base, cache, client, downloading, errors, headers, listing, logs, planning, progress,
        reading, storage, uploading, version,
    };
    use super::{Layout, StructLayout};
    use crate::versioned::Versioned;
    use serde_json::{Value, json};
    use xet_ffi_core::call::file_transfer::Way;
    use xet_ffi_core::call::progress::Phase;
    use xet_ffi_core::model::error::Code;
    use xet_ffi_core::storage::TaskState;

    /// All structs of `xet.h`, in its order.
    const STRUCTS: &[StructLayout] = &[
        errors::XetError::LAYOUT,
        progress::XetProgress::LAYOUT,
        progress::XetCallbacks::LAYOUT,
        headers::XetHeader::LAYOUT,
        client::XetClientOptions::LAYOUT,
        client::XetDeadlines::LAYOUT,
        client::XetClientInfo::LAYOUT,
        listing::XetEntry::LAYOUT,
        listing::XetEntryList::LAYOUT,
        listing::XetListOptions::LAYOUT,
        downloading::XetDownloadOptions::LAYOUT,
        downloading::XetFileTransfer::LAYOUT,
        downloading::XetTransfer::LAYOUT,
        planning::XetPlannedFile::LAYOUT,
        planning::XetPlan::LAYOUT,
        cache::XetCacheUsage::LAYOUT,
        cache::XetCacheOptions::LAYOUT,
        cache::XetCacheItem::LAYOUT,
        cache::XetCacheReport::LAYOUT,
        uploading::operations::XetOperation::LAYOUT,
        uploading::options::XetCommitOptions::LAYOUT,
        uploading::options::XetUploadFolderOptions::LAYOUT,
        uploading::XetCommitReport::LAYOUT,
        uploading::options::XetCreateRepoOptions::LAYOUT,
        uploading::options::XetCreateBranchOptions::LAYOUT,
        uploading::XetRepoReport::LAYOUT,
        storage::XetStorageOptions::LAYOUT,
        storage::group::XetGroupOptions::LAYOUT,
        storage::group::XetGroupDownload::LAYOUT,
        storage::group::XetGroupUpload::LAYOUT,
        storage::report::XetDedupStats::LAYOUT,
        storage::report::XetShardStats::LAYOUT,
        storage::report::XetGroupTask::LAYOUT,
        storage::report::XetGroupReport::LAYOUT,
        storage::stream::XetStreamOptions::LAYOUT,
        storage::stream::XetPiece::LAYOUT,
        storage::hash::XetHashOptions::LAYOUT,
        storage::hash::XetContent::LAYOUT,
        storage::hash::XetContentList::LAYOUT,
        reading::XetOpenOptions::LAYOUT,
        reading::XetFileReport::LAYOUT,
        reading::XetReadOptions::LAYOUT,
        reading::XetReadRange::LAYOUT,
        base::XetConfig::LAYOUT,
        base::XetProgressUpdate::LAYOUT,
        base::XetCancellationToken::LAYOUT,
        base::XetFileInfo::LAYOUT,
        base::XetFileList::LAYOUT,
        base::XetDownloadRequest::LAYOUT,
        base::XetSnapshotRequest::LAYOUT,
    ];

    /// The sizes that the structs had which the caller fills.
    const SIZES: &[(&str, &[(u32, usize)])] = &[
        sizes::<progress::XetCallbacks>(),
        sizes::<client::XetClientOptions>(),
        sizes::<client::XetDeadlines>(),
        sizes::<listing::XetListOptions>(),
        sizes::<downloading::XetDownloadOptions>(),
        sizes::<cache::XetCacheOptions>(),
        sizes::<uploading::operations::XetOperation>(),
        sizes::<uploading::options::XetCommitOptions>(),
        sizes::<uploading::options::XetUploadFolderOptions>(),
        sizes::<uploading::options::XetCreateRepoOptions>(),
        sizes::<uploading::options::XetCreateBranchOptions>(),
        sizes::<storage::XetStorageOptions>(),
        sizes::<storage::group::XetGroupOptions>(),
        sizes::<storage::group::XetGroupDownload>(),
        sizes::<storage::group::XetGroupUpload>(),
        sizes::<storage::stream::XetStreamOptions>(),
        sizes::<storage::hash::XetHashOptions>(),
        sizes::<reading::XetOpenOptions>(),
        sizes::<reading::XetReadOptions>(),
    ];

    const fn sizes<T: Versioned>() -> (&'static str, &'static [(u32, usize)]) {
        (T::LAYOUT.name, T::SIZES)
    }

    /// All numbers of `xet.h`, in its order.
    const CONSTANTS: &[(&str, i64)] = &[
        ("XET_ABI_VERSION", version::XET_ABI_VERSION as i64),
        ("XET_CODE_OK", 0),
        ("XET_CODE_INVALID_CONFIG", Code::InvalidConfig as i64),
        ("XET_CODE_AUTH_FAILED", Code::AuthFailed as i64),
        ("XET_CODE_NETWORK_ERROR", Code::NetworkError as i64),
        ("XET_CODE_NOT_FOUND", Code::NotFound as i64),
        ("XET_CODE_PERMISSION_DENIED", Code::PermissionDenied as i64),
        ("XET_CODE_CHECKSUM_MISMATCH", Code::ChecksumMismatch as i64),
        ("XET_CODE_CANCELLED", Code::Cancelled as i64),
        ("XET_CODE_IO_ERROR", Code::IoError as i64),
        ("XET_CODE_TIMEOUT", Code::Timeout as i64),
        ("XET_CODE_RATE_LIMITED", Code::RateLimited as i64),
        ("XET_CODE_CONFLICT", Code::Conflict as i64),
        ("XET_CODE_NO_SPACE", Code::NoSpace as i64),
        ("XET_CODE_OFFLINE", Code::Offline as i64),
        ("XET_CODE_UNKNOWN", Code::Unknown as i64),
        ("XET_LOG_OFF", logs::XET_LOG_OFF as i64),
        ("XET_LOG_ERROR", logs::XET_LOG_ERROR as i64),
        ("XET_LOG_WARN", logs::XET_LOG_WARN as i64),
        ("XET_LOG_INFO", logs::XET_LOG_INFO as i64),
        ("XET_LOG_DEBUG", logs::XET_LOG_DEBUG as i64),
        ("XET_LOG_TRACE", logs::XET_LOG_TRACE as i64),
        ("XET_PROGRESS_PHASE_SCANNING", Phase::Scanning as i64),
        ("XET_PROGRESS_PHASE_DOWNLOADING", Phase::Downloading as i64),
        ("XET_PROGRESS_PHASE_FINALIZING", Phase::Finalizing as i64),
        ("XET_PROGRESS_PHASE_HASHING", Phase::Hashing as i64),
        ("XET_PROGRESS_PHASE_UPLOADING", Phase::Uploading as i64),
        ("XET_PROGRESS_PHASE_COMMITTING", Phase::Committing as i64),
        ("XET_CLIENT_ANONYMOUS", client::XET_CLIENT_ANONYMOUS as i64),
        ("XET_CLIENT_OFFLINE", client::XET_CLIENT_OFFLINE as i64),
        ("XET_TRANSPORT_DEFAULT", client::XET_TRANSPORT_DEFAULT as i64),
        ("XET_TRANSPORT_AUTO", client::XET_TRANSPORT_AUTO as i64),
        ("XET_TRANSPORT_XET", client::XET_TRANSPORT_XET as i64),
        ("XET_TRANSPORT_HTTP", client::XET_TRANSPORT_HTTP as i64),
        ("XET_FILE_KIND_GIT", listing::XET_FILE_KIND_GIT as i64),
        ("XET_FILE_KIND_LFS", listing::XET_FILE_KIND_LFS as i64),
        ("XET_FILE_KIND_XET", listing::XET_FILE_KIND_XET as i64),
        ("XET_DOWNLOAD_LOCAL_FILES_ONLY", downloading::XET_DOWNLOAD_LOCAL_FILES_ONLY as i64),
        ("XET_DOWNLOAD_FORCE", downloading::XET_DOWNLOAD_FORCE as i64),
        ("XET_WAY_LOCAL", Way::Local as i64),
        ("XET_WAY_XET", Way::Xet as i64),
        ("XET_WAY_HTTP", Way::Http as i64),
        ("XET_WAY_XET_THEN_HTTP", Way::XetThenHttp as i64),
        ("XET_WAY_SHARED", Way::Shared as i64),
        ("XET_HASH_NONE", downloading::XET_HASH_NONE as i64),
        ("XET_HASH_GIT_BLOB", downloading::XET_HASH_GIT_BLOB as i64),
        ("XET_HASH_SHA256", downloading::XET_HASH_SHA256 as i64),
        ("XET_HASH_XET", downloading::XET_HASH_XET as i64),
        ("XET_CACHE_DRY_RUN", cache::XET_CACHE_DRY_RUN as i64),
        ("XET_CACHE_UNREFERENCED", cache::XET_CACHE_UNREFERENCED as i64),
        ("XET_CACHE_MAX_BYTES", cache::XET_CACHE_MAX_BYTES as i64),
        ("XET_CACHE_REBUILD", cache::XET_CACHE_REBUILD as i64),
        ("XET_READ_CANCEL", uploading::streams::XET_READ_CANCEL),
        ("XET_READ_AGAIN", uploading::streams::XET_READ_AGAIN),
        ("XET_READ_FAILED", uploading::streams::XET_READ_FAILED),
        ("XET_OPERATION_ADD_PATH", uploading::operations::XET_OPERATION_ADD_PATH as i64),
        ("XET_OPERATION_ADD_BYTES", uploading::operations::XET_OPERATION_ADD_BYTES as i64),
        ("XET_OPERATION_ADD_STREAM", uploading::operations::XET_OPERATION_ADD_STREAM as i64),
        ("XET_OPERATION_DELETE", uploading::operations::XET_OPERATION_DELETE as i64),
        ("XET_OPERATION_DELETE_FOLDER", uploading::operations::XET_OPERATION_DELETE_FOLDER as i64),
        ("XET_OPERATION_COPY", uploading::operations::XET_OPERATION_COPY as i64),
        ("XET_COMMIT_CREATE_PR", uploading::options::XET_COMMIT_CREATE_PR as i64),
        ("XET_CREATE_REPO_EXIST_OK", uploading::options::XET_CREATE_REPO_EXIST_OK as i64),
        ("XET_CREATE_REPO_PRIVATE", uploading::options::XET_CREATE_REPO_PRIVATE as i64),
        ("XET_CREATE_REPO_PUBLIC", uploading::options::XET_CREATE_REPO_PUBLIC as i64),
        ("XET_CREATE_BRANCH_EXIST_OK", uploading::options::XET_CREATE_BRANCH_EXIST_OK as i64),
        ("XET_TOKEN_AGAIN", storage::tokens::XET_TOKEN_AGAIN),
        ("XET_TOKEN_FAILED", storage::tokens::XET_TOKEN_FAILED),
        ("XET_GROUP_DOWNLOADS", storage::group::XET_GROUP_DOWNLOADS as i64),
        ("XET_GROUP_UPLOADS", storage::group::XET_GROUP_UPLOADS as i64),
        ("XET_SHA256_COMPUTED", storage::group::XET_SHA256_COMPUTED as i64),
        ("XET_SHA256_GIVEN", storage::group::XET_SHA256_GIVEN as i64),
        ("XET_SHA256_NONE", storage::group::XET_SHA256_NONE as i64),
        ("XET_TASK_RUNNING", TaskState::Running as i64),
        ("XET_TASK_FINALIZING", TaskState::Finalizing as i64),
        ("XET_TASK_DONE", TaskState::Done as i64),
        ("XET_TASK_FAILED", TaskState::Failed as i64),
        ("XET_TASK_CANCELLED", TaskState::Cancelled as i64),
        ("XET_STREAM_UNORDERED", storage::stream::XET_STREAM_UNORDERED as i64),
        ("XET_OPEN_LOCAL_FILES_ONLY", reading::XET_OPEN_LOCAL_FILES_ONLY as i64),
        ("XET_OPEN_REQUIRE_PROOF", reading::XET_OPEN_REQUIRE_PROOF as i64),
        ("XET_OPEN_NO_READAHEAD", reading::XET_OPEN_NO_READAHEAD as i64),
        ("XET_PROOF_NONE", reading::XET_PROOF_NONE as i64),
        ("XET_PROOF_MERKLE", reading::XET_PROOF_MERKLE as i64),
        ("XET_PROOF_CACHE", reading::XET_PROOF_CACHE as i64),
    ];

    /// Where the numbers are kept. They hold for every 64-bit target.
    const PINNED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/abi/layout.json");

    fn current() -> Value {
        let structs = STRUCTS.iter().map(|layout| {
            let fields = layout.fields.iter();
            let fields = fields.map(
                |f| json!({"name": f.name, "offset": f.offset, "size": f.size, "type": f.kind}),
            );
            let mut shown = json!({
                "name": layout.name,
                "size": layout.size,
                "align": layout.align,
                "fields": fields.collect::<Vec<_>>(),
            });
            if let Some((_, sizes)) = SIZES.iter().find(|(name, _)| *name == layout.name) {
                let sizes = sizes.iter().map(|(abi, size)| json!({"abi": abi, "size": size}));
                shown["sizes"] = sizes.collect();
            }
            shown
        });
        let constants = CONSTANTS.iter().map(|(name, value)| json!({"name": name, "value": value}));
        json!({
            "structs": structs.collect::<Vec<_>>(),
            "constants": constants.collect::<Vec<_>>(),
        })
    }

    /// Structs and constants are those that the C and Python tests compare with the header.
    ///
    /// After an addition, run it with `UPDATE_LAYOUT=1` and look at the difference: only additions
    /// are allowed.
    #[test]
    #[cfg(target_pointer_width = "64")]
    fn structs_and_constants_are_the_pinned_ones() {
        let current = current();
        if std::env::var_os("UPDATE_LAYOUT").is_some() {
            let text = serde_json::to_string_pretty(&current).unwrap() + "\n";
            std::fs::write(PINNED, text).unwrap();
        }
        let pinned: Value = serde_json::from_slice(&std::fs::read(PINNED).unwrap()).unwrap();
        for kind in ["structs", "constants"] {
            let (current, pinned) = (current[kind].as_array().unwrap(), pinned[kind].as_array());
            for (here, there) in current.iter().zip(pinned.unwrap()) {
                assert_eq!(here, there);
            }
            assert_eq!(current.len(), pinned.unwrap().len(), "{kind}");
        }
    }
}
