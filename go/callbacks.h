/*
 * The library's functions that take callbacks, with Go's callbacks filled in. `call` is the
 * cgo.Handle of a *call; it is a number, and becomes a pointer only in C.
 *
 * All Go files include this header and not xet.h itself, so that each begins with the check of its
 * version.
 */
#ifndef XET_GO_CALLBACKS_H
#define XET_GO_CALLBACKS_H

#include "xet.h"

#if !defined(XET_ABI_VERSION) || XET_ABI_VERSION < 12
#error "xet.h is older than this Go package, which needs XET_ABI_VERSION 12 or later: install a newer \
libxet, and let PKG_CONFIG_PATH name the folder of its xet.pc"
#else /* nothing else is said about an older one */

XetError *xetgo_list_files(XetClient *client, const XetListOptions *options, uintptr_t call,
                           XetEntryList **out);

XetError *xetgo_resolve(XetClient *client, const XetListOptions *options, uintptr_t call,
                        char **out);

/* progress_interval_ms as in XetCallbacks; with `progress` false, progress isn't even reported. */
XetError *xetgo_download(XetClient *client, const XetDownloadOptions *options, uintptr_t call,
                         bool progress, uint32_t progress_interval_ms, XetTransfer **out);

XetError *xetgo_plan(XetClient *client, const XetDownloadOptions *options, uintptr_t call,
                     XetPlan **out);

XetError *xetgo_cache_usage(XetClient *client, const XetCacheOptions *options, uintptr_t call,
                            bool progress, uint32_t progress_interval_ms, XetCacheUsage **out);

/* Which function of the cache. */
enum { XETGO_CACHE_VERIFY, XETGO_CACHE_REMOVE, XETGO_CACHE_PRUNE, XETGO_CACHE_INDEX };

XetError *xetgo_cache(int what, XetClient *client, const XetCacheOptions *options, uintptr_t call,
                      bool progress, uint32_t progress_interval_ms, XetCacheReport **out);

/* The same for uploads. */
XetError *xetgo_create_commit(XetClient *client, const XetCommitOptions *options, uintptr_t call,
                              bool progress, uint32_t progress_interval_ms, XetCommitReport **out);
XetError *xetgo_upload_folder(XetClient *client, const XetUploadFolderOptions *options,
                              uintptr_t call, bool progress, uint32_t progress_interval_ms,
                              XetCommitReport **out);
XetError *xetgo_create_repo(XetClient *client, const XetCreateRepoOptions *options, uintptr_t call,
                            XetRepoReport **out);
XetError *xetgo_create_branch(XetClient *client, const XetCreateBranchOptions *options,
                              uintptr_t call);

/* Makes an operation read from a stream: `stream` is the cgo.Handle of a *stream. */
void xetgo_read_from(XetOperation *operation, uintptr_t stream);

/* Those of storages. `tokens` is the cgo.Handle of a *tokens; 0: nobody is asked for them. */
XetError *xetgo_open_storage(XetClient *client, const XetStorageOptions *options, uintptr_t tokens,
                             uintptr_t call, XetStorage **out);
XetError *xetgo_group_serve(XetGroup *group, uintptr_t call, bool progress,
                            uint32_t progress_interval_ms);
XetError *xetgo_group_wait_task(XetGroup *group, uint64_t task, uintptr_t call,
                                XetGroupReport **out);
XetError *xetgo_stream_next(XetStream *stream, uintptr_t call, XetPiece **out);
XetError *xetgo_hash_files(XetClient *client, const XetHashOptions *options, uintptr_t call,
                           bool progress, uint32_t progress_interval_ms, XetContentList **out);

/* Those of reading in place. */
XetError *xetgo_open(XetClient *client, const XetOpenOptions *options, uintptr_t call,
                     XetFile **out);
XetError *xetgo_read_at(XetFile *file, uint64_t offset, void *buffer, size_t len,
                        const XetReadOptions *options, uintptr_t call, size_t *out_len);
XetError *xetgo_read_ranges(XetFile *file, XetReadRange *ranges, size_t ranges_len,
                            const XetReadOptions *options, uintptr_t call);

/* Sends logs up to `level` to Go; with `on` false, turns that off. */
XetError *xetgo_set_log_callback(bool on, int32_t level);

#endif
#endif
