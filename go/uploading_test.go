package xet_test

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	xet "github.com/xet-ffi/xet-ffi/go"
)

// newRepo creates a repo of the test's own.
func newRepo(t *testing.T, client *xet.Client, options ...xet.RepoOption) string {
	t.Helper()
	id := "alice/" + strings.NewReplacer("/", "-", "_", "-").Replace(t.Name())
	repo, err := client.CreateRepo(t.Context(), id, options...)
	if err != nil {
		t.Fatal(err)
	}
	if repo.ID != id || repo.URL != hub.Endpoint+"/"+id {
		t.Errorf("%+v", repo)
	}
	return id
}

// What is uploaded from files, memory and readers comes back, verified.
func TestUploadFromEverywhere(t *testing.T) {
	client := newClient(t)
	repo := newRepo(t, client)
	want := map[string][]byte{
		"file.bin":     noise(300_000, 11),
		"bytes.bin":    noise(200_000, 12),
		"reader.bin":   noise(6_000_000, 13),
		"one-byte.txt": []byte("byte by byte\n"),
		"empty.txt":    nil,
	}
	path := filepath.Join(t.TempDir(), "source")
	if err := os.WriteFile(path, want["file.bin"], 0o600); err != nil {
		t.Fatal(err)
	}
	var last xet.Progress
	commit, err := client.CreateCommit(t.Context(), repo, []xet.Operation{
		xet.AddFile("file.bin", path),
		xet.AddBytes("bytes.bin", want["bytes.bin"]),
		xet.AddReader("reader.bin", iotest.HalfReader(bytes.NewReader(want["reader.bin"]))),
		xet.AddReader("one-byte.txt", iotest.DataErrReader(
			iotest.OneByteReader(bytes.NewReader(want["one-byte.txt"])))),
		xet.AddBytes("empty.txt", nil),
	}, xet.WithCommitMessage("From everywhere"), xet.WithProgress(func(p xet.Progress) { last = p }))
	if err != nil {
		t.Fatal(err)
	}
	if commit.Commits != 1 || commit.Files != 5 || commit.FilesChanged != 5 ||
		commit.BytesTotal != commit.BytesNew+commit.BytesOnHub+commit.BytesRepeated ||
		commit.CommitURL != hub.Endpoint+"/"+repo+"/commit/"+commit.OID {
		t.Errorf("%+v", commit)
	}
	if last.Phase != xet.PhaseCommitting || last.BytesCompleted != commit.BytesTotal {
		t.Errorf("%+v", last)
	}
	folder := t.TempDir()
	if _, err := client.DownloadSnapshot(t.Context(), repo, xet.WithLocalDir(folder)); err != nil {
		t.Fatal(err)
	}
	sameFiles(t, read(t, folder), want)
}

// Operations of all kinds make one commit; files that are there already make none.
func TestOperations(t *testing.T) {
	client := newClient(t)
	repo := newRepo(t, client, xet.WithPrivate(true))
	big := noise(120_000, 14)
	first, err := client.CreateCommit(t.Context(), repo, []xet.Operation{
		xet.AddBytes("big.bin", big), xet.AddBytes("a/1.txt", []byte("1\n")),
		xet.AddBytes("b.txt", []byte("b\n")),
	})
	if err != nil {
		t.Fatal(err)
	}
	again, err := client.CreateCommit(t.Context(), repo, []xet.Operation{xet.AddBytes("big.bin", big)})
	if err != nil || !again.NothingToCommit() || again.OID != first.OID || again.BytesSent != 0 {
		t.Errorf("%+v, %v", again, err)
	}
	_, err = client.CreateCommit(t.Context(), repo, []xet.Operation{
		xet.DeleteFolder("a"), xet.Delete("b.txt"), xet.Copy("big.bin", "copy.bin"),
		xet.CopyFrom(first.OID, "b.txt", "c.txt"),
	}, xet.WithParentCommit(first.OID))
	if err != nil {
		t.Fatal(err)
	}
	files, err := client.ListFiles(t.Context(), repo)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]int64{}
	for _, file := range files {
		found[file.Path] = file.Size
	}
	delete(found, ".gitattributes")
	if want := map[string]int64{"big.bin": 120_000, "copy.bin": 120_000, "c.txt": 2}; !maps.Equal(found, want) {
		t.Errorf("%v", found)
	}
	_, err = client.CreateCommit(t.Context(), repo,
		[]xet.Operation{xet.Delete("c.txt")}, xet.WithParentCommit(first.OID))
	if !errors.Is(err, xet.ErrConflict) {
		t.Errorf("%v is not a conflict", err)
	}
	_, err = client.CreateRepo(t.Context(), repo)
	if !errors.Is(err, xet.ErrConflict) {
		t.Errorf("%v is not a conflict", err)
	}
	if _, err := client.CreateRepo(t.Context(), repo, xet.WithExistOK()); err != nil {
		t.Error(err)
	}
	if err := client.CreateBranch(t.Context(), repo, "new", xet.WithRevision(first.OID)); err != nil {
		t.Error(err)
	}
	if err := client.CreateBranch(t.Context(), repo, "new"); !errors.Is(err, xet.ErrConflict) {
		t.Errorf("%v is not a conflict", err)
	}
	if err := client.CreateBranch(t.Context(), repo, "new", xet.WithExistOK()); err != nil {
		t.Error(err)
	}
	commit, err := client.Resolve(t.Context(), repo, xet.WithRevision("new"))
	if err != nil || commit != first.OID {
		t.Errorf("%v is not %v, %v", commit, first.OID, err)
	}
}

