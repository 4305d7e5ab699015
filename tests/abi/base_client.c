/*
 * A program of the kind that the base interface was made for. It knows nothing of what came later,
 * not even xet.h.
 *
 *   base_client ENDPOINT TOKEN CACHE_DIR list     REPO REVISION
 *   base_client ENDPOINT TOKEN CACHE_DIR file     REPO TYPE REVISION FILE LOCAL_DIR
 *   base_client ENDPOINT TOKEN CACHE_DIR snapshot REPO TYPE REVISION LOCAL_DIR
 *   base_client ENDPOINT TOKEN CACHE_DIR cancel   REPO FILE
 *
 * "-" is a NULL. Prints one line for each thing it learns, with tabs between the fields; an error is
 * a line too. Exits with 0 unless the interface broke a promise.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base_abi.h"

static const char *optional(const char *argument) {
    return strcmp(argument, "-") == 0 ? NULL : argument;
}

static void fail(const char *promise) {
    printf("broken\t%s\n", promise);
    exit(1);
}

/* Prints and frees an error, if there is one. */
static bool failed(XetError *error) {
    if (error == NULL) {
        return false;
    }
    printf("error\t%" PRId32 "\t%s\t%s\n", error->code, error->message, error->details);
    xet_free_error(error);
    return true;
}

/* What the callbacks of a call have seen. */
typedef struct Watch {
    pthread_t caller;
    uint32_t updates;
    uint32_t asked;
    uint64_t bytes;
    XetProgressUpdate last;
} Watch;

static void on_progress(const XetProgressUpdate *update, void *user_data) {
    Watch *watch = user_data;
    if (!pthread_equal(pthread_self(), watch->caller)) {
        fail("callbacks run on the thread that made the call");
    }
    if (update->completed_bytes < watch->bytes) {
        fail("numbers never shrink within one call");
    }
    watch->updates++;
    watch->bytes = update->completed_bytes;
    watch->last = *update;
    watch->last.current_file = NULL; /* valid only until this function returns */
}

static bool not_yet(void *user_data) {
    Watch *watch = user_data;
    if (!pthread_equal(pthread_self(), watch->caller)) {
        fail("callbacks run on the thread that made the call");
    }
    watch->asked++;
    return false;
}

/* Ends the call when the file's bytes have begun to come. */
static bool once_bytes_came(void *user_data) {
    Watch *watch = user_data;
    watch->asked++;
    return watch->bytes > 0;
}

static void print_progress(const Watch *watch) {
    printf("progress\t%d\t%d\t%" PRIu64 "\t%" PRIu64 "\t%" PRIu32 "\t%" PRIu32 "\n",
           watch->updates > 0, (int)watch->last.phase, watch->last.completed_bytes,
           watch->last.total_bytes, watch->last.completed_files, watch->last.total_files);
}

static void list(XetClient *client, char **arguments) {
    XetFileList *files = NULL;
    if (failed(xet_list_files(client, arguments[0], optional(arguments[1]), &files))) {
        if (files != NULL) {
            fail("outputs are written on success only");
        }
        return;
    }
    for (size_t i = 0; i < files->count; i++) {
        const XetFileInfo *file = &files->files[i];
        printf("entry\t%s\t%s\t%" PRIu64 "\n", file->path, file->hash, file->size);
    }
    xet_free_file_list(files);
}

static void report(XetError *error, char *path, const Watch *watch) {
    if (failed(error)) {
        if (path != NULL) {
            fail("outputs are written on success only");
        }
        return;
    }
    print_progress(watch);
    printf("path\t%s\n", path);
    xet_free_string(path);
}

static void file(XetClient *client, char **arguments) {
    Watch watch = {.caller = pthread_self()};
    XetCancellationToken token = {not_yet, &watch};
    XetDownloadRequest request = {
        .repo_id = arguments[0],
        .repo_type = optional(arguments[1]),
        .revision = optional(arguments[2]),
        .filename = arguments[3],
        .local_dir = optional(arguments[4]),
    };
    char *path = NULL;
    if (failed(xet_client_set_progress_callback(client, on_progress, &watch, 50))) {
        return;
    }
    XetError *error = xet_download_file(client, &request, &token, &path);
    report(error, path, &watch);
}

static void snapshot(XetClient *client, char **arguments) {
    Watch watch = {.caller = pthread_self()};
    XetCancellationToken token = {not_yet, &watch};
    char *path = NULL;
    if (failed(xet_client_set_progress_callback(client, on_progress, &watch, 50))) {
        return;
    }
    XetError *error =
        xet_download_snapshot(client, arguments[0], optional(arguments[1]), optional(arguments[2]),
                              optional(arguments[3]), &token, &path);
    report(error, path, &watch);
    /* Turned off, and neither callback nor token is needed. */
    uint32_t updates = watch.updates;
    path = NULL;
    if (failed(xet_client_set_progress_callback(client, NULL, NULL, 0)) ||
        failed(xet_download_snapshot(client, arguments[0], optional(arguments[1]),
                                     optional(arguments[2]), optional(arguments[3]), NULL, &path))) {
        return;
    }
    printf("again\t%s\n", path);
    xet_free_string(path);
    if (watch.updates != updates) {
        fail("a NULL callback turns progress off");
    }
}

static void cancel(XetClient *client, char **arguments) {
    Watch watch = {.caller = pthread_self()};
    XetCancellationToken token = {once_bytes_came, &watch};
    XetDownloadRequest request = {.repo_id = arguments[0], .filename = arguments[1]};
    char *path = NULL;
    if (failed(xet_client_set_progress_callback(client, on_progress, &watch, 1))) {
        return;
    }
    XetError *error = xet_download_file(client, &request, &token, &path);
    report(error, path, &watch);
    printf("asked\t%d\n", watch.asked > 0);
}

int main(int count, char **arguments) {
    static const struct {
        const char *name;
        int arguments;
        void (*run)(XetClient *client, char **arguments);
    } commands[] = {
        {"list", 2, list}, {"file", 5, file}, {"snapshot", 4, snapshot}, {"cancel", 2, cancel}};

    xet_version_1_0_0();
    for (size_t i = 0; count > 4 && i < sizeof commands / sizeof *commands; i++) {
        if (strcmp(arguments[4], commands[i].name) != 0 || count != 5 + commands[i].arguments) {
            continue;
        }
        XetConfig config = {
            .endpoint = optional(arguments[1]),
            .token = optional(arguments[2]),
            .cache_dir = optional(arguments[3]),
            .enable_dedup = true,
        };
        XetClient *client = xet_client_new(&config);
        if (client == NULL) {
            puts("no client");
            return 0;
        }
        commands[i].run(client, arguments + 5);
        xet_client_free(client);
        return 0;
    }
    fputs("usage: see the top of base_client.c\n", stderr);
    return 2;
}
