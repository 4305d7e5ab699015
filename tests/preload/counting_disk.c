/* A disk with terabytes to read, for one process: a library for LD_PRELOAD that stands between a program and the C library's
 * reads at an offset. Where a file has a whole block of zeros, as a sparse one has that takes no space, every other page
 * repeats a number of its own: no two chunks are the same, and each compresses to little. The pages between them end a chunk
 * of xet-core's, so one has some 12 KiB, and there are five times as many as on average. tests/sparse_disk.py builds it. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

enum { UNIT = 64, PAGE = 4096, BLOCK = 64 << 10 };

/* The first page whose number, repeated, has a place where xet-core's chunker (gearhash, 16 bits) ends a chunk. */
static const uint64_t ENDS_A_CHUNK = 445;

static bool is_zero(const unsigned char *bytes, size_t size) {
    return bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0;
}

/* A number that looks random, and is the same for the same place: splitmix64 (Steele, Lea, Flood 2014). */
static uint64_t mixed(uint64_t place) {
    place += 0x9e3779b97f4a7c15u;
    place = (place ^ (place >> 30)) * 0xbf58476d1ce4e5b9u;
    place = (place ^ (place >> 27)) * 0x94d049bb133111ebu;
    return place ^ (place >> 31);
}

static void fill(unsigned char *bytes, size_t size, uint64_t at) {
    uint64_t unit[UNIT / 8];
    for (size_t done = 0; done < size;) {
        uint64_t place = at + done, page = place / PAGE % 2 ? ENDS_A_CHUNK : place / PAGE + ENDS_A_CHUNK + 1;
        for (unsigned i = 0; i < UNIT / 8; i++) unit[i] = mixed(page * (UNIT / 8) + i);
        size_t within = place % UNIT, length = UNIT - within;
        if (length > size - done) length = size - done;
        memcpy(bytes + done, (unsigned char *)unit + within, length);
        done += length;
    }
}

#define READ_LIKE(name, offset) \
    ssize_t name(int fd, void *bytes, size_t size, offset at) { \
        static __typeof__(name) *real; \
        if (!real) real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name); \
        ssize_t done = real(fd, bytes, size, at); \
        if (done >= BLOCK && is_zero(bytes, (size_t)done)) fill(bytes, (size_t)done, (uint64_t)at); \
        return done; \
    }

READ_LIKE(pread, off_t)
READ_LIKE(pread64, off64_t)
