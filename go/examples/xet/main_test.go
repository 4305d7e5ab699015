package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	xet "github.com/xet-ffi/xet-ffi/go"
	"github.com/xet-ffi/xet-ffi/go/internal/testhub"
)

var hub *testhub.Hub

var files = map[string][]byte{
	"config.json": []byte("{}\n"), "README.md": []byte("# Hello\n"), "a/b.txt": []byte("b\n"),
}

func TestMain(m *testing.M) {
	os.Exit(testhub.Run(m, func(started *testhub.Hub, _ string) error {
		hub = started
		return hub.Publish("model", files)
	}, func() error { return nil }))
}

// xetCommand runs the command against the hub with an empty cache.
func xetCommand(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	args = append([]string{"-endpoint", hub.Endpoint, "-cache-dir", t.TempDir()}, args...)
	status = run(t.Context(), args, &out, &err)
	return status, out.String(), err.String()
}

// Listing prints a line, or a JSON object, for each file.
func TestList(t *testing.T) {
	status, text, stderr := xetCommand(t, "-repo", "alice/model", "-list")
	if status != 0 || stderr != "" || strings.Count(text, "\n") != len(files)+1 ||
		!strings.Contains(text, "  git  a/b.txt\n") {
		t.Errorf("%d, %s, %s", status, text, stderr)
	}
	_, plain, _ := xetCommand(t, "-repo", "alice/model", "-list", "-json")
	var listed []xet.FileInfo
	if err := json.Unmarshal([]byte(plain), &listed); err != nil || len(listed) != len(files)+1 {
		t.Errorf("%v: %s", err, plain)
	}
}

