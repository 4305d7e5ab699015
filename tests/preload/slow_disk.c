/* A slow or odd disk, for one process: a library for LD_PRELOAD that stands between a program and the C library's
 * file-system calls. It touches only paths below one folder. tests/slow_disk.py builds it and sets its environment:
 *
 * SLOW_DISK_FOLDER  the folder, absolute and without symlinks. Paths are compared as text, so a program that reaches the folder
 *                   by another name isn't slowed.
 * SLOW_DISK_RULES   rules, separated by ';'. All that match a call apply, in their order.
 * SLOW_DISK_LOG     a file that gets a line for each call, before any delay: "call<TAB>thread<TAB>path".
 *
 * A rule is words between blanks. The first names the calls, separated by commas:
 *
 *   open stat access readlink realpath rename unlink mkdir symlink link opendir readdir chmod utime truncate statfs
 *                     what a network file system asks its server for; together: `metadata`
 *   fsync fdatasync syncfs                                                  together: `sync`
 *   close fstat flock lock copy clone allocate                              lock: fcntl's; clone: ioctl FICLONE
 *   all               every one of these
 *
 * The others say what happens, and when:
 *
 *   delay=MS          sleeps that many milliseconds before the call
 *   error=NUMBER      doesn't make the call, which fails with that errno (close closes first)
 *   pretend           flock, lock: doesn't make the call, and says that it's granted. statfs: every number is 0.
 *                     readdir: doesn't say what is a folder and what a file
 *   lies=LIE,LIE      stat, fstat of files, not of folders. size: it's 0, or N by size=N. seconds: times have no parts of one. change: the
 *                     last change is the last write. inode: every file has the number 1. inodes: each time another one.
 *                     statfs. fuse: the file system is one in user space
 *   fold              (of `all` calls) upper and lower case are one in names, as they were made first
 *   only=folder|file|there  what the path is: a folder, or anything else (there or not); or whichever, if it's there
 *   only=unwritable   (of calls that take a descriptor) it can't be written to
 *   match=TEXT        the path contains this
 *   thread=TEXT       the calling thread's name begins with this
 *   skip=N times=N    the first N matches pass; the rule ends after N more
 *   while=PATH        in force while this file is there
 *   until=PATH        in force until this file is there. Both end a delay under way
 *
 * A listing is fetched in pieces, so the first call of readdir counts, and then one in a hundred. A rule that can't be read ends the process with 97.
 * Not covered: reads and writes, and calls made without the C library (Go's own, rustix's).
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum call {
    OPEN, STAT, ACCESS, READLINK, REALPATH, RENAME, UNLINK, MKDIR, SYMLINK, LINK, OPENDIR, READDIR, CHMOD, UTIME, TRUNCATE,
    STATFS, /* the last one of `metadata` */
    FSYNC, FDATASYNC, SYNCFS, CLOSE, FSTAT, FLOCK, LOCK, COPY, CLONE, ALLOCATE, CALLS
};

static const char *const NAMES[CALLS] = {
    "open", "stat", "access", "readlink", "realpath", "rename", "unlink", "mkdir", "symlink", "link", "opendir", "readdir",
    "chmod", "utime", "truncate", "statfs", "fsync", "fdatasync", "syncfs", "close", "fstat", "flock", "lock", "copy", "clone",
    "allocate"};

enum { MAX_RULES = 16, THREAD_NAME = 16, ENTRIES_AT_ONCE = 100, TICK_MS = 10, BAD_RULE = 97, NAME_SIZE = PATH_MAX + 32 };
enum only { ANYTHING, FOLDER, FILE_ALONE, THERE, UNWRITABLE };

enum { PRETEND = -1 }; /* In place of an errno. */

enum lie { SIZE = 1, SECONDS = 2, CHANGE = 4, INODE = 8, INODES = 16, FUSE = 32 };

struct rule {
    uint64_t calls;
    enum only only;
    long delay_ms;
    int error;
    unsigned lies;
    long size;
    bool folds;
    const char *match, *thread, *while_path, *until_path;
    atomic_long skip, times;
};

