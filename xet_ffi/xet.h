/*
 * xet.h: the C interface of libxet, which moves Hugging Face repositories over the Xet protocol.
 *
 * Contract
 * --------
 * Strings    UTF-8, NUL-terminated. NULL and "" mean "default" wherever a default is named. Strings
 *            given to the library are copied before a call returns; the caller keeps ownership.
 *            One that is longer than 32 KiB is refused. In a path of this machine, a leading ~/
 *            is the user's home folder.
 * Structs    A struct that the caller fills and that begins with `struct_size` is made with
 *            XET_INIT(its type): all zero, which means "default", but for the size. Accepted are
 *            the sizes that it had in some version of this header, where missing fields mean
 *            "default" too; and larger ones, up to 4 KiB, whose unknown rest is zero: a field in
 *            it that is set is refused, and the message says at which byte it stands. Any other
 *            size is refused, and the message names the struct. In a struct that the library
 *            fills, struct_size says how much of it is there.
 * Outputs    Out-parameters are written on success only. What the library returns belongs to the
 *            caller and is released with the function named at its type; each accepts NULL.
 * Errors     A function that can fail returns XetError *: NULL is success. NULL where a value is
 *            needed, bad UTF-8, a wrong struct_size or an unknown flag is XET_CODE_INVALID_CONFIG,
 *            and the message names the field. A panic in the library becomes XET_CODE_UNKNOWN.
 *            Messages and details never hold a token or the query of a signed URL.
 * Names      A function of a client is xet_client_<verb>(client, options, callbacks, out), without
 *            what it doesn't need. The XetSomeType that it gives out is released by
 *            xet_some_type_free, a string by xet_free_string. In a struct that the
 *            caller fills stand, as far as it has them: struct_size, flags, repo_id, repo_type,
 *            revision, what else is needed, what may be left out, timeout_ms, deadlines; and then
 *            what later versions have added. Flags are bits, in a field `flags`; other numbers of
 *            an enum stand in a field that is named like it. An enum precedes the struct that uses
 *            it, that one the functions that take or return it, and these its release function.
 *            Only the first interface and what ABI 2 had placed otherwise differ from this.
 * Threads    Every function may be called from any thread; one client serves many at a time.
 *            Freeing a client while another thread is inside a call on it is safe: that call
 *            finishes normally. Beginning a call on a freed client is undefined.
 * Callbacks  Run on the thread that made the call, at least every 50 ms while it waits, and
 *            never after it has returned. While one blocks, nothing of its call is reported,
 *            cancelled or timed out; a stream that has to wait says so (XET_READ_AGAIN). A
 *            callback may call the library, but must not free the client that is calling it, nor
 *            unwind (longjmp, C++ exceptions) through the library. Pointers in a callback's
 *            arguments are valid until it returns.
 * fork       A child process may use a client that it inherited. Calls that were running in
 *            the parent do not exist in the child: one that is forked inside a callback may make
 *            new calls there, but must end without returning from it. A fork waits until no other
 *            thread is inside the index of what is on this machine, but no longer than two
 *            seconds or so (its disk may hang); a child that it didn't wait for reuses nothing, and
 *            logs a warning that says so.
 * Process    The library installs no signal handlers, sets no environment variables, sends no
 *            telemetry and prints nothing, with one exception that its earliest callers rely on:
 *            with RUST_LOG set and no log callback registered, logs go to stderr at that level.
 *
 * Environment variables of huggingface_hub (HF_ENDPOINT, HF_TOKEN, HF_HOME, HF_HUB_CACHE,
 * HF_HUB_OFFLINE, ...) mean the same here; they are read when a client is created. So do those that
 * name proxies (HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY) and certificates (SSL_CERT_FILE,
 * SSL_CERT_DIR, REQUESTS_CA_BUNDLE, CURL_CA_BUNDLE), in either case of letters for proxies. A variable
 * that only requests need, such as a proxy or a token, and that can't be understood, is refused by the
 * first call that makes one; so is a file of certificates, which is read then. What is on this
 * machine is reused with the help of an index in $HF_XET_CACHE/xet-ffi; XET_FFI_REUSE_INDEX_BYTES is
 * the most that it may take, and 0 switches it off.
 * What has come of a storage's content is kept in $HF_XET_CACHE/xet-ffi/incomplete until its file is
 * complete, or for two weeks; XET_FFI_INCOMPLETE_BYTES is the most that may be kept there of what nobody
 * is at work on, 50 GiB if unset. Chunks that were read in place are kept in $HF_XET_CACHE/xet-ffi/read, for later
 * reads and downloads; XET_FFI_READ_CACHE_BYTES is the most that they may take, 10 GiB if unset, and 0 keeps none.
 *
 * For example, without what becomes of the error:
 *
 *     XetListOptions options = XET_INIT(XetListOptions);
 *     options.repo_id = "openai-community/gpt2";
 *     XetEntryList *list = NULL;
 *     XetError *error = xet_client_list_files(client, &options, NULL, &list);
 *     for (size_t i = 0; error == NULL && i < list->count; i++) {
 *         puts(list->entries[i]->path);
 *     }
 *     xet_entry_list_free(list);
 *
 * Only what stands between the two markers is read by Python's CFFI; it holds plain declarations.
 */
#ifndef XET_H
#define XET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* begin cdef */

/* ---- version ---------------------------------------------------------------------------- */

/** The version of this interface. It grows with every addition; nothing is ever removed. */
#define XET_ABI_VERSION 12

/**
 * The XET_ABI_VERSION that the library was built with. A program works with any library whose
 * number is at least the one it was compiled with.
 */
uint32_t xet_abi_version(void);

/** The library's release, such as "0.1.0". Static; never NULL; not to be freed. */
const char *xet_version(void);

/* ---- errors ----------------------------------------------------------------------------- */

/** Values of XetError.code. Append-only: a number never changes its meaning. */
enum {
    XET_CODE_OK = 0,
    /** Bad argument or configuration; details.kind tells them apart, such as "invalid_repo_id". */
    XET_CODE_INVALID_CONFIG = 1,
    /** The token is missing, unknown or expired. */
    XET_CODE_AUTH_FAILED = 2,
    /**
     * The endpoint can't be reached, or answered with a server error or with nonsense; or, with
     * details.kind "certificate", its certificate can't be trusted, or, with "proxy_refused", a
     * proxy lets nobody through without a password.
     */
    XET_CODE_NETWORK_ERROR = 3,
    /** Repo, revision or file, on the Hub or (offline) in the cache; details.kind says which. */
    XET_CODE_NOT_FOUND = 4,
    /** Gated or disabled repo, a token without the right, or a local path that can't be written. */
    XET_CODE_PERMISSION_DENIED = 5,
    /** The bytes received are not those whose hash the Hub published. No file was left behind. */
    XET_CODE_CHECKSUM_MISMATCH = 6,
    /** The call's cancel callback returned true. */
    XET_CODE_CANCELLED = 7,
    /**
     * A local file or folder could not be read or written; or, by details.kind, the machine refuses
     * this process threads, open files or memory ("resource_limit"); somebody else removed downloaded
     * files before the call could return ("files_removed"); a file changed while it was uploaded
     * ("source_changed"); a stream of the caller's broke ("read_failed").
     */
    XET_CODE_IO_ERROR = 8,
    /** A deadline passed: connecting, waiting for bytes, or the call's own timeout. */
    XET_CODE_TIMEOUT = 9,
    /** HTTP 429 for longer than the call's timeout, or than two hours; of one request while others of its sort are
     * let through, two minutes. */
    XET_CODE_RATE_LIMITED = 10,
    /** HTTP 409 or 412: the repo changed meanwhile. */
    XET_CODE_CONFLICT = 11,
    /** The disk, or the user's quota, is full. */
    XET_CODE_NO_SPACE = 12,
    /** The network is switched off (HF_HUB_OFFLINE) and this call needs it. */
    XET_CODE_OFFLINE = 13,
    /** A bug in the library, or a failure that has no better code. */
    XET_CODE_UNKNOWN = 99
};

/** An error. Owned by the caller; release with xet_free_error. */
typedef struct XetError {
    /** One of XET_CODE_*. */
    int32_t code;
    /** One sentence for a person: what failed, on which repo and file, and the way out. */
    char *message;
    /**
     * A JSON object for programs, or NULL. Keys, each only where known: "kind" (string, finer than
     * the code: "repo_not_found", "revision_not_found", "entry_not_found", "local_entry_not_found",
     * "gated_repo", "repo_disabled", "invalid_repo_id", "read_failed", "commit_unknown", ...),
     * "field", "offset" (bytes: where an unknown field stands in the struct that "field" names),
     * "http_status", "request_id", "server_message", "repo", "revision", "file", "url" (without its query),
     * "attempts", "retry_after" (seconds), "tried" (array of strings: how the other ways of
     * getting the file failed), "bytes_needed" and "bytes_free" (with XET_CODE_NO_SPACE,
     * before anything was fetched); of an upload, what it had done before it failed and what stays:
     * "commits" (array, in the order in which they were made, of objects with "oid", 40 hex digits,
     * and "url", the commit's page) and "pull_request_url" (of the pull request that it opened).
     */
    char *details;
} XetError;

void xet_free_error(XetError *error);

/** Releases a string that the library returned. */
void xet_free_string(char *string);

/* ---- logs ------------------------------------------------------------------------------- */

