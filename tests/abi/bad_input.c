/*
 * Wrong input at every entry point: each must give XET_CODE_INVALID_CONFIG and name the field, write
 * no output, and lose no memory. Needs no network. Argument: an empty folder for the cache.
 *
 * Prints each promise that is broken, and how many were checked; exits with 1 if one was.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "xet.h"

static unsigned checked = 0;
static unsigned broken = 0;

/* What out-parameters hold before a call: it must still be there after a failed one. */
static char untouched[1];
#define UNTOUCHED ((void *)untouched)

static void check(bool holds, const char *what, const char *field) {
    checked++;
    if (!holds) {
        broken++;
        printf("broken: %s (%s)\n", what, field);
    }
}

/*
 * Checks an error's code, that message and details name the field, and that the out-parameter, whose
 * address is `out` (NULL: there is none), still holds UNTOUCHED.
 */
static void is_invalid(XetError *error, const char *field, const void *out) {
    char in_details[256];
    check(error != NULL, "an error is expected", field);
    if (out != NULL) {
        void *value;
        memcpy(&value, out, sizeof value);
        check(value == UNTOUCHED, "outputs are written on success only", field);
    }
    if (error == NULL) {
        return;
    }
    /* "options.repo_id" is also fine as "repo_id" in the sentence; the details are exact. */
    const char *dot = strchr(field, '.');
    check(error->code == XET_CODE_INVALID_CONFIG, "the code is INVALID_CONFIG", field);
    check(strstr(error->message, dot != NULL ? dot + 1 : field) != NULL,
          "the message names the field", error->message);
    snprintf(in_details, sizeof in_details, "\"field\":\"%s\"", field);
    check(error->details != NULL && strstr(error->details, in_details) != NULL,
          "the details name the field", field);
    if (broken > 0) {
        printf("  got %d: %s %s\n", (int)error->code, error->message, error->details);
    }
    xet_free_error(error);
}

/* Not UTF-8: a lone continuation byte, an overlong '/', a surrogate, and a cut-off sequence. */
static const char *const NOT_UTF8[] = {"a\x80", "\xc0\xaf", "\xed\xa0\x80", "caf\xc3"};
enum { NOT_UTF8_COUNT = sizeof NOT_UTF8 / sizeof *NOT_UTF8 };

/* A string of a million bytes, and one that is just too long. */
static char *huge;
static char *too_long;

static char *repeated(size_t length) {
    char *text = malloc(length + 1);
    if (text == NULL) {
        abort();
    }
    memset(text, 'x', length);
    text[length] = '\0';
    return text;
}

/* Calls `try_it(value, field)` with each string that no field accepts. */
#define WITH_EACH_BAD_STRING(field_of_struct, statement)      \
    do {                                                      \
        const char *good = (field_of_struct);                 \
        for (int bad = 0; bad < NOT_UTF8_COUNT + 2; bad++) {  \
            (field_of_struct) = bad < NOT_UTF8_COUNT ? NOT_UTF8[bad] \
                                : bad == NOT_UTF8_COUNT ? huge : too_long; \
            statement;                                        \
        }                                                     \
        (field_of_struct) = good;                             \
    } while (0)

static const uint32_t WRONG_SIZES[] = {0, 1, 2, 3, 5, 7, 9, 12, 13, 15, 1000, 0x7fffffff, UINT32_MAX};
enum { WRONG_SIZES_COUNT = sizeof WRONG_SIZES / sizeof *WRONG_SIZES };

#define WITH_EACH_WRONG_SIZE(value, statement)                     \
    do {                                                           \
        for (int wrong = 0; wrong < WRONG_SIZES_COUNT; wrong++) {  \
            (value).struct_size = WRONG_SIZES[wrong];              \
            statement;                                             \
        }                                                          \
        (value).struct_size = sizeof(value) + 8;                   \
        statement;                                                 \
        (value).struct_size = sizeof(value) - 1;                   \
        statement;                                                 \
        (value).struct_size = sizeof(value);                       \
    } while (0)

/* ---- xet_client_new and xet_client_create ---- */

static void try_new(const XetConfig *config, const char *field) {
    XetClient *client = xet_client_new(config);
    check(client == NULL, "no client is made", field);
    const XetError *last = xet_last_error();
    check(last != NULL && last->code == XET_CODE_INVALID_CONFIG && strstr(last->details, field) != NULL,
          "xet_last_error tells why", field);
    xet_client_free(client);
}

