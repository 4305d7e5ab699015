package xet_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	xet "github.com/xet-ffi/xet-ffi/go"
)

// manyFiles returns a folder that is uploaded in two commits, the first of 250 files.
func manyFiles(t *testing.T) string {
	t.Helper()
	files := map[string][]byte{}
	for i := range 260 {
		files[fmt.Sprintf("%03d.txt", i)] = fmt.Appendf(nil, "file %d\n", i)
	}
	folder := t.TempDir()
	if err := write(folder, files); err != nil {
		t.Fatal(err)
	}
	return folder
}

// wantOneCommit checks what an error says about a folder of which only the first commit was made.
func wantOneCommit(t *testing.T, client *xet.Client, repo string, err error) {
	t.Helper()
	head, bad := client.Resolve(t.Context(), repo)
	var failure *xet.Error
	if bad != nil || !errors.As(err, &failure) || len(failure.Commits) != 1 ||
		failure.Commits[0].OID != head || failure.Commits[0].URL != hub.Endpoint+"/"+repo+"/commit/"+head {
		t.Errorf("%+v, %v; the branch is at %s, %v", failure, err, head, bad)
	}
}

// A folder that fails in the middle says which commits it has made; they stay.
func TestUploadFolderThatFails(t *testing.T) {
	client := newClient(t)
	repo := newRepo(t, client)
	hub.FaultAfter(t, 1, "commit", object{"status": 403})
	commit, err := client.UploadFolder(t.Context(), repo, manyFiles(t))
	if commit != nil || !errors.Is(err, xet.ErrPermissionDenied) || errors.Is(err, xet.ErrCommitUnknown) {
		t.Errorf("%+v, %v", commit, err)
	}
	wantOneCommit(t, client, repo, err)
}

// It says so, too, if its context ends it: nobody knows then what became of the commit on its way.
func TestUploadFolderThatIsCancelled(t *testing.T) {
	client := newClient(t)
	repo := newRepo(t, client)
	hub.FaultAfter(t, 1, "commit", object{"stall_before": 60})
	ctx := &endsWith{Context: t.Context(), ended: func() bool { return hub.Fired(t, 0) }}
	_, err := client.UploadFolder(ctx, repo, manyFiles(t))
	if !errors.Is(err, context.Canceled) || !errors.Is(err, xet.ErrCancelled) ||
		!errors.Is(err, xet.ErrCommitUnknown) {
		t.Error(err)
	}
	wantOneCommit(t, client, repo, err)
}

// endsWith is a context that ends with something else.
type endsWith struct {
	context.Context
	ended func() bool
}

func (c *endsWith) Err() error {
	if c.ended() {
		return context.Canceled
	}
	return nil
}

// A commit whose answer is lost, and that can't be looked for, has a kind of its own.
func TestCommitWhoseOutcomeIsUnknown(t *testing.T) {
	client := newClientWith(t, xet.Config{MaxAttempts: 1})
	repo := newRepo(t, client)
	hub.Fault(t, "commit", object{"cut_after_bytes": 0})
	hub.Fault(t, "commits", object{"status": 500})
	_, err := client.CreateCommit(t.Context(), repo,
		[]xet.Operation{xet.AddBytes("x", []byte("x\n"))})
	if !errors.Is(err, xet.ErrCommitUnknown) || !errors.Is(err, xet.ErrNetwork) {
		t.Error(err)
	}
}
