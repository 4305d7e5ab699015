/*
 * A program of the time of ABI 2, compiled with the header of that time, which stands beside it: what
 * it links, fills in and reads must go on working with every later library. Never edit it, nor the
 * header.
 *
 * Arguments: endpoint, token, cache_dir, the id of a repo to download, the id of one to create, a
 * folder to upload, and one to download to. Prints each promise that is broken; exits with 1 if one was.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "xet.h"

static unsigned broken = 0;

static void check(bool holds, const char *what) {
    if (!holds) {
        broken++;
        printf("broken: %s\n", what);
    }
}

static bool worked(XetError *error, const char *what) {
    if (error != NULL) {
        printf("%s: %d %s %s\n", what, (int)error->code, error->message, error->details);
        xet_free_error(error);
    }
    check(error == NULL, what);
    return error == NULL;
}

static unsigned reports = 0;

static void on_progress(const XetProgress *progress, void *user_data) {
    check(user_data == &reports, "callbacks get their pointer");
    check(progress->struct_size >= sizeof(XetProgress), "a report has all that it had");
    reports++;
}

static bool never(void *user_data) {
    check(user_data == &reports, "callbacks get their pointer");
    return false;
}

static const XetCallbacks CALLBACKS = {.struct_size = sizeof CALLBACKS,
                                       .progress_interval_ms = 1,
                                       .progress = on_progress,
                                       .cancel = never,
                                       .user_data = &reports};

static const XetDeadlines DEADLINES = {.struct_size = sizeof DEADLINES,
                                       .connect_timeout_ms = 5000,
                                       .read_timeout_ms = 20000};

static void list(XetClient *client, const char *repo_id) {
    XetListOptions options = {.struct_size = sizeof options,
                              .timeout_ms = 60000,
                              .repo_id = repo_id,
                              .repo_type = "models",
                              .revision = "",
                              .deadlines = &DEADLINES};
    XetEntryList *list = NULL;
    if (!worked(xet_client_list_files(client, &options, &CALLBACKS, &list), "list")) {
        return;
    }
    check(list->struct_size >= sizeof *list && strlen(list->commit) == 40, "a list has its commit");
    bool found = false;
    for (size_t i = 0; i < list->count; i++) {
        const XetEntry *entry = list->entries[i];
        check(entry->struct_size >= sizeof *entry && strlen(entry->oid) == 40, "an entry is whole");
        if (strcmp(entry->path, "model.bin") == 0) {
            found = entry->kind == XET_FILE_KIND_XET && strlen(entry->xet_hash) == 64;
        }
    }
    check(found, "the Xet file is listed");
    xet_entry_list_free(list);
}

static void download(XetClient *client, const char *repo_id, const char *local_dir) {
    const char *allowed[] = {"*.bin", "*.md"};
    XetDownloadOptions options;
    memset(&options, 0, sizeof options);
    options.struct_size = sizeof options;
    options.repo_id = repo_id;
    options.local_dir = local_dir;
    options.allow_patterns = allowed;
    options.allow_patterns_len = 2;
    options.deadlines = &DEADLINES;

    XetPlan *plan = NULL;
    if (worked(xet_client_plan(client, &options, NULL, &plan), "plan")) {
        check(plan->struct_size >= sizeof *plan && plan->count == 2, "a plan has its files");
        check(plan->files[0]->bytes_total > 0, "a planned file has its size");
        xet_plan_free(plan);
    }
    XetTransfer *transfer = NULL;
    if (worked(xet_client_download(client, &options, &CALLBACKS, &transfer), "download")) {
        check(transfer->struct_size >= sizeof *transfer && transfer->files == 2, "two files came");
        for (uint32_t i = 0; i < transfer->files; i++) {
            const XetFileTransfer *file = transfer->file_transfers[i];
            check(file->struct_size >= sizeof *file, "a file of a report is whole");
            check(file->bytes_total == file->bytes_network + file->bytes_reused ||
                      file->way != XET_WAY_LOCAL,
                  "a local file was reused");
        }
        xet_transfer_free(transfer);
    }
}

static void look_after_the_cache(XetClient *client) {
    /* This struct had padding behind its last field, which nobody has to set. */
    XetCacheOptions options;
    memset(&options, 0xa5, sizeof options);
    options.struct_size = sizeof options;
    options.flags = 0;
    options.max_bytes = 0;
    options.older_than_s = 0;
    options.timeout_ms = 60000;
    XetCacheUsage *usage = NULL;
    if (worked(xet_client_cache_usage(client, &options, NULL, &usage), "usage")) {
        check(usage->struct_size >= sizeof *usage && usage->repos >= 1, "usage counts repos");
        xet_cache_usage_free(usage);
    }
    XetCacheReport *report = NULL;
    if (worked(xet_client_cache_verify(client, NULL, &CALLBACKS, &report), "verify")) {
        check(report->count == 0 && report->files > 0, "everything is right");
        xet_cache_report_free(report);
    }
    options.flags = XET_CACHE_UNREFERENCED | XET_CACHE_DRY_RUN;
    report = NULL;
    if (worked(xet_client_cache_prune(client, &options, NULL, &report), "prune")) {
        xet_cache_report_free(report);
    }
}

