/*
 * Storages, groups and streams, and what xet.h promises about them: what may be freed when, who may
 * wait for what, and what becomes of work whose owner has left. The storage is a folder, so this
 * needs no network.
 *
 *   storage FOLDER
 *
 * Prints each promise that is broken; exits with 1 if one was.
 */
#include "support.h"

#include <time.h>
#include <unistd.h>

enum { CONTENT = 3 << 20, WAITERS = 4, FILES = 24 };

static char folder[2048];
static unsigned char content[CONTENT];

static const char *in_folder(char *path, size_t size, const char *name, int number) {
    snprintf(path, size, "%s/%s%d", folder, name, number);
    return path;
}

static void fill(unsigned seed) {
    unsigned state = seed * 2654435761U + 1;
    for (size_t i = 0; i < CONTENT; i++) {
        state = state * 1664525U + 1013904223U;
        content[i] = (unsigned char)(state >> 24);
    }
}

static int32_t code_of(XetError *error) {
    int32_t code = error == NULL ? XET_CODE_OK : error->code;
    xet_free_error(error);
    return code;
}

static XetStorage *open_storage(XetClient *client, const XetStorageOptions *more) {
    char endpoint[2200];
    XetStorageOptions options = more == NULL ? XET_INIT(XetStorageOptions) : *more;
    snprintf(endpoint, sizeof endpoint, "local://%s/cas", folder);
    options.endpoint = options.endpoint == NULL ? endpoint : options.endpoint;
    XetStorage *storage = NULL;
    require(xet_client_open_storage(client, &options, NULL, &storage) == NULL, "open_storage");
    return storage;
}

static XetGroup *begin(XetStorage *storage, uint32_t kind) {
    XetGroupOptions options = {.struct_size = sizeof options, .kind = kind};
    XetGroup *group = NULL;
    require(xet_storage_begin_group(storage, &options, &group) == NULL, "begin_group");
    return group;
}

/* Stores `content`; the hash has 64 digits. */
static void store(XetStorage *storage, char *hash) {
    XetGroup *group = begin(storage, XET_GROUP_UPLOADS);
    XetGroupUpload upload = {.struct_size = sizeof upload, .data = content, .data_len = CONTENT};
    uint64_t task = 0;
    require(xet_group_add_upload(group, &upload, &task) == NULL, "add_upload");
    XetGroupReport *report = NULL;
    require(xet_group_wait(group, NULL, &report) == NULL, "wait");
    check(report->tasks_len == 1 && report->tasks[0]->task == task, "a report has its task");
    check(report->tasks[0]->state == XET_TASK_DONE, "what was waited for is done");
    snprintf(hash, 65, "%s", report->tasks[0]->hash);
    xet_group_free(group);
    /* The report is the caller's, whatever becomes of the group. */
    check(strlen(hash) == 64 && strcmp(report->tasks[0]->hash, hash) == 0, "a report stays");
    xet_group_report_free(report);
}

static uint64_t add_file(XetGroup *group, const char *hash, const char *path, int32_t expected) {
    XetGroupDownload download = {.struct_size = sizeof download, .hash = hash, .path = path};
    uint64_t task = 0;
    check(code_of(xet_group_add_download(group, &download, &task)) == expected,
          "a download is added, or not");
    check((task != 0) == (expected == XET_CODE_OK), "a task has a number, which isn't 0");
    return task;
}

static bool has_content(const char *path) {
    static unsigned char found[CONTENT + 1];
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        return false;
    }
    size_t length = fread(found, 1, sizeof found, file);
    fclose(file);
    return length == CONTENT && memcmp(found, content, CONTENT) == 0;
}

/* ---- many wait for one group, and one adds to it ---- */

typedef struct Waiter {
    XetGroup *group;
    uint64_t task;
    int32_t code;
    uint32_t state;
} Waiter;

