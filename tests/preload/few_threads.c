/*
 * A machine that refuses threads: an LD_PRELOAD library for one process.
 *
 * FEW_THREADS=N lets the process have N threads at a time beside its first; pthread_create of another fails
 * with EAGAIN, as it does at `ulimit -u` or at a container's pids limit, neither of which holds for root.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

typedef int create_fn(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);

static atomic_long alive;

struct start {
    void *(*run)(void *);
    void *argument;
};

static void *run(void *given)
{
    struct start start = *(struct start *)given;
    free(given);
    void *result = start.run(start.argument);
    atomic_fetch_sub(&alive, 1);
    return result;
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*body)(void *), void *argument)
{
    const char *limit = getenv("FEW_THREADS");
    struct start *start = malloc(sizeof *start);
    if (start == NULL || (limit != NULL && atomic_fetch_add(&alive, 1) >= atol(limit))) {
        atomic_fetch_sub(&alive, start != NULL);
        free(start);
        return EAGAIN;
    }
    *start = (struct start){body, argument};
    create_fn *create = (create_fn *)dlsym(RTLD_NEXT, "pthread_create");
    int refused = create(thread, attributes, run, start);
    if (refused) {
        atomic_fetch_sub(&alive, 1);
        free(start);
    }
    return refused;
}
