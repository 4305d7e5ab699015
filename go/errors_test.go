package xet_test

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	xet "github.com/xet-ffi/xet-ffi/go"
)

func wantInvalid(t *testing.T, err error, field string) {
	t.Helper()
	var failure *xet.Error
	if !errors.As(err, &failure) || !errors.Is(err, xet.ErrInvalidConfig) || failure.Field != field ||
		!strings.HasPrefix(failure.Message, field+": ") {
		t.Errorf("%s: %v", field, err)
	}
}

// Each failure has its code and kind, is the errors that mean the same, and is none of the others.
func TestErrors(t *testing.T) {
	type run func(t *testing.T) error
	list := func(config xet.Config, repoID string, options ...xet.ListOption) run {
		return func(t *testing.T) error {
			_, err := newClientWith(t, config).ListFiles(t.Context(), repoID, options...)
			return err
		}
	}
	file := func(repoID, path string, options ...xet.FileOption) run {
		return func(t *testing.T) error {
			_, err := newClient(t).DownloadFile(t.Context(), repoID, path, options...)
			return err
		}
	}
	faulty := func(route string, action object, then run) run {
		return func(t *testing.T) error {
			hub.Fault(t, route, action)
			return then(t)
		}
	}
	once := xet.Config{MaxAttempts: 1}
	impatient := xet.Config{MaxAttempts: 1, ReadTimeout: 100 * time.Millisecond}
	all := []error{
		xet.ErrInvalidConfig, xet.ErrAuthFailed, xet.ErrNetwork, xet.ErrNotFound,
		xet.ErrRepoNotFound, xet.ErrRevisionNotFound, xet.ErrEntryNotFound,
		xet.ErrLocalEntryNotFound, xet.ErrPermissionDenied, xet.ErrGatedRepo, xet.ErrRepoDisabled,
		xet.ErrChecksumMismatch, xet.ErrCancelled, xet.ErrIO, xet.ErrTimeout, xet.ErrRateLimited,
		xet.ErrConflict, xet.ErrNoSpace, xet.ErrOffline, xet.ErrUnknown, xet.ErrClosed,
		fs.ErrNotExist, fs.ErrPermission, fs.ErrClosed, os.ErrDeadlineExceeded, syscall.ENOSPC,
		context.Canceled, context.DeadlineExceeded,
	}
	for name, test := range map[string]struct {
		run  run
		code xet.Code
		kind string
		is   []error
	}{
		"a malformed repo id": {
			list(xet.Config{}, "a/b/c"), xet.CodeInvalidConfig, "invalid_repo_id",
			[]error{xet.ErrInvalidConfig},
		},
		"no repo id": {
			list(xet.Config{}, ""), xet.CodeInvalidConfig, "invalid_argument",
			[]error{xet.ErrInvalidConfig},
		},
		"an unknown repo type": {
			list(xet.Config{}, modelRepo, xet.WithRepoType("bucket")), xet.CodeInvalidConfig,
			"invalid_argument", []error{xet.ErrInvalidConfig},
		},
		"no file name": {
			file(modelRepo, ""), xet.CodeInvalidConfig, "unsafe_path",
			[]error{xet.ErrInvalidConfig},
		},
		"a path that leaves the repo": {
			file(modelRepo, "../x"), xet.CodeInvalidConfig, "unsafe_path",
			[]error{xet.ErrInvalidConfig},
		},
		"text that is not UTF-8": {
			file(modelRepo, "\xff"), xet.CodeInvalidConfig, "invalid_argument",
			[]error{xet.ErrInvalidConfig},
		},
		"an unknown repo": {
			list(xet.Config{}, "alice/nothing"), xet.CodeNotFound, "repo_not_found",
			[]error{xet.ErrNotFound, xet.ErrRepoNotFound, fs.ErrNotExist},
		},
		"an unknown revision": {
			list(xet.Config{}, modelRepo, xet.WithRevision("nothing")), xet.CodeNotFound,
			"revision_not_found", []error{xet.ErrNotFound, xet.ErrRevisionNotFound, fs.ErrNotExist},
		},
		"an unknown file": {
			file(modelRepo, "nothing.bin"), xet.CodeNotFound, "entry_not_found",
			[]error{xet.ErrNotFound, xet.ErrEntryNotFound, fs.ErrNotExist},
		},
		"a file that is not here": {
			file(modelRepo, "config.json", xet.WithLocalFilesOnly()), xet.CodeNotFound,
			"local_entry_not_found",
			[]error{xet.ErrNotFound, xet.ErrLocalEntryNotFound, fs.ErrNotExist},
		},
		"a wrong token": {
			list(xet.Config{Token: "hf_wrong"}, modelRepo), xet.CodeAuthFailed, "unauthorized",
			[]error{xet.ErrAuthFailed, fs.ErrPermission},
		},
		"a gated repo": {
			func(t *testing.T) error {
				client := newClientWith(t, xet.Config{Token: bobToken})
				_, err := client.DownloadFile(t.Context(), gatedRepo, "secret.txt")
				return err
			}, xet.CodePermissionDenied, "gated_repo",
			[]error{xet.ErrPermissionDenied, xet.ErrGatedRepo, fs.ErrPermission},
		},
		"an endpoint on which nobody listens": {
			list(xet.Config{Endpoint: "http://127.0.0.1:9", MaxAttempts: 1}, modelRepo),
			xet.CodeNetworkError, "connection", []error{xet.ErrNetwork},
		},
		"a server that fails": {
			faulty("any", object{"status": 500}, list(once, modelRepo)),
			xet.CodeNetworkError, "server_error", []error{xet.ErrNetwork},
		},
		"a server that is asked too often": {
			func(t *testing.T) error {
				// For longer than there is time.
				refusal := object{"status": 429, "headers": object{"Retry-After": "3600"}}
				hub.Fault(t, "any", refusal)
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				_, err := newClient(t).ListFiles(ctx, modelRepo)
				return err
			}, xet.CodeRateLimited, "rate_limited", []error{xet.ErrRateLimited},
		},
		"a server that doesn't answer": {
			faulty("any", object{"stall_before": 60}, list(impatient, modelRepo)),
			xet.CodeTimeout, "timeout", []error{xet.ErrTimeout, os.ErrDeadlineExceeded},
		},
		"a file that is damaged": {
			faulty("resolve-cache", object{"corrupt_byte": 5}, file(modelRepo, "README.md")),
			xet.CodeChecksumMismatch, "checksum_mismatch", []error{xet.ErrChecksumMismatch},
		},
		"a folder that is a file": {
			func(t *testing.T) error {
				path := filepath.Join(t.TempDir(), "file")
				if err := os.WriteFile(path, nil, 0o600); err != nil {
					t.Fatal(err)
				}
				return file(modelRepo, "config.json", xet.WithLocalDir(path))(t)
			}, xet.CodeIOError, "io", []error{xet.ErrIO},
		},
		"no network allowed": {
			list(xet.Config{Offline: true}, modelRepo), xet.CodeOffline, "offline",
			[]error{xet.ErrOffline},
		},
	} {
		t.Run(name, func(t *testing.T) {
			err := test.run(t)
			var failure *xet.Error
			if !errors.As(err, &failure) {
				t.Fatalf("%v is no *xet.Error", err)
			}
			if failure.Code != test.code || failure.Kind != test.kind {
				t.Errorf("code %d, kind %q: %v", failure.Code, failure.Kind, err)
			}
			for _, other := range all {
				wants := false
				for _, is := range test.is {
					wants = wants || is == other
				}
				if errors.Is(err, other) != wants {
					t.Errorf("errors.Is(%v, %v) is %v", err, other, !wants)
				}
			}
			if failure.Timeout() != (test.code == xet.CodeTimeout) {
				t.Errorf("Timeout() is %v", failure.Timeout())
			}
			for _, secret := range []string{aliceToken, bobToken, "hf_wrong"} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("a token in %q", err)
				}
			}
		})
	}
}