static void *wait_for(void *argument) {
    Waiter *waiter = argument;
    XetGroupReport *report = NULL;
    XetError *error = waiter->task == 0
                          ? xet_group_wait(waiter->group, NULL, &report)
                          : xet_group_wait_task(waiter->group, waiter->task, NULL, &report);
    waiter->state = error == NULL ? report->tasks[0]->state : 0;
    waiter->code = code_of(error);
    xet_group_report_free(report);
    return NULL;
}

static void many_wait(XetStorage *storage, const char *hash) {
    char path[2200];
    XetGroup *group = begin(storage, XET_GROUP_DOWNLOADS);
    Waiter waiters[WAITERS];
    pthread_t threads[WAITERS];
    uint64_t tasks[FILES];
    for (int i = 0; i < FILES; i++) {
        tasks[i] = add_file(group, hash, in_folder(path, sizeof path, "many", i), XET_CODE_OK);
    }
    for (int i = 0; i < WAITERS; i++) {
        waiters[i] = (Waiter){.group = group, .task = i % 2 == 0 ? 0 : tasks[FILES - i]};
        require(pthread_create(&threads[i], NULL, wait_for, &waiters[i]) == 0, "pthread_create");
    }
    for (int i = 0; i < WAITERS; i++) {
        require(pthread_join(threads[i], NULL) == 0, "pthread_join");
        check(waiters[i].code == XET_CODE_OK && waiters[i].state == XET_TASK_DONE,
              "all who wait learn the same");
    }
    for (int i = 0; i < FILES; i++) {
        check(has_content(in_folder(path, sizeof path, "many", i)), "what is done is there");
    }
    check(add_file(group, hash, "late", XET_CODE_INVALID_CONFIG) == 0, "a closed group is closed");
    xet_group_free(group);
}

/* ---- a group that ends takes no other along ---- */

static atomic_uint asked = 0;

static int64_t token(void *user_data) {
    check(user_data == folder, "user data is handed over");
    return atomic_fetch_add(&asked, 1) % 3 < 2 ? (int64_t)XET_TOKEN_AGAIN
                                               : xet_token_give("secret", 0);
}

static void each_for_itself(XetClient *client, const char *hash) {
    /* Nobody listens there: what fails, fails after it has got its token. */
    XetStorageOptions options = {.struct_size = sizeof options,
                                 .endpoint = "http://127.0.0.1:9",
                                 .token_callback = token,
                                 .token_user_data = folder};
    XetStorage *storage = open_storage(client, &options);
    XetGroup *group = begin(storage, XET_GROUP_DOWNLOADS);
    char path[2200];
    uint64_t task = add_file(group, hash, in_folder(path, sizeof path, "never", 0), XET_CODE_OK);
    for (int i = 0; i < 20; i++) {
        XetGroup *other = begin(storage, XET_GROUP_DOWNLOADS);
        XetGroupReport *report = NULL;
        check(code_of(xet_group_wait(other, NULL, &report)) == XET_CODE_OK, "nothing is done soon");
        xet_group_report_free(report);
        xet_group_free(other);
    }
    XetGroupReport *report = NULL;
    check(code_of(xet_group_wait_task(group, task, NULL, &report)) == XET_CODE_OK, "a task ends");
    check(report != NULL && report->tasks[0]->state == XET_TASK_FAILED &&
              report->tasks[0]->error->code == XET_CODE_NETWORK_ERROR,
          "a task isn't cancelled by the end of another group");
    xet_group_report_free(report);
    xet_storage_free(storage);
    xet_group_free(group);
}

/* ---- a stream of bytes up, and one down, and owners that leave ---- */