/** Log levels, most important first. */
enum {
    XET_LOG_OFF = 0,
    XET_LOG_ERROR = 1,
    XET_LOG_WARN = 2,
    XET_LOG_INFO = 3,
    XET_LOG_DEBUG = 4,
    XET_LOG_TRACE = 5
};

/**
 * One log record: its level (XET_LOG_*), the module it comes from, and the text. Of what a program may want
 * to tell people in its own words, `target` is "xet_ffi_core::told::" and "stalled" (a stream was silent,
 * another connection is tried), "broke" (a stream broke, and is taken up where it ended), "retried" (a
 * request failed, and is made again), "waiting" (for somebody else's download of the same file), "none_fits"
 * (patterns fit no file) or "finding" (of a look at the cache, whose report has it, too). Since version 9.
 */
typedef void (*XetLogCallback)(int32_t level, const char *target, const char *message,
                               void *user_data);

/**
 * Sends the library's logs, up to max_level (XET_LOG_*), to `callback`, for the whole process; NULL
 * turns that off. Records of background threads are queued (the newest 1,000) and delivered on the
 * thread of whichever call waits, so the callback may run on several threads, one at a time.
 * Messages are cut at 8 KiB. A registered callback is where logs go, even with XET_LOG_OFF:
 * RUST_LOG then has no effect.
 * When the function returns, the previous callback is not running and will not run again, unless
 * the function was called from within it.
 */
XetError *xet_set_log_callback(XetLogCallback callback, void *user_data, int32_t max_level);

/* ---- progress and cancellation ---------------------------------------------------------- */

/** What a transfer is doing. */
typedef enum XetProgressPhase {
    XET_PROGRESS_PHASE_SCANNING = 0,
    XET_PROGRESS_PHASE_DOWNLOADING = 1,
    XET_PROGRESS_PHASE_FINALIZING = 2,
    /** Uploads: looking which files have changed. */
    XET_PROGRESS_PHASE_HASHING = 3,
    /** Uploads: content is being sent. */
    XET_PROGRESS_PHASE_UPLOADING = 4,
    /** Uploads: the last commit is being made. */
    XET_PROGRESS_PHASE_COMMITTING = 5
} XetProgressPhase;

/** Asked again and again while a call waits; true ends the call with XET_CODE_CANCELLED. */
typedef bool (*XetCancellationCallback)(void *user_data);

/**
 * Progress as a call's own callback receives it. Numbers never shrink within one call, but for
 * rate_limited_seconds.
 */
typedef struct XetProgress {
    uint32_t struct_size;
    /** XetProgressPhase as a number. */
    uint32_t phase;
    /** Of all files of the call; bytes_total is 0 until the listing is known. */
    uint64_t bytes_total;
    /**
     * Verified bytes: those found on this machine and those received. Uploads: read and processed.
     */
    uint64_t bytes_completed;
    /**
     * Received from the network as file content, as sent (compressed or not). Uploads: content sent
     * so far, for Xet files before its compression; the report has the exact number.
     */
    uint64_t bytes_network;
    /** Taken from files on this machine. Uploads: of files that the Hub has already. */
    uint64_t bytes_reused;
    uint32_t files_total;
    uint32_t files_completed;
    /** The file that moved last, relative to the repo; NULL if none has begun. */
    const char *file;
    uint64_t file_bytes_completed;
    uint64_t file_bytes_total;
    /**
     * While requests of the call wait since a server limits them (HTTP 429, or 503 with a time):
     * seconds until the first of them is made, begun ones counted; else 0. Other parts of the call may
     * go on meanwhile.
     */
    uint64_t rate_limited_seconds;
} XetProgress;

typedef void (*XetCallProgressCallback)(const XetProgress *progress, void *user_data);

/** The callbacks of one call. Each may be NULL. */
typedef struct XetCallbacks {
    uint32_t struct_size;
    /**
     * Least time between two progress calls, in milliseconds; 0 means 50. The first and the last
     * are always made. Cancellation is asked every 50 ms whatever this says.
     */
    uint32_t progress_interval_ms;
    XetCallProgressCallback progress;
    XetCancellationCallback cancel;
    /** Handed to both. */
    void *user_data;
} XetCallbacks;

/* ---- client ----------------------------------------------------------------------------- */

/** A connection to one Hub with one identity and one cache. Release with xet_client_free. */
typedef struct XetClient XetClient;

/** Flags of a client. */
enum {
    /** Send no token, whatever the environment holds. Excludes `token`. */
    XET_CLIENT_ANONYMOUS = 1,
    /** Never use the network, as with HF_HUB_OFFLINE=1. */
    XET_CLIENT_OFFLINE = 2
};

/** Which way a client's Xet files come. Git and LFS files come over plain HTTP, whatever it says. */
enum {
    /**
     * What XET_FFI_TRANSPORT says: "auto", "xet" or "http". Where that is unset, HF_HUB_DISABLE_XET=1
     * means HTTP, and else it is AUTO.
     */
    XET_TRANSPORT_DEFAULT = 0,
    /** Over Xet, and over plain HTTP where Xet fails. */
    XET_TRANSPORT_AUTO = 1,
    /** Over Xet alone: where it fails, its error is the call's. */
    XET_TRANSPORT_XET = 2,
    /** Over plain HTTP. As with HF_HUB_DISABLE_XET, the cache's shared blobs are not used either. */
    XET_TRANSPORT_HTTP = 3
};

/** A header of HTTP. */
typedef struct XetHeader {
    const char *name;
    const char *value;
} XetHeader;

/** Options of xet_client_create. */
typedef struct XetClientOptions {
    uint32_t struct_size;
    /**
     * Large files (over 512 KiB) in flight at a time over all calls, 1 to 256; 0 means 8. More than 32
     * never are; 16 where a process may open fewer than 800 files (ulimit -n), 2 below 250. Smaller
     * files have a budget of their own, 96 at a time (22, 5), so that they don't wait for large ones.
     * Calls take turns; one has at most seven eighths of either (7 of 8; of fewer than 8, all).
     */
    uint32_t max_concurrent_downloads;
    /** NULL: HF_ENDPOINT, else https://huggingface.co. */
    const char *endpoint;
    /** NULL, or blank: HF_TOKEN, else the token file of huggingface_hub, else anonymous. */
    const char *token;
    /** Root of the Hub cache. NULL: HF_HUB_CACHE, else $HF_HOME/hub. */
    const char *cache_dir;
    /** Prepended to the User-Agent, such as "my-service/1.2"; NULL: nothing. */
    const char *user_agent;
    /** Any of XET_CLIENT_*. */
    uint32_t flags;
    /** Longest wait for a connection, in milliseconds; 0 means 10,000. */
    uint32_t connect_timeout_ms;
    /** Longest silence within an answer, in milliseconds; 0 means HF_HUB_DOWNLOAD_TIMEOUT or 10,000. */
    uint32_t read_timeout_ms;
    /**
     * Attempts per request, 1 to 20; 0 means 6. After a timeout there are 3 at most. One that the
     * server refuses for now (HTTP 429, or 503 with a time) counts as none: it is waited out.
     */
    uint32_t max_attempts;
    /** One of XET_TRANSPORT_*. */
    uint32_t transport;
    /**
     * Longest wait for the head of an answer, connecting included, in milliseconds; 0 means
     * read_timeout_ms, if that is given, else 15,000.
     */
    uint32_t first_byte_timeout_ms;
    /**
     * Bytes per second below which a body counts as silent, once it has been that slow for half of
     * the read timeout; 0 means 2,048, and 1 that only silence does.
     */
    uint32_t min_speed;
    /** The most bytes of content that all calls together receive in a second; 0: no limit. */
    uint64_t max_bytes_per_second;
    /**
     * Go to the Hub with each request, and to nobody else: neither to storage, nor to where the Hub redirects to.
     * What requests have of their own (Host, Range ...) can't be among them, nor can Authorization and
     * User-Agent, which have fields above. Since version 9.
     */
    const XetHeader *headers;
    size_t headers_len;
    /**
     * The cache that the nodes of a deployment share: redis://[user:password@]host:port[/db], rediss:// for TLS,
     * redis+unix:///socket, or file:///folder on a disk that all of them see. What was fetched from storage and is
     * proven goes there, behind the back of the call, and is taken from there. Whatever it does, files are right; one
     * that fails is left alone for a while. "none": nothing is shared. NULL: XET_FFI_SHARED_CACHE, else "none". Redis
     * forgets what is in it after XET_FFI_SHARED_CACHE_SECONDS, by default a week. Since version 12.
     */
    const char *shared_cache;
    /**
     * The secret of the deployment, which all of its nodes have. Names in the shared cache, and what content there is
     * encrypted with, are derived from it and from hashes that only who may read the content is told. NULL:
     * XET_FFI_SHARED_CACHE_SECRET, else from those hashes alone.
     */
    const char *shared_cache_secret;
} XetClientOptions;

/**
 * How long the requests of one call may take, where not as long as those of its client: 0 means the
 * client's value. The fields are those of XetClientOptions. The call as a whole has a timeout_ms of
 * its own; and a call in which nothing moves for three times the longest of these limits and 5 s ends
 * with XET_CODE_TIMEOUT and says what it was waiting for. An upload has as long for the answer to a
 * commit, after which it is looked for, and 100 ms more for each file and each 64 MiB of content whose
 * registration Xet storage has to answer.
 */
