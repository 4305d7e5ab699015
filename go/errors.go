package xet

// #include "callbacks.h"
import "C"

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"time"
)

// Code is the class of an error: an XET_CODE_* of xet.h. Numbers never change their meaning; a
// newer library may know more of them.
type Code int

// The codes. The Err variables of the same names are for errors.Is.
const (
	CodeInvalidConfig    Code = C.XET_CODE_INVALID_CONFIG
	CodeAuthFailed       Code = C.XET_CODE_AUTH_FAILED
	CodeNetworkError     Code = C.XET_CODE_NETWORK_ERROR
	CodeNotFound         Code = C.XET_CODE_NOT_FOUND
	CodePermissionDenied Code = C.XET_CODE_PERMISSION_DENIED
	CodeChecksumMismatch Code = C.XET_CODE_CHECKSUM_MISMATCH
	CodeCancelled        Code = C.XET_CODE_CANCELLED
	CodeIOError          Code = C.XET_CODE_IO_ERROR
	CodeTimeout          Code = C.XET_CODE_TIMEOUT
	CodeRateLimited      Code = C.XET_CODE_RATE_LIMITED
	CodeConflict         Code = C.XET_CODE_CONFLICT
	CodeNoSpace          Code = C.XET_CODE_NO_SPACE
	CodeOffline          Code = C.XET_CODE_OFFLINE
	CodeUnknown          Code = C.XET_CODE_UNKNOWN
)

// For errors.Is: one for each code, and for the kinds that programs tell apart.
var (
	// ErrInvalidConfig: a bad argument or configuration; Error.Field names it.
	ErrInvalidConfig error = &sentinel{CodeInvalidConfig, "", "bad argument or configuration"}
	// ErrAuthFailed: the token is missing, unknown or expired.
	ErrAuthFailed error = &sentinel{CodeAuthFailed, "", "authentication failed"}
	// ErrNetwork: the endpoint can't be reached, or answered with a server error or nonsense.
	ErrNetwork error = &sentinel{CodeNetworkError, "", "network error"}
	// ErrNotFound: no such repo, revision or file. Such errors are fs.ErrNotExist, too.
	ErrNotFound error = &sentinel{CodeNotFound, "", "not found"}
	// ErrRepoNotFound: the repo doesn't exist, or this token can't see it.
	ErrRepoNotFound error = &sentinel{CodeNotFound, "repo_not_found", "repo not found"}
	// ErrRevisionNotFound: the repo has no such branch, tag, commit or pull request.
	ErrRevisionNotFound error = &sentinel{CodeNotFound, "revision_not_found", "revision not found"}
	// ErrEntryNotFound: the revision has no such file.
	ErrEntryNotFound error = &sentinel{CodeNotFound, "entry_not_found", "file not found"}
	// ErrLocalEntryNotFound: not on this machine, and the call may not use the network.
	ErrLocalEntryNotFound error = &sentinel{CodeNotFound, "local_entry_not_found", "not on this machine"}
	// ErrPermissionDenied: the token lacks a right, or a local path can't be read or written. Such
	// errors, and ErrAuthFailed, are fs.ErrPermission, too.
	ErrPermissionDenied error = &sentinel{CodePermissionDenied, "", "permission denied"}
	// ErrGatedRepo: the repo is gated, and its owners have not let this token in.
	ErrGatedRepo error = &sentinel{CodePermissionDenied, "gated_repo", "gated repo"}
	// ErrRepoDisabled: the Hub has disabled the repo.
	ErrRepoDisabled error = &sentinel{CodePermissionDenied, "repo_disabled", "repo disabled"}
	// ErrChecksumMismatch: the bytes received are not those whose hash the Hub published. No file
	// was left behind.
	ErrChecksumMismatch error = &sentinel{CodeChecksumMismatch, "", "checksum mismatch"}
	// ErrCancelled: the call's context was cancelled. Such errors are context.Canceled, too, and
	// the context's cause.
	ErrCancelled error = &sentinel{CodeCancelled, "", "cancelled"}
	// ErrIO: a local file or folder could not be read or written, or a reader broke.
	ErrIO error = &sentinel{CodeIOError, "", "local I/O error"}
	// ErrReadFailed: a reader of an upload broke. Such errors are the reader's own, too.
	ErrReadFailed error = &sentinel{CodeIOError, kindReadFailed, "a reader broke"}
	// ErrTimeout: a deadline passed: connecting, waiting for bytes, or the context's own. Such errors
	// are os.ErrDeadlineExceeded, too, and context.DeadlineExceeded if it was the context's.
	ErrTimeout error = &sentinel{CodeTimeout, "", "timeout"}
	// ErrRateLimited: the server limits requests, for longer than the call's time, or than two hours; or one
	// request for two minutes, while it lets others of its sort through.
	ErrRateLimited error = &sentinel{CodeRateLimited, "", "rate limited"}
	// ErrConflict: the repo changed meanwhile.
	ErrConflict error = &sentinel{CodeConflict, "", "conflict"}
	// ErrCommitUnknown: a commit was sent, and what became of it can't be found out. The code says why.
	ErrCommitUnknown error = &sentinel{anyCode, "commit_unknown", "the commit may have been made"}
	// ErrNoSpace: the disk, or the user's quota, is full. Such errors are syscall.ENOSPC, too.
	ErrNoSpace error = &sentinel{CodeNoSpace, "", "no space left"}
	// ErrOffline: the network is switched off, and the call needs it.
	ErrOffline error = &sentinel{CodeOffline, "", "offline"}
	// ErrUnknown: a bug in the library, or a failure that has no better code.
	ErrUnknown error = &sentinel{CodeUnknown, "", "unknown error"}

	// ErrClosed: the client, storage, group, stream or file was closed before the call. Such errors
	// are fs.ErrClosed, too, and have CodeInvalidConfig.
	ErrClosed = errors.New("xet: already closed")
)

