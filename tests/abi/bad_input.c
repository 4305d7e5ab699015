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

/* Sizes that no struct had; that of a pointer is what sizeof gives of one. */
static const uint32_t WRONG_SIZES[] = {0,  1,  2,  3,    4,          5,         7,
                                       8,  9,  12, 13,   15,         sizeof(void *),
                                       17, 4104, 0x7fffffff, UINT32_MAX};
enum { WRONG_SIZES_COUNT = sizeof WRONG_SIZES / sizeof *WRONG_SIZES };

#define WITH_EACH_WRONG_SIZE(value, statement)                     \
    do {                                                           \
        for (int wrong = 0; wrong < WRONG_SIZES_COUNT; wrong++) {  \
            (value).struct_size = WRONG_SIZES[wrong];              \
            statement;                                             \
        }                                                          \
        (value).struct_size = sizeof(value) + 1;                   \
        statement;                                                 \
        (value).struct_size = sizeof(value) - 4;                   \
        statement;                                                 \
        (value).struct_size = sizeof(value) - 1;                   \
        statement;                                                 \
        (value).struct_size = sizeof(value);                       \
    } while (0)

/*
 * A struct as a later header has it, with three fields more that aren't set. In memory of exactly that
 * size, so that valgrind and ASan see a read behind it.
 */
static void *grown(const void *value, size_t size) {
    const size_t more = 16;
    char *later = calloc(1, size + more);
    if (later == NULL) {
        abort();
    }
    memcpy(later, value, size);
    const uint32_t struct_size = (uint32_t)(size + more);
    memcpy(later, &struct_size, sizeof struct_size);
    return later;
}

/* Checks an error about a field at `offset` in a struct of the caller's. */
static void is_unknown(XetError *error, const char *field, const char *type, size_t offset) {
    char in_message[64];
    char in_details[64];
    snprintf(in_message, sizeof in_message, "%s has a field at byte %u", type, (unsigned)offset);
    snprintf(in_details, sizeof in_details, "\"offset\":%u", (unsigned)offset);
    check(error != NULL && strstr(error->message, in_message) != NULL &&
              strstr(error->details, in_details) != NULL,
          "an unknown field is named", error != NULL ? error->message : field);
    is_invalid(error, field, NULL);
}

/*
 * Tries a struct of a later header with `call`, an expression of which `later` is the struct: it is
 * accepted as long as what the library doesn't know isn't set.
 */