static void streams(XetStorage *storage) {
    XetGroup *group = begin(storage, XET_GROUP_UPLOADS);
    XetGroupUpload upload = {.struct_size = sizeof upload, .name = "stream"};
    uint64_t task = 0, abandoned = 0;
    check(code_of(xet_group_add_upload(group, &upload, &task)) == XET_CODE_OK, "a stream begins");
    check(code_of(xet_group_add_upload(group, &upload, &abandoned)) == XET_CODE_OK, "another one");
    for (size_t at = 0; at < CONTENT; at += 100003) {
        size_t length = CONTENT - at < 100003 ? CONTENT - at : 100003;
        check(code_of(xet_group_write(group, task, content + at, length)) == XET_CODE_OK, "write");
    }
    check(code_of(xet_group_end_stream(group, task)) == XET_CODE_OK, "end");
    check(code_of(xet_group_end_stream(group, task)) == XET_CODE_INVALID_CONFIG, "end once");
    check(code_of(xet_group_write(group, task, "x", 1)) == XET_CODE_INVALID_CONFIG, "no more");
    check(code_of(xet_group_write(group, 99, "x", 1)) == XET_CODE_INVALID_CONFIG, "no such task");
    XetGroupReport *report = NULL;
    check(code_of(xet_group_wait(group, NULL, &report)) == XET_CODE_OK, "the group ends");
    check(report->failed == 1 && report->tasks[1]->state == XET_TASK_FAILED,
          "a stream that isn't ended fails alone");
    char hash[65];
    snprintf(hash, sizeof hash, "%s", report->tasks[0]->hash);
    xet_group_report_free(report);
    xet_group_free(group);

    for (uint32_t flags = 0; flags <= XET_STREAM_UNORDERED; flags++) {
        static unsigned char got[CONTENT];
        XetStreamOptions options = {
            .struct_size = sizeof options, .hash = hash, .flags = flags, .start = 7};
        XetStream *stream = NULL;
        XetPiece *piece = NULL;
        size_t all = 7;
        memcpy(got, content, 7);
        require(xet_storage_open_stream(storage, &options, &stream) == NULL, "open_stream");
        while (code_of(xet_stream_next(stream, NULL, &piece)) == XET_CODE_OK && piece != NULL) {
            check(piece->offset + piece->data_len <= CONTENT, "a piece lies in the content");
            memcpy(got + piece->offset, piece->data, piece->data_len);
            all += piece->data_len;
            xet_piece_free(piece);
            piece = NULL;
        }
        check(all == CONTENT && memcmp(got, content, CONTENT) == 0, "all of it comes");
        xet_stream_free(stream);

        /* One piece, and no more interest. The piece is the caller's. */
        require(xet_storage_open_stream(storage, &options, &stream) == NULL, "open_stream");
        check(code_of(xet_stream_next(stream, NULL, &piece)) == XET_CODE_OK, "a piece comes");
        xet_stream_free(stream);
        check(memcmp(piece->data, content + piece->offset, piece->data_len) == 0, "it stays");
        xet_piece_free(piece);
    }
}

/* A reader that reads on in its own callback. */
static bool reads_on(void *user_data) {
    XetPiece *piece = NULL;
    check(code_of(xet_stream_next(user_data, NULL, &piece)) == XET_CODE_INVALID_CONFIG,
          "a stream that this thread reads can't be read in its callback");
    return true;
}

static void nested(XetClient *client, const char *hash) {
    char endpoint[64];
    int server = silent_server(endpoint, sizeof endpoint);
    XetStorageOptions where = {.struct_size = sizeof where, .endpoint = endpoint};
    XetStorage *storage = open_storage(client, &where);
    XetStreamOptions options = {.struct_size = sizeof options, .hash = hash};
    XetStream *stream = NULL;
    require(xet_storage_open_stream(storage, &options, &stream) == NULL, "open_stream");
    XetCallbacks callbacks = {
        .struct_size = sizeof callbacks, .cancel = reads_on, .user_data = stream};
    XetPiece *piece = NULL;
    check(code_of(xet_stream_next(stream, &callbacks, &piece)) == XET_CODE_CANCELLED, "cancelled");
    xet_stream_free(stream);
    xet_storage_free(storage);
    close(server);
}

