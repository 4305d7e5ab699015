/*
 * Many threads and one client, and everything that the contract in xet.h promises about that. Needs
 * no network but loopback: the calls that must hang hang on a socket that never answers.
 *
 *   threads CACHE_DIR
 *
 * Prints each promise that is broken; exits with 1 if one was.
 */
#define _POSIX_C_SOURCE 200809L
#include <arpa/inet.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "xet.h"

static atomic_uint broken = 0;

static void check(bool holds, const char *promise) {
    if (!holds) {
        atomic_fetch_add(&broken, 1);
        printf("broken: %s\n", promise);
    }
}

/* For what isn't tested here but must work. */
static void require(bool worked, const char *what) {
    if (!worked) {
        perror(what);
        exit(2);
    }
}

static XetClient *new_client(const char *endpoint, const char *cache_dir, uint32_t flags) {
    XetClientOptions options = {.struct_size = sizeof options,
                                .endpoint = endpoint,
                                .cache_dir = cache_dir,
                                .flags = XET_CLIENT_ANONYMOUS | flags,
                                .max_attempts = 1};
    XetClient *client = NULL;
    XetError *error = xet_client_create(&options, &client);
    require(error == NULL, "xet_client_create");
    return client;
}

static int32_t list(XetClient *client, const XetCallbacks *callbacks) {
    XetListOptions options = {.struct_size = sizeof options, .repo_id = "org/name"};
    XetEntryList *entries = NULL;
    XetError *error = xet_client_list_files(client, &options, callbacks, &entries);
    int32_t code = error == NULL ? XET_CODE_OK : error->code;
    xet_free_error(error);
    xet_entry_list_free(entries);
    return code;
}

/* A listening socket that accepts connections (the kernel does) and never answers. */
static int silent_server(char *endpoint, size_t size) {
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int server = socket(AF_INET, SOCK_STREAM, 0);
    require(server >= 0, "socket");
    require(bind(server, (struct sockaddr *)&address, sizeof address) == 0, "bind");
    require(listen(server, 64) == 0, "listen");
    require(getsockname(server, (struct sockaddr *)&address, &length) == 0, "getsockname");
    snprintf(endpoint, size, "http://127.0.0.1:%u", (unsigned)ntohs(address.sin_port));
    return server;
}

/* ---- freeing during a call ---- */

typedef struct Stuck {
    XetClient *client;
    pthread_t caller;
    atomic_bool inside;
    atomic_bool leave;
    atomic_uint asked_after_return;
    atomic_bool returned;
    int32_t code;
} Stuck;

static bool ask(void *user_data) {
    Stuck *stuck = user_data;
    check(pthread_equal(pthread_self(), stuck->caller), "callbacks run on the calling thread");
    if (atomic_load(&stuck->returned)) {
        atomic_fetch_add(&stuck->asked_after_return, 1);
    }
    atomic_store(&stuck->inside, true);
    return atomic_load(&stuck->leave);
}

static void *call_and_hang(void *argument) {
    Stuck *stuck = argument;
    XetCallbacks callbacks = {.struct_size = sizeof callbacks, .cancel = ask, .user_data = stuck};
    stuck->caller = pthread_self();
    stuck->code = list(stuck->client, &callbacks);
    atomic_store(&stuck->returned, true);
    return NULL;
}

static void free_during_calls(const char *endpoint, const char *cache_dir) {
    enum { THREADS = 4 };
    static Stuck stuck[THREADS];
    pthread_t threads[THREADS];
    XetClient *client = new_client(endpoint, cache_dir, 0);
    for (int i = 0; i < THREADS; i++) {
        stuck[i].client = client;
        require(pthread_create(&threads[i], NULL, call_and_hang, &stuck[i]) == 0, "pthread_create");
    }
    for (int i = 0; i < THREADS; i++) {
        while (!atomic_load(&stuck[i].inside)) {
            sched_yield();
        }
    }
    xet_client_free(client);
    /* The calls go on: each is asked again, after the client was freed. */
    for (int i = 0; i < THREADS; i++) {
        atomic_store(&stuck[i].inside, false);
        while (!atomic_load(&stuck[i].inside)) {
            sched_yield();
        }
        check(!atomic_load(&stuck[i].returned), "a call survives the freeing of its client");
        atomic_store(&stuck[i].leave, true);
    }
    for (int i = 0; i < THREADS; i++) {
        require(pthread_join(threads[i], NULL) == 0, "pthread_join");
        check(stuck[i].code == XET_CODE_CANCELLED, "a cancelled call says so");
        check(stuck[i].asked_after_return == 0, "no callback runs after the call has returned");
    }
}

/* ---- one client, many threads, and a log callback that keeps changing ---- */

/* Where log records go to, for as long as it is registered. */
typedef struct Sink {
    atomic_bool registered;
    atomic_uint running;
    atomic_uint records;
} Sink;

static void on_record(int32_t level, const char *target, const char *message, void *user_data) {
    Sink *sink = user_data;
    check(atomic_fetch_add(&sink->running, 1) == 0, "the log callback runs one at a time");
    check(atomic_load(&sink->registered), "a replaced log callback doesn't run again");
    check(level >= XET_LOG_ERROR && level <= XET_LOG_TRACE, "a record has a level");
    check(target != NULL && message != NULL, "a record has a target and a message");
    atomic_fetch_add(&sink->records, 1);
    atomic_fetch_sub(&sink->running, 1);
}

typedef struct Worker {
    XetClient *client;
    atomic_bool *stop;
    unsigned calls;
} Worker;

static void *call_again_and_again(void *argument) {
    Worker *worker = argument;
    do {
        /* Nobody listens there, so the call fails fast, and the layers below log about it. */
        check(list(worker->client, NULL) == XET_CODE_NETWORK_ERROR, "refused is a network error");
        worker->calls++;
    } while (!atomic_load(worker->stop));
    return NULL;
}