#define WITH_A_LATER_STRUCT(Type, value, field, call)                                    \
    do {                                                                                 \
        Type *later = grown(&(value), sizeof(value));                                    \
        XetError *accepted = (call);                                                     \
        check(accepted == NULL || accepted->code != XET_CODE_INVALID_CONFIG,             \
              "a later struct is accepted", accepted != NULL ? accepted->message : field); \
        xet_free_error(accepted);                                                        \
        ((char *)later)[sizeof(value) + 9] = 1;                                          \
        is_unknown((call), field, #Type, sizeof(value) + 8);                             \
        ((char *)later)[sizeof(value)] = 1;                                              \
        is_unknown((call), field, #Type, sizeof(value));                                 \
        free(later);                                                                     \
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
    options.headers_len = 1;
    try_create(&options, "options.headers");
    XetHeader header = {"a b", "value"};
    options.headers = &header;
    try_create(&options, "options.headers[0]");
    WITH_EACH_BAD_STRING(header.value, try_create(&options, "options.headers[0].value"));
    header = (XetHeader){"Host", "value"};
    try_create(&options, "options.headers");
    options.headers = NULL;
    options.headers_len = 0;
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

    XetClient *client = NULL;
    WITH_A_LATER_STRUCT(XetClientOptions, options, "options", xet_client_create(later, &client));
    check(client != NULL, "a later struct makes a client", "options");
    xet_client_free(client);
}

static void client_info(XetClient *client) {
    XetClientInfo *info = UNTOUCHED;
    is_invalid(xet_client_info(NULL, &info), "client", &info);
    is_invalid(xet_client_info(client, NULL), "out_info", NULL);
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

static void try_resolve(XetClient *client, const XetListOptions *options,
                        const XetCallbacks *callbacks, const char *field) {
    char *commit = UNTOUCHED;
    is_invalid(xet_client_resolve(client, options, callbacks, &commit), field, &commit);
}

static void resolve(XetClient *client) {
    XetListOptions options = XET_INIT(XetListOptions);
    XetCallbacks callbacks = XET_INIT(XetCallbacks);
    options.repo_id = "org/name";
    try_resolve(NULL, &options, NULL, "client");
    try_resolve(client, NULL, NULL, "options");
    is_invalid(xet_client_resolve(client, &options, NULL, NULL), "out_commit", NULL);
    WITH_EACH_WRONG_SIZE(options, try_resolve(client, &options, NULL, "options.struct_size"));
    WITH_EACH_WRONG_SIZE(callbacks,
                         try_resolve(client, &options, &callbacks, "callbacks.struct_size"));
    WITH_EACH_BAD_STRING(options.repo_id, try_resolve(client, &options, NULL, "options.repo_id"));
    WITH_EACH_BAD_STRING(options.revision, try_resolve(client, &options, NULL, "options.revision"));
    char *commit = UNTOUCHED;
    WITH_A_LATER_STRUCT(XetListOptions, options, "options",
                        xet_client_resolve(client, later, NULL, &commit));
    WITH_A_LATER_STRUCT(XetCallbacks, callbacks, "callbacks",
                        xet_client_resolve(client, &options, later, &commit));
    check(commit == UNTOUCHED, "outputs are written on success only", "commit");
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
    WITH_EACH_WRONG_SIZE(deadlines,
                         try_download(client, &options, NULL, "options.deadlines.struct_size"));
    XetTransfer *transfer = UNTOUCHED;
    WITH_A_LATER_STRUCT(
        XetDeadlines, deadlines, "options.deadlines",
        (options.deadlines = later, xet_client_download(client, &options, NULL, &transfer)));
    options.deadlines = &deadlines;
    WITH_A_LATER_STRUCT(XetDownloadOptions, options, "options",
                        xet_client_download(client, later, NULL, &transfer));
    check(transfer == UNTOUCHED, "outputs are written on success only", "transfer");
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
                                              xet_client_cache_index,
                                              xet_client_cache_remove};
    XetCacheOptions options = {.struct_size = sizeof options};
    XetCallbacks callbacks = {.struct_size = sizeof callbacks};
    for (int i = 0; i < 4; i++) {
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
    XetDeadlines deadlines = {.struct_size = sizeof(void *)};
    options.deadlines = &deadlines;
    for (int i = 0; i < 4; i++) {
        try_cache(functions[i], client, &options, NULL, "options.deadlines.struct_size");
    }
    options.deadlines = NULL;
    options.flags = XET_CACHE_DRY_RUN;
    try_cache(xet_client_cache_verify, client, &options, NULL, "options.flags");
    try_cache(xet_client_cache_index, client, &options, NULL, "options.flags");
    /* A limit has to be named, or everything would go. */
    try_cache(xet_client_cache_prune, client, &options, NULL, "options");
    try_cache(xet_client_cache_prune, client, NULL, NULL, "options");
    options = (XetCacheOptions){.struct_size = sizeof options};
    try_cache(xet_client_cache_remove, client, &options, NULL, "options.repo_id");
    options.repo_id = "org/name";
    options.flags = XET_CACHE_UNREFERENCED;
    try_cache(xet_client_cache_remove, client, &options, NULL, "options.flags");
    options.flags = XET_CACHE_UNREFERENCED;
    try_cache(xet_client_cache_prune, client, &options, NULL, "options.repo_id");
    options.flags = 0;
    try_cache(xet_client_cache_index, client, &options, NULL, "options.repo_id");
    WITH_EACH_BAD_STRING(options.repo_id, try_cache(xet_client_cache_remove, client, &options, NULL,
                                                    "options.repo_id"));
    WITH_EACH_BAD_STRING(options.repo_id, try_cache(xet_client_cache_verify, client, &options, NULL,
                                                    "options.repo_id"));
    const char *commits[] = {"0123", NULL};
    options.commits = commits;
    options.commits_len = 2;
    try_cache(xet_client_cache_remove, client, &options, NULL, "options.commits[1]");
    options.commits = NULL;
    try_cache(xet_client_cache_remove, client, &options, NULL, "options.commits");
    options.repo_id = NULL;
    options.commits_len = 0;

    options.flags = 0;
    XetCacheUsage *usage = UNTOUCHED;
    is_invalid(xet_client_cache_usage(NULL, &options, NULL, &usage), "client", &usage);
    is_invalid(xet_client_cache_usage(client, &options, NULL, NULL), "out_usage", NULL);
    options.flags = XET_CACHE_REBUILD;
    is_invalid(xet_client_cache_usage(client, &options, NULL, &usage), "options.flags", &usage);
    options.flags = 0;
    WITH_A_LATER_STRUCT(XetCacheOptions, options, "options",
                        xet_client_cache_usage(client, later, NULL, &usage));
    xet_cache_usage_free(usage);
    /* As ABI 2 had it, without deadlines: exactly that much memory. */
    XetCacheOptions *older = malloc(offsetof(XetCacheOptions, deadlines));
    if (older == NULL) {
        abort();
    }
    memcpy(older, &options, offsetof(XetCacheOptions, deadlines));
    older->struct_size = offsetof(XetCacheOptions, deadlines);
    XetError *error = xet_client_cache_usage(client, older, NULL, &usage);
    check(error == NULL, "an older struct is accepted", "options");
    xet_free_error(error);
    xet_cache_usage_free(usage);
    free(older);
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
    XetCommitReport *report = UNTOUCHED;
    WITH_A_LATER_STRUCT(XetCommitOptions, options, "options",
                        xet_client_create_commit(client, later, NULL, &report));
    WITH_A_LATER_STRUCT(
        XetOperation, operation, "options.operations[0]",
        (operations[0] = later, xet_client_create_commit(client, &options, NULL, &report)));
    check(report == UNTOUCHED, "outputs are written on success only", "report");
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
    options.delete_patterns = NULL;
    options.delete_patterns_len = 0;
    XetCommitReport *report = UNTOUCHED;
    WITH_A_LATER_STRUCT(XetUploadFolderOptions, options, "options",
                        xet_client_upload_folder(client, later, NULL, &report));
    check(report == UNTOUCHED, "outputs are written on success only", "report");
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
    options.flags = 0;
    XetRepoReport *report = UNTOUCHED;
    WITH_A_LATER_STRUCT(XetCreateRepoOptions, options, "options",
                        xet_client_create_repo(client, later, NULL, &report));
    check(report == UNTOUCHED, "outputs are written on success only", "report");
}

static void branch(XetClient *client) {
    XetCreateBranchOptions options = {
        .struct_size = sizeof options, .repo_id = "org/name", .branch = "new"};
#define TRY_BRANCH(its_client, its_options, field)                                                 \
    is_invalid(xet_client_create_branch(its_client, its_options, NULL), field, NULL)
    TRY_BRANCH(NULL, &options, "client");
    TRY_BRANCH(client, NULL, "options");
    WITH_EACH_WRONG_SIZE(options, TRY_BRANCH(client, &options, "options.struct_size"));
    WITH_EACH_BAD_STRING(options.repo_id, TRY_BRANCH(client, &options, "options.repo_id"));
    WITH_EACH_BAD_STRING(options.branch, TRY_BRANCH(client, &options, "options.branch"));
    WITH_EACH_BAD_STRING(options.revision, TRY_BRANCH(client, &options, "options.revision"));
    options.branch = "";
    TRY_BRANCH(client, &options, "options.branch");
    options.branch = NULL;
    TRY_BRANCH(client, &options, "options.branch");
    options.branch = "a/../b";
    TRY_BRANCH(client, &options, "options.branch");
    options.branch = "new";
    options.flags = 2;
    TRY_BRANCH(client, &options, "options.flags");
    options.flags = 0;
    WITH_A_LATER_STRUCT(XetCreateBranchOptions, options, "options",
                        xet_client_create_branch(client, later, NULL));
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

/* Answers what `user_data` says. */
static int64_t read_what_is_set(uint8_t *buffer, size_t length, void *user_data) {
    (void)buffer;
    (void)length;
    return *(int64_t *)user_data;
}

/* Has nothing again and again, and only then its content. */
static int64_t read_patiently(uint8_t *buffer, size_t length, void *user_data) {
    int *asked = user_data;
    (*asked)++;
    if (*asked % 3 != 0) {
        return XET_READ_AGAIN;
    }
    memset(buffer, 0, length);
    return *asked < 20 ? (int64_t)length : 0;
}

static int64_t read_and_fail(uint8_t *buffer, size_t length, void *user_data) {
    (void)buffer;
    (void)length;
    return xet_read_fail(user_data);
}

/* Makes a commit of a stream and some bytes, and returns its error. */
static XetError *commit_stream_within(uint32_t timeout_ms, XetClient *client, XetReadCallback read,
                                      void *user_data, const XetCallbacks *callbacks) {
    XetOperation stream = {.struct_size = sizeof stream,
                           .kind = XET_OPERATION_ADD_STREAM,
                           .path_in_repo = "folder/zeros.bin",
                           .read = read,
                           .user_data = user_data};
    XetOperation bytes = {.struct_size = sizeof bytes,
                          .kind = XET_OPERATION_ADD_BYTES,
                          .path_in_repo = "bytes.bin",
                          .data = "bytes",
                          .data_len = 5};
    const XetOperation *operations[] = {&stream, &bytes};
    XetCommitOptions options = {.struct_size = sizeof options,
                                .repo_id = "org/name",
                                .operations = operations,
                                .operations_len = 2,
                                .timeout_ms = timeout_ms};
    XetCommitReport *report = UNTOUCHED;
    XetError *error = xet_client_create_commit(client, &options, callbacks, &report);
    check(report == UNTOUCHED, "outputs are written on success only", "report");
    return error;
}

static XetError *commit_stream(XetClient *client, XetReadCallback read, void *user_data,
                               const XetCallbacks *callbacks) {
    return commit_stream_within(0, client, read, user_data, callbacks);
}

static void ends_with(XetError *error, int32_t code, const char *what) {
    check(error != NULL && error->code == code, what, error != NULL ? error->message : "no error");
    xet_free_error(error);
}

/* Is asked, and after a while says that the call is to end. */
static bool cancel_later(void *user_data) {
    unsigned *questions = user_data;
    return ++*questions > 3;
}

/* Checks the error of a stream that is broken, for a reason. */
static void is_broken(XetError *error, const char *reason) {
    check(error != NULL && error->code == XET_CODE_IO_ERROR, "a broken stream is an I/O error", reason);
    if (error == NULL) {
        return;
    }
    check(strstr(error->message, "folder/zeros.bin") != NULL && strstr(error->message, reason) != NULL,
          "the error names the stream and the reason", error->message);
    check(strstr(error->details, "\"kind\":\"read_failed\"") != NULL &&
              strstr(error->details, "\"file\":\"folder/zeros.bin\"") != NULL,
          "so do the details", error->details);
    xet_free_error(error);
}

static void streams(XetClient *client) {
    int left = 6;
    ends_with(commit_stream(client, read_too_much, NULL, NULL), XET_CODE_INVALID_CONFIG,
              "a stream can't give more than it is asked for");
    ends_with(commit_stream(client, read_zeros, &left, NULL), XET_CODE_OFFLINE,
              "a stream is read first");
    /* What programs of ABI 2 return still means what it meant to them. */
    static const int64_t cancels[] = {XET_READ_CANCEL, -2, -11, -4095, INT32_MIN, INT64_MIN};
    for (size_t i = 0; i < sizeof cancels / sizeof *cancels; i++) {
        int64_t answer = cancels[i];
        ends_with(commit_stream(client, read_what_is_set, &answer, NULL), XET_CODE_CANCELLED,
                  "other negative numbers end the call");
    }

    int asked = 0;
    ends_with(commit_stream(client, read_patiently, &asked, NULL), XET_CODE_OFFLINE,
              "a stream may take its time");
    check(asked == 21, "it is asked again, and nothing of it is lost", "read");
    int64_t never = XET_READ_AGAIN;
    unsigned questions = 0;
    XetCallbacks callbacks = XET_INIT(XetCallbacks);
    callbacks.cancel = cancel_later;
    callbacks.user_data = &questions;
    ends_with(commit_stream(client, read_what_is_set, &never, &callbacks), XET_CODE_CANCELLED,
              "a call whose stream has nothing can be cancelled");
    check(questions == 4, "it ends when it is told to", "cancel");
    ends_with(commit_stream_within(60, client, read_what_is_set, &never, NULL), XET_CODE_TIMEOUT,
              "a call whose stream has nothing keeps its timeout");

    is_broken(commit_stream(client, read_and_fail, "the tape is torn", NULL), ": the tape is torn");
    is_broken(commit_stream(client, read_and_fail, NULL, NULL), "doesn't say why");
    is_broken(commit_stream(client, read_and_fail, (void *)"caf\xc3 is torn", NULL), "is torn");
    is_broken(commit_stream(client, read_and_fail, huge, NULL), ": xxx");
    check(xet_read_fail("nobody reads here") == XET_READ_FAILED, "it always answers", "read_fail");
    int64_t without = XET_READ_FAILED;
    is_broken(commit_stream(client, read_what_is_set, &without, NULL), "doesn't say why");
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
    xet_client_info_free(NULL);

    /* Good arguments get past the checks, to where the switched-off network ends them. */
    XetListOptions options = {.struct_size = sizeof options, .repo_id = "org/name", .repo_type = "",
                              .revision = ""};
    XetCallbacks callbacks = XET_INIT(XetCallbacks);
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
        client_info(client);
        base_list(client);
        resolve(client);
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
        branch(client);
        streams(client);
        good_input(client);
    }
    xet_client_free(client);
    free(huge);
    free(too_long);
    printf("%u promises checked, %u broken\n", checked, broken);
    return broken == 0 ? 0 : 1;
}
