/*
 * Files that are read in place, and what xet.h promises about them: wrong input, what is written and what
 * isn't, many readers of one handle, and what may be freed when.
 *
 *   reading ENDPOINT CACHE CONTENT    where "alice/abi" has model.bin, whose bytes CONTENT has
 *
 * Prints each promise that is broken; exits with 1 if one was.
 */
#include "support.h"

#include <unistd.h>

enum { MOST = 4 << 20, READERS = 8, EACH = 30 };

static unsigned char content[MOST];
static size_t size;

static void is_invalid(XetError *error, const char *field) {
    char expected[64];
    snprintf(expected, sizeof expected, "\"field\":\"%s\"", field);
    bool named = error != NULL && error->code == XET_CODE_INVALID_CONFIG &&
                 strstr(error->details, expected) != NULL;
    check(named, error == NULL ? field : error->message);
    xet_free_error(error);
}

static int32_t code_of(XetError *error) {
    int32_t code = error == NULL ? XET_CODE_OK : error->code;
    xet_free_error(error);
    return code;
}

static XetOpenOptions weights(void) {
    XetOpenOptions options = XET_INIT(XetOpenOptions);
    options.repo_id = "alice/abi";
    options.filename = "model.bin";
    return options;
}

static XetFile *open_file(XetClient *client) {
    XetOpenOptions options = weights();
    XetFile *file = NULL;
    require(xet_client_open(client, &options, NULL, &file) == NULL, "xet_client_open");
    return file;
}

/* ---- wrong input ---- */

static void wrong_openings(XetClient *client) {
    XetFile *const untouched = (XetFile *)(void *)content;
    XetFile *file = untouched;
    XetOpenOptions options = weights();
    is_invalid(xet_client_open(NULL, &options, NULL, &file), "client");
    is_invalid(xet_client_open(client, NULL, NULL, &file), "options");
    is_invalid(xet_client_open(client, &options, NULL, NULL), "out_file");
    options.flags = 8;
    is_invalid(xet_client_open(client, &options, NULL, &file), "options.flags");
    options = weights();
    options.repo_id = NULL;
    is_invalid(xet_client_open(client, &options, NULL, &file), "options.repo_id");
    options = weights();
    options.filename = NULL;
    is_invalid(xet_client_open(client, &options, NULL, &file), "options.filename");
    for (const char *const *name = (const char *const[]){"", "../x", "a\x80", NULL}; *name; name++) {
        options.filename = *name;
        is_invalid(xet_client_open(client, &options, NULL, &file), "options.filename");
    }
    options = weights();
    for (uint32_t wrong = 0; wrong < sizeof options; wrong++) {
        options.struct_size = wrong;
        is_invalid(xet_client_open(client, &options, NULL, &file), "options.struct_size");
    }
    options = weights();
    XetCallbacks callbacks = {.struct_size = 3};
    is_invalid(xet_client_open(client, &options, &callbacks, &file), "callbacks.struct_size");
    options.filename = "none.bin";
    check(code_of(xet_client_open(client, &options, NULL, &file)) == XET_CODE_NOT_FOUND, "no file");
    options = weights();
    options.flags = XET_OPEN_LOCAL_FILES_ONLY;
    check(code_of(xet_client_open(client, &options, NULL, &file)) == XET_CODE_NOT_FOUND, "not here");
    check(file == untouched, "outputs are written on success only");
    xet_file_free(NULL);
    xet_file_report_free(NULL);
}

static void wrong_reads(XetFile *file) {
    unsigned char byte = 0xAA;
    size_t length = 77;
    XetReadOptions options = {.struct_size = 3};
    is_invalid(xet_file_read_at(NULL, 0, &byte, 1, NULL, NULL, &length), "file");
    is_invalid(xet_file_read_at(file, 0, NULL, 1, NULL, NULL, &length), "buffer");
    is_invalid(xet_file_read_at(file, 0, &byte, 1, NULL, NULL, NULL), "out_len");
    is_invalid(xet_file_read_at(file, 0, &byte, 1, &options, NULL, &length), "options.struct_size");
    XetReadRange range = {.offset = 0, .len = 1, .buffer = &byte, .filled = 77};
    is_invalid(xet_file_read_ranges(NULL, &range, 1, NULL, NULL), "file");
    is_invalid(xet_file_read_ranges(file, NULL, 1, NULL, NULL), "ranges");
    is_invalid(xet_file_read_ranges(file, &range, 1, &options, NULL), "options.struct_size");
    is_invalid(xet_file_read_ranges(file, &range, (4U << 20) + 1, NULL, NULL), "ranges_len");
    range.buffer = NULL;
    is_invalid(xet_file_read_ranges(file, &range, 1, NULL, NULL), "ranges[0].buffer");
    XetFileReport *report = NULL;
    is_invalid(xet_file_report(NULL, &report), "file");
    is_invalid(xet_file_report(file, NULL), "out_report");
    check(byte == 0xAA && length == 77 && range.filled == 77, "a call that fails writes nothing");
}

