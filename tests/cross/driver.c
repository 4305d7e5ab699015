/*
 * One call from C, for test_table.py; driver.py and driver.go are the same in their languages.
 *
 *   driver ENDPOINT TOKEN CACHE_DIR info     -
 *   driver ENDPOINT TOKEN CACHE_DIR list     REPO TYPE REVISION
 *   driver ENDPOINT TOKEN CACHE_DIR resolve  REPO TYPE REVISION
 *   driver ENDPOINT TOKEN CACHE_DIR file     REPO TYPE REVISION LOCAL_DIR FILE
 *   driver ENDPOINT TOKEN CACHE_DIR snapshot REPO TYPE REVISION LOCAL_DIR [PATTERN | !PATTERN]...
 *   driver ENDPOINT TOKEN CACHE_DIR plan     REPO TYPE REVISION LOCAL_DIR [PATTERN | !PATTERN]...
 *   driver ENDPOINT TOKEN CACHE_DIR upload   REPO PARENT PATH_IN_REPO LOCAL_PATH
 *   driver ENDPOINT TOKEN CACHE_DIR read     REPO TYPE REVISION FILE [OFFSET LENGTH]...
 *   driver ENDPOINT TOKEN CACHE_DIR cancel   REPO       ... when the first bytes have come
 *   driver ENDPOINT TOKEN CACHE_DIR limited  REPO       ... to 300 ms
 *
 * "-" is a default. Prints lines with tabs between the fields:
 *   info ENDPOINT CACHE_DIR XET_CACHE_DIR TOKEN_SOURCE TRANSPORT CONCURRENT ANONYMOUS OFFLINE
 *   entry PATH KIND SIZE OID SHA256 XET_HASH COMMIT
 *   commit COMMIT
 *   done PATH COMMIT FILES TOTAL NETWORK REUSED RETRIES FALLBACKS
 *   way PATH WAY TOTAL NETWORK REUSED RETRIES FALLBACKS LOCAL_PATH HASH HASH_KIND VERIFIED
 *                                                               ... for each file, after done
 *   plan COMMIT TOTAL PRESENT REUSABLE REMOTE NEED
 *   planned PATH TOTAL PRESENT REUSABLE REMOTE                  ... for each file, after plan
 *   committed COMMITS FILES CHANGED TOTAL NEW ON_HUB REPEATED XORBS
 *   part HEX                                                    ... for each part, in one call, and
 *                                                                   the first of them by itself
 *   open PATH KIND SIZE COMMIT ETAG XET_HASH PROOF READS READ NETWORK OF_PROOFS REUSED RETRIES STALLS
 *   error CODE MESSAGE DETAILS
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "xet.h"

static const char *optional(const char *argument) {
    return strcmp(argument, "-") == 0 ? NULL : argument;
}

static int failed(XetError *error) {
    if (error == NULL) {
        return 0;
    }
    printf("error\t%" PRId32 "\t%s\t%s\n", error->code, error->message, error->details);
    xet_free_error(error);
    return 1;
}

static void list(XetClient *client, char **arguments) {
    static const char *const kinds[] = {"git", "lfs", "xet"};
    XetListOptions options = {
        .struct_size = sizeof options,
        .repo_id = optional(arguments[0]),
        .repo_type = optional(arguments[1]),
        .revision = optional(arguments[2]),
    };
    XetEntryList *files = NULL;
    if (failed(xet_client_list_files(client, &options, NULL, &files))) {
        return;
    }
    for (size_t i = 0; i < files->count; i++) {
        const XetEntry *file = files->entries[i];
        printf("entry\t%s\t%s\t%" PRIu64 "\t%s\t%s\t%s\t%s\n", file->path, kinds[file->kind],
               file->size, file->oid, file->sha256 ? file->sha256 : "-",
               file->xet_hash ? file->xet_hash : "-", files->commit);
    }
    xet_entry_list_free(files);
}

static void resolve(XetClient *client, char **arguments) {
    XetListOptions options = XET_INIT(XetListOptions);
    options.repo_id = optional(arguments[0]);
    options.repo_type = optional(arguments[1]);
    options.revision = optional(arguments[2]);
    char *commit = NULL;
    if (failed(xet_client_resolve(client, &options, NULL, &commit))) {
        return;
    }
    printf("commit\t%s\n", commit);
    xet_free_string(commit);
}

static void info(XetClient *client) {
    static const char *const transports[] = {"", "auto", "xet", "http"};
    XetClientInfo *i = NULL;
    if (failed(xet_client_info(client, &i))) {
        return;
    }
    printf("info\t%s\t%s\t%s\t%s\t%s\t%" PRIu32 "\t%d\t%d\n", i->endpoint, i->cache_dir,
           i->xet_cache_dir, i->token_source, transports[i->transport], i->max_concurrent_downloads,
           (i->flags & XET_CLIENT_ANONYMOUS) != 0, (i->flags & XET_CLIENT_OFFLINE) != 0);
    xet_client_info_free(i);
}

static void on_progress(const XetProgress *progress, void *came) {
    *(bool *)came = progress->bytes_network > 0;
}

static bool once_bytes_came(void *came) { return *(bool *)came; }

static void show_way(const XetFileTransfer *one) {
    static const char *const ways[] = {"local", "xet", "http", "xet+http"};
    static const char *const hashes[] = {"none", "git_blob", "sha256", "xet"};
    printf("way\t%s\t%s\t%" PRIu64 "\t%" PRIu64 "\t%" PRIu64 "\t%" PRIu32 "\t%" PRIu32,
           one->path, ways[one->way], one->bytes_total, one->bytes_network, one->bytes_reused,
           one->retries, one->fallbacks);
    printf("\t%s\t%s\t%s\t%" PRIu32 "\n", one->local_path, one->hash ? one->hash : "-",
           hashes[one->hash_kind], one->verified);
}

static void download(XetClient *client, const XetDownloadOptions *options,
                     const XetCallbacks *callbacks) {
    XetTransfer *t = NULL;
    if (failed(xet_client_download(client, options, callbacks, &t))) {
        return;
    }
    printf("done\t%s\t%s\t%" PRIu32 "\t%" PRIu64 "\t%" PRIu64 "\t%" PRIu64 "\t%" PRIu32
           "\t%" PRIu32 "\t%" PRIu32 "\t%" PRIu32 "\t%" PRIu32 "\n",
           t->path, t->commit, t->files, t->bytes_total, t->bytes_network, t->bytes_reused,
           t->retries, t->fallbacks, t->stalls, t->refreshes, t->refetches);
    for (uint32_t i = 0; i < t->files; i++) {
        show_way(t->file_transfers[i]);
    }
    xet_transfer_free(t);
}

static void plan(XetClient *client, const XetDownloadOptions *options) {
    XetPlan *p = NULL;
    if (failed(xet_client_plan(client, options, NULL, &p))) {
        return;
    }
    printf("plan\t%s\t%" PRIu64 "\t%" PRIu64 "\t%" PRIu64 "\t%" PRIu64 "\t%" PRIu64 "\n", p->commit,
           p->bytes_total, p->bytes_present, p->bytes_reusable, p->bytes_remote, p->disk_need);
    for (size_t i = 0; i < p->count; i++) {
        const XetPlannedFile *file = p->files[i];
        printf("planned\t%s\t%" PRIu64 "\t%" PRIu64 "\t%" PRIu64 "\t%" PRIu64 "\n", file->path,
               file->bytes_total, file->bytes_present, file->bytes_reusable, file->bytes_remote);
    }
    xet_plan_free(p);
}

static void upload(XetClient *client, char **arguments) {
    XetCreateRepoOptions repo = {
        .struct_size = sizeof repo,
        .flags = XET_CREATE_REPO_EXIST_OK,
        .repo_id = optional(arguments[0]),
    };
    XetRepoReport *there = NULL;
    if (failed(xet_client_create_repo(client, &repo, NULL, &there))) {
        return;
    }
    xet_repo_report_free(there);
    XetOperation add = {
        .struct_size = sizeof add,
        .kind = XET_OPERATION_ADD_PATH,
        .path_in_repo = arguments[2],
        .local_path = arguments[3],
    };
    const XetOperation *operations[] = {&add};
    XetCommitOptions options = {
        .struct_size = sizeof options,
        .repo_id = repo.repo_id,
        .parent_commit = optional(arguments[1]),
        .operations = operations,
        .operations_len = 1,
    };
    XetCommitReport *r = NULL;
    if (failed(xet_client_create_commit(client, &options, NULL, &r))) {
        return;
    }
    printf("committed\t%" PRIu32 "\t%" PRIu32 "\t%" PRIu32 "\t%" PRIu64 "\t%" PRIu64 "\t%" PRIu64
           "\t%" PRIu64 "\t%" PRIu32 "\n",
           r->commits, r->files, r->files_changed, r->bytes_total, r->bytes_new, r->bytes_on_hub,
           r->bytes_repeated, r->xorbs);
    xet_commit_report_free(r);
}

static void show_part(const unsigned char *bytes, size_t length) {
    printf("part\t");
    for (size_t i = 0; i < length; i++) {
        printf("%02x", bytes[i]);
    }
    printf("\n");
}

static void show_open(XetFile *file) {
    static const char *const kinds[] = {"git", "lfs", "xet"};
    static const char *const proofs[] = {"none", "merkle", "cache"};
    XetFileReport *report = NULL;
    if (failed(xet_file_report(file, &report))) {
        return;
    }
    printf("open\t%s\t%s\t%" PRIu64 "\t%s\t%s\t%s\t%s\t%" PRIu64 "\t%" PRIu64 "\t%" PRIu64
           "\t%" PRIu64 "\t%" PRIu64 "\t%" PRIu32 "\t%" PRIu32 "\n",
           report->path, kinds[report->kind], report->size, report->commit, report->etag,
           report->xet_hash ? report->xet_hash : "-", proofs[report->proof], report->reads,
           report->bytes_read, report->bytes_network, report->bytes_proof, report->bytes_reused,
           report->retries, report->stalls);
    xet_file_report_free(report);
}

static void read_parts(XetClient *client, char **arguments, int count) {
    enum { MOST = 1024, PARTS = 16 };
    static unsigned char buffers[PARTS][MOST];
    XetOpenOptions options = {
        .struct_size = sizeof options,
        .flags = XET_OPEN_NO_READAHEAD,
        .repo_id = optional(arguments[0]),
        .repo_type = optional(arguments[1]),
        .revision = optional(arguments[2]),
        .filename = arguments[3],
    };
    XetFile *file = NULL;
    if (failed(xet_client_open(client, &options, NULL, &file))) {
        return;
    }
    XetReadRange parts[PARTS];
    size_t length = 0;
    for (int i = 4; i + 1 < count && length < PARTS; i += 2, length++) {
        size_t wanted = strtoull(arguments[i + 1], NULL, 10);
        parts[length] = (XetReadRange){.offset = strtoull(arguments[i], NULL, 10),
                                       .len = wanted < MOST ? wanted : MOST,
                                       .buffer = buffers[length]};
    }
    if (!failed(xet_file_read_ranges(file, parts, length, NULL, NULL))) {
        for (size_t i = 0; i < length; i++) {
            show_part(parts[i].buffer, parts[i].filled);
        }
        size_t filled = 0;
        if (!failed(xet_file_read_at(file, parts[0].offset, buffers[0], parts[0].len, NULL, NULL,
                                     &filled))) {
            show_part(buffers[0], filled);
            show_open(file);
        }
    }
    xet_file_free(file);
}

int main(int count, char **arguments) {
    if (count < 6) {
        fputs("usage: see the top of driver.c\n", stderr);
        return 2;
    }
    XetClientOptions config = {
        .struct_size = sizeof config,
        .endpoint = optional(arguments[1]),
        .token = optional(arguments[2]),
        .cache_dir = optional(arguments[3]),
        .max_attempts = 1,
    };
    XetClient *client = NULL;
    if (failed(xet_client_create(&config, &client))) {
        return 0;
    }
    const char *action = arguments[4];
    char **rest = arguments + 5;
    XetDownloadOptions options = {.struct_size = sizeof options, .repo_id = optional(rest[0])};
    if (strcmp(action, "list") == 0 && count == 8) {
        list(client, rest);
    } else if (strcmp(action, "resolve") == 0 && count == 8) {
        resolve(client, rest);
    } else if (strcmp(action, "info") == 0) {
        info(client);
    } else if (strcmp(action, "upload") == 0 && count == 9) {
        upload(client, rest);
    } else if (strcmp(action, "cancel") == 0) {
        bool came = false;
        XetCallbacks callbacks = {
            .struct_size = sizeof callbacks,
            .progress = on_progress,
            .cancel = once_bytes_came,
            .user_data = &came,
        };
        download(client, &options, &callbacks);
    } else if (strcmp(action, "limited") == 0) {
        options.timeout_ms = 300;
        download(client, &options, NULL);
    } else if (strcmp(action, "read") == 0 && count >= 11) {
        read_parts(client, rest, count - 5);
    } else if (count >= 9) {
        options.repo_type = optional(rest[1]);
        options.revision = optional(rest[2]);
        options.local_dir = optional(rest[3]);
        const char **allow = calloc((size_t)count, sizeof *allow);
        const char **ignore = calloc((size_t)count, sizeof *ignore);
        if (allow == NULL || ignore == NULL) {
            return 1;
        }
        if (strcmp(action, "file") == 0) {
            options.filename = arguments[9];
        } else {
            for (int i = 9; i < count; i++) {
                if (arguments[i][0] == '!') {
                    ignore[options.ignore_patterns_len++] = arguments[i] + 1;
                } else {
                    allow[options.allow_patterns_len++] = arguments[i];
                }
            }
            options.allow_patterns = options.allow_patterns_len > 0 ? allow : NULL;
            options.ignore_patterns = ignore;
        }
        if (strcmp(action, "plan") == 0) {
            plan(client, &options);
        } else {
            download(client, &options, NULL);
        }
        free(allow);
        free(ignore);
    }
    xet_client_free(client);
    return 0;
}