static void client_new(const char *cache_dir) {
    XetConfig config = {.endpoint = "http://127.0.0.1:9", .token = "t", .cache_dir = cache_dir};
    WITH_EACH_BAD_STRING(config.endpoint, try_new(&config, "config.endpoint"));
    WITH_EACH_BAD_STRING(config.token, try_new(&config, "config.token"));
    WITH_EACH_BAD_STRING(config.cache_dir, try_new(&config, "config.cache_dir"));
    config.endpoint = "not a url";
    try_new(&config, "config.endpoint");

    config = (XetConfig){.endpoint = "http://127.0.0.1:9", .cache_dir = cache_dir,
                         .max_concurrent_downloads = UINT32_MAX};
    XetClient *client = xet_client_new(&config);
    check(client != NULL, "any max_concurrent_downloads was always accepted", "config");
    check(xet_last_error() == NULL, "success clears the last error", "config");
    xet_client_free(client);
}

static void try_create(const XetClientOptions *options, const char *field) {
    XetClient *client = UNTOUCHED;
    is_invalid(xet_client_create(options, &client), field, &client);
}

static void client_create(const char *cache_dir) {
    XetClientOptions options = {.struct_size = sizeof options,
                                .endpoint = "http://127.0.0.1:9",
                                .cache_dir = cache_dir};
    is_invalid(xet_client_create(&options, NULL), "out_client", NULL);
    is_invalid(xet_client_create(NULL, NULL), "out_client", NULL);
    WITH_EACH_WRONG_SIZE(options, try_create(&options, "options.struct_size"));
    WITH_EACH_BAD_STRING(options.endpoint, try_create(&options, "options.endpoint"));
    WITH_EACH_BAD_STRING(options.token, try_create(&options, "options.token"));
    WITH_EACH_BAD_STRING(options.cache_dir, try_create(&options, "options.cache_dir"));
    WITH_EACH_BAD_STRING(options.user_agent, try_create(&options, "options.user_agent"));
    options.token = "line\nbreak";
    try_create(&options, "options.token");
    options.token = NULL;
    options.user_agent = "line\r\nbreak";
    try_create(&options, "options.user_agent");
    options.user_agent = NULL;
    options.flags = 4;
    try_create(&options, "options.flags");
    options.flags = UINT32_MAX;
    try_create(&options, "options.flags");
    options.flags = XET_CLIENT_ANONYMOUS;
    options.token = "t";
    try_create(&options, "options.token");
    options.flags = 0;
    options.token = NULL;
    options.max_concurrent_downloads = 257;
    try_create(&options, "options.max_concurrent_downloads");
    options.max_concurrent_downloads = 0;
    options.max_attempts = 21;
    try_create(&options, "options.max_attempts");
    options.max_attempts = 0;
    options.transport = XET_TRANSPORT_HTTP + 1;
    try_create(&options, "options.transport");
    options.transport = UINT32_MAX;
    try_create(&options, "options.transport");
    options.transport = XET_TRANSPORT_DEFAULT;

    /* A caller with an older header: every size at which a field ends. */
    static const size_t ends[] = {4, 8, 16, 24, 32, 40, 44, 48, 52, 56, 60, 64};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        /* Exactly that much memory, so that valgrind and ASan see a read behind it. */
        XetClientOptions *older = malloc(ends[i]);
        if (older == NULL) {
            abort();
        }
        memcpy(older, &options, ends[i]);
        older->struct_size = (uint32_t)ends[i];
        XetClient *client = NULL;
        XetError *error = xet_client_create(older, &client);
        check(error == NULL && client != NULL, "an older struct is accepted", "options");
        xet_free_error(error);
        xet_client_free(client);
        free(older);
    }
}

/* ---- progress and logs ---- */

static void on_progress(const XetProgressUpdate *update, void *user_data) {
    (void)update;
    (void)user_data;
}

static void on_record(int32_t level, const char *target, const char *message, void *user_data) {
    (void)level;
    (void)target;
    (void)message;
    (void)user_data;
}

static void settings(void) {
    is_invalid(xet_client_set_progress_callback(NULL, on_progress, NULL, 0), "client", NULL);
    is_invalid(xet_client_set_progress_callback(NULL, NULL, NULL, 0), "client", NULL);
    static const int32_t levels[] = {-1, 6, INT32_MAX, INT32_MIN};
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++) {
        is_invalid(xet_set_log_callback(on_record, NULL, levels[i]), "max_level", NULL);
        is_invalid(xet_set_log_callback(NULL, NULL, levels[i]), "max_level", NULL);
    }
}

/* ---- listing ---- */

