/*
 * A resolver of names that isn't ready: an LD_PRELOAD library for one process.
 *
 * Names that end in `.test` are this machine's. As long as the file ODD_NAMES holds one byte or more, each
 * look-up takes one away and fails: with EAI_NONAME if that is an `n`, else with EAI_AGAIN.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

typedef int look_up_fn(const char *, const char *, const struct addrinfo *, struct addrinfo **);

/* How a look-up fails; 0: it doesn't. Look-ups may come side by side. */
static int failure(void)
{
    const char *path = getenv("ODD_NAMES");
    int file = path == NULL ? -1 : open(path, O_RDWR | O_CLOEXEC);
    if (file < 0)
        return 0;
    int result = 0;
    char how;
    flock(file, LOCK_EX);
    off_t left = lseek(file, 0, SEEK_END);
    if (left > 0 && pread(file, &how, 1, left - 1) == 1 && ftruncate(file, left - 1) == 0)
        result = how == 'n' ? EAI_NONAME : EAI_AGAIN;
    close(file);
    return result;
}

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **found)
{
    look_up_fn *real = (look_up_fn *)dlsym(RTLD_NEXT, "getaddrinfo");
    size_t length = name == NULL ? 0 : strlen(name);
    if (length < 5 || strcmp(name + length - 5, ".test") != 0)
        return real(name, service, hints, found);
    int failed = failure();
    return failed != 0 ? failed : real("127.0.0.1", service, hints, found);
}
