/*
 * The base interface as programs that were compiled before xet.h grew have it: a frozen copy, in
 * place of xet.h. Whatever links with these declarations must run for ever. Never edit it.
 */
#ifndef BASE_ABI_H
#define BASE_ABI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct XetClient XetClient;

typedef enum XetProgressPhase {
    XET_PROGRESS_PHASE_SCANNING = 0,
    XET_PROGRESS_PHASE_DOWNLOADING = 1,
    XET_PROGRESS_PHASE_FINALIZING = 2
} XetProgressPhase;

typedef struct XetProgressUpdate {
    XetProgressPhase phase;
    uint64_t total_bytes;
    uint64_t completed_bytes;
    uint32_t total_files;
    uint32_t completed_files;
    const char *current_file;
    uint64_t current_file_completed_bytes;
    uint64_t current_file_total_bytes;
} XetProgressUpdate;

typedef void (*XetProgressCallback)(const XetProgressUpdate *update, void *user_data);
typedef bool (*XetCancellationCallback)(void *user_data);

typedef struct XetCancellationToken {
    XetCancellationCallback callback;
    void *user_data;
} XetCancellationToken;

typedef struct XetConfig {
    const char *endpoint;
    const char *token;
    const char *cache_dir;
    uint32_t max_concurrent_downloads;
    bool enable_dedup;
} XetConfig;

typedef struct XetDownloadRequest {
    const char *repo_id;
    const char *repo_type;
    const char *revision;
    const char *filename;
    const char *local_dir;
} XetDownloadRequest;

typedef struct XetSnapshotRequest {
    const char *repo_id;
    const char *repo_type;
    const char *revision;
    const char *local_dir;
    const char **allow_patterns;
    size_t allow_patterns_len;
    const char **ignore_patterns;
    size_t ignore_patterns_len;
} XetSnapshotRequest;

typedef struct XetFileInfo {
    char *path;
    char *hash;
    uint64_t size;
} XetFileInfo;

typedef struct XetFileList {
    XetFileInfo *files;
    size_t count;
} XetFileList;

typedef struct XetError {
    int32_t code;
    char *message;
    char *details;
} XetError;

void xet_version_1_0_0(void);
XetClient *xet_client_new(const XetConfig *config);
void xet_client_free(XetClient *client);
XetError *xet_client_set_progress_callback(XetClient *client, XetProgressCallback callback,
                                           void *user_data, uint32_t throttle_ms);
XetError *xet_list_files(XetClient *client, const char *repo_id, const char *revision,
                         XetFileList **out);
XetError *xet_download_file(XetClient *client, const XetDownloadRequest *request,
                            const XetCancellationToken *cancel_token, char **out_path);
XetError *xet_download_snapshot(XetClient *client, const char *repo_id, const char *repo_type,
                                const char *revision, const char *local_dir,
                                const XetCancellationToken *cancel_token, char **out_path);
void xet_free_error(XetError *error);
void xet_free_file_list(XetFileList *list);
void xet_free_string(char *string);

#endif