/* Ids that the Hub's rules exclude. */
static const char *const NOT_REPOS[] = {"", "a/b/c", "../etc", "a--b", "a..b", "-a", "a/", "/a", "a b"};
enum { NOT_REPOS_COUNT = sizeof NOT_REPOS / sizeof *NOT_REPOS };

static const char *const NOT_REVISIONS[] = {"../main", "/main", "a//b", "a\\b", "a\nb"};
enum { NOT_REVISIONS_COUNT = sizeof NOT_REVISIONS / sizeof *NOT_REVISIONS };

static void base_list(XetClient *client) {
    const char *repo_id = "org/name";
    const char *revision = NULL;
    XetFileList *list = UNTOUCHED;
    is_invalid(xet_list_files(NULL, repo_id, NULL, &list), "client", &list);
    is_invalid(xet_list_files(client, NULL, NULL, &list), "repo_id", &list);
    is_invalid(xet_list_files(client, repo_id, NULL, NULL), "out_files", NULL);
    WITH_EACH_BAD_STRING(repo_id,
                         is_invalid(xet_list_files(client, repo_id, NULL, &list), "repo_id", &list));
    WITH_EACH_BAD_STRING(
        revision, is_invalid(xet_list_files(client, repo_id, revision, &list), "revision", &list));
    for (int i = 0; i < NOT_REPOS_COUNT; i++) {
        is_invalid(xet_list_files(client, NOT_REPOS[i], NULL, &list), "repo_id", &list);
    }
    for (int i = 0; i < NOT_REVISIONS_COUNT; i++) {
        is_invalid(xet_list_files(client, repo_id, NOT_REVISIONS[i], &list), "revision", &list);
    }
}

static void try_list(XetClient *client, const XetListOptions *options, const XetCallbacks *callbacks,
                     const char *field) {
    XetEntryList *list = UNTOUCHED;
    is_invalid(xet_client_list_files(client, options, callbacks, &list), field, &list);
}

static void list(XetClient *client) {
    XetListOptions options = {.struct_size = sizeof options, .repo_id = "org/name"};
    XetCallbacks callbacks = {.struct_size = sizeof callbacks};
    try_list(NULL, &options, NULL, "client");
    try_list(client, NULL, NULL, "options");
    is_invalid(xet_client_list_files(client, &options, NULL, NULL), "out_list", NULL);
    WITH_EACH_WRONG_SIZE(options, try_list(client, &options, NULL, "options.struct_size"));
    WITH_EACH_WRONG_SIZE(callbacks, try_list(client, &options, &callbacks, "callbacks.struct_size"));
    options.repo_id = NULL;
    try_list(client, &options, NULL, "options.repo_id");
    options.repo_id = "org/name";
    WITH_EACH_BAD_STRING(options.repo_id, try_list(client, &options, NULL, "options.repo_id"));
    WITH_EACH_BAD_STRING(options.repo_type, try_list(client, &options, NULL, "options.repo_type"));
    WITH_EACH_BAD_STRING(options.revision, try_list(client, &options, NULL, "options.revision"));
    options.repo_type = "bucket";
    try_list(client, &options, NULL, "options.repo_type");
    options.repo_type = NULL;
    for (int i = 0; i < NOT_REPOS_COUNT; i++) {
        options.repo_id = NOT_REPOS[i];
        try_list(client, &options, NULL, "options.repo_id");
    }
}

/* ---- downloading ---- */

/* Paths that no file of a repo has. */
static const char *const NOT_PATHS[] = {"", "/etc/passwd", "../x", "a/../../x", "a//b", "C:/x", "..\\x"};
enum { NOT_PATHS_COUNT = sizeof NOT_PATHS / sizeof *NOT_PATHS };

static void try_file(XetClient *client, const XetDownloadRequest *request, const char *field) {
    char *path = UNTOUCHED;
    is_invalid(xet_download_file(client, request, NULL, &path), field, &path);
}

static void base_file(XetClient *client) {
    XetDownloadRequest request = {.repo_id = "org/name", .filename = "a.bin"};
    try_file(NULL, &request, "client");
    try_file(client, NULL, "request");
    is_invalid(xet_download_file(client, &request, NULL, NULL), "out_path", NULL);
    WITH_EACH_BAD_STRING(request.repo_id, try_file(client, &request, "request.repo_id"));
    WITH_EACH_BAD_STRING(request.repo_type, try_file(client, &request, "request.repo_type"));
    WITH_EACH_BAD_STRING(request.revision, try_file(client, &request, "request.revision"));
    WITH_EACH_BAD_STRING(request.filename, try_file(client, &request, "request.filename"));
    WITH_EACH_BAD_STRING(request.local_dir, try_file(client, &request, "request.local_dir"));
    request.repo_id = NULL;
    try_file(client, &request, "request.repo_id");
    request.repo_id = "org/name";
    request.filename = NULL;
    try_file(client, &request, "request.filename");
    for (int i = 0; i < NOT_PATHS_COUNT; i++) {
        request.filename = NOT_PATHS[i];
        try_file(client, &request, "request.filename");
    }
}