// An error knows the circumstances.
func TestErrorDetails(t *testing.T) {
	_, err := newClient(t).DownloadFile(
		t.Context(), modelRepo, "nothing.bin", xet.WithRevision("main"))
	var failure *xet.Error
	if !errors.As(err, &failure) {
		t.Fatal(err)
	}
	if failure.Repo != modelRepo || failure.File != "nothing.bin" ||
		!strings.HasPrefix(err.Error(), "xet: ") {
		t.Errorf("%+v", failure)
	}
	hub.Fault(t, "any", object{"status": 429, "headers": object{"Retry-After": "700"}})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	client := newClientWith(t, xet.Config{MaxAttempts: 1})
	_, err = client.ListFiles(ctx, modelRepo)
	if !errors.As(err, &failure) || failure.HTTPStatus != 429 ||
		failure.RetryAfter() != 700*time.Second {
		t.Errorf("%+v", failure)
	}
}

// What an upload had done before it failed is read from the library's details.
func TestDetailsOfAnUpload(t *testing.T) {
	var details xet.Details
	const text = `{"kind": "commit_unknown", "pull_request_url": "http://hub/alice/x/discussions/1",
		"commits": [{"oid": "0123", "url": "http://hub/alice/x/commit/0123"}]}`
	if err := json.Unmarshal([]byte(text), &details); err != nil {
		t.Fatal(err)
	}
	made := []xet.MadeCommit{{OID: "0123", URL: "http://hub/alice/x/commit/0123"}}
	if !slices.Equal(details.Commits, made) || details.PRURL != "http://hub/alice/x/discussions/1" {
		t.Errorf("%+v", details)
	}
	for _, code := range []xet.Code{xet.CodeNetworkError, xet.CodeTimeout, xet.CodeCancelled} {
		failure := &xet.Error{Code: code, Details: details}
		if !errors.Is(failure, xet.ErrCommitUnknown) || errors.Is(failure, xet.ErrReadFailed) {
			t.Error(failure)
		}
	}
}
