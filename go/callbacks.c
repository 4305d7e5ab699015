#include "callbacks.h"

#include "_cgo_export.h"

/* cgo knows no const, so what Go exports hasn't quite the types of xet.h. Hence these. */

static void on_progress(const XetProgress *progress, void *call) {
    xetgoProgress((uintptr_t)call, (XetProgress *)progress);
}

static bool on_cancel(void *call) {
    return xetgoCancel((uintptr_t)call);
}

static void on_log(int32_t level, const char *target, const char *message, void *unused) {
    (void)unused;
    xetgoLog(level, (char *)target, (char *)message);
}

static int64_t on_read(uint8_t *buffer, size_t length, void *stream) {
    return xetgoRead(buffer, length, (uintptr_t)stream);
}

static int64_t on_token(void *tokens) {
    return xetgoToken((uintptr_t)tokens);
}

static XetCallbacks callbacks_of(uintptr_t call, bool progress, uint32_t progress_interval_ms) {
    XetCallbacks callbacks = {
        .struct_size = sizeof callbacks,
        .progress_interval_ms = progress_interval_ms,
        .progress = progress ? on_progress : NULL,
        .cancel = on_cancel,
        .user_data = (void *)call,
    };
    return callbacks;
}

XetError *xetgo_list_files(XetClient *client, const XetListOptions *options, uintptr_t call,
                           XetEntryList **out) {
    XetCallbacks callbacks = callbacks_of(call, false, 0);
    return xet_client_list_files(client, options, &callbacks, out);
}

XetError *xetgo_resolve(XetClient *client, const XetListOptions *options, uintptr_t call,
                        char **out) {
    XetCallbacks callbacks = callbacks_of(call, false, 0);
    return xet_client_resolve(client, options, &callbacks, out);
}

XetError *xetgo_download(XetClient *client, const XetDownloadOptions *options, uintptr_t call,
                         bool progress, uint32_t progress_interval_ms, XetTransfer **out) {
    XetCallbacks callbacks = callbacks_of(call, progress, progress_interval_ms);
    return xet_client_download(client, options, &callbacks, out);
}

XetError *xetgo_plan(XetClient *client, const XetDownloadOptions *options, uintptr_t call,
                     XetPlan **out) {
    XetCallbacks callbacks = callbacks_of(call, false, 0);
    return xet_client_plan(client, options, &callbacks, out);
}

XetError *xetgo_cache_usage(XetClient *client, const XetCacheOptions *options, uintptr_t call,
                            bool progress, uint32_t progress_interval_ms, XetCacheUsage **out) {
    XetCallbacks callbacks = callbacks_of(call, progress, progress_interval_ms);
    return xet_client_cache_usage(client, options, &callbacks, out);
}

XetError *xetgo_cache(int what, XetClient *client, const XetCacheOptions *options, uintptr_t call,
                      bool progress, uint32_t progress_interval_ms, XetCacheReport **out) {
    XetCallbacks callbacks = callbacks_of(call, progress, progress_interval_ms);
    switch (what) {
    case XETGO_CACHE_VERIFY:
        return xet_client_cache_verify(client, options, &callbacks, out);
    case XETGO_CACHE_REMOVE:
        return xet_client_cache_remove(client, options, &callbacks, out);
    case XETGO_CACHE_PRUNE:
        return xet_client_cache_prune(client, options, &callbacks, out);
    default:
        return xet_client_cache_index(client, options, &callbacks, out);
    }
}

XetError *xetgo_create_commit(XetClient *client, const XetCommitOptions *options, uintptr_t call,
                              bool progress, uint32_t progress_interval_ms, XetCommitReport **out) {
    XetCallbacks callbacks = callbacks_of(call, progress, progress_interval_ms);
    return xet_client_create_commit(client, options, &callbacks, out);
}

XetError *xetgo_upload_folder(XetClient *client, const XetUploadFolderOptions *options,
                              uintptr_t call, bool progress, uint32_t progress_interval_ms,
                              XetCommitReport **out) {
    XetCallbacks callbacks = callbacks_of(call, progress, progress_interval_ms);
    return xet_client_upload_folder(client, options, &callbacks, out);
}

XetError *xetgo_create_repo(XetClient *client, const XetCreateRepoOptions *options, uintptr_t call,
                            XetRepoReport **out) {
    XetCallbacks callbacks = callbacks_of(call, false, 0);
    return xet_client_create_repo(client, options, &callbacks, out);
}

XetError *xetgo_create_branch(XetClient *client, const XetCreateBranchOptions *options,
                              uintptr_t call) {
    XetCallbacks callbacks = callbacks_of(call, false, 0);
    return xet_client_create_branch(client, options, &callbacks);
}

void xetgo_read_from(XetOperation *operation, uintptr_t stream) {
    operation->read = on_read;
    operation->user_data = (void *)stream;
}

XetError *xetgo_open_storage(XetClient *client, const XetStorageOptions *options, uintptr_t tokens,
                             uintptr_t call, XetStorage **out) {
    XetCallbacks callbacks = callbacks_of(call, false, 0);
    /* A copy: Go's own must not hold a number in a pointer. */
    XetStorageOptions asking = *options;
    if (tokens != 0) {
        asking.token_callback = on_token;
        asking.token_user_data = (void *)tokens;
    }
    return xet_client_open_storage(client, &asking, &callbacks, out);
}

XetError *xetgo_group_serve(XetGroup *group, uintptr_t call, bool progress,
                            uint32_t progress_interval_ms) {
    XetCallbacks callbacks = callbacks_of(call, progress, progress_interval_ms);
    return xet_group_serve(group, &callbacks);
}

XetError *xetgo_group_wait_task(XetGroup *group, uint64_t task, uintptr_t call,
                                XetGroupReport **out) {
    XetCallbacks callbacks = callbacks_of(call, false, 0);
    return xet_group_wait_task(group, task, &callbacks, out);
}

XetError *xetgo_stream_next(XetStream *stream, uintptr_t call, XetPiece **out) {
    XetCallbacks callbacks = callbacks_of(call, false, 0);
    return xet_stream_next(stream, &callbacks, out);
}

XetError *xetgo_hash_files(XetClient *client, const XetHashOptions *options, uintptr_t call,
                           bool progress, uint32_t progress_interval_ms, XetContentList **out) {
    XetCallbacks callbacks = callbacks_of(call, progress, progress_interval_ms);
    return xet_client_hash_files(client, options, &callbacks, out);
}

XetError *xetgo_open(XetClient *client, const XetOpenOptions *options, uintptr_t call,
                     XetFile **out) {
    XetCallbacks callbacks = callbacks_of(call, false, 0);
    return xet_client_open(client, options, &callbacks, out);
}

XetError *xetgo_read_at(XetFile *file, uint64_t offset, void *buffer, size_t len,
                        const XetReadOptions *options, uintptr_t call, size_t *out_len) {
    XetCallbacks callbacks = callbacks_of(call, false, 0);
    return xet_file_read_at(file, offset, buffer, len, options, &callbacks, out_len);
}

XetError *xetgo_read_ranges(XetFile *file, XetReadRange *ranges, size_t ranges_len,
                            const XetReadOptions *options, uintptr_t call) {
    XetCallbacks callbacks = callbacks_of(call, false, 0);
    return xet_file_read_ranges(file, ranges, ranges_len, options, &callbacks);
}

XetError *xetgo_set_log_callback(bool on, int32_t level) {
    return xet_set_log_callback(on ? on_log : NULL, NULL, level);
}