// kindReadFailed is the kind of an error that a reader has caused.
const kindReadFailed = "read_failed"

// anyCode is that of a sentinel whose kind comes with several codes.
const anyCode Code = C.XET_CODE_OK

// Error is what every function of this package returns when it fails; errors.As finds it.
type Error struct {
	// Code is the error's class.
	Code Code
	// Message is one sentence: what failed, on which repo and file, and the way out. It never holds
	// a token, nor the query of a signed URL.
	Message string
	Details
	// What else the error is, to errors.Is and errors.As.
	causes []error
}

// Details is what is known about the circumstances of an error; each field only where known.
type Details struct {
	// Kind is finer than the code, such as "revision_not_found".
	Kind string `json:"kind,omitempty"`
	// Field is the argument that is wrong.
	Field string `json:"field,omitempty"`
	// Offset is where an unknown field stands in the struct that Field names, in bytes.
	Offset int `json:"offset,omitempty"`
	// HTTPStatus is that of the answer that the error is about.
	HTTPStatus int `json:"http_status,omitempty"`
	// RequestID is the server's name for the failed request.
	RequestID string `json:"request_id,omitempty"`
	// ServerMessage is what the Hub said of it in its own words, which are in the error's text, too.
	ServerMessage string `json:"server_message,omitempty"`
	// Repo is the repo that the call was about, and Revision its revision.
	Repo     string `json:"repo,omitempty"`
	Revision string `json:"revision,omitempty"`
	// File is the file in question: its path in the repo, or on this machine.
	File string `json:"file,omitempty"`
	// URL has no query.
	URL string `json:"url,omitempty"`
	// Attempts says how often the request was made.
	Attempts int `json:"attempts,omitempty"`
	// RetryAfterSeconds is how long the server asks to wait.
	RetryAfterSeconds int64 `json:"retry_after,omitempty"`
	// Tried says how the other ways of getting the file failed.
	Tried []string `json:"tried,omitempty"`
	// BytesNeeded and BytesFree say, with CodeNoSpace, that a download wasn't begun.
	BytesNeeded uint64 `json:"bytes_needed,omitempty"`
	BytesFree   uint64 `json:"bytes_free,omitempty"`
	// Commits are those that an upload had made before it failed, in their order; they stay.
	Commits []MadeCommit `json:"commits,omitempty"`
	// PRURL is the page of the pull request that it had opened.
	PRURL string `json:"pull_request_url,omitempty"`
}

// MadeCommit is a commit of an upload that failed later.
type MadeCommit struct {
	OID string `json:"oid"`
	// URL is its page on the Hub.
	URL string `json:"url"`
}

