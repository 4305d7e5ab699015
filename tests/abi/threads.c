/*
 * Many threads and one client, and everything that the contract in xet.h promises about that. Needs
 * no network but loopback: the calls that must hang hang on a socket that never answers.
 *
 *   threads CACHE_DIR
 *
 * Prints each promise that is broken; exits with 1 if one was.
 */
#include "stuck.h"

#include <unistd.h>

/* ---- freeing during a call ---- */

static void free_during_calls(const char *endpoint, const char *cache_dir) {
    enum { THREADS = 4 };
    static Stuck stuck[THREADS];
    pthread_t threads[THREADS];
    XetClient *client = new_client(endpoint, cache_dir);
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

static void replace_log_callbacks_under_load(const char *cache_dir) {
    enum { THREADS = 8, ROUNDS = 60 };
    static Sink sinks[ROUNDS];
    Worker workers[THREADS];
    pthread_t threads[THREADS];
    atomic_bool stop = false;
    unsigned records = 0;
    /* Port 9, "discard", on which a machine of today doesn't listen. */
    XetClient *client = new_client("http://127.0.0.1:9", cache_dir);
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
        Sink *next = i % 3 == 0 ? NULL : &sinks[(i + 1) % ROUNDS];
        if (next != NULL) {
            atomic_store(&next->registered, true);
        }
        set_log_callback(next);
        check(atomic_load(&sinks[i].running) == 0, "a replaced log callback isn't running");
        atomic_store(&sinks[i].registered, false);
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
    reentered = new_client("http://127.0.0.1:9", cache_dir);
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
    close(server);
    printf("%u promises broken\n", atomic_load(&broken));
    return atomic_load(&broken) == 0 ? 0 : 1;
}