static struct rule rules[MAX_RULES];
static int rule_count;
static char rule_text[16384];
static char folder[PATH_MAX];
static size_t folder_length;
static int log_fd = -1;

/* What this library itself needs of the system goes there directly, never through what it stands in front of. */

static bool exists(const char *path) { return syscall(SYS_faccessat, AT_FDCWD, path, F_OK) == 0; }

static long long now_ms(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000LL + time.tv_nsec / 1000000;
}

static bool is_folder(const char *path) {
    /* Only a folder has ".". */
    char dot[NAME_SIZE + 2];
    snprintf(dot, sizeof dot, "%s/.", path);
    return exists(dot);
}

/* Where the file behind a descriptor is; empty if it has no path. */
static void path_of(int fd, char *path, size_t size) {
    char link[40];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = syscall(SYS_readlinkat, AT_FDCWD, link, path, size - 1);
    path[length > 0 ? length : 0] = 0;
}

/* The absolute form of what a call names: a path, a path below a folder's descriptor, or the descriptor itself. */
static void absolute(int fd, const char *name, char *path, size_t size) {
    if (name && name[0] == '/') {
        snprintf(path, size, "%s", name);
        return;
    }
    if (fd != AT_FDCWD) {
        path_of(fd, path, size);
    } else if (syscall(SYS_getcwd, path, size) < 0) {
        path[0] = 0;
    }
    if (name && name[0] && path[0]) {
        size_t length = strlen(path);
        snprintf(path + length, size - length, "/%s", name);
    }
}

static bool is_below(const char *path) {
    return !strncmp(path, folder, folder_length) && (path[folder_length] == '/' || path[folder_length] == 0);
}

static bool in_force(const struct rule *rule) {
    return (!rule->while_path || exists(rule->while_path)) && (!rule->until_path || !exists(rule->until_path));
}

static void delay(const struct rule *rule) {
    long long end = now_ms() + rule->delay_ms;
    bool watched = rule->while_path || rule->until_path;
    for (long long left = rule->delay_ms; left > 0; left = end - now_ms()) {
        if (watched && !in_force(rule)) return;
        if (watched && left > TICK_MS) left = TICK_MS;
        struct timespec time = {left / 1000, left % 1000 * 1000000};
        clock_nanosleep(CLOCK_MONOTONIC, 0, &time, NULL);
    }
}

/* Takes one from a counter that is above zero. */
static bool take(atomic_long *counter) {
    long left = atomic_load(counter);
    while (left > 0)
        if (atomic_compare_exchange_weak(counter, &left, left - 1)) return true;
    return false;
}

static bool applies(struct rule *rule, enum call call, int fd, const char *path, const char *thread) {
    if (!(rule->calls >> call & 1)) return false;
    if (rule->match && !strstr(path, rule->match)) return false;
    if (rule->thread && strncmp(thread, rule->thread, strlen(rule->thread))) return false;
    if (rule->only == THERE && !exists(path)) return false;
    if ((rule->only == FOLDER || rule->only == FILE_ALONE) && is_folder(path) != (rule->only == FOLDER)) return false;
    if (rule->only == UNWRITABLE && (syscall(SYS_fcntl, fd, F_GETFL) & O_ACCMODE) != O_RDONLY) return false;
    if (!in_force(rule) || take(&rule->skip)) return false;
    return atomic_load(&rule->times) < 0 || take(&rule->times);
}

static void record(enum call call, const char *thread, const char *path) {
    char line[NAME_SIZE + 64];
    int length = snprintf(line, sizeof line, "%s\t%s\t%s", NAMES[call], thread, path);
    if (length > (int)sizeof line - 2) length = (int)sizeof line - 2;
    for (char *byte = line + strlen(NAMES[call]) + 1 + strlen(thread) + 1; byte < line + length; byte++)
        if (*byte == '\n' || *byte == '\t') *byte = '?';
    line[length] = '\n';
    if (syscall(SYS_write, log_fd, line, length + 1) < 0) abort();
}