// Downloading prints the path; with -json, the report.
func TestDownload(t *testing.T) {
	folder := t.TempDir()
	status, text, stderr := xetCommand(t, "-repo", "alice/model", "-type", "models",
		"-snapshot", "-local-dir", folder, "-include", "*.json", "-include", "a/",
		"-exclude", "*.md")
	if status != 0 || stderr != "" || text != folder+"\n" {
		t.Errorf("%d, %s, %s", status, text, stderr)
	}
	for name, content := range files {
		got, err := os.ReadFile(filepath.Join(folder, name))
		if wanted := name != "README.md"; wanted != (err == nil && bytes.Equal(got, content)) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	status, text, _ = xetCommand(t, "-repo", "alice/model", "-file", "config.json")
	if got, err := os.ReadFile(strings.TrimSpace(text)); status != 0 || string(got) != "{}\n" {
		t.Errorf("%d, %s, %v", status, text, err)
	}
	_, text, _ = xetCommand(t, "-repo", "alice/model", "-file", "config.json", "-json")
	var transfer xet.Transfer
	err := json.Unmarshal([]byte(text), &transfer)
	if err != nil || transfer.Files != 1 || transfer.BytesTotal != 3 {
		t.Errorf("%v: %s", err, text)
	}
	if files := transfer.FileTransfers; len(files) != 1 || files[0].Path != "config.json" ||
		files[0].Way != xet.WayHTTP {
		t.Errorf("%+v", files)
	}
}

// The exit status says what went wrong, and stderr says it to people.
func TestExitStatus(t *testing.T) {
	for want, args := range map[int][]string{
		11: {"-repo", "a/b/c", "-list"},
		12: {"-repo", "alice/model", "-list", "-token", "hf_wrong"},
		14: {"-repo", "alice/model", "-file", "nothing"},
	} {
		status, stdout, stderr := xetCommand(t, args...)
		if status != want || stdout != "" || !strings.HasPrefix(stderr, "error: ") {
			t.Errorf("%v: %d, %q, %q", args, status, stdout, stderr)
		}
	}
	if status, _, stderr := xetCommand(t, "-repo", "alice/model", "-list", "-transport", "ftp"); status != 11 ||
		!strings.Contains(stderr, "auto, xet, http") {
		t.Errorf("%d, %s", status, stderr)
	}
	t.Setenv("HF_HUB_OFFLINE", "1")
	if status, _, stderr := xetCommand(t, "-repo", "alice/model", "-list"); status != 23 {
		t.Errorf("%d, %s", status, stderr)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	var out, err bytes.Buffer
	if status := run(cancelled, []string{"-repo", "a/b", "-list"}, &out, &err); status != 130 {
		t.Errorf("%d, %s", status, err.String())
	}
	for code, want := range map[xet.Code]int{xet.CodeUnknown: 1, 100: 1, xet.CodeOffline: 23} {
		if got := status(&xet.Error{Code: code}); got != want {
			t.Errorf("code %d gives status %d, not %d", code, got, want)
		}
	}
	if got := status(errors.New("stdout is closed")); got != 1 {
		t.Error(got)
	}
}

// Wrong usage is told from failure, and help from both.
func TestUsage(t *testing.T) {
	for _, args := range [][]string{
		{}, {"-repo", "a/b"}, {"-list"}, {"-repo", "a/b", "-list", "-snapshot"},
		{"-repo", "a/b", "-list", "-include", "x"}, {"-repo", "a/b", "-list", "-local-dir", "x"},
		{"-repo", "a/b", "-list", "more"}, {"-nonsense"},
		{"-repo", "a/b", "-upload", ""}, {"-repo", "a/b", "-upload", ".", "-to", ""},
		{"-repo", "a/b", "-snapshot", "-local-dir", ""},
	} {
		if status, stdout, stderr := xetCommand(t, args...); status != 2 || stdout != "" || stderr == "" {
			t.Errorf("%v: %d, %q, %q", args, status, stdout, stderr)
		}
	}
	if status, _, stderr := xetCommand(t, "-h"); status != 0 ||
		!strings.Contains(stderr, "exit status: 0 done") {
		t.Errorf("%d, %s", status, stderr)
	}
}

// A flag that means nothing for what is asked is refused, and nothing is done.
func TestNoFlagIsIgnored(t *testing.T) {
	folder := t.TempDir()
	file := filepath.Join(folder, "new.txt")
	if err := os.WriteFile(file, []byte("new\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, before, _ := xetCommand(t, "-repo", "alice/model", "-list")
	refused := func(flag string, args ...string) {
		t.Helper()
		cache := t.TempDir()
		args = append([]string{"-repo", "alice/model", "-cache-dir", cache}, args...)
		status, stdout, stderr := xetCommand(t, args...)
		if status != 2 || stdout != "" || !strings.HasPrefix(stderr, "error: ") || !strings.Contains(stderr, flag) {
			t.Errorf("%v: %d, %q, %q", args, status, stdout, stderr)
		}
		if made, err := os.ReadDir(cache); err != nil || len(made) > 0 {
			t.Errorf("%v: %v, %v", args, made, err)
		}
	}
	values := map[string]string{"local-dir": folder}
	for name, known := range meaning {
		for _, asked := range [][]string{{"-list"}, {"-file", "config.json"}, {"-snapshot"}, {"-upload", folder}} {
			if strings.Contains(known.actions, asked[0][1:]) {
				continue
			}
			switch name {
			case "dry-run", "create-pr", "create-repo", "private":
				refused(name, append(asked, "-"+name)...)
			default:
				refused(name, append(asked, "-"+name, cmp.Or(values[name], "x"))...)
			}
		}
	}
	for _, name := range []string{"-include", "-exclude", "-delete"} {
		refused(name, "-upload", file, name, "x")
	}
	if _, after, _ := xetCommand(t, "-repo", "alice/model", "-list"); after != before {
		t.Errorf("%s is no longer %s", after, before)
	}
	if status, _, stderr := xetCommand(t, "-repo", "alice/model", "-list", "-dry-run=false"); status != 0 {
		t.Errorf("%d, %s", status, stderr)
	}
}

// That nothing fits the patterns is said, whether it's a download or the plan of one.
func TestNothingFits(t *testing.T) {
	for _, dryRun := range []string{"-dry-run=false", "-dry-run"} {
		status, _, stderr := xetCommand(t, "-repo", "alice/model", "-snapshot", "-include", "nothing", dryRun)
		if status != 14 || stderr != "error: no file of the repo fits the patterns\n" {
			t.Errorf("%d, %s", status, stderr)
		}
	}
}

// What is wrong with this machine's files isn't an unknown error.
func TestLocalFailures(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	for _, path := range []string{filepath.Join(t.TempDir(), "nothing"), "~/nothing"} {
		status, _, stderr := xetCommand(t, "-repo", "alice/model", "-upload", path)
		if status != 18 || !strings.Contains(stderr, "nothing") {
			t.Errorf("%d, %s", status, stderr)
		}
	}
	// The folder is there, and empty.
	if status, _, stderr := xetCommand(t, "-repo", "alice/model", "-upload", "~"); status != 0 {
		t.Errorf("%d, %s", status, stderr)
	}
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	for _, output := range []string{"-json=false", "-json"} {
		var said bytes.Buffer
		args := []string{"-endpoint", hub.Endpoint, "-repo", "alice/model", "-list", output}
		if status := run(t.Context(), args, full, &said); status != 18 {
			t.Errorf("%d, %s", status, said.String())
		}
	}
}

// Sizes are printed as people read them.
func TestSize(t *testing.T) {
	for bytes, want := range map[int64]string{
		0: "0 B", 999: "999 B", 1000: "1.0 kB", 12_345_678: "12.3 MB", 5e15: "5000.0 TB",
	} {
		if got := size(bytes); got != want {
			t.Errorf("%d is %s, not %s", bytes, got, want)
		}
	}
}

// Uploading prints the page of the commit; with -json, the report.
func TestUpload(t *testing.T) {
	folder := t.TempDir()
	for name, content := range files {
		path := filepath.Join(folder, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755),
			os.WriteFile(path, content, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	upload := []string{"-repo", "alice/upload", "-token", testhub.AliceToken, "-upload"}
	status, out, stderr := xetCommand(t, append(upload, folder, "-to", "x", "-create-repo",
		"-exclude", "*.md", "-message", "Files")...)
	page := hub.Endpoint + "/alice/upload/commit/"
	if status != 0 || !strings.HasPrefix(out, page) {
		t.Errorf("%d, %s, %s", status, out, stderr)
	}
	file := filepath.Join(folder, "config.json")
	status, out, stderr = xetCommand(t, append(upload, file, "-to", "x/config.json", "-json")...)
	var commit xet.Commit
	if err := json.Unmarshal([]byte(out), &commit); err != nil || status != 0 ||
		!commit.NothingToCommit() || !strings.Contains(stderr, "nothing to commit") {
		t.Errorf("%d, %s, %s, %v", status, out, stderr, err)
	}
	status, _, stderr = xetCommand(t, append(upload, file, "-to", "y/")...)
	if status != 0 {
		t.Errorf("%d, %s", status, stderr)
	}
	status, out, stderr = xetCommand(t, "-repo", "alice/upload", "-token", testhub.AliceToken, "-list")
	if status != 0 || !strings.Contains(out, " y/config.json\n") {
		t.Errorf("%d, %s, %s", status, out, stderr)
	}
	if err := os.Symlink("gone", filepath.Join(folder, "link.safetensors")); err != nil {
		t.Fatal(err)
	}
	status, _, stderr = xetCommand(t, append(upload, folder, "-include", "*.safetensors")...)
	if status != 0 || !strings.Contains(stderr, "left out: 1 ") ||
		!strings.Contains(stderr, "no file of the folder fits the patterns") {
		t.Errorf("%d, %s", status, stderr)
	}
	status, _, stderr = xetCommand(t, append(upload, folder+"/missing")...)
	if status == 0 || !strings.Contains(stderr, "missing") {
		t.Errorf("%d, %s", status, stderr)
	}
}

// What can't be read here, or is nothing, is known before a repo is made for it.
func TestNoRepoForNothing(t *testing.T) {
	folder, empty := t.TempDir(), t.TempDir()
	// Nobody can read it at its beginning, whatever rights they have.
	if err := os.Symlink("/proc/self/mem", filepath.Join(folder, "broken")); err != nil {
		t.Fatal(err)
	}
	repo := []string{"-repo", "alice/not-made", "-token", testhub.AliceToken}
	for path, want := range map[string]int{folder: 18, filepath.Join(folder, "broken"): 18, empty: 14} {
		status, _, stderr := xetCommand(t, append(repo, "-upload", path, "-create-repo")...)
		if status != want {
			t.Errorf("%s: %d, %s", path, status, stderr)
		}
		if status, _, _ := xetCommand(t, append(repo, "-list")...); status != 14 {
			t.Errorf("%s: there is a repo", path)
		}
	}
}

// A folder that fails in the middle leaves the page of each commit that it has made on stderr.
func TestUploadThatFails(t *testing.T) {
	folder := t.TempDir()
	for i := range 260 { // 250 go into the first commit
		name := filepath.Join(folder, fmt.Sprintf("%03d.txt", i))
		if err := os.WriteFile(name, []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	hub.FaultAfter(t, 1, "commit", testhub.Object{"status": 403})
	status, stdout, stderr := xetCommand(t, "-repo", "alice/half", "-upload", folder, "-create-repo",
		"-quiet", "-token", testhub.AliceToken)
	made := "committed before that: " + hub.Endpoint + "/alice/half/commit/"
	if status != 15 || stdout != "" || strings.Count(stderr, made) != 1 {
		t.Errorf("%d, %s, %s", status, stdout, stderr)
	}
}
