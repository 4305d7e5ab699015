/*
 * What threads.c and fork.c share beside support.h: a call that hangs, and a log callback that knows whether
 * it may run. Included by one unit per program.
 */
#ifndef STUCK_H
#define STUCK_H

#include "support.h"

static int32_t list(XetClient *client, const XetCallbacks *callbacks) {
    XetListOptions options = {.struct_size = sizeof options, .repo_id = "org/name"};
    XetEntryList *entries = NULL;
    XetError *error = xet_client_list_files(client, &options, callbacks, &entries);
    int32_t code = error == NULL ? XET_CODE_OK : error->code;
    xet_free_error(error);
    xet_entry_list_free(entries);
    return code;
}

/* ---- a call that hangs until it is told to leave ---- */

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

/* ---- a log callback ---- */

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
    /* Gives the others time to replace this callback while it runs, which they must not manage. */
    for (int i = 0; i < 100; i++) {
        sched_yield();
    }
    check(atomic_load(&sink->registered), "a log callback isn't replaced while it runs");
    atomic_fetch_add(&sink->records, 1);
    atomic_fetch_sub(&sink->running, 1);
}

static void set_log_callback(Sink *sink) {
    XetError *error = xet_set_log_callback(sink == NULL ? NULL : on_record, sink, XET_LOG_TRACE);
    check(error == NULL, "a log callback can be registered");
    xet_free_error(error);
}

#endif