typedef struct XetDeadlines {
    uint32_t struct_size;
    uint32_t connect_timeout_ms;
    uint32_t first_byte_timeout_ms;
    uint32_t read_timeout_ms;
    uint32_t min_speed;
} XetDeadlines;

/** Creates a client. NULL options: all defaults. Uses no network. */
XetError *xet_client_create(const XetClientOptions *options, XetClient **out_client);

/**
 * Releases a client. Returns at once, on a disk that hangs within half a second: a call that another
 * thread is inside of finishes normally, and the client's threads and connections go with the last of them.
 */
void xet_client_free(XetClient *client);

/** What a client works with. Release with xet_client_info_free. */
typedef struct XetClientInfo {
    uint32_t struct_size;
    /** Which of XET_CLIENT_* hold, whether the caller or the environment says so. */
    uint32_t flags;
    /** The Hub's base URL, without a slash at its end. */
    const char *endpoint;
    /** Root of the Hub cache; absolute. */
    const char *cache_dir;
    /** Where Xet state lives ($HF_XET_CACHE), the index of what is on this machine too; absolute. */
    const char *xet_cache_dir;
    /**
     * Where the token comes from: "argument", the name of an environment variable such as
     * "HF_TOKEN", the absolute path of the token file, or "none". Never the token.
     */
    const char *token_source;
    /** One of XET_TRANSPORT_*, but never DEFAULT. */
    uint32_t transport;
    /** Files in flight at a time. */
    uint32_t max_concurrent_downloads;
} XetClientInfo;

/** Tells what a client works with, as it was found when it was created. Uses no network. */
XetError *xet_client_info(XetClient *client, XetClientInfo **out_info);

void xet_client_info_free(XetClientInfo *info);

/* ---- listing ---------------------------------------------------------------------------- */

/** What to list, or to resolve. */
typedef struct XetListOptions {
    uint32_t struct_size;
    /** Longest time for the whole call, in milliseconds; 0 means no limit. */
    uint32_t timeout_ms;
    /** "name" or "namespace/name". Required. */
    const char *repo_id;
    /** "model", "dataset" or "space", or their plurals. NULL: model. */
    const char *repo_type;
    /** Branch, tag, commit or "refs/pr/N". NULL or empty: main. */
    const char *revision;
    /** NULL: the client's. */
    const XetDeadlines *deadlines;
} XetListOptions;

/** How the Hub stores a file: XetEntry.kind. */
enum {
    XET_FILE_KIND_GIT = 0,
    XET_FILE_KIND_LFS = 1,
    XET_FILE_KIND_XET = 2
};

/** One file of a repo. Borrowed from its list. */
typedef struct XetEntry {
    uint32_t struct_size;
    /** XET_FILE_KIND_*. */
    uint32_t kind;
    uint64_t size;
    /**
     * As the Hub says it, which may be a path that can't be written, such as "../x": don't join it to
     * a folder unseen. What isn't UTF-8, or NUL, is U+FFFD here.
     */
    const char *path;
    /** The oid of the tree entry: the git blob id (of the pointer file, for LFS and Xet files). */
    const char *oid;
    /** Of the content, 64 hex digits; NULL for git files. */
    const char *sha256;
    /** Merkle hash of the content, 64 hex digits; NULL unless kind is XET. */
    const char *xet_hash;
} XetEntry;

/** The files of a repo at a revision. Release with xet_entry_list_free. */
typedef struct XetEntryList {
    uint32_t struct_size;
    /** `count` pointers, in the Hub's order. */
    const XetEntry *const *entries;
    size_t count;
    /** The commit that the revision stands for, 40 hex digits. */
    const char *commit;
} XetEntryList;

/** Lists the files of a repo at a revision. `callbacks` may be NULL. */
XetError *xet_client_list_files(XetClient *client, const XetListOptions *options,
                                const XetCallbacks *callbacks, XetEntryList **out_list);

void xet_entry_list_free(XetEntryList *list);

/**
 * Asks which commit a revision stands for now, and nothing else. *out_commit has 40 hex digits;
 * release with xet_free_string. A revision of 40 hex digits is the answer itself, and the Hub isn't
 * asked. `callbacks` may be NULL.
 */
XetError *xet_client_resolve(XetClient *client, const XetListOptions *options,
                             const XetCallbacks *callbacks, char **out_commit);

/* ---- downloading ------------------------------------------------------------------------ */

/** Flags of a download. */
enum {
    /** Use no network: what is not on this machine is an error. */
    XET_DOWNLOAD_LOCAL_FILES_ONLY = 1,
    /** Fetch again even what is present and intact. */
    XET_DOWNLOAD_FORCE = 2
};

/** What to download, and where to. */
typedef struct XetDownloadOptions {
    uint32_t struct_size;
    /** Any of XET_DOWNLOAD_*. */
    uint32_t flags;
    /** As in XetListOptions. */
    const char *repo_id;
    const char *repo_type;
    const char *revision;
    /** One file, by its path in the repo; NULL: the snapshot. "" is not a path, and refused. */
    const char *filename;
    /** A folder that receives real files; NULL: the cache. */
    const char *local_dir;
    /**
     * Snapshots only: with `filename` they must be NULL. A file is taken if it matches one of
     * allow_patterns and none of ignore_patterns. NULL allow_patterns allow every file; an empty
     * array, not NULL and of length 0, allows none, as in huggingface_hub. Patterns are Python's
     * fnmatch, case-sensitive; '*' also crosses '/', and a pattern that ends in '/' means
     * everything in that folder.
     */
    const char *const *allow_patterns;
    size_t allow_patterns_len;
    const char *const *ignore_patterns;
    size_t ignore_patterns_len;
    /** Longest time for the whole call, in milliseconds; 0 means no limit. */
    uint32_t timeout_ms;
    /** NULL: the client's. */
    const XetDeadlines *deadlines;
} XetDownloadOptions;

/** Which way a file came: XetFileTransfer.way. */
enum {
    /** None of it over the network: it was on this machine, or the file is empty. */
    XET_WAY_LOCAL = 0,
    XET_WAY_XET = 1,
    XET_WAY_HTTP = 2,
    /** Xet failed, and plain HTTP brought in what was missing. */
    XET_WAY_XET_THEN_HTTP = 3,
    /** From the cache that nodes share, and nothing of it from elsewhere over the network. */
    XET_WAY_SHARED = 4
};

/** Which hash the Hub published for a file: XetFileTransfer.hash_kind. */
enum {
    /** It isn't known: without the Hub, and the cache doesn't say. */
    XET_HASH_NONE = 0,
    /** SHA-1 of git's header and the content, 40 hex digits. */
    XET_HASH_GIT_BLOB = 1,
    /** SHA-256 of the content, 64 hex digits. */
    XET_HASH_SHA256 = 2,
    /** Merkle hash of the content, as Xet has it, 64 hex digits. */
    XET_HASH_XET = 3
};

/** What one file of a transfer took. Borrowed from its report. */
typedef struct XetFileTransfer {
    uint32_t struct_size;
    /** XET_WAY_*. */
    uint32_t way;
    /** Relative to the repo, with '/'. */
    const char *path;
    /** As in XetTransfer, which holds the sums; its retries are also those of no single file. */
    uint64_t bytes_total;
    uint64_t bytes_network;
    uint64_t bytes_reused;
    uint32_t retries;
    uint32_t fallbacks;
    /** Where it is now: in the snapshot folder, or in local_dir; absolute. */
    const char *local_path;
    /** The hash of its content; NULL if hash_kind is NONE. */
    const char *hash;
    /** XET_HASH_*. */
    uint32_t hash_kind;
    /**
     * 1: this call has hashed the content, and it had that hash. 0: the file was on this machine
     * already, in its place or elsewhere in the cache, and is trusted as it was found: the download
     * that had brought it, or huggingface_hub, had checked it. xet_client_cache_verify looks again.
     */
    uint32_t verified;
    /** Since version 12. */
    uint64_t bytes_shared;
} XetFileTransfer;

/** The report of a finished transfer. Release with xet_transfer_free. */
typedef struct XetTransfer {
    uint32_t struct_size;
    /** Files that the call was about. */
    uint32_t files;
    /** The file, the snapshot folder, or local_dir; absolute. */
    const char *path;
    /** The commit that the revision stands for, 40 hex digits. */
    const char *commit;
    /** Content of those files. */
    uint64_t bytes_total;
    /** Received as file content, as sent: with Xet's compression, without headers and listings. */
    uint64_t bytes_network;
    /** Content that was on this machine already. */
    uint64_t bytes_reused;
    /** Requests that were made again. */
    uint32_t retries;
    /** Files fetched another way than the Hub proposed first. */
    uint32_t fallbacks;
    /** Wall time of the call. */
    double seconds;
    /** `files` pointers, in the order of the listing. */
    const XetFileTransfer *const *file_transfers;
    /** Streams that stalled, or only trickled, and were given up for another. */
    uint32_t stalls;
    /** Tokens and signed URLs that were refused, and fetched anew. */
    uint32_t refreshes;
    /** Ranges that were fetched again because the hash of a complete file was wrong. */
    uint32_t refetches;
    /** Files on this machine that were to be reused and had changed, shrunk, rotted or gone. */
    uint32_t sources_dropped;
    /** Received from the cache that nodes share, as stored there; not in bytes_network. Since version 12. */
    uint64_t bytes_shared;
    /** How often that cache failed, or gave something that is damaged: storage took its place. */
    uint64_t tier_errors;
} XetTransfer;