static void base_snapshot(XetClient *client) {
    const char *repo_id = "org/name";
    const char *repo_type = NULL;
    const char *revision = NULL;
    const char *local_dir = NULL;
    char *path = UNTOUCHED;
#define TRY(field)                                                                              \
    is_invalid(xet_download_snapshot(client, repo_id, repo_type, revision, local_dir, NULL, &path), \
               field, &path)
    is_invalid(xet_download_snapshot(NULL, repo_id, NULL, NULL, NULL, NULL, &path), "client", &path);
    is_invalid(xet_download_snapshot(client, NULL, NULL, NULL, NULL, NULL, &path), "repo_id", &path);
    is_invalid(xet_download_snapshot(client, repo_id, NULL, NULL, NULL, NULL, NULL), "out_path",
               NULL);
    WITH_EACH_BAD_STRING(repo_id, TRY("repo_id"));
    WITH_EACH_BAD_STRING(repo_type, TRY("repo_type"));
    WITH_EACH_BAD_STRING(revision, TRY("revision"));
    WITH_EACH_BAD_STRING(local_dir, TRY("local_dir"));
#undef TRY
}

static void try_download(XetClient *client, const XetDownloadOptions *options,
                         const XetCallbacks *callbacks, const char *field) {
    XetTransfer *transfer = UNTOUCHED;
    is_invalid(xet_client_download(client, options, callbacks, &transfer), field, &transfer);
}

static void download(XetClient *client) {
    XetDownloadOptions options = {.struct_size = sizeof options, .repo_id = "org/name"};
    XetCallbacks callbacks = {.struct_size = sizeof callbacks};
    try_download(NULL, &options, NULL, "client");
    try_download(client, NULL, NULL, "options");
    is_invalid(xet_client_download(client, &options, NULL, NULL), "out_transfer", NULL);
    WITH_EACH_WRONG_SIZE(options, try_download(client, &options, NULL, "options.struct_size"));
    WITH_EACH_WRONG_SIZE(callbacks,
                         try_download(client, &options, &callbacks, "callbacks.struct_size"));
    WITH_EACH_BAD_STRING(options.repo_id, try_download(client, &options, NULL, "options.repo_id"));
    WITH_EACH_BAD_STRING(options.repo_type,
                         try_download(client, &options, NULL, "options.repo_type"));
    WITH_EACH_BAD_STRING(options.revision, try_download(client, &options, NULL, "options.revision"));
    WITH_EACH_BAD_STRING(options.filename, try_download(client, &options, NULL, "options.filename"));
    WITH_EACH_BAD_STRING(options.local_dir,
                         try_download(client, &options, NULL, "options.local_dir"));
    options.repo_id = NULL;
    try_download(client, &options, NULL, "options.repo_id");
    options.repo_id = "org/name";
    options.flags = 4;
    try_download(client, &options, NULL, "options.flags");
    options.flags = 0;
    for (int i = 0; i < NOT_PATHS_COUNT; i++) {
        options.filename = NOT_PATHS[i];
        try_download(client, &options, NULL, "options.filename");
    }
    options.filename = NULL;
    XetDeadlines deadlines = {.struct_size = sizeof deadlines};
    options.deadlines = &deadlines;
    for (uint32_t wrong = 0; wrong < 4; wrong++) { /* the macro's sizes are those of others */
        deadlines.struct_size = wrong;
        try_download(client, &options, NULL, "options.deadlines.struct_size");
    }
    deadlines.struct_size = sizeof deadlines + 4;
    try_download(client, &options, NULL, "options.deadlines.struct_size");
    deadlines.struct_size = sizeof deadlines;
    deadlines.read_timeout_ms = UINT32_MAX; /* more than a day */
    try_download(client, &options, NULL, "options.read_timeout");
}