// RetryAfter returns how long the server asks to wait; 0 if it doesn't.
func (d Details) RetryAfter() time.Duration {
	return time.Duration(d.RetryAfterSeconds) * time.Second
}

func (e *Error) Error() string { return "xet: " + e.Message }

// Unwrap returns the context's error and its cause, for calls that a context ended.
func (e *Error) Unwrap() []error { return e.causes }

// Timeout says whether a deadline passed, as in net.Error.
func (e *Error) Timeout() bool { return e.Code == CodeTimeout }

// Is says whether the error is one of this package's Err variables, or one of the standard
// library's errors that means the same.
func (e *Error) Is(target error) bool {
	switch target {
	case fs.ErrNotExist:
		return e.Code == CodeNotFound
	case fs.ErrPermission:
		return e.Code == CodePermissionDenied || e.Code == CodeAuthFailed
	case os.ErrDeadlineExceeded:
		return e.Code == CodeTimeout
	case syscall.ENOSPC:
		return e.Code == CodeNoSpace
	}
	s, ok := target.(*sentinel)
	return ok && (s.code == anyCode || s.code == e.Code) && (s.kind == "" || s.kind == e.Kind)
}

// sentinel is an error that others are, if they have its code and, if it has one, its kind.
type sentinel struct {
	code Code
	kind string
	text string
}

func (s *sentinel) Error() string { return "xet: " + s.text }

// invalid returns the error for a bad argument, in the library's own words and with its details.
func invalid(field, problem string) *Error {
	return &Error{
		Code:    CodeInvalidConfig,
		Message: field + ": " + problem,
		Details: Details{Kind: "invalid_argument", Field: field},
	}
}

// closedError returns the error for a call of what was closed: a client, say.
func closedError(what string) *Error {
	err := invalid(what, "operation on a closed "+what)
	err.causes = []error{ErrClosed, fs.ErrClosed}
	return err
}

// contextError returns the error for a call that its context ended.
func contextError(ctx context.Context, reason error, repoID string) *Error {
	subject := ""
	if repoID != "" {
		subject = repoID + ": "
	}
	err := &Error{
		Code:    CodeCancelled,
		Message: subject + "the call was cancelled by its context",
		Details: Details{Kind: "cancelled", Repo: repoID},
		causes:  []error{reason},
	}
	if errors.Is(reason, context.DeadlineExceeded) {
		err.Code = CodeTimeout
		err.Kind = "timeout"
		err.Message = subject + "the deadline of the call's context passed"
	}
	if cause := context.Cause(ctx); cause != nil && cause != reason {
		err.Message += ": " + cause.Error()
		err.causes = append(err.causes, cause)
	}
	return err
}

// endedBy returns the error for a call that its context ended, with what the library knows about it:
// what an upload had done by then stays.
func (e *Error) endedBy(ctx context.Context, reason error, repoID string) *Error {
	ended := contextError(ctx, reason, repoID)
	kind := ended.Kind
	if e.Kind != "cancelled" || len(e.Commits) > 0 {
		ended.Message += ": " + e.Message
	}
	ended.Details = e.Details
	ended.Repo = repoID
	if e.Kind == "cancelled" {
		ended.Kind = kind
	}
	return ended
}

// takeError turns an owned *C.XetError into a Go error, and frees it. NULL is nil.
func takeError(native *C.XetError) error {
	if native == nil {
		return nil
	}
	defer C.xet_free_error(native)
	return newError(native)
}

// argumentStructs are what C callers fill in; their members are arguments and options here, by the same
// names.
var argumentStructs = []string{"options.", "download.", "upload."}

// newError copies an error.
func newError(native *C.XetError) *Error {
	err := &Error{Code: Code(native.code), Message: C.GoString(native.message)}
	if native.details != nil {
		if bad := json.Unmarshal([]byte(C.GoString(native.details)), &err.Details); bad != nil {
			err.Message += fmt.Sprintf(" (and its details can't be read: %v)", bad)
		}
	}
	for _, prefix := range argumentStructs {
		if field, ok := strings.CutPrefix(err.Field, prefix); ok {
			err.Field = field
			err.Message = strings.TrimPrefix(err.Message, prefix)
		}
	}
	return err
}