/**
 * Downloads a file or a snapshot. `callbacks` may be NULL. Selected files that can't be written under
 * their names (details.kind "unsafe_path") fail a snapshot by name when the others are in place.
 */
XetError *xet_client_download(XetClient *client, const XetDownloadOptions *options,
                              const XetCallbacks *callbacks, XetTransfer **out_transfer);

void xet_transfer_free(XetTransfer *transfer);

/* ---- planning --------------------------------------------------------------------------- */

/** Where the bytes of a file would come from. The last three add up to bytes_total. */
typedef struct XetPlannedFile {
    uint32_t struct_size;
    /** Relative to the repo. */
    const char *path;
    uint64_t bytes_total;
    /** At their place already, or left there by a download that was interrupted. */
    uint64_t bytes_present;
    /** In other files on this machine. */
    uint64_t bytes_reusable;
    /** To be fetched; on the network they may be fewer, being compressed. */
    uint64_t bytes_remote;
} XetPlannedFile;

/**
 * What a download would do. Release with xet_plan_free. Files whose paths can't be written are not in
 * it: the log names them.
 */
typedef struct XetPlan {
    uint32_t struct_size;
    /** `count` pointers, in the order of the listing. */
    const XetPlannedFile *const *files;
    size_t count;
    /** The commit that the revision stands for, 40 hex digits. */
    const char *commit;
    /** Of all files. */
    uint64_t bytes_total;
    uint64_t bytes_present;
    uint64_t bytes_reusable;
    uint64_t bytes_remote;
    /** How much it would take on the disk. */
    uint64_t disk_need;
    /** How much is free where it would be written; UINT64_MAX if the system doesn't say. */
    uint64_t disk_free;
    /** Requests for files that it needs: one for each that comes over plain HTTP. Since version 5. */
    uint64_t requests;
    /**
     * How many windows of the Hub's rate limit those need, the present one included: with 2, the download
     * has to wait once. 0: the Hub hasn't said how many requests it takes. Since version 5.
     */
    uint64_t windows;
} XetPlan;

/**
 * Finds out what xet_client_download would do with the same options, and changes nothing. It asks the
 * Hub for the listing and, where files on this machine may serve, the CAS; no content is fetched
 * and none is hashed, so a file that has rotted isn't noticed. XET_DOWNLOAD_LOCAL_FILES_ONLY is refused.
 */
XetError *xet_client_plan(XetClient *client, const XetDownloadOptions *options,
                          const XetCallbacks *callbacks, XetPlan **out_plan);

void xet_plan_free(XetPlan *plan);

/* ---- cache ------------------------------------------------------------------------------ */

/** Flags of the functions below. */
enum {
    /** Prune, remove: only say what would go. */
    XET_CACHE_DRY_RUN = 1,
    /** Prune: everything that may go, except what was read in place: that has a limit of its own. */
    XET_CACHE_UNREFERENCED = 2,
    /**
     * Prune: what was read in place, and then what was not used for longest, until the cache has at most max_bytes,
     * with what interrupted downloads have left and what was read in place.
     */
    XET_CACHE_MAX_BYTES = 4,
    /** Index: begin with an empty one. */
    XET_CACHE_REBUILD = 8
};

/** Options of the functions below. NULL: the defaults. */
typedef struct XetCacheOptions {
    uint32_t struct_size;
    /** Any of XET_CACHE_*, as far as a function takes it. */
    uint32_t flags;
    /** With XET_CACHE_MAX_BYTES: the most that the cache is to have. */
    uint64_t max_bytes;
    /** What was not used (what was read in place: not written) for so many seconds may go; 0: age doesn't matter. */
    uint64_t older_than_s;
    /** Longest time for the whole call, in milliseconds; 0 means no limit. */
    uint32_t timeout_ms;
    /** NULL: the client's. */
    const XetDeadlines *deadlines;
    /** Verify, remove: this repo, as in XetListOptions; NULL: all of them, which only verify takes. Since version 9. */
    const char *repo_id;
    const char *repo_type;
    /** Remove: `commits_len` commits, whole; NULL: all that there are, and the repo. Since version 9. */
    const char *const *commits;
    size_t commits_len;
} XetCacheOptions;

/** How much the Hub cache takes, and what is in $HF_XET_CACHE/xet-ffi. Release with xet_cache_usage_free. */
typedef struct XetCacheUsage {
    uint32_t struct_size;
    uint64_t repos;
    uint64_t revisions;
    /** Contents, each counted once, however many revisions have it. */
    uint64_t files;
    uint64_t bytes;
    /** Of those, what no ref leads to. */
    uint64_t bytes_unreferenced;
    /** What interrupted downloads have left, for the next attempt; those of storages in $HF_XET_CACHE, too. */
    uint64_t bytes_partial;
    /** What the index of chunks takes on the disk, in $HF_XET_CACHE. */
    uint64_t index_bytes;
    /** Contents that the index knows, in this cache and elsewhere. */
    uint64_t indexed_files;
    uint64_t indexed_bytes;
    /**
     * What chunks that were read in place take on the disk, in $HF_XET_CACHE/xet-ffi/read; no part of `bytes`. Since
     * version 11.
     */
    uint64_t read_bytes;
} XetCacheUsage;

/** A file, and what was found or done. Borrowed from its report. */
typedef struct XetCacheItem {
    uint32_t struct_size;
    const char *path;
    /** A few words for a person. */
    const char *reason;
    /** Its size; of a removed file, what is free now. */
    uint64_t bytes;
} XetCacheItem;

/** What came of a look at the cache. Release with xet_cache_report_free. */
typedef struct XetCacheReport {
    uint32_t struct_size;
    /** `count` pointers. */
    const XetCacheItem *const *items;
    size_t count;
    /** Files that were hashed, removed or indexed, and their bytes; of removed ones, what is free now. */
    uint64_t files;
    uint64_t bytes;
} XetCacheReport;

/** Adds up. Takes no flags. */
XetError *xet_client_cache_usage(XetClient *client, const XetCacheOptions *options,
                                 const XetCallbacks *callbacks, XetCacheUsage **out_usage);

void xet_cache_usage_free(XetCacheUsage *usage);

/**
 * Hashes everything in the cache again, or in one repo of it. The items are the files that aren't what
 * their names say: nothing is changed, but the index forgets them. After those come links of revisions to
 * what isn't there, what can't be read, links that lead out of the cache, which nobody follows, and repos of
 * which it can't be told what they need; their reasons say so. Chunks that were read in place aren't looked at:
 * each is hashed whenever it's used. Takes no flags.
 */
XetError *xet_client_cache_verify(XetClient *client, const XetCacheOptions *options,
                                  const XetCallbacks *callbacks, XetCacheReport **out_report);

/**
 * Removes revisions of a repo, whether or not refs name them, and those refs; or if that is all of it, the
 * repo. Contents that other revisions or, in the shared store, other repos have stay, and so do chunks that were
 * read in place: nothing says of which repo they are, and xet_client_cache_prune removes them. A repo that anybody
 * downloads into, huggingface_hub too, is XET_CODE_CONFLICT, and stays whole; one that isn't there is
 * XET_CODE_NOT_FOUND. The items are as those of xet_client_cache_prune, and so is the rest. The only flag
 * is XET_CACHE_DRY_RUN. Since version 9.
 */
XetError *xet_client_cache_remove(XetClient *client, const XetCacheOptions *options,
                                  const XetCallbacks *callbacks, XetCacheReport **out_report);

/**
 * Removes what nothing refers to: what interrupted downloads have left (those of storages in
 * $HF_XET_CACHE included), contents that no revision has, revisions that no ref names, shared contents
 * that no repo has; of that, what the options choose,
 * which must name a limit. By age and by size chunks that were read in place go, too, those of all caches:
 * $HF_XET_CACHE/xet-ffi/read. What of them was half written when a process ended counts as what an interrupted
 * download has left, ten minutes later. What huggingface_hub considers referenced stays, and so does what a
 * download is at work on, repos that any call of this library is using at the moment, and a revision
 * that was made or changed in the last 10 minutes, even if no ref names it. A repo of which it can't be
 * told what it needs (a damaged ref, a revision that is a link) is kept whole. Of the items, the first
 * `files` are what was removed. Those after them could have gone and were kept, for one of these
 * reasons or because they can't be removed; their reasons begin with "kept: ". Cancelled or out of
 * time, it stops between two removals. A dry run writes nothing and takes no lock.
 */
XetError *xet_client_cache_prune(XetClient *client, const XetCacheOptions *options,
                                 const XetCallbacks *callbacks, XetCacheReport **out_report);

/**
 * Adds to the index what is in the cache and isn't in it, such as what huggingface_hub has
 * downloaded, so that later downloads can take chunks from there. Reads those files once, and asks
 * the CAS for their terms; offline, they serve as wholes only. The items are files that were left
 * out, and files of which the CAS couldn't be asked: these serve as wholes only, until the index is
 * rebuilt. Takes XET_CACHE_REBUILD.
 */
XetError *xet_client_cache_index(XetClient *client, const XetCacheOptions *options,
                                 const XetCallbacks *callbacks, XetCacheReport **out_report);