static void a_server_that_says_nothing(const char *cache_dir) {
    char endpoint[64];
    int server = silent_server(endpoint, sizeof endpoint);
    XetClient *client = new_client(endpoint, cache_dir);
    XetOpenOptions options = weights();
    options.timeout_ms = 200;
    XetFile *file = NULL;
    check(code_of(xet_client_open(client, &options, NULL, &file)) == XET_CODE_TIMEOUT && file == NULL,
          "opening has a limit in time");
    xet_client_free(client);
    close(server);
}

/* ---- what is read ---- */

static void reads(XetFile *file) {
    static const struct {
        uint64_t offset;
        size_t wanted;
    } cases[] = {{0, 0},       {0, 1},        {1, 70000},          {2999990, 10},
                 {2999990, 11}, {3000000, 1},  {UINT64_MAX, 1},     {UINT64_MAX, SIZE_MAX / 2},
                 {5, 0},       {3000000, 0},  {1500000, 1500000},  {0, 3000000}};
    enum { CASES = sizeof cases / sizeof *cases };
    XetReadRange ranges[CASES];
    for (int i = 0; i < CASES; i++) {
        uint64_t left = cases[i].offset < size ? size - cases[i].offset : 0;
        size_t expected = cases[i].wanted < left ? cases[i].wanted : (size_t)left;
        /* Exactly as long as what comes, so that tools see what is written behind it. */
        unsigned char *buffer = malloc(expected + (expected == 0));
        require(buffer != NULL, "malloc");
        size_t found = SIZE_MAX;
        void *place = expected == 0 && cases[i].wanted == 0 ? NULL : buffer;
        check(code_of(xet_file_read_at(file, cases[i].offset, place, cases[i].wanted, NULL, NULL,
                                       &found)) == XET_CODE_OK, "it can be read");
        check(found == expected, "as many bytes as there are");
        check(memcmp(buffer, content + (expected > 0 ? cases[i].offset : 0), expected) == 0,
              "the bytes are the file's");
        memset(buffer, 0, expected);
        ranges[i] = (XetReadRange){cases[i].offset, cases[i].wanted, place, SIZE_MAX};
        if (place == NULL) {
            free(buffer);
        }
    }
    check(code_of(xet_file_read_ranges(file, ranges, CASES, NULL, NULL)) == XET_CODE_OK, "ranges");
    for (int i = 0; i < CASES; i++) {
        uint64_t left = cases[i].offset < size ? size - cases[i].offset : 0;
        size_t expected = cases[i].wanted < left ? cases[i].wanted : (size_t)left;
        check(ranges[i].filled == expected, "a range says how much there was of it");
        check(expected == 0 ||
                  memcmp(ranges[i].buffer, content + cases[i].offset, expected) == 0,
              "the bytes of ranges are the file's");
        free(ranges[i].buffer);
    }
    check(code_of(xet_file_read_ranges(file, NULL, 0, NULL, NULL)) == XET_CODE_OK, "no ranges");
}

static void reports(XetFile *file) {
    XetFileReport *report = NULL;
    require(xet_file_report(file, &report) == NULL, "xet_file_report");
    check(report->struct_size == sizeof *report && report->kind == XET_FILE_KIND_XET &&
              report->size == size && strcmp(report->path, "model.bin") == 0 &&
              strlen(report->commit) == 40 && strlen(report->etag) == 64 &&
              strlen(report->xet_hash) == 64 && report->proof == XET_PROOF_MERKLE,
          "a report says what the file is");
    check(report->reads > 1 && report->bytes_read > size && report->bytes_network > 0,
          "a report counts");
    check(report->bytes_proof == 0, "what others have had proven counts for them");
    xet_file_report_free(report);
}

static void proofs_are_counted(XetClient *client) {
    XetFile *file = open_file(client);
    unsigned char byte;
    size_t found = 0;
    XetFileReport *report = NULL;
    check(code_of(xet_file_read_at(file, 0, &byte, 1, NULL, NULL, &found)) == XET_CODE_OK, "a byte");
    require(xet_file_report(file, &report) == NULL, "xet_file_report");
    check(found == 1 && report->bytes_proof > 0, "what the first one has had proven counts for it");
    xet_file_report_free(report);
    xet_file_free(file);
}

/* ---- many readers, and frees ---- */