// A folder goes where the options say, without what they leave out.
func TestUploadFolder(t *testing.T) {
	client := newClient(t)
	repo := newRepo(t, client)
	folder := t.TempDir()
	want := map[string][]byte{"a.txt": []byte("a\n"), "sub/b.bin": noise(30_000, 15)}
	if err := write(folder, want); err != nil {
		t.Fatal(err)
	}
	if err := write(folder, map[string][]byte{".git/config": nil, "c.log": nil}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.CreateCommit(t.Context(), repo,
		[]xet.Operation{xet.AddBytes("x/old.txt", []byte("old\n"))}); err != nil {
		t.Fatal(err)
	}
	commit, err := client.UploadFolder(t.Context(), repo, folder, xet.WithPathInRepo("x"),
		xet.WithIgnorePatterns("*.log"), xet.WithDeletePatterns("*.txt"))
	if err != nil || commit.Files != 2 || commit.Commits != 1 {
		t.Fatalf("%+v, %v", commit, err)
	}
	local := t.TempDir()
	if _, err := client.DownloadSnapshot(t.Context(), repo, xet.WithLocalDir(local)); err != nil {
		t.Fatal(err)
	}
	sameFiles(t, read(t, filepath.Join(local, "x")), want)
}

// Someone who may only read opens a pull request.
func TestCreatePR(t *testing.T) {
	repo := newRepo(t, newClient(t))
	path := filepath.Join(t.TempDir(), "x")
	if err := os.WriteFile(path, []byte("x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	bob := newClientWith(t, xet.Config{Token: bobToken})
	if _, err := bob.UploadFile(t.Context(), repo, "x", path); !errors.Is(err, xet.ErrPermissionDenied) {
		t.Errorf("%v is no lack of permission", err)
	}
	commit, err := bob.UploadFile(t.Context(), repo, "x", path, xet.WithCreatePR())
	if err != nil || commit.PRURL != hub.Endpoint+"/"+repo+"/discussions/1" {
		t.Errorf("%+v, %v", commit, err)
	}
}

// A context ends an upload that storage doesn't take.
func TestUploadIsCancelled(t *testing.T) {
	client := newClient(t)
	repo := newRepo(t, client)
	hub.Fault(t, "storage", object{"stall_before": 60})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	content := noise(400_000, 17)
	_, err := client.CreateCommit(ctx, repo, []xet.Operation{xet.AddBytes("x.bin", content)},
		xet.WithProgress(func(p xet.Progress) {
			if p.BytesCompleted == p.BytesTotal && p.BytesTotal > 0 {
				cancel()
			}
		}))
	if !errors.Is(err, xet.ErrCancelled) || !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// Operations that can't be are refused by name.
func TestOperationsThatCantBe(t *testing.T) {
	client := newClient(t)
	add := func(operation xet.Operation) error {
		_, err := client.CreateCommit(t.Context(), modelRepo, []xet.Operation{operation})
		return err
	}
	for field, err := range map[string]error{
		"operations[0].kind":         add(xet.Operation{}),
		"operations[0].reader":       add(xet.AddReader("x", nil)),
		"operations[0].path_in_repo": add(xet.Delete("../x")),
		"operations[0].local_path":   add(xet.AddFile("x", "")),
		"operations[0].src_path":     add(xet.Copy("", "x")),
	} {
		wantInvalid(t, err, field)
	}
}