void xet_cache_report_free(XetCacheReport *report);

/* ---- uploading -------------------------------------------------------------------------- */

/** What a XetReadCallback may return beside a number of bytes. */
enum {
    /** Ends the call with XET_CODE_CANCELLED; and so does every negative number that isn't below. */
    XET_READ_CANCEL = -1,
    /**
     * There are no bytes yet: the callback is called again, in 1 to 20 ms. Meanwhile the call
     * reports and may be cancelled, and counts as moving: only its timeout_ms ends it.
     */
    XET_READ_AGAIN = -100001,
    /** The stream is broken: what xet_read_fail returns. */
    XET_READ_FAILED = -100002
};

/**
 * Reads the next bytes of a stream, at most `length`, into `buffer`. Returns how many, 0 at the end
 * of the stream, or one of XET_READ_*. Runs on the thread that made the call, so it must not block:
 * where the bytes come from a pipe, a socket or another program, let a thread of your own read
 * them, wait for it for at most 20 ms, and return XET_READ_AGAIN if it has none. A disk may be
 * read directly.
 */
typedef int64_t (*XetReadCallback)(uint8_t *buffer, size_t length, void *user_data);

/**
 * Says why a stream is broken: `return xet_read_fail("...");` in a XetReadCallback ends its call with
 * XET_CODE_IO_ERROR of kind "read_failed", whose message ends with `reason` (UTF-8; what is behind its
 * first 4 KiB is cut off; NULL: none) and whose "file" is the path in the repo. Returns
 * XET_READ_FAILED. Elsewhere it does nothing.
 */
int64_t xet_read_fail(const char *reason);

/** Values of XetOperation.kind. */
enum {
    /** Adds or replaces path_in_repo by the file local_path. */
    XET_OPERATION_ADD_PATH = 1,
    /** By the data_len bytes at `data`, which must not change until the call returns. */
    XET_OPERATION_ADD_BYTES = 2,
    /**
     * By what `read` returns with `user_data`. A stream is read once, to its end; one of more than
     * 4 MiB is written to a nameless file below HF_XET_CACHE first. Operations with the same `read`
     * and the same `user_data` have the same stream, and so the same content.
     */
    XET_OPERATION_ADD_STREAM = 3,
    /** Deletes the file path_in_repo, which must be there. */
    XET_OPERATION_DELETE = 4,
    /** Deletes the folder path_in_repo and all that is in it. */
    XET_OPERATION_DELETE_FOLDER = 5,
    /** Copies the file src_path at src_revision (NULL or empty: where the commit goes). */
    XET_OPERATION_COPY = 6
};

/** One change of a commit. Only the fields that its kind names are looked at. */
typedef struct XetOperation {
    uint32_t struct_size;
    /** XET_OPERATION_*. Required. */
    uint32_t kind;
    /** Required. Not in a folder `.git` or `.cache`. */
    const char *path_in_repo;
    const char *local_path;
    const void *data;
    size_t data_len;
    XetReadCallback read;
    void *user_data;
    const char *src_path;
    const char *src_revision;
} XetOperation;

/** Flags of an upload. */
enum {
    /** Open a pull request instead; the right to read the repo is enough. */
    XET_COMMIT_CREATE_PR = 1
};

/** What to commit, and where to. */
typedef struct XetCommitOptions {
    uint32_t struct_size;
    /** Any of XET_COMMIT_*. */
    uint32_t flags;
    /** As in XetListOptions; the revision is a branch or "refs/pr/N". */
    const char *repo_id;
    const char *repo_type;
    const char *revision;
    /** The commit's title; NULL or empty: one that says what it does. */
    const char *message;
    /** The rest of its message; NULL: none. */
    const char *description;
    /**
     * The commit, 5 to 40 hex digits, that the revision must still stand for: else
     * XET_CODE_CONFLICT, and nothing is committed. NULL or empty: whichever it is.
     */
    const char *parent_commit;
    /** `operations_len` pointers, 1 to 100,000. No path may be written twice. */
    const XetOperation *const *operations;
    size_t operations_len;
    /** Longest time for the whole call, in milliseconds; 0 means no limit. */
    uint32_t timeout_ms;
    /** NULL: the client's. */
    const XetDeadlines *deadlines;
} XetCommitOptions;

/** Which folder to upload, and where to. */
typedef struct XetUploadFolderOptions {
    uint32_t struct_size;
    /** As in XetCommitOptions, down to parent_commit, which is that of the first commit. */
    uint32_t flags;
    const char *repo_id;
    const char *repo_type;
    const char *revision;
    const char *message;
    const char *description;
    const char *parent_commit;
    /**
     * On this machine. Required. Its .git and .cache/huggingface folders are left out. Links are
     * followed, also those to folders. What can't be read, or has a name that isn't UTF-8, is an error
     * unless the patterns exclude it.
     */
    const char *folder_path;
    /** Where it goes; NULL, empty or ".": the root of the repo. */
    const char *path_in_repo;
    /** As in XetDownloadOptions, for paths in the folder. */
    const char *const *allow_patterns;
    size_t allow_patterns_len;
    const char *const *ignore_patterns;
    size_t ignore_patterns_len;
    /**
     * Files of the repo, by their paths below path_in_repo, that the first commit deletes unless
     * the folder brings them again. NULL or none: no file. The .gitattributes at the root stays.
     */
    const char *const *delete_patterns;
    size_t delete_patterns_len;
    uint32_t timeout_ms;
    const XetDeadlines *deadlines;
} XetUploadFolderOptions;

/**
 * The report of a finished upload. Release with xet_commit_report_free.
 *
 * bytes_total = bytes_new + bytes_on_hub + bytes_repeated, except that a .gitignore may have left
 * out files, which count in `files` only.
 */
typedef struct XetCommitReport {
    uint32_t struct_size;
    /** Commits that were made. 0: there was nothing to commit. */
    uint32_t commits;
    /** The last of them, 40 hex digits; with nothing to commit, what the revision stands for. */
    const char *commit;
    /** Its page on the Hub. */
    const char *commit_url;
    /** The page of the pull request that was opened, or NULL. */
    const char *pull_request_url;
    /** Files that the call was about, and those that it has added or replaced. */
    uint32_t files;
    uint32_t files_changed;
    /** Content of these files. */
    uint64_t bytes_total;
    /** Content that neither the Hub nor an earlier file of the call had. */
    uint64_t bytes_new;
    /** Content that the Hub had, in whatever file. */
    uint64_t bytes_on_hub;
    /** Content that stood earlier in the files of the call. */
    uint64_t bytes_repeated;
    /** Sent as content, as sent: compressed, or in base64, with its description for the CAS. */
    uint64_t bytes_sent;
    /** Xorbs that were sent. */
    uint32_t xorbs;
    /** Requests, and whole sessions with Xet storage, that were made again. */
    uint32_t retries;
    /** Wall time of the call. */
    double seconds;
    /**
     * What stands in the folder, selected by the patterns, and is no content: sockets, pipes, devices,
     * links that lead nowhere, links to a folder that they are in. The log names each. Since version 4.
     */
    uint64_t files_left_out;
    /**
     * Whether the Hub's deduplication has answered: of so many chunks Xet storage was asked whether it
     * has them from others, it told of some where it has them, and about some it said nothing (it
     * refused, or failed; several in a row end the questions). It doesn't have the rest. Few chunks are
     * asked about: the first of a file, and about one in a thousand. Since version 6.
     */
    uint64_t dedup_asked;
    uint64_t dedup_answered;
    uint64_t dedup_failed;
} XetCommitReport;

/**
 * Makes one commit of some changes. Files that the Hub has already, and those that a .gitignore
 * excludes, are left out; if nothing is left, no commit is made. An error means that nothing was
 * committed, unless its kind is "commit_unknown": the commit was sent, and what became of it can't be
 * found out, because of what its code says (XET_CODE_NETWORK_ERROR, XET_CODE_TIMEOUT,
 * XET_CODE_CANCELLED, ...). `callbacks` may be NULL.
 */
XetError *xet_client_create_commit(XetClient *client, const XetCommitOptions *options,
                                   const XetCallbacks *callbacks, XetCommitReport **out_report);

/**
 * Uploads a folder, in several commits if it is large: 250 files first, more or fewer later. After
 * an error, those that were made stay, and are the "commits" of its details; the kind "commit_unknown"
 * means one more, perhaps. The same call again goes on where it was. `callbacks` may be NULL.
 */
XetError *xet_client_upload_folder(XetClient *client, const XetUploadFolderOptions *options,
                                   const XetCallbacks *callbacks, XetCommitReport **out_report);

void xet_commit_report_free(XetCommitReport *report);

/** Flags of a repo to create. */
enum {
    /** A repo that exists is as good as a new one. Without it: XET_CODE_CONFLICT. */
    XET_CREATE_REPO_EXIST_OK = 1,
    /** Seen by those who may; neither this nor the next: as the namespace has it. */
    XET_CREATE_REPO_PRIVATE = 2,
    /** Seen by everyone. */
    XET_CREATE_REPO_PUBLIC = 4
};

/** Which repo to create. */
typedef struct XetCreateRepoOptions {
    uint32_t struct_size;
    /** Any of XET_CREATE_REPO_*. */
    uint32_t flags;
    /** As in XetListOptions. A name without a namespace is created in that of the token. */
    const char *repo_id;
    const char *repo_type;
    /** What a space is made with, such as "static"; NULL for other types. */
    const char *space_sdk;
    uint32_t timeout_ms;
    const XetDeadlines *deadlines;
} XetCreateRepoOptions;