static void patterns(XetClient *client) {
    XetDownloadOptions options = {.struct_size = sizeof options, .repo_id = "org/name"};
    const char *strings[] = {"*.bin", "*.txt", "*.md", NULL};
    options.allow_patterns = strings;
    options.allow_patterns_len = 4;
    try_download(client, &options, NULL, "options.allow_patterns[3]");
    strings[3] = "caf\xc3";
    try_download(client, &options, NULL, "options.allow_patterns[3]");
    strings[3] = huge;
    try_download(client, &options, NULL, "options.allow_patterns[3]");
    options.allow_patterns_len = SIZE_MAX;
    try_download(client, &options, NULL, "options.allow_patterns_len");
    options.allow_patterns = NULL;
    options.allow_patterns_len = 1;
    try_download(client, &options, NULL, "options.allow_patterns");
    options.allow_patterns_len = 0;

    strings[3] = NULL;
    options.ignore_patterns = strings;
    options.ignore_patterns_len = 4;
    try_download(client, &options, NULL, "options.ignore_patterns[3]");
    options.ignore_patterns_len = SIZE_MAX;
    try_download(client, &options, NULL, "options.ignore_patterns_len");
    options.ignore_patterns = NULL;
    options.ignore_patterns_len = 1;
    try_download(client, &options, NULL, "options.ignore_patterns");
    options.ignore_patterns_len = 0;

    /* Patterns are for snapshots. */
    options.filename = "a.bin";
    options.ignore_patterns = strings;
    options.ignore_patterns_len = 3;
    try_download(client, &options, NULL, "options.ignore_patterns");
    options.allow_patterns = strings;
    try_download(client, &options, NULL, "options.allow_patterns");
}

/* ---- planning, and looking after the cache ---- */

static void try_plan(XetClient *client, const XetDownloadOptions *options,
                     const XetCallbacks *callbacks, const char *field) {
    XetPlan *plan = UNTOUCHED;
    is_invalid(xet_client_plan(client, options, callbacks, &plan), field, &plan);
}

static void planning(XetClient *client) {
    XetDownloadOptions options = {.struct_size = sizeof options, .repo_id = "org/name"};
    XetCallbacks callbacks = {.struct_size = sizeof callbacks};
    try_plan(NULL, &options, NULL, "client");
    try_plan(client, NULL, NULL, "options");
    is_invalid(xet_client_plan(client, &options, NULL, NULL), "out_plan", NULL);
    WITH_EACH_WRONG_SIZE(options, try_plan(client, &options, NULL, "options.struct_size"));
    WITH_EACH_WRONG_SIZE(callbacks, try_plan(client, &options, &callbacks, "callbacks.struct_size"));
    WITH_EACH_BAD_STRING(options.repo_id, try_plan(client, &options, NULL, "options.repo_id"));
    WITH_EACH_BAD_STRING(options.local_dir, try_plan(client, &options, NULL, "options.local_dir"));
    options.flags = XET_DOWNLOAD_LOCAL_FILES_ONLY;
    try_plan(client, &options, NULL, "options.flags");
    options.flags = 4;
    try_plan(client, &options, NULL, "options.flags");
}

typedef XetError *(*CacheFunction)(XetClient *, const XetCacheOptions *, const XetCallbacks *,
                                   XetCacheReport **);

static void try_cache(CacheFunction function, XetClient *client, const XetCacheOptions *options,
                      const XetCallbacks *callbacks, const char *field) {
    XetCacheReport *report = UNTOUCHED;
    is_invalid(function(client, options, callbacks, &report), field, &report);
}

static void cache(XetClient *client) {
    static const CacheFunction functions[] = {xet_client_cache_verify, xet_client_cache_prune,
                                              xet_client_cache_index};
    XetCacheOptions options = {.struct_size = sizeof options};
    XetCallbacks callbacks = {.struct_size = sizeof callbacks};
    for (int i = 0; i < 3; i++) {
        CacheFunction function = functions[i];
        try_cache(function, NULL, &options, NULL, "client");
        is_invalid(function(client, &options, NULL, NULL), "out_report", NULL);
        WITH_EACH_WRONG_SIZE(options,
                             try_cache(function, client, &options, NULL, "options.struct_size"));
        WITH_EACH_WRONG_SIZE(
            callbacks, try_cache(function, client, &options, &callbacks, "callbacks.struct_size"));
        options.flags = 16;
        try_cache(function, client, &options, NULL, "options.flags");
        options.flags = 0;
    }
    options.flags = XET_CACHE_DRY_RUN;
    try_cache(xet_client_cache_verify, client, &options, NULL, "options.flags");
    try_cache(xet_client_cache_index, client, &options, NULL, "options.flags");
    /* A limit has to be named, or everything would go. */
    try_cache(xet_client_cache_prune, client, &options, NULL, "options");
    try_cache(xet_client_cache_prune, client, NULL, NULL, "options");

    options.flags = 0;
    XetCacheUsage *usage = UNTOUCHED;
    is_invalid(xet_client_cache_usage(NULL, &options, NULL, &usage), "client", &usage);
    is_invalid(xet_client_cache_usage(client, &options, NULL, NULL), "out_usage", NULL);
    options.flags = XET_CACHE_REBUILD;
    is_invalid(xet_client_cache_usage(client, &options, NULL, &usage), "options.flags", &usage);
}