/* A stream of "stream": all of it at once; or broken, as such programs say it. */
typedef struct Source {
    bool ended;
    int64_t broken;
} Source;

static int64_t read_source(uint8_t *buffer, size_t length, void *user_data) {
    Source *source = user_data;
    if (source->broken != 0) {
        return source->broken;
    }
    if (source->ended || length < 6) {
        return 0;
    }
    source->ended = true;
    memcpy(buffer, "stream", 6);
    return 6;
}

static void upload(XetClient *client, const char *repo_id, const char *folder) {
    XetCreateRepoOptions creation = {.struct_size = sizeof creation,
                                     .flags = XET_CREATE_REPO_EXIST_OK,
                                     .repo_id = repo_id,
                                     .deadlines = &DEADLINES};
    XetRepoReport *repo = NULL;
    if (!worked(xet_client_create_repo(client, &creation, NULL, &repo), "create a repo")) {
        return;
    }
    check(strcmp(repo->repo_id, repo_id) == 0, "a repo has its id");
    xet_repo_report_free(repo);

    Source source = {.ended = false};
    XetOperation bytes = {.struct_size = sizeof bytes,
                          .kind = XET_OPERATION_ADD_BYTES,
                          .path_in_repo = "bytes.txt",
                          .data = "bytes",
                          .data_len = 5};
    XetOperation stream = {.struct_size = sizeof stream,
                           .kind = XET_OPERATION_ADD_STREAM,
                           .path_in_repo = "stream.txt",
                           .read = read_source,
                           .user_data = &source};
    const XetOperation *operations[] = {&bytes, &stream};
    XetCommitOptions options = {.struct_size = sizeof options,
                                .repo_id = repo_id,
                                .message = "Of ABI 2",
                                .operations = operations,
                                .operations_len = 2};
    XetCommitReport *report = NULL;
    if (worked(xet_client_create_commit(client, &options, &CALLBACKS, &report), "commit")) {
        check(report->struct_size >= sizeof *report && report->commits == 1, "one commit was made");
        check(strlen(report->commit) == 40 && report->files_changed == 2, "of two files");
        xet_commit_report_free(report);
    }

    /* Any negative number cancels; such programs return what they like, as -errno. */
    const int64_t ends[] = {-1, -2, -5, -9, -4095, INT32_MIN, INT64_MIN};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        source = (Source){.broken = ends[i]};
        XetError *error = xet_client_create_commit(client, &options, NULL, &report);
        check(error != NULL && error->code == XET_CODE_CANCELLED, "a broken stream cancels");
        xet_free_error(error);
    }

    XetUploadFolderOptions upload = {.struct_size = sizeof upload,
                                     .repo_id = repo_id,
                                     .folder_path = folder,
                                     .path_in_repo = "folder",
                                     .timeout_ms = 60000};
    report = NULL;
    if (worked(xet_client_upload_folder(client, &upload, &CALLBACKS, &report), "upload")) {
        check(report->commits == 1 && report->commit_url != NULL, "a folder was committed");
        xet_commit_report_free(report);
    }
}

int main(int argc, char **argv) {
    if (argc != 8) {
        fprintf(stderr, "usage: client endpoint token cache_dir repo_id new_repo_id folder local\n");
        return 2;
    }
    check(XET_ABI_VERSION == 2, "this is the header of ABI 2");
    check(xet_abi_version() >= XET_ABI_VERSION, "the library is as new as the header");
    XetClientOptions options = {.struct_size = sizeof options,
                                .max_concurrent_downloads = 4,
                                .endpoint = argv[1],
                                .token = argv[2],
                                .cache_dir = argv[3],
                                .user_agent = "abi2/1.0",
                                .transport = XET_TRANSPORT_AUTO,
                                .max_bytes_per_second = 1000000000};
    XetClient *client = NULL;
    if (!worked(xet_client_create(&options, &client), "create")) {
        return 1;
    }
    list(client, argv[4]);
    download(client, argv[4], NULL);
    download(client, argv[4], argv[7]);
    look_after_the_cache(client);
    upload(client, argv[5], argv[6]);
    xet_client_free(client);
    check(reports > 0, "progress was reported");
    if (broken > 0) {
        printf("%u promises are broken\n", broken);
    }
    return broken == 0 ? 0 : 1;
}