/** A repo that is there now. Release with xet_repo_report_free. */
typedef struct XetRepoReport {
    uint32_t struct_size;
    /** "namespace/name". */
    const char *repo_id;
    /** Its page on the Hub. */
    const char *url;
} XetRepoReport;

/** Creates a repo. `callbacks` may be NULL. */
XetError *xet_client_create_repo(XetClient *client, const XetCreateRepoOptions *options,
                                 const XetCallbacks *callbacks, XetRepoReport **out_report);

void xet_repo_report_free(XetRepoReport *report);

/** Flags of a branch to create. */
enum {
    /** A branch that exists is as good as a new one, and stays as it is. Without it: XET_CODE_CONFLICT. */
    XET_CREATE_BRANCH_EXIST_OK = 1
};

/** Which branch to create. */
typedef struct XetCreateBranchOptions {
    uint32_t struct_size;
    /** Any of XET_CREATE_BRANCH_*. */
    uint32_t flags;
    /** As in XetListOptions. */
    const char *repo_id;
    const char *repo_type;
    /** Its name, without refs/heads/. Required. */
    const char *branch;
    /** What it begins with: a branch, tag or commit; NULL or empty: main. */
    const char *revision;
    uint32_t timeout_ms;
    const XetDeadlines *deadlines;
} XetCreateBranchOptions;

/** Creates a branch. `callbacks` may be NULL. Since version 9. */
XetError *xet_client_create_branch(XetClient *client, const XetCreateBranchOptions *options,
                                   const XetCallbacks *callbacks);

/* ---- storage ---------------------------------------------------------------------------- */

/**
 * Xet storage and the right to it: content by its Xet hash, without a repo, for programs that know
 * hashes and tokens by themselves. A storage may be used from any thread, and serves many groups and
 * streams at a time. Release with xet_storage_free; what was begun with it goes on.
 */
typedef struct XetStorage XetStorage;

/** What a XetTokenCallback may return beside what xet_token_give returns. */
enum {
    /** There is no token yet: the callback is called again, in 1 to 20 ms. */
    XET_TOKEN_AGAIN = -100001,
    /** There will be none: what xet_token_fail returns. */
    XET_TOKEN_FAILED = -100002
};

/**
 * Gets a token for a storage: `return xet_token_give(token, expires);`, or xet_token_fail, or
 * XET_TOKEN_AGAIN. Runs on a thread that waits for work of that storage (xet_group_wait,
 * xet_group_serve, xet_group_wait_task, xet_stream_next), for one token at a time; while no thread
 * waits, what needs a token stands still. It must not block: what takes long belongs to a thread of
 * the caller's own.
 */
typedef int64_t (*XetTokenCallback)(void *user_data);

/**
 * In a XetTokenCallback: the token, and its end in seconds since 1970 by this machine's clock; 0: it
 * never ends. Both are copied. Returns what the callback is to return. Elsewhere it does nothing.
 */
int64_t xet_token_give(const char *token, uint64_t expires);

/**
 * In a XetTokenCallback: why there is none (UTF-8; what is behind its first 4 KiB is cut off; NULL: it
 * isn't said). What needs it ends with XET_CODE_AUTH_FAILED of kind "token_callback". Returns
 * XET_TOKEN_FAILED. Elsewhere it does nothing.
 */
int64_t xet_token_fail(const char *reason);

/** Where a storage is, and by which right. Of the three sources of tokens, one at most is given. */
typedef struct XetStorageOptions {
    uint32_t struct_size;
    /** For the question to refresh_url, in milliseconds; 0 means no limit. */
    uint32_t timeout_ms;
    /**
     * The CAS: "https://...", or "local://DIR", a folder that has everything, is made if need be, and
     * needs no token. NULL or empty: where refresh_url says that it is, which is asked at once; without
     * that, "http://localhost:8080".
     */
    const char *endpoint;
    /** A token, and its end in seconds since 1970; 0: it never ends. NULL: none. */
    const char *token;
    uint64_t token_expires;
    /**
     * Asked for a token when there is none that is good, by GET; answers as the Hub's route for Xet
     * tokens does, in JSON or in headers. May be given beside a first `token`.
     */
    const char *refresh_url;
    /** Go to refresh_url, and to nobody else. */
    const XetHeader *refresh_headers;
    size_t refresh_headers_len;
    /** Asked for a token instead; NULL: none. May be given beside a first `token`. */
    XetTokenCallback token_callback;
    /** Handed to it; has to live as long as any wait for work of the storage may go on. */
    void *token_user_data;
    /**
     * Go to the CAS with each request, and never to where it says that content is. Those that requests
     * have by themselves (Authorization, Range, Host, Content-Length) can't be replaced.
     */
    const XetHeader *headers;
    size_t headers_len;
    /** Of all work with the storage; NULL: the client's. */
    const XetDeadlines *deadlines;
} XetStorageOptions;

/**
 * Opens a storage. Needs the network only where `endpoint` is missing. The client may be freed before the
 * storage. `callbacks` may be NULL.
 */
XetError *xet_client_open_storage(XetClient *client, const XetStorageOptions *options,
                                  const XetCallbacks *callbacks, XetStorage **out_storage);

void xet_storage_free(XetStorage *storage);

/**
 * Files on their way out of a storage, or into it: its tasks. What is added begins at once, and goes
 * on whether anybody waits or not. One thread waits for all of them. Release with xet_group_free, which
 * cancels what still runs.
 */
typedef struct XetGroup XetGroup;

/** Values of XetGroupOptions.kind. */
enum {
    XET_GROUP_DOWNLOADS = 1,
    XET_GROUP_UPLOADS = 2
};

/** Options of xet_storage_begin_group. */
typedef struct XetGroupOptions {
    uint32_t struct_size;
    /** XET_GROUP_*. Required. */
    uint32_t kind;
    /**
     * Longest time for the whole group from its beginning, in milliseconds, whether somebody waits for
     * it or not; 0 means no limit.
     */
    uint32_t timeout_ms;
} XetGroupOptions;

/** Begins a group, without tasks. */
XetError *xet_storage_begin_group(XetStorage *storage, const XetGroupOptions *options,
                                  XetGroup **out_group);

/** A file to download. */
typedef struct XetGroupDownload {
    uint32_t struct_size;
    /** 0. */
    uint32_t flags;
    /** The Xet hash of its content, 64 hex digits. Required. */
    const char *hash;
    /**
     * Where it goes; required. Its folder has to exist. A file that is there is replaced once the
     * content is complete and verified, and not touched before; a link is followed. A relative path, here
     * and elsewhere in this section, is one of the folder that the process is in when it's given.
     */
    const char *path;
    /** Of the content, in bytes; 0: not known, so storage is asked. */
    uint64_t size;
} XetGroupDownload;

/** Adds a download. `out_task` gets its number, which is never 0. */
XetError *xet_group_add_download(XetGroup *group, const XetGroupDownload *download,
                                 uint64_t *out_task);

/** Values of XetGroupUpload.sha256_from. */
enum {
    /** From the content. */
    XET_SHA256_COMPUTED = 0,
    /** From the caller, who vouches for it. */
    XET_SHA256_GIVEN = 1,
    /** Nowhere: the file is stored without one. */
    XET_SHA256_NONE = 2
};

/** A file to upload: from `path`, or `data`, or neither: then it's a stream, for xet_group_write. */
typedef struct XetGroupUpload {
    uint32_t struct_size;
    /** XET_SHA256_*: where its SHA-256 is from, which storage keeps beside the file. */
    uint32_t sha256_from;
    /** 64 hex digits, with XET_SHA256_GIVEN. */
    const char *sha256;
    const char *path;
    /** Must not change until the group has ended, or xet_group_free has returned. */
    const void *data;
    size_t data_len;
    /** What reports call it; NULL: `path`, or else "". */
    const char *name;
} XetGroupUpload;

/** Adds an upload. `out_task` gets its number, which is never 0. */
XetError *xet_group_add_upload(XetGroup *group, const XetGroupUpload *upload, uint64_t *out_task);

/**
 * Writes the next bytes of a stream; they are copied, to a nameless file if they are many. Blocks as long, but
 * no longer than until its task or group ends, or the disk has stood still for three deadlines in a row. A
 * stream that can't be copied fails.
 */
XetError *xet_group_write(XetGroup *group, uint64_t task, const void *data, size_t data_len);

/** The stream has all its bytes. One that isn't ended when its group is closed fails. */
XetError *xet_group_end_stream(XetGroup *group, uint64_t task);

/** Values of XetGroupTask.state and XetGroupReport.state. */
enum {
    XET_TASK_RUNNING = 0,
    /** All has been added, or of a task: all has been sent; storage is yet to register it. */
    XET_TASK_FINALIZING = 1,
    XET_TASK_DONE = 2,
    /** `error` says why. A group fails where it can't go on, not with one of its tasks. */
    XET_TASK_FAILED = 3,
    XET_TASK_CANCELLED = 4
};

/**
 * What an upload had to send, with hf_xet's names. Of chunks that are known, `deduped` ones need not be
 * sent; of those, `by_global_dedup` ones were learnt of by asking storage.
 */
