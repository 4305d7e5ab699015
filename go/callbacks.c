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

XetError *xetgo_list_files(XetClient *client, const XetListOptions *options, uintptr_t call,
                           XetEntryList **out) {
    XetCallbacks callbacks = {
        .struct_size = sizeof callbacks,
        .cancel = on_cancel,
        .user_data = (void *)call,
    };
    return xet_client_list_files(client, options, &callbacks, out);
}

XetError *xetgo_download(XetClient *client, const XetDownloadOptions *options, uintptr_t call,
                         bool progress, uint32_t progress_interval_ms, XetTransfer **out) {
    XetCallbacks callbacks = {
        .struct_size = sizeof callbacks,
        .progress_interval_ms = progress_interval_ms,
        .progress = progress ? on_progress : NULL,
        .cancel = on_cancel,
        .user_data = (void *)call,
    };
    return xet_client_download(client, options, &callbacks, out);
}

XetError *xetgo_plan(XetClient *client, const XetDownloadOptions *options, uintptr_t call,
                     XetPlan **out) {
    XetCallbacks callbacks = {
        .struct_size = sizeof callbacks,
        .cancel = on_cancel,
        .user_data = (void *)call,
    };
    return xet_client_plan(client, options, &callbacks, out);
}

XetError *xetgo_cache_usage(XetClient *client, uintptr_t call, XetCacheUsage **out) {
    XetCallbacks callbacks = {
        .struct_size = sizeof callbacks,
        .cancel = on_cancel,
        .user_data = (void *)call,
    };
    return xet_client_cache_usage(client, NULL, &callbacks, out);
}

XetError *xetgo_cache(int what, XetClient *client, const XetCacheOptions *options, uintptr_t call,
                      XetCacheReport **out) {
    XetCallbacks callbacks = {
        .struct_size = sizeof callbacks,
        .cancel = on_cancel,
        .user_data = (void *)call,
    };
    switch (what) {
    case XETGO_CACHE_VERIFY:
        return xet_client_cache_verify(client, options, &callbacks, out);
    case XETGO_CACHE_PRUNE:
        return xet_client_cache_prune(client, options, &callbacks, out);
    default:
        return xet_client_cache_index(client, options, &callbacks, out);
    }
}

XetError *xetgo_set_log_callback(bool on, int32_t level) {
    return xet_set_log_callback(on ? on_log : NULL, NULL, level);
}