static void owners_leave(XetClient *client, const char *hash) {
    char path[2200];
    for (int i = 0; i < 12; i++) {
        XetStorage *storage = open_storage(client, NULL);
        XetGroup *down = begin(storage, XET_GROUP_DOWNLOADS);
        XetGroup *up = begin(storage, XET_GROUP_UPLOADS);
        unsigned char *lent = malloc(CONTENT);
        require(lent != NULL, "malloc");
        memcpy(lent, content, CONTENT);
        lent[0] = (unsigned char)i;
        XetGroupUpload upload = {.struct_size = sizeof upload, .data = lent, .data_len = CONTENT};
        uint64_t task = 0;
        add_file(down, hash, in_folder(path, sizeof path, "left", i), XET_CODE_OK);
        check(code_of(xet_group_add_upload(up, &upload, &task)) == XET_CODE_OK, "an upload");
        nanosleep(&(struct timespec){.tv_nsec = i * 3000000L}, NULL);
        if (i % 3 == 0) {
            xet_storage_free(storage);
        }
        if (i % 2 == 0) {
            check(code_of(xet_group_cancel(down, 0)) == XET_CODE_OK, "cancel");
        }
        xet_group_free(down);
        xet_group_free(up);
        /* Nobody reads it any more. */
        memset(lent, 0xdd, CONTENT);
        free(lent);
        if (i % 3 != 0) {
            xet_storage_free(storage);
        }
    }
}

/* ---- wrong input ---- */

static void wrong(XetStorage *storage, const char *hash) {
    XetGroup *down = begin(storage, XET_GROUP_DOWNLOADS), *up = begin(storage, XET_GROUP_UPLOADS);
    uint64_t task = 0;
    const int32_t invalid = XET_CODE_INVALID_CONFIG;
    XetGroupDownload download = {.struct_size = sizeof download, .hash = hash, .path = "x"};
    XetGroupUpload upload = {.struct_size = sizeof upload, .data = "x", .data_len = 1};
    XetGroupReport *report = NULL;
    check(code_of(xet_group_add_download(up, &download, &task)) == invalid, "the wrong way");
    check(code_of(xet_group_add_upload(down, &upload, &task)) == invalid, "the wrong way");
    check(code_of(xet_group_add_download(NULL, &download, &task)) == invalid, "no group");
    check(code_of(xet_group_add_download(down, NULL, &task)) == invalid, "no download");
    check(code_of(xet_group_add_download(down, &download, NULL)) == invalid, "no place for a task");
    download.struct_size = 3;
    check(code_of(xet_group_add_download(down, &download, &task)) == invalid, "a wrong size");
    download = (XetGroupDownload){.struct_size = sizeof download, .hash = "xyz", .path = "x"};
    check(code_of(xet_group_add_download(down, &download, &task)) == invalid, "no hash");
    upload.path = "x";
    check(code_of(xet_group_add_upload(up, &upload, &task)) == invalid, "a path, and data");
    upload = (XetGroupUpload){.struct_size = sizeof upload, .data_len = 1};
    check(code_of(xet_group_add_upload(up, &upload, &task)) == invalid, "a length, and no data");
    check(code_of(xet_group_wait_task(down, 7, NULL, &report)) == invalid, "no such task");
    check(code_of(xet_group_cancel(down, 7)) == invalid, "no such task");
    check(task == 0 && report == NULL, "outputs are written on success only");
    xet_group_free(down);
    xet_group_free(up);
    xet_group_free(NULL);
    xet_storage_free(NULL);
    xet_stream_free(NULL);
    xet_piece_free(NULL);
    xet_group_report_free(NULL);
    xet_content_list_free(NULL);
}

int main(int argc, char **argv) {
    if (argc != 2) {
        return 2;
    }
    snprintf(folder, sizeof folder, "%s", argv[1]);
    fill(1);
    XetClient *client = new_client("http://127.0.0.1:9", folder);
    XetStorage *storage = open_storage(client, NULL);
    char hash[65];
    store(storage, hash);
    wrong(storage, hash);
    many_wait(storage, hash);
    streams(storage);
    owners_leave(client, hash);
    each_for_itself(client, hash);
    nested(client, hash);
    xet_client_free(client);
    /* A storage outlives its client. */
    store(storage, hash);
    xet_storage_free(storage);
    printf("%u broken\n", atomic_load(&broken));
    return atomic_load(&broken) == 0 ? 0 : 1;
}