/* ---- uploading ---- */

/* Places that no commit may write to. */
static const char *const NOT_PLACES[] = {"", "/", "../x", "a//b", "C:/x", ".git/x", "a/.cache/b"};
enum { NOT_PLACES_COUNT = sizeof NOT_PLACES / sizeof *NOT_PLACES };

static void try_commit(XetClient *client, const XetCommitOptions *options,
                       const XetCallbacks *callbacks, const char *field) {
    XetCommitReport *report = UNTOUCHED;
    is_invalid(xet_client_create_commit(client, options, callbacks, &report), field, &report);
}

static void commit(XetClient *client) {
    XetOperation operation = {.struct_size = sizeof operation,
                              .kind = XET_OPERATION_DELETE,
                              .path_in_repo = "a.bin"};
    const XetOperation *operations[] = {&operation, NULL};
    XetCommitOptions options = {.struct_size = sizeof options,
                                .repo_id = "org/name",
                                .operations = operations,
                                .operations_len = 1};
    XetCallbacks callbacks = {.struct_size = sizeof callbacks};
    try_commit(NULL, &options, NULL, "client");
    try_commit(client, NULL, NULL, "options");
    is_invalid(xet_client_create_commit(client, &options, NULL, NULL), "out_report", NULL);
    WITH_EACH_WRONG_SIZE(options, try_commit(client, &options, NULL, "options.struct_size"));
    WITH_EACH_WRONG_SIZE(callbacks, try_commit(client, &options, &callbacks, "callbacks.struct_size"));
    WITH_EACH_WRONG_SIZE(operation,
                         try_commit(client, &options, NULL, "options.operations[0].struct_size"));
    WITH_EACH_BAD_STRING(options.repo_id, try_commit(client, &options, NULL, "options.repo_id"));
    WITH_EACH_BAD_STRING(options.repo_type, try_commit(client, &options, NULL, "options.repo_type"));
    WITH_EACH_BAD_STRING(options.revision, try_commit(client, &options, NULL, "options.revision"));
    WITH_EACH_BAD_STRING(options.message, try_commit(client, &options, NULL, "options.message"));
    WITH_EACH_BAD_STRING(options.description,
                         try_commit(client, &options, NULL, "options.description"));
    WITH_EACH_BAD_STRING(options.parent_commit,
                         try_commit(client, &options, NULL, "options.parent_commit"));
    options.parent_commit = "main";
    try_commit(client, &options, NULL, "options.parent_commit");
    options.parent_commit = NULL;
    options.flags = 2;
    try_commit(client, &options, NULL, "options.flags");
    options.flags = 0;

    options.operations_len = 2;
    try_commit(client, &options, NULL, "options.operations[1]");
    options.operations_len = 0;
    try_commit(client, &options, NULL, "options.operations_len");
    options.operations_len = SIZE_MAX;
    try_commit(client, &options, NULL, "options.operations_len");
    options.operations = NULL;
    options.operations_len = 1;
    try_commit(client, &options, NULL, "options.operations");
    options.operations = operations;
}