/* What is to be said of the file that was asked about last. */
static _Thread_local unsigned lies;
static _Thread_local long size_told;

/* Notes a call and slows it down. Returns the errno that it shall fail with, PRETEND, or 0. */
static int touched(enum call call, int fd, const char *name) {
    if (!folder_length) return 0;
    if (call == STAT && !(name && name[0])) call = FSTAT; /* Rust asks so for the file behind a descriptor. */
    int before = errno, error = 0;
    lies = 0;
    char path[NAME_SIZE], thread[THREAD_NAME + 1] = "";
    absolute(fd, name, path, sizeof path);
    if (is_below(path)) {
        prctl(PR_GET_NAME, thread, 0, 0, 0);
        if (log_fd >= 0) record(call, thread, path);
        for (struct rule *rule = rules; rule < rules + rule_count; rule++) {
            if (!applies(rule, call, fd, path, thread)) continue;
            delay(rule);
            if (!error) error = rule->error;
            lies |= rule->lies;
            if (rule->lies & SIZE) size_told = rule->size;
        }
    }
    errno = before;
    return error;
}

/* Two paths are one call: that which is below the folder counts, the second one if both are. */
static int touched_two(enum call call, int from_fd, const char *from, int to_fd, const char *to) {
    char path[NAME_SIZE];
    absolute(to_fd, to, path, sizeof path);
    return is_below(path) ? touched(call, to_fd, to) : touched(call, from_fd, from);
}

/* The rules. */

static void refuse(const char *what, const char *text) {
    dprintf(STDERR_FILENO, "slow_disk: %s: %s\n", what, text);
    _exit(BAD_RULE);
}

static uint64_t named(char *list) {
    const uint64_t metadata = (UINT64_C(2) << STATFS) - 1, all = (UINT64_C(1) << CALLS) - 1;
    const uint64_t sync = UINT64_C(1) << FSYNC | UINT64_C(1) << FDATASYNC | UINT64_C(1) << SYNCFS;
    uint64_t found = 0;
    char *rest = NULL;
    for (char *name = strtok_r(list, ",", &rest); name; name = strtok_r(NULL, ",", &rest)) {
        uint64_t one = !strcmp(name, "metadata") ? metadata : !strcmp(name, "sync") ? sync : !strcmp(name, "all") ? all : 0;
        for (int call = 0; call < CALLS; call++)
            if (!strcmp(name, NAMES[call])) one = UINT64_C(1) << call;
        if (!one) refuse("no such call", name);
        found |= one;
    }
    return found;
}

static long number(const char *text) {
    char *end = NULL;
    long value = strtol(text, &end, 10);
    if (end == text || *end || value < 0) refuse("not a number", text);
    return value;
}

static const char *after(const char *word, const char *key) {
    size_t length = strlen(key);
    return strncmp(word, key, length) ? NULL : word + length;
}

static unsigned lies_in(const char *list, long *size) {
    static const struct { const char *name; enum lie lie; } KNOWN[] = {
        {"size", SIZE}, {"seconds", SECONDS}, {"change", CHANGE}, {"inode", INODE}, {"inodes", INODES},
        {"fuse", FUSE}};
    unsigned found = 0;
    while (*list) {
        size_t length = strcspn(list, ",");
        unsigned one = 0;
        if (after(list, "size=")) {
            *size = number(after(list, "size="));
            one = SIZE;
        }
        for (size_t i = 0; i < sizeof KNOWN / sizeof *KNOWN; i++)
            if (strlen(KNOWN[i].name) == length && !strncmp(list, KNOWN[i].name, length)) one = KNOWN[i].lie;
        if (!one) refuse("no such lie", list);
        found |= one;
        list += length + (list[length] == ',');
    }
    return found;
}