typedef struct XetDedupStats {
    uint32_t struct_size;
    uint64_t total_bytes;
    uint64_t deduped_bytes;
    uint64_t new_bytes;
    uint64_t deduped_bytes_by_global_dedup;
    /** Of known chunks that were sent all the same, so that a file isn't in too many pieces. */
    uint64_t defrag_prevented_dedup_bytes;
    uint64_t total_chunks;
    uint64_t deduped_chunks;
    uint64_t new_chunks;
    uint64_t deduped_chunks_by_global_dedup;
    uint64_t defrag_prevented_dedup_chunks;
    /** As sent, compressed. Of a task: 0, as xorbs have chunks of many files. */
    uint64_t xorb_bytes_uploaded;
    uint64_t shard_bytes_uploaded;
} XetDedupStats;

/**
 * How far storage is with the shards that describe an upload, with hf_xet's names. They go last: once all
 * are completed, what was uploaded can be had. None of it ever goes down.
 */
typedef struct XetShardStats {
    uint32_t struct_size;
    uint64_t total_shard_bytes;
    /** Of those, sent. */
    uint64_t total_shard_bytes_upload_completed;
    /** Begun up to now. */
    uint64_t total_shards;
    /** What storage has found in them to check; it finds more as it goes. 0 where it doesn't tell. */
    uint64_t total_shard_validation_entries;
    uint64_t total_shard_validation_entries_completed;
    /** Written by storage; then made to last, and complete. */
    uint64_t total_shards_uploaded_to_store;
    uint64_t total_shards_synced;
    uint64_t total_shards_completed;
} XetShardStats;

/** One task of a group. */
typedef struct XetGroupTask {
    uint32_t struct_size;
    /** XET_TASK_*. */
    uint32_t state;
    uint64_t task;
    /** The path of a download; of an upload its name. */
    const char *name;
    /** The Xet hash; NULL until an upload's is known. */
    const char *hash;
    /** Of an upload that has one, once it is known; else NULL. */
    const char *sha256;
    /** 0 until it's known. */
    uint64_t bytes_total;
    uint64_t bytes_completed;
    /** As in XetProgress. Of an upload: what storage didn't have, before its compression, and what it had. */
    uint64_t bytes_network;
    uint64_t bytes_reused;
    /** NULL unless it has failed. Belongs to the report. */
    const XetError *error;
    /** Of an upload whose content has been cut; else NULL. */
    const XetDedupStats *dedup;
} XetGroupTask;

/** How a group is. Release with xet_group_report_free. */
typedef struct XetGroupReport {
    uint32_t struct_size;
    /** XET_TASK_*. */
    uint32_t state;
    /** Of all tasks that were added. */
    uint64_t bytes_total;
    uint64_t bytes_completed;
    uint64_t bytes_network;
    uint64_t bytes_reused;
    uint32_t retries;
    uint32_t stalls;
    uint32_t refreshes;
    uint32_t refetches;
    uint32_t sources_dropped;
    /** How many of them have failed. */
    uint32_t failed;
    /** Since its beginning; up to its end, if it has ended. */
    double seconds;
    /** In the order in which they were added. */
    const XetGroupTask *const *tasks;
    size_t tasks_len;
    /** Of a group of uploads; else NULL. */
    const XetDedupStats *dedup;
    /** Of a group of uploads; else NULL. */
    const XetShardStats *shards;
} XetGroupReport;

/** How the group is now. Doesn't wait. */
XetError *xet_group_report(XetGroup *group, XetGroupReport **out_report);

/** Nothing more is to be added. A closed group ends when its tasks have. */
XetError *xet_group_close(XetGroup *group);

/**
 * Closes the group and waits for its end. What has become of each task is in the report: a task that
 * fails is no failure of this call. Uploads are in storage when it has returned, and not before. Any
 * number of threads may wait; a cancel callback that returns true, and a timeout, end the group.
 * `callbacks` may be NULL.
 */
XetError *xet_group_wait(XetGroup *group, const XetCallbacks *callbacks,
                         XetGroupReport **out_report);

/** The same without closing: for a thread that lends its callbacks to a group while another one adds to it. */
XetError *xet_group_serve(XetGroup *group, const XetCallbacks *callbacks);

/**
 * Waits until one task is done, failed or cancelled, or for an upload until its hash is known, and
 * reports that task alone. A cancel callback that returns true ends the wait, and nothing else.
 * `callbacks` may be NULL.
 */
XetError *xet_group_wait_task(XetGroup *group, uint64_t task, const XetCallbacks *callbacks,
                              XetGroupReport **out_report);

/**
 * Cancels a task, or with 0 the whole group. What has ended stays as it is, and so does an upload that is
 * finalizing: storage registers all of a group together. A file whose download is reported as cancelled is as
 * it was. Returns at once.
 */
XetError *xet_group_cancel(XetGroup *group, uint64_t task);

void xet_group_free(XetGroup *group);

void xet_group_report_free(XetGroupReport *report);

/** Content that is read piece by piece. Release with xet_stream_free. */
typedef struct XetStream XetStream;

/** Flags of a stream. */
enum {
    /** Pieces come as storage sends them, each once, in any order. */
    XET_STREAM_UNORDERED = 1
};

/** What to read. */
typedef struct XetStreamOptions {
    uint32_t struct_size;
    /** Any of XET_STREAM_*. */
    uint32_t flags;
    /** The Xet hash of the content, 64 hex digits. Required. */
    const char *hash;
    /** Of the whole content, in bytes; 0: not known, so storage is asked. */
    uint64_t size;
    /** The first byte, and the one behind the last; an `end` of 0, or behind the content's: to its end. */
    uint64_t start;
    uint64_t end;
    /** Longest time from the first xet_stream_next to the end, in milliseconds; 0 means no limit. */
    uint32_t timeout_ms;
} XetStreamOptions;

/** Opens a stream. Nothing is asked for before the first xet_stream_next. */
XetError *xet_storage_open_stream(XetStorage *storage, const XetStreamOptions *options,
                                  XetStream **out_stream);

/** A piece of a stream. Release with xet_piece_free. */
typedef struct XetPiece {
    uint32_t struct_size;
    /** In the whole content. */
    uint64_t offset;
    const uint8_t *data;
    size_t data_len;
} XetPiece;

/**
 * The next piece; NULL at the end. Whether pieces are those of the content is known at its end: a stream of
 * all of it ends with XET_CODE_CHECKSUM_MISMATCH instead if they aren't. Nothing says so of a part of a
 * content: what storage sends for it is taken as it comes. A stream holds up to 130 MiB of what nobody has
 * taken yet. A cancel callback that returns true cancels the stream. For one thread at a time: others wait,
 * and a callback of this function can't read from the same stream. `callbacks` may be NULL.
 */
XetError *xet_stream_next(XetStream *stream, const XetCallbacks *callbacks, XetPiece **out_piece);

void xet_piece_free(XetPiece *piece);

/** Ends a stream: whoever waits for a piece, and whoever asks for one later, is told that it's at its end. */
XetError *xet_stream_cancel(XetStream *stream);

void xet_stream_free(XetStream *stream);

/** Options of xet_client_hash_files. */
typedef struct XetHashOptions {
    uint32_t struct_size;
    uint32_t timeout_ms;
    /** `paths_len` files. */
    const char *const *paths;
    size_t paths_len;
    const XetDeadlines *deadlines;
} XetHashOptions;

/** Content by its hash. */
typedef struct XetContent {
    uint32_t struct_size;
    /** The Xet hash, 64 hex digits. */
    const char *hash;
    uint64_t size;
} XetContent;

/** Release with xet_content_list_free. */
typedef struct XetContentList {
    uint32_t struct_size;
    const XetContent *const *contents;
    size_t count;
} XetContentList;

/**
 * Finds out what the Xet hashes of files would be, in their order; of 100,000 at most. Sends nothing. Its progress is
 * in the phase hashing. `callbacks` may be NULL.
 */
XetError *xet_client_hash_files(XetClient *client, const XetHashOptions *options,
                                const XetCallbacks *callbacks, XetContentList **out_list);

void xet_content_list_free(XetContentList *list);

/* ---- reading ---------------------------------------------------------------------------- */

/**
 * A file of a repo that is open to be read in place, without a download. It stays at the commit that its
 * revision stood for when it was opened, whatever becomes of the branch. One handle serves many readers at a
 * time. Release with xet_file_free.
 */
typedef struct XetFile XetFile;

/** Flags of xet_client_open. */
enum {
    /** Use no network: the file has to be in the cache, whole. */
    XET_OPEN_LOCAL_FILES_ONLY = 1,
    /**
     * Give out no byte that isn't proven to be the file's (XET_PROOF_MERKLE); what can't be proven is refused. Of a Xet
     * file in the cache, each chunk is hashed again. For what can't be proven and is in the cache, whole, and without
     * the network, the download that has left it there vouches (XET_PROOF_CACHE), whoever's that was.
     */
    XET_OPEN_REQUIRE_PROOF = 2,
    /** Fetch what is asked for and nothing ahead, however the file is read. */
    XET_OPEN_NO_READAHEAD = 4
};