static void operations(XetClient *client) {
    XetOperation operation = {.struct_size = sizeof operation, .path_in_repo = "a.bin"};
    const XetOperation *operations[] = {&operation};
    XetCommitOptions options = {.struct_size = sizeof options,
                                .repo_id = "org/name",
                                .operations = operations,
                                .operations_len = 1};
    static const uint32_t not_kinds[] = {0, 7, UINT32_MAX};
    for (size_t i = 0; i < sizeof not_kinds / sizeof *not_kinds; i++) {
        operation.kind = not_kinds[i];
        try_commit(client, &options, NULL, "options.operations[0].kind");
    }
    for (operation.kind = XET_OPERATION_ADD_PATH; operation.kind <= XET_OPERATION_COPY;
         operation.kind++) {
        WITH_EACH_BAD_STRING(operation.path_in_repo,
                             try_commit(client, &options, NULL,
                                        "options.operations[0].path_in_repo"));
        for (int i = 0; i < NOT_PLACES_COUNT; i++) {
            operation.path_in_repo = NOT_PLACES[i];
            try_commit(client, &options, NULL, "options.operations[0].path_in_repo");
        }
        operation.path_in_repo = "a.bin";
    }
    operation.kind = XET_OPERATION_ADD_PATH;
    try_commit(client, &options, NULL, "options.operations[0].local_path");
    operation.local_path = "x";
    WITH_EACH_BAD_STRING(operation.local_path,
                         try_commit(client, &options, NULL, "options.operations[0].local_path"));
    operation.kind = XET_OPERATION_ADD_BYTES;
    operation.data_len = 1;
    try_commit(client, &options, NULL, "options.operations[0].data");
    operation.data = "x";
    operation.data_len = SIZE_MAX;
    try_commit(client, &options, NULL, "options.operations[0].data_len");
    operation.kind = XET_OPERATION_ADD_STREAM;
    try_commit(client, &options, NULL, "options.operations[0].read");
    operation.kind = XET_OPERATION_COPY;
    try_commit(client, &options, NULL, "options.operations[0].src_path");
    operation.src_path = "b.bin";
    WITH_EACH_BAD_STRING(operation.src_revision,
                         try_commit(client, &options, NULL, "options.operations[0].src_revision"));
}

static void try_folder(XetClient *client, const XetUploadFolderOptions *options, const char *field) {
    XetCommitReport *report = UNTOUCHED;
    is_invalid(xet_client_upload_folder(client, options, NULL, &report), field, &report);
}

static void folder(XetClient *client) {
    XetUploadFolderOptions options = {.struct_size = sizeof options,
                                      .repo_id = "org/name",
                                      .folder_path = "."};
    try_folder(NULL, &options, "client");
    try_folder(client, NULL, "options");
    is_invalid(xet_client_upload_folder(client, &options, NULL, NULL), "out_report", NULL);
    WITH_EACH_WRONG_SIZE(options, try_folder(client, &options, "options.struct_size"));
    WITH_EACH_BAD_STRING(options.repo_id, try_folder(client, &options, "options.repo_id"));
    WITH_EACH_BAD_STRING(options.message, try_folder(client, &options, "options.message"));
    WITH_EACH_BAD_STRING(options.folder_path, try_folder(client, &options, "options.folder_path"));
    WITH_EACH_BAD_STRING(options.path_in_repo, try_folder(client, &options, "options.path_in_repo"));
    options.path_in_repo = "../x";
    try_folder(client, &options, "options.path_in_repo");
    options.path_in_repo = NULL;
    options.folder_path = NULL;
    try_folder(client, &options, "options.folder_path");
    options.folder_path = ".";
    options.delete_patterns_len = 1;
    try_folder(client, &options, "options.delete_patterns");
    const char *strings[] = {"*", NULL};
    options.delete_patterns = strings;
    options.delete_patterns_len = 2;
    try_folder(client, &options, "options.delete_patterns[1]");
}

static void try_repo(XetClient *client, const XetCreateRepoOptions *options, const char *field) {
    XetRepoReport *report = UNTOUCHED;
    is_invalid(xet_client_create_repo(client, options, NULL, &report), field, &report);
}

static void repo(XetClient *client) {
    XetCreateRepoOptions options = {.struct_size = sizeof options, .repo_id = "org/name"};
    try_repo(NULL, &options, "client");
    try_repo(client, NULL, "options");
    is_invalid(xet_client_create_repo(client, &options, NULL, NULL), "out_report", NULL);
    WITH_EACH_WRONG_SIZE(options, try_repo(client, &options, "options.struct_size"));
    WITH_EACH_BAD_STRING(options.repo_id, try_repo(client, &options, "options.repo_id"));
    WITH_EACH_BAD_STRING(options.space_sdk, try_repo(client, &options, "options.space_sdk"));
    options.flags = XET_CREATE_REPO_PRIVATE | XET_CREATE_REPO_PUBLIC;
    try_repo(client, &options, "options.flags");
    options.flags = 8;
    try_repo(client, &options, "options.flags");
}

/* Reads zeros, as often as `user_data` says. */
static int64_t read_zeros(uint8_t *buffer, size_t length, void *user_data) {
    int *left = user_data;
    if ((*left)-- <= 0) {
        return 0;
    }
    memset(buffer, 0, length);
    return (int64_t)length;
}

static int64_t read_too_much(uint8_t *buffer, size_t length, void *user_data) {
    (void)buffer;
    (void)user_data;
    return (int64_t)length + 1;
}

static int64_t read_nothing(uint8_t *buffer, size_t length, void *user_data) {
    (void)buffer;
    (void)length;
    (void)user_data;
    return -1;
}