static void read_word(struct rule *rule, const char *word) {
    const char *value;
    if ((value = after(word, "delay="))) rule->delay_ms = number(value);
    else if ((value = after(word, "error="))) rule->error = (int)number(value);
    else if ((value = after(word, "skip="))) atomic_store(&rule->skip, number(value));
    else if ((value = after(word, "times="))) atomic_store(&rule->times, number(value));
    else if ((value = after(word, "match="))) rule->match = value;
    else if ((value = after(word, "thread="))) rule->thread = value;
    else if ((value = after(word, "while="))) rule->while_path = value;
    else if ((value = after(word, "until="))) rule->until_path = value;
    else if (!strcmp(word, "only=folder")) rule->only = FOLDER;
    else if (!strcmp(word, "only=file")) rule->only = FILE_ALONE;
    else if (!strcmp(word, "only=there")) rule->only = THERE;
    else if (!strcmp(word, "only=unwritable")) rule->only = UNWRITABLE;
    else if (!strcmp(word, "pretend")) rule->error = PRETEND;
    else if (!strcmp(word, "fold")) rule->folds = true;
    else if ((value = after(word, "lies="))) rule->lies = lies_in(value, &rule->size);
    else refuse("no such word", word);
}

static void read_rule(char *text) {
    if (rule_count == MAX_RULES) refuse("too many rules", text);
    struct rule *rule = &rules[rule_count];
    atomic_store(&rule->times, -1);
    char *rest = NULL, *calls = strtok_r(text, " ", &rest);
    if (!calls) return;
    for (char *word = strtok_r(NULL, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) read_word(rule, word);
    rule->calls = named(calls);
    const uint64_t pretended =
        UINT64_C(1) << FLOCK | UINT64_C(1) << LOCK | UINT64_C(1) << STATFS | UINT64_C(1) << READDIR;
    if (rule->error == PRETEND && rule->calls & ~pretended) refuse("can't pretend", calls);
    const uint64_t lied = rule->lies & FUSE ? UINT64_C(1) << STATFS : UINT64_C(1) << STAT | UINT64_C(1) << FSTAT;
    if (rule->lies && rule->calls & ~lied) refuse("can't lie", calls);
    rule_count++;
}

__attribute__((constructor)) static void begin(void) {
    const char *root = getenv("SLOW_DISK_FOLDER"), *text = getenv("SLOW_DISK_RULES"), *log = getenv("SLOW_DISK_LOG");
    if (text && snprintf(rule_text, sizeof rule_text, "%s", text) >= (int)sizeof rule_text) refuse("too long", text);
    char *rest = NULL;
    for (char *rule = strtok_r(rule_text, ";", &rest); rule; rule = strtok_r(NULL, ";", &rest)) read_rule(rule);
    if (log && (log_fd = (int)syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600)) < 0)
        refuse("can't write", log);
    if (!root || root[0] != '/' || strlen(root) >= sizeof folder) refuse("SLOW_DISK_FOLDER must be absolute", root ? root : "");
    snprintf(folder, sizeof folder, "%s", root);
    folder_length = strlen(folder);
}