typedef struct Reader {
    XetFile *file;
    unsigned seed;
    pthread_t thread;
} Reader;

static void *read_some(void *argument) {
    Reader *reader = argument;
    static const size_t most = 100000;
    unsigned char *buffer = malloc(most);
    require(buffer != NULL, "malloc");
    for (int i = 0; i < EACH; i++) {
        reader->seed = reader->seed * 1664525U + 1013904223U;
        uint64_t offset = reader->seed % size;
        size_t wanted = (reader->seed >> 7) % most, found = 0;
        check(code_of(xet_file_read_at(reader->file, offset, buffer, wanted, NULL, NULL, &found)) ==
                  XET_CODE_OK, "many can read");
        check(found == (wanted < size - offset ? wanted : size - offset) &&
                  memcmp(buffer, content + offset, found) == 0, "each reads what is its own");
    }
    free(buffer);
    return NULL;
}

static void many_readers(XetFile *file) {
    Reader readers[READERS];
    for (unsigned i = 0; i < READERS; i++) {
        readers[i] = (Reader){.file = file, .seed = i};
        require(pthread_create(&readers[i].thread, NULL, read_some, &readers[i]) == 0, "thread");
    }
    for (int i = 0; i < READERS; i++) {
        require(pthread_join(readers[i].thread, NULL) == 0, "pthread_join");
    }
}

static atomic_bool is_inside = false, is_freed = false;

static void wait_until_freed(const XetProgress *progress, void *unused) {
    (void)progress;
    (void)unused;
    atomic_store(&is_inside, true);
    while (!atomic_load(&is_freed)) {
        sched_yield();
    }
}

static void *read_all(void *file) {
    unsigned char *buffer = malloc(size);
    require(buffer != NULL, "malloc");
    XetCallbacks callbacks = XET_INIT(XetCallbacks);
    callbacks.progress = wait_until_freed;
    size_t found = 0;
    check(code_of(xet_file_read_at(file, 0, buffer, size, NULL, &callbacks, &found)) == XET_CODE_OK &&
              found == size && memcmp(buffer, content, size) == 0,
          "a read that is under way when its file is closed ends normally");
    free(buffer);
    return NULL;
}

static void freed_while_read(XetClient *client) {
    XetFile *file = open_file(client);
    pthread_t thread;
    require(pthread_create(&thread, NULL, read_all, file) == 0, "pthread_create");
    while (!atomic_load(&is_inside)) {
        sched_yield();
    }
    xet_file_free(file);
    atomic_store(&is_freed, true);
    require(pthread_join(thread, NULL) == 0, "pthread_join");
}

static bool at_once(void *asked) {
    atomic_fetch_add((atomic_uint *)asked, 1);
    return true;
}

static void cancelled(XetClient *client) {
    XetFile *file = open_file(client);
    unsigned char *buffer = malloc(size);
    require(buffer != NULL, "malloc");
    atomic_uint asked = 0;
    XetCallbacks callbacks = XET_INIT(XetCallbacks);
    callbacks.cancel = at_once;
    callbacks.user_data = &asked;
    size_t found = 77;
    XetReadRange range = {.offset = 5, .len = size, .buffer = buffer, .filled = 77};
    check(code_of(xet_file_read_at(file, 0, buffer, size, NULL, &callbacks, &found)) ==
              XET_CODE_CANCELLED, "a read can be cancelled");
    check(code_of(xet_file_read_ranges(file, &range, 1, NULL, &callbacks)) == XET_CODE_CANCELLED,
          "ranges can be cancelled");
    check(atomic_load(&asked) >= 2 && found == 77 && range.filled == 77, "nothing is said of them");
    free(buffer); /* nobody writes there any more */
    check(code_of(xet_file_read_at(file, 0, content, 1, NULL, NULL, &found)) == XET_CODE_OK,
          "the file can be read after that");
    xet_file_free(file);
}

int main(int argc, char **argv) {
    require(argc == 4, "usage: reading ENDPOINT CACHE CONTENT");
    FILE *published = fopen(argv[3], "rb");
    require(published != NULL, argv[3]);
    size = fread(content, 1, sizeof content, published);
    fclose(published);
    require(size == 3000000, "the content's size");

    a_server_that_says_nothing(argv[2]);
    XetClient *client = new_client(argv[1], argv[2]);
    wrong_openings(client);
    proofs_are_counted(client);
    freed_while_read(client);
    cancelled(client);
    XetFile *file = open_file(client);
    xet_client_free(client);
    wrong_reads(file);
    reads(file);
    reports(file);
    many_readers(file);
    xet_file_free(file);
    printf("%u broken\n", atomic_load(&broken));
    return atomic_load(&broken) == 0 ? 0 : 1;
}