static void set_log_callback(Sink *sink) {
    XetError *error = xet_set_log_callback(sink == NULL ? NULL : on_record, sink, XET_LOG_TRACE);
    check(error == NULL, "a log callback can be registered");
    xet_free_error(error);
}

static void replace_log_callbacks_under_load(const char *cache_dir) {
    enum { THREADS = 8, ROUNDS = 60 };
    static Sink sinks[ROUNDS];
    Worker workers[THREADS];
    pthread_t threads[THREADS];
    atomic_bool stop = false;
    unsigned records = 0;
    /* Port 9, "discard", on which a machine of today doesn't listen. */
    XetClient *client = new_client("http://127.0.0.1:9", cache_dir, 0);
    for (int i = 0; i < THREADS; i++) {
        workers[i] = (Worker){.client = client, .stop = &stop};
        require(pthread_create(&threads[i], NULL, call_again_and_again, &workers[i]) == 0,
                "pthread_create");
    }
    for (int i = 0; i < ROUNDS; i++) {
        atomic_store(&sinks[i].registered, true);
        set_log_callback(&sinks[i]);
        if (i % 2 == 0) {
            while (atomic_load(&sinks[i].records) == 0) {
                sched_yield();
            }
        }
        set_log_callback(i % 3 == 0 ? NULL : &sinks[(i + 1) % ROUNDS]);
        check(atomic_load(&sinks[i].running) == 0, "a replaced log callback isn't running");
        atomic_store(&sinks[i].registered, false);
        if (i % 3 != 0) {
            atomic_store(&sinks[(i + 1) % ROUNDS].registered, true);
        }
    }
    set_log_callback(NULL);
    atomic_store(&stop, true);
    for (int i = 0; i < THREADS; i++) {
        require(pthread_join(threads[i], NULL) == 0, "pthread_join");
        check(workers[i].calls > 0, "every thread gets its calls done");
    }
    for (int i = 0; i < ROUNDS; i++) {
        records += atomic_load(&sinks[i].records);
    }
    check(records > 0, "records were delivered");
    xet_client_free(client);
}

/* ---- a log callback that calls back ---- */

static XetClient *reentered;
static atomic_uint depth = 0;
static atomic_uint reentries = 0;

static void on_record_call_back(int32_t level, const char *target, const char *message,
                                void *user_data) {
    (void)level;
    (void)target;
    (void)message;
    check(atomic_fetch_add(&depth, 1) == 0, "a log callback isn't run inside itself");
    if (atomic_fetch_add(&reentries, 1) == 0) {
        check(list(reentered, NULL) == XET_CODE_NETWORK_ERROR, "a log callback may make calls");
    } else {
        XetError *error = xet_set_log_callback(NULL, user_data, XET_LOG_OFF);
        check(error == NULL, "a log callback may unregister itself");
        xet_free_error(error);
    }
    atomic_fetch_sub(&depth, 1);
}

static void call_from_a_log_callback(const char *cache_dir) {
    reentered = new_client("http://127.0.0.1:9", cache_dir, 0);
    XetError *error = xet_set_log_callback(on_record_call_back, NULL, XET_LOG_TRACE);
    check(error == NULL, "a log callback can be registered");
    xet_free_error(error);
    for (int i = 0; i < 10 && atomic_load(&reentries) < 2; i++) {
        list(reentered, NULL);
    }
    check(atomic_load(&reentries) == 2, "after unregistering itself, it isn't called again");
    list(reentered, NULL);
    check(atomic_load(&reentries) == 2, "after unregistering itself, it isn't called again");
    xet_client_free(reentered);
}

/* ---- fork ---- */

static void use_a_client_in_a_child(const char *endpoint, const char *cache_dir) {
    static Stuck stuck;
    pthread_t thread;
    static Sink sink = {.registered = true};
    stuck.client = new_client(endpoint, cache_dir, 0);
    set_log_callback(&sink);
    require(pthread_create(&thread, NULL, call_and_hang, &stuck) == 0, "pthread_create");
    while (!atomic_load(&stuck.inside)) {
        sched_yield();
    }
    fflush(stdout);
    pid_t child = fork();
    require(child >= 0, "fork");
    if (child == 0) {
        Stuck own = {.client = stuck.client, .leave = true};
        call_and_hang(&own);
        set_log_callback(NULL);
        xet_client_free(stuck.client);
        fflush(stdout);
        _exit(own.code == XET_CODE_CANCELLED && atomic_load(&broken) == 0 ? 0 : 1);
    }
    int status = 0;
    require(waitpid(child, &status, 0) == child, "waitpid");
    check(WIFEXITED(status) && WEXITSTATUS(status) == 0, "a child may use a client it inherited");
    atomic_store(&stuck.leave, true);
    require(pthread_join(thread, NULL) == 0, "pthread_join");
    check(stuck.code == XET_CODE_CANCELLED, "a fork doesn't disturb the parent's calls");
    set_log_callback(NULL);
    xet_client_free(stuck.client);
}

int main(int count, char **arguments) {
    if (count != 2) {
        fputs("usage: threads CACHE_DIR\n", stderr);
        return 2;
    }
    char endpoint[64];
    int server = silent_server(endpoint, sizeof endpoint);
    free_during_calls(endpoint, arguments[1]);
    replace_log_callbacks_under_load(arguments[1]);
    call_from_a_log_callback(arguments[1]);
    use_a_client_in_a_child(endpoint, arguments[1]);
    close(server);
    printf("%u promises broken\n", atomic_load(&broken));
    return atomic_load(&broken) == 0 ? 0 : 1;
}
