/* A disk that keeps no zeros, for one process: a library for LD_PRELOAD that stands between a program and the C library's
 * writes at an offset. One of zeros alone only makes the file long enough, so a file of a terabyte of them takes no space. It's
 * for programs that write nothing but zeros over zeros, and that ask how much space there is: plenty. tests/sparse_disk.py
 * builds it. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>

#define REAL(name) \
    static __typeof__(name) *real; \
    if (!real) real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

static pthread_mutex_t growing = PTHREAD_MUTEX_INITIALIZER;

static bool is_zero(const void *bytes, size_t size) {
    const char *first = bytes;
    return size > 4096 && first[0] == 0 && memcmp(first, first + 1, size - 1) == 0;
}

/* Makes a file at least so long. */
static bool grow(int fd, off64_t end) {
    struct stat64 found;
    pthread_mutex_lock(&growing);
    bool done = fstat64(fd, &found) == 0 && (found.st_size >= end || ftruncate64(fd, end) == 0);
    pthread_mutex_unlock(&growing);
    return done;
}

#define WRITE_LIKE(name, offset) \
    ssize_t name(int fd, const void *bytes, size_t size, offset at) { \
        REAL(name); \
        if (is_zero(bytes, size)) return grow(fd, at + (off64_t)size) ? (ssize_t)size : -1; \
        return real(fd, bytes, size, at); \
    }

WRITE_LIKE(pwrite, off_t)
WRITE_LIKE(pwrite64, off64_t)

/* Piece by piece, so that each may be of zeros. */
#define GATHER_LIKE(name, one, offset) \
    ssize_t name(int fd, const struct iovec *pieces, int count, offset at) { \
        ssize_t done = 0; \
        for (int i = 0; i < count; i++) { \
            ssize_t written = one(fd, pieces[i].iov_base, pieces[i].iov_len, at + done); \
            if (written < 0) return done > 0 ? done : written; \
            done += written; \
            if ((size_t)written < pieces[i].iov_len) break; \
        } \
        return done; \
    }

GATHER_LIKE(pwritev, pwrite, off_t)
GATHER_LIKE(pwritev64, pwrite64, off64_t)

#define SPACE_LIKE(name, parameters, arguments, found) \
    int name parameters { \
        REAL(name); \
        int result = real arguments; \
        if (result == 0) found->f_bavail = ~0UL / found->f_frsize / 2; \
        return result; \
    }

SPACE_LIKE(fstatvfs, (int fd, struct statvfs *found), (fd, found), found)
SPACE_LIKE(fstatvfs64, (int fd, struct statvfs64 *found), (fd, found), found)