/* Makes a commit of a stream and some bytes, and returns the code of its error. */
static int32_t commit_stream(XetClient *client, XetReadCallback read) {
    int left = 6;
    XetOperation stream = {.struct_size = sizeof stream,
                           .kind = XET_OPERATION_ADD_STREAM,
                           .path_in_repo = "zeros.bin",
                           .read = read,
                           .user_data = &left};
    XetOperation bytes = {.struct_size = sizeof bytes,
                          .kind = XET_OPERATION_ADD_BYTES,
                          .path_in_repo = "bytes.bin",
                          .data = "bytes",
                          .data_len = 5};
    const XetOperation *operations[] = {&stream, &bytes};
    XetCommitOptions options = {.struct_size = sizeof options,
                                .repo_id = "org/name",
                                .operations = operations,
                                .operations_len = 2};
    XetCommitReport *report = UNTOUCHED;
    XetError *error = xet_client_create_commit(client, &options, NULL, &report);
    check(report == UNTOUCHED, "outputs are written on success only", "report");
    int32_t code = error != NULL ? error->code : XET_CODE_OK;
    xet_free_error(error);
    return code;
}

static void streams(XetClient *client) {
    check(commit_stream(client, read_too_much) == XET_CODE_INVALID_CONFIG,
          "a stream can't give more than it is asked for", "read");
    check(commit_stream(client, read_nothing) == XET_CODE_CANCELLED, "-1 ends the call", "read");
    check(commit_stream(client, read_zeros) == XET_CODE_OFFLINE, "a stream is read first", "read");
}

/* ---- what is allowed ---- */

static void good_input(XetClient *client) {
    /* Every release function accepts NULL. */
    xet_client_free(NULL);
    xet_free_error(NULL);
    xet_free_string(NULL);
    xet_free_file_list(NULL);
    xet_entry_list_free(NULL);
    xet_transfer_free(NULL);
    xet_plan_free(NULL);
    xet_cache_usage_free(NULL);
    xet_cache_report_free(NULL);
    xet_commit_report_free(NULL);
    xet_repo_report_free(NULL);

    /* Good arguments get past the checks, to where the switched-off network ends them. */
    XetListOptions options = {.struct_size = sizeof options, .repo_id = "org/name", .repo_type = "",
                              .revision = ""};
    XetCallbacks callbacks = {.struct_size = 4};
    XetEntryList *list = UNTOUCHED;
    XetError *error = xet_client_list_files(client, &options, &callbacks, &list);
    check(error != NULL && error->code == XET_CODE_OFFLINE, "an offline client says so", "OFFLINE");
    check(list == UNTOUCHED, "outputs are written on success only", "OFFLINE");
    xet_free_error(error);
    check(xet_client_set_progress_callback(client, on_progress, NULL, UINT32_MAX) == NULL,
          "a callback is accepted", "progress");
    check(xet_set_log_callback(on_record, NULL, XET_LOG_TRACE) == NULL, "a callback is accepted", "log");
    check(xet_set_log_callback(NULL, NULL, XET_LOG_OFF) == NULL, "NULL turns logs off", "log");
    check(xet_abi_version() >= XET_ABI_VERSION, "the library is at least as new", "version");
    check(strchr(xet_version(), '.') != NULL, "the release is named", "version");
}

int main(int count, char **arguments) {
    if (count != 2) {
        fputs("usage: bad_input CACHE_DIR\n", stderr);
        return 2;
    }
    huge = repeated(1000 * 1000);
    too_long = repeated(32 * 1024 + 1);

    client_new(arguments[1]);
    client_create(arguments[1]);
    settings();

    XetClientOptions options = {.struct_size = sizeof options,
                                .endpoint = "http://127.0.0.1:9",
                                .cache_dir = arguments[1],
                                .flags = XET_CLIENT_ANONYMOUS | XET_CLIENT_OFFLINE};
    XetClient *client = NULL;
    XetError *error = xet_client_create(&options, &client);
    check(error == NULL, "a client can be made", error != NULL ? error->message : "");
    xet_free_error(error);
    if (client != NULL) {
        base_list(client);
        list(client);
        base_file(client);
        base_snapshot(client);
        download(client);
        patterns(client);
        planning(client);
        cache(client);
        commit(client);
        operations(client);
        folder(client);
        repo(client);
        streams(client);
        good_input(client);
    }
    xet_client_free(client);
    free(huge);
    free(too_long);
    printf("%u promises checked, %u broken\n", checked, broken);
    return broken == 0 ? 0 : 1;
}