/** What to open. */
typedef struct XetOpenOptions {
    uint32_t struct_size;
    /** Any of XET_OPEN_*. */
    uint32_t flags;
    /** As for XetListOptions. */
    const char *repo_id;
    const char *repo_type;
    const char *revision;
    /** Path of the file in the repo. Required. */
    const char *filename;
    /**
     * The most memory that the handle may keep of what was read, and of what it reads ahead, in bytes; 0: 40 MiB.
     * A read that is larger takes its own size besides while it lasts. Handles of a client that have the same content
     * open share what they keep: together as much as each of them may.
     */
    uint64_t window_bytes;
    /** Longest time for opening, in milliseconds; 0 means no limit. */
    uint32_t timeout_ms;
    /** Of opening, and of all reads. NULL: the client's. */
    const XetDeadlines *deadlines;
} XetOpenOptions;

/**
 * Opens a file: one request, or none at a commit id, if the cache has the file at it, or the client has heard of it
 * there before, by a listing or by opening it. (Who may have the content is then told by the first read.) The token that
 * the first read of a Xet file needs is asked for when this has returned, unless the client has one. `callbacks` may be
 * NULL. The handle keeps what it needs of the client, which may be freed before it.
 */
XetError *xet_client_open(XetClient *client, const XetOpenOptions *options,
                          const XetCallbacks *callbacks, XetFile **out_file);

/** What vouches for bytes that a file has given out: XetFileReport.proof. */
enum {
    /**
     * Nothing but the server, over its connection: a git or LFS file, of which nothing smaller than the whole has
     * a hash; or a Xet file whose CAS tells no proofs.
     */
    XET_PROOF_NONE = 0,
    /**
     * Every byte belongs to a chunk that was hashed when it came, and whose hash was shown, with the Merkle tree of the
     * file, to be in the file with the hash that the Hub has published.
     */
    XET_PROOF_MERKLE = 1,
    /** The cache has the file whole, as a download had left it there after it had checked it. */
    XET_PROOF_CACHE = 2
};

/** What a file is, and what has been read of it so far. Release with xet_file_report_free. */
typedef struct XetFileReport {
    uint32_t struct_size;
    /** XET_FILE_KIND_*. */
    uint32_t kind;
    uint64_t size;
    const char *path;
    /** 40 hex digits. */
    const char *commit;
    /** The git blob id or the SHA-256 of the content, as the Hub's ETag has it. */
    const char *etag;
    /** Merkle hash of the content, 64 hex digits; NULL unless kind is XET. */
    const char *xet_hash;
    /** XET_PROOF_*: of the weakest byte given out; before the first, what is expected. */
    uint32_t proof;
    /** Calls that have read. */
    uint64_t reads;
    /** Given to them. */
    uint64_t bytes_read;
    /** Received as content, as sent, ahead of readers or for them. */
    uint64_t bytes_network;
    /** Received as proofs, decompressed. What another handle of the client has had proven of the same content is no part of it. */
    uint64_t bytes_proof;
    /** Content from this machine: the cache, files that are known to hold the same chunks, and what was read before. */
    uint64_t bytes_reused;
    uint32_t retries;
    uint32_t stalls;
} XetFileReport;

/** What a file is, and what was read so far. Asks nobody. */
XetError *xet_file_report(XetFile *file, XetFileReport **out_report);

void xet_file_report_free(XetFileReport *report);

/** How to read. */
typedef struct XetReadOptions {
    uint32_t struct_size;
    /** Longest time for the call, in milliseconds; 0 means no limit. */
    uint32_t timeout_ms;
} XetReadOptions;

/**
 * Reads `len` bytes from `offset` on into `buffer`; fewer only where the file ends, and none behind its end. Of a
 * call that fails, what is in `buffer` is not to be used. `options` and `callbacks` may be NULL.
 */
XetError *xet_file_read_at(XetFile *file, uint64_t offset, void *buffer, size_t len,
                           const XetReadOptions *options, const XetCallbacks *callbacks,
                           size_t *out_len);

/** A part of a file, and where it's wanted. This struct never grows. */
typedef struct XetReadRange {
    uint64_t offset;
    size_t len;
    /** Room for `len` bytes. Buffers of one call don't overlap; ranges may. */
    void *buffer;
    /** Filled in by a call that succeeds: how many bytes there were, fewer than `len` only where the file ends. */
    size_t filled;
} XetReadRange;

/**
 * Reads many parts at once, up to 4,194,304, in any order: neighbours are fetched together, a chunk once for all that want a part of
 * it, and all side by side. As xet_file_read_at else.
 */
XetError *xet_file_read_ranges(XetFile *file, XetReadRange *ranges, size_t ranges_len,
                               const XetReadOptions *options, const XetCallbacks *callbacks);

/**
 * Closes a file. Reads of other threads that are under way end normally. The last one that is open of a client waits up
 * to two seconds for the disk to keep what was read.
 */
void xet_file_free(XetFile *file);

/* ==== for existing callers ============================================================== */

/*
 * The first interface, which programs link against and which stays as it is. It can't pass patterns,
 * timeouts, flags or callbacks of one call, and has no reports: new programs take the functions above.
 * Of those it shares XetClient, xet_client_free, XetError, xet_free_error, xet_free_string,
 * XetProgressPhase and XetCancellationCallback.
 */

/** Exists so that linking proves the base interface. Does nothing. */
void xet_version_1_0_0(void);

/** Configuration of xet_client_new. */
typedef struct XetConfig {
    /** As in XetClientOptions. */
    const char *endpoint;
    const char *token;
    const char *cache_dir;
    /** Files in flight at a time; 0 means 8, and more than 256 means 256. */
    uint32_t max_concurrent_downloads;
    /** Kept for compatibility: what is on this machine is always reused. */
    bool enable_dedup;
} XetConfig;

/** Creates a client; NULL on failure, for the reason in xet_last_error. NULL config: defaults. */
XetClient *xet_client_new(const XetConfig *config);

/**
 * The error of this thread's last failed xet_client_new, or NULL. Borrowed: valid until the thread
 * calls xet_client_new again or ends. Other functions return their error and leave this one alone.
 */
const XetError *xet_last_error(void);

/** Progress as the client-wide callback receives it. */
typedef struct XetProgressUpdate {
    XetProgressPhase phase;
    uint64_t total_bytes;
    uint64_t completed_bytes;
    uint32_t total_files;
    uint32_t completed_files;
    /** The file that moved last, relative to the repo; NULL if none has begun. */
    const char *current_file;
    uint64_t current_file_completed_bytes;
    uint64_t current_file_total_bytes;
} XetProgressUpdate;

typedef void (*XetProgressCallback)(const XetProgressUpdate *update, void *user_data);

/**
 * Sets the callback that calls without callbacks of their own report to: xet_download_file and
 * xet_download_snapshot. Each call reports at most once in throttle_ms milliseconds (0 means 50),
 * except for its first and last report. A NULL callback turns it off. Calls that are running keep
 * the callback that they began with, and calls on several threads may be in it at the same time.
 */
XetError *xet_client_set_progress_callback(XetClient *client, XetProgressCallback callback,
                                           void *user_data, uint32_t throttle_ms);

typedef struct XetCancellationToken {
    XetCancellationCallback callback;
    void *user_data;
} XetCancellationToken;

typedef struct XetFileInfo {
    /** Relative to the repo, with '/'. */
    char *path;
    /** As XetEntry.oid. */
    char *hash;
    /** Of the content, in bytes. */
    uint64_t size;
} XetFileInfo;

/** Release with xet_free_file_list. */
typedef struct XetFileList {
    XetFileInfo *files;
    size_t count;
} XetFileList;

/** Lists the files of a model. NULL or empty revision: main. */
XetError *xet_list_files(XetClient *client, const char *repo_id, const char *revision,
                         XetFileList **out_files);

void xet_free_file_list(XetFileList *list);

/** A file to download, for xet_download_file. */
typedef struct XetDownloadRequest {
    const char *repo_id;
    const char *repo_type;
    const char *revision;
    const char *filename;
    const char *local_dir;
} XetDownloadRequest;

/** A snapshot to download, in the form that earlier callers fill in. */
typedef struct XetSnapshotRequest {
    const char *repo_id;
    const char *repo_type;
    const char *revision;
    const char *local_dir;
    const char **allow_patterns;
    size_t allow_patterns_len;
    const char **ignore_patterns;
    size_t ignore_patterns_len;
} XetSnapshotRequest;

/**
 * Downloads one file. `cancel_token` may be NULL. *out_path is the file's path, in the cache's
 * snapshot folder or inside local_dir; release with xet_free_string.
 */
XetError *xet_download_file(XetClient *client, const XetDownloadRequest *request,
                            const XetCancellationToken *cancel_token, char **out_path);

/** Downloads all files of a revision. *out_path is the snapshot folder, or local_dir. */
XetError *xet_download_snapshot(XetClient *client, const char *repo_id, const char *repo_type,
                                const char *revision, const char *local_dir,
                                const XetCancellationToken *cancel_token, char **out_path);

/* end cdef */

#ifdef __cplusplus
}
#endif

/**
 * A struct that the caller fills, before it is filled: all zero, but for struct_size. Needs C99 or
 * C++11.
 */
#ifdef __cplusplus
#define XET_INIT(Type)                                     \
    ([] {                                                \
        Type XET_INIT_value = Type();                    \
        XET_INIT_value.struct_size = uint32_t{sizeof(Type)}; \
        return XET_INIT_value;                           \
    }())
#else
#define XET_INIT(Type) ((Type){.struct_size = sizeof(Type)})
#endif

#endif /* XET_H */