/* Finds `name` in a folder, in upper or lower case. */
static bool find_folded(const char *in, const char *name, char *found, size_t size) {
    int fd = (int)syscall(SYS_openat, AT_FDCWD, in, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return false;
    bool is_found = false;
    char list[8192];
    for (long length; !is_found && (length = syscall(SYS_getdents64, fd, list, sizeof list)) > 0;) {
        for (long at = 0; at < length && !is_found;) {
            struct dirent64 *entry = (struct dirent64 *)(list + at);
            is_found = !strcasecmp(entry->d_name, name);
            if (is_found) snprintf(found, size, "%s", entry->d_name);
            at += entry->d_reclen;
        }
    }
    syscall(SYS_close, fd);
    return is_found;
}

/* The path of what a call names, where upper and lower case are one. */
static const char *folded(int fd, const char *name, char *path) {
    bool folds = false;
    for (struct rule *rule = rules; rule < rules + rule_count; rule++) folds = folds || rule->folds;
    if (!folds || !name || !name[0]) return name;
    int before = errno;
    char whole[NAME_SIZE], found[NAME_MAX + 1];
    absolute(fd, name, whole, sizeof whole);
    if (!is_below(whole)) return name;
    size_t length = (size_t)snprintf(path, NAME_SIZE, "%s", folder);
    char *rest = NULL;
    for (char *part = strtok_r(whole + folder_length, "/", &rest); part; part = strtok_r(NULL, "/", &rest)) {
        bool is_there = find_folded(path, part, found, sizeof found);
        length += (size_t)snprintf(path + length, NAME_SIZE - length, "/%s", is_there ? found : part);
        if (length >= NAME_SIZE) return name;
    }
    errno = before;
    return path;
}

#define AT(fd, path) folded(fd, path, (char[NAME_SIZE]){0})
#define F(path) AT(AT_FDCWD, path)

/* What stands in front of the C library. Each finds the real one when it is first called. */

#define REAL(name) \
    static __typeof__(name) *real; \
    if (!real) real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

#define STAND_IN(result, failed, name, parameters, arguments, looked_at) \
    result name parameters { \
        REAL(name); \
        int error = looked_at; \
        if (error) { \
            errno = error; \
            return failed; \
        } \
        return real arguments; \
    }

#define BY_PATH(call, name, parameters, arguments) STAND_IN(int, -1, name, parameters, arguments, touched(call, AT_FDCWD, path))
#define BY_FD(call, name, parameters, arguments) STAND_IN(int, -1, name, parameters, arguments, touched(call, fd, NULL))
#define BY_BOTH(call, name, parameters, arguments) STAND_IN(int, -1, name, parameters, arguments, touched(call, fd, path))

/* open: the mode is there only if a file can be made. */

static bool has_mode(int flags) { return (flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE; }

#define OPEN_LIKE(name, parameters, last, arguments, fd) \
    int name parameters { \
        REAL(name); \
        mode_t mode = 0; \
        if (has_mode(flags)) { \
            va_list more; \
            va_start(more, last); \
            mode = va_arg(more, mode_t); \
            va_end(more); \
        } \
        int error = touched(OPEN, fd, path); \
        if (error) { \
            errno = error; \
            return -1; \
        } \
        return real arguments; \
    }

OPEN_LIKE(open, (const char *path, int flags, ...), flags, (F(path), flags, mode), AT_FDCWD)
OPEN_LIKE(open64, (const char *path, int flags, ...), flags, (F(path), flags, mode), AT_FDCWD)
OPEN_LIKE(openat, (int fd, const char *path, int flags, ...), flags, (fd, AT(fd, path), flags, mode), fd)
OPEN_LIKE(openat64, (int fd, const char *path, int flags, ...), flags, (fd, AT(fd, path), flags, mode), fd)

/* What a program compiled with _FORTIFY_SOURCE calls instead. */
int __open_2(const char *path, int flags);
int __open64_2(const char *path, int flags);
BY_PATH(OPEN, __open_2, (const char *path, int flags), (F(path), flags))
BY_PATH(OPEN, __open64_2, (const char *path, int flags), (F(path), flags))
BY_PATH(OPEN, creat, (const char *path, mode_t mode), (F(path), mode))
BY_PATH(OPEN, creat64, (const char *path, mode_t mode), (F(path), mode))
STAND_IN(FILE *, NULL, fopen, (const char *path, const char *mode), (F(path), mode), touched(OPEN, AT_FDCWD, path))
STAND_IN(FILE *, NULL, fopen64, (const char *path, const char *mode), (F(path), mode), touched(OPEN, AT_FDCWD, path))

/* stat. */

static uint64_t another(void) {
    static atomic_ulong inode = 1000;
    return atomic_fetch_add(&inode, 1);
}

#define LIE(is_file, inode, size, written, changed, part) \
    do { \
        if (!(is_file)) break; \
        if (lies & SIZE) (size) = size_told; \
        if (lies & SECONDS) (written).part = (changed).part = 0; \
        if (lies & CHANGE) (changed) = (written); \
        if (lies & INODE) (inode) = 1; \
        if (lies & INODES) (inode) = another(); \
    } while (0)

#define STAT_LIKE(call, name, parameters, arguments, fd, path) \
    int name parameters { \
        REAL(name); \
        int error = touched(call, fd, path); \
        if (error) { \
            errno = error; \
            return -1; \
        } \
        int result = real arguments; \
        if (!result && lies) LIE(S_ISREG(found->st_mode), found->st_ino, found->st_size, found->st_mtim, found->st_ctim, tv_nsec); \
        return result; \
    }

STAT_LIKE(STAT, stat, (const char *path, struct stat *found), (F(path), found), AT_FDCWD, path)
STAT_LIKE(STAT, stat64, (const char *path, struct stat64 *found), (F(path), found), AT_FDCWD, path)
STAT_LIKE(STAT, lstat, (const char *path, struct stat *found), (F(path), found), AT_FDCWD, path)
STAT_LIKE(STAT, lstat64, (const char *path, struct stat64 *found), (F(path), found), AT_FDCWD, path)
STAT_LIKE(FSTAT, fstat, (int fd, struct stat *found), (fd, found), fd, NULL)
STAT_LIKE(FSTAT, fstat64, (int fd, struct stat64 *found), (fd, found), fd, NULL)
STAT_LIKE(STAT, fstatat, (int fd, const char *path, struct stat *found, int flags), (fd, AT(fd, path), found, flags), fd, path)
STAT_LIKE(STAT, fstatat64, (int fd, const char *path, struct stat64 *found, int flags), (fd, AT(fd, path), found, flags), fd, path)

int statx(int fd, const char *path, int flags, unsigned wanted, struct statx *found) {
    REAL(statx);
    int error = touched(STAT, fd, path);
    if (error) {
        errno = error;
        return -1;
    }
    int result = real(fd, AT(fd, path), flags, wanted, found);
    if (!result && lies)
        LIE(S_ISREG(found->stx_mode), found->stx_ino, found->stx_size, found->stx_mtime, found->stx_ctime, tv_nsec);
    return result;
}

/* Numbers that are all 0 mean that a file system doesn't know. */
#define STATFS_LIKE(name, parameters, arguments, looked_at, lie) \
    int name parameters { \
        REAL(name); \
        int error = looked_at; \
        if (error == PRETEND) { \
            memset(found, 0, sizeof *found); \
            return 0; \
        } \
        if (error) { \
            errno = error; \
            return -1; \
        } \
        int result = real arguments; \
        if (!result && lies & FUSE) lie; \
        return result; \
    }

#define STATFS_OF_PATH(name, type, lie) \
    STATFS_LIKE(name, (const char *path, struct type *found), (path, found), touched(STATFS, AT_FDCWD, path), lie)
#define STATFS_OF_FD(name, type, lie) \
    STATFS_LIKE(name, (int fd, struct type *found), (fd, found), touched(STATFS, fd, NULL), lie)

#define SAY_FUSE found->f_type = FUSE_SUPER_MAGIC
#define SAY_NOTHING (void)0 /* It doesn't tell the kind. */

STATFS_OF_PATH(statfs, statfs, SAY_FUSE)
STATFS_OF_PATH(statfs64, statfs64, SAY_FUSE)
STATFS_OF_FD(fstatfs, statfs, SAY_FUSE)
STATFS_OF_FD(fstatfs64, statfs64, SAY_FUSE)
STATFS_OF_PATH(statvfs, statvfs, SAY_NOTHING)
STATFS_OF_PATH(statvfs64, statvfs64, SAY_NOTHING)
STATFS_OF_FD(fstatvfs, statvfs, SAY_NOTHING)
STATFS_OF_FD(fstatvfs64, statvfs64, SAY_NOTHING)

BY_PATH(ACCESS, access, (const char *path, int mode), (F(path), mode))
BY_BOTH(ACCESS, faccessat, (int fd, const char *path, int mode, int flags), (fd, AT(fd, path), mode, flags))

/* Names. */

STAND_IN(ssize_t, -1, readlink, (const char *path, char *buffer, size_t size), (F(path), buffer, size),
         touched(READLINK, AT_FDCWD, path))
STAND_IN(ssize_t, -1, readlinkat, (int fd, const char *path, char *buffer, size_t size), (fd, AT(fd, path), buffer, size),
         touched(READLINK, fd, path))
STAND_IN(char *, NULL, realpath, (const char *path, char *resolved), (F(path), resolved), touched(REALPATH, AT_FDCWD, path))
STAND_IN(int, -1, rename, (const char *from, const char *to), (F(from), F(to)), touched_two(RENAME, AT_FDCWD, from, AT_FDCWD, to))
STAND_IN(int, -1, renameat, (int from_fd, const char *from, int to_fd, const char *to), (from_fd, AT(from_fd, from), to_fd, AT(to_fd, to)),
         touched_two(RENAME, from_fd, from, to_fd, to))
STAND_IN(int, -1, renameat2, (int from_fd, const char *from, int to_fd, const char *to, unsigned flags),
         (from_fd, AT(from_fd, from), to_fd, AT(to_fd, to), flags), touched_two(RENAME, from_fd, from, to_fd, to))
STAND_IN(int, -1, link, (const char *from, const char *to), (F(from), F(to)), touched_two(LINK, AT_FDCWD, from, AT_FDCWD, to))
STAND_IN(int, -1, linkat, (int from_fd, const char *from, int to_fd, const char *to, int flags),
         (from_fd, AT(from_fd, from), to_fd, AT(to_fd, to), flags), touched_two(LINK, from_fd, from, to_fd, to))
BY_PATH(SYMLINK, symlink, (const char *target, const char *path), (target, F(path)))
BY_BOTH(SYMLINK, symlinkat, (const char *target, int fd, const char *path), (target, fd, AT(fd, path)))
BY_PATH(UNLINK, unlink, (const char *path), (F(path)))
BY_PATH(UNLINK, rmdir, (const char *path), (F(path)))
BY_PATH(UNLINK, remove, (const char *path), (F(path)))
BY_BOTH(UNLINK, unlinkat, (int fd, const char *path, int flags), (fd, AT(fd, path), flags))
BY_PATH(MKDIR, mkdir, (const char *path, mode_t mode), (F(path), mode))
BY_BOTH(MKDIR, mkdirat, (int fd, const char *path, mode_t mode), (fd, AT(fd, path), mode))

/* Listings. */

static _Thread_local DIR *listing; /* Which folder this thread lists. */
static _Thread_local unsigned entries; /* How many of its entries it has got. */
static _Thread_local int answer; /* What became of the first of the piece. */

static int listed(DIR *open_folder) {
    if (listing != open_folder) entries = 0;
    listing = open_folder;
    bool is_first = entries++ % ENTRIES_AT_ONCE == 0;
    if (is_first) answer = touched(READDIR, dirfd(open_folder), NULL);
    return is_first || answer == PRETEND ? answer : 0;
}

static int to_be_listed(int fd, const char *path) {
    listing = NULL;
    return touched(OPENDIR, fd, path);
}

STAND_IN(DIR *, NULL, opendir, (const char *path), (F(path)), to_be_listed(AT_FDCWD, path))
STAND_IN(DIR *, NULL, fdopendir, (int fd), (fd), to_be_listed(fd, NULL))

#define READDIR_LIKE(name, type) \
    struct type *name(DIR *open_folder) { \
        REAL(name); \
        int error = listed(open_folder); \
        if (error > 0) { \
            errno = error; \
            return NULL; \
        } \
        struct type *found = real(open_folder); \
        if (found && error == PRETEND) found->d_type = DT_UNKNOWN; \
        return found; \
    }

READDIR_LIKE(readdir, dirent)
READDIR_LIKE(readdir64, dirent64)

/* What a file is like, and its length. */

BY_PATH(CHMOD, chmod, (const char *path, mode_t mode), (F(path), mode))
BY_FD(CHMOD, fchmod, (int fd, mode_t mode), (fd, mode))
BY_BOTH(CHMOD, fchmodat, (int fd, const char *path, mode_t mode, int flags), (fd, AT(fd, path), mode, flags))
BY_PATH(CHMOD, chown, (const char *path, uid_t user, gid_t group), (F(path), user, group))
BY_PATH(CHMOD, lchown, (const char *path, uid_t user, gid_t group), (F(path), user, group))
BY_FD(CHMOD, fchown, (int fd, uid_t user, gid_t group), (fd, user, group))
BY_BOTH(UTIME, utimensat, (int fd, const char *path, const struct timespec times[2], int flags), (fd, AT(fd, path), times, flags))
BY_FD(UTIME, futimens, (int fd, const struct timespec times[2]), (fd, times))
BY_PATH(UTIME, utimes, (const char *path, const struct timeval times[2]), (F(path), times))
BY_PATH(TRUNCATE, truncate, (const char *path, off_t size), (F(path), size))
BY_PATH(TRUNCATE, truncate64, (const char *path, off64_t size), (F(path), size))
BY_FD(TRUNCATE, ftruncate, (int fd, off_t size), (fd, size))
BY_FD(TRUNCATE, ftruncate64, (int fd, off64_t size), (fd, size))
BY_FD(ALLOCATE, fallocate, (int fd, int mode, off_t from, off_t size), (fd, mode, from, size))
BY_FD(ALLOCATE, fallocate64, (int fd, int mode, off64_t from, off64_t size), (fd, mode, from, size))

/* These return the error instead of setting errno. */
#define RETURNED(name, offset) \
    int name(int fd, offset from, offset size) { \
        REAL(name); \
        int error = touched(ALLOCATE, fd, NULL); \
        return error ? error : real(fd, from, size); \
    }
RETURNED(posix_fallocate, off_t)
RETURNED(posix_fallocate64, off64_t)

/* Bytes to the disk, copies and locks. */

BY_FD(FSYNC, fsync, (int fd), (fd))
BY_FD(FDATASYNC, fdatasync, (int fd), (fd))
BY_FD(SYNCFS, syncfs, (int fd), (fd))

int flock(int fd, int operation) {
    REAL(flock);
    int error = touched(FLOCK, fd, NULL);
    if (error == PRETEND) return 0;
    if (!error || (operation & LOCK_UN)) return real(fd, operation);
    errno = error;
    return -1;
}

STAND_IN(ssize_t, -1, copy_file_range, (int from_fd, off64_t *from, int fd, off64_t *to, size_t size, unsigned flags),
         (from_fd, from, fd, to, size, flags), touched(COPY, fd, NULL))

static bool locks(int command) {
    return command == F_SETLK || command == F_SETLKW || command == F_OFD_SETLK || command == F_OFD_SETLKW;
}

#define FCNTL_LIKE(name, request, call, counts) \
    int name(int fd, request command, ...) { \
        REAL(name); \
        va_list more; \
        va_start(more, command); \
        void *argument = va_arg(more, void *); \
        va_end(more); \
        int error = (counts) ? touched(call, fd, NULL) : 0; \
        if (error == PRETEND) return 0; \
        if (error) { \
            errno = error; \
            return -1; \
        } \
        return real(fd, command, argument); \
    }

FCNTL_LIKE(fcntl, int, LOCK, locks(command))
FCNTL_LIKE(fcntl64, int, LOCK, locks(command))
FCNTL_LIKE(ioctl, unsigned long, CLONE, command == FICLONE || command == FICLONERANGE)

int close(int fd) {
    REAL(close);
    int error = touched(CLOSE, fd, NULL), result = real(fd);
    if (!error) return result;
    errno = error;
    return -1;
}
