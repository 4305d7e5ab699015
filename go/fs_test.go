package xet_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	xet "github.com/xet-ffi/xet-ffi/go"
)

var (
	_ fs.ReadDirFS  = (*xet.FS)(nil)
	_ fs.StatFS     = (*xet.FS)(nil)
	_ fs.ReadFileFS = (*xet.FS)(nil)
	_ fs.SubFS      = (*xet.FS)(nil)
)

func newFS(t *testing.T, client *xet.Client, request xet.OpenRequest) *xet.FS {
	t.Helper()
	fsys, err := client.FS(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	return fsys
}

// small are files that the standard library's tests can read byte by byte, again and again.
var small = map[string][]byte{
	"README.md": []byte("# A model\n"), "empty.txt": nil, "weights.bin": noise(60, 41),
	"other/café 雪.json": []byte("{}\n"), "other/deeper/weights.safetensors": noise(90, 42),
}

// newSmall publishes them in a repo of the test's own, which has nothing else.
func newSmall(t *testing.T, client *xet.Client) string {
	t.Helper()
	repo := newRepo(t, client)
	operations := []xet.Operation{xet.Delete(".gitattributes")}
	for name, content := range small {
		operations = append(operations, xet.AddBytes(name, content))
	}
	if _, err := client.CreateCommit(t.Context(), repo, operations); err != nil {
		t.Fatal(err)
	}
	return repo
}

// A repo is a file system as the standard library's own test has it, and so are its folders.
func TestFS(t *testing.T) {
	client := newClient(t)
	fsys := newFS(t, client, xet.OpenRequest{RepoID: newSmall(t, client)})
	names := slices.Collect(maps.Keys(small))
	if err := fstest.TestFS(fsys, append(names, "other/deeper")...); err != nil {
		t.Error(err)
	}
	sub, err := fs.Sub(fsys, "other")
	if err != nil {
		t.Fatal(err)
	}
	if err := fstest.TestFS(sub, "café 雪.json", "deeper/weights.safetensors"); err != nil {
		t.Error(err)
	}
	deeper, err := fs.Sub(sub, "deeper")
	if err != nil {
		t.Fatal(err)
	}
	content, err := fs.ReadFile(deeper, "weights.safetensors")
	if err != nil || !bytes.Equal(content, small["other/deeper/weights.safetensors"]) {
		t.Errorf("%d bytes, %v", len(content), err)
	}
}

// A repo that has nothing is one, too, and so is one of another type.
func TestFSOfOtherRepos(t *testing.T) {
	client := newClient(t)
	repo := newRepo(t, client)
	if _, err := client.CreateCommit(t.Context(), repo,
		[]xet.Operation{xet.Delete(".gitattributes")}); err != nil {
		t.Fatal(err)
	}
	if err := fstest.TestFS(newFS(t, client, xet.OpenRequest{RepoID: repo})); err != nil {
		t.Error(err)
	}
	data := newFS(t, client, xet.OpenRequest{RepoID: datasetRepo, RepoType: xet.RepoTypeDataset})
	if content, err := fs.ReadFile(data, "train.csv"); err != nil || string(content) != "a,b\n1,2\n" {
		t.Errorf("%q, %v", content, err)
	}
}

// A walk finds what was listed, as it was listed, and asks the Hub for nothing.
func TestWalk(t *testing.T) {
	client := newClient(t)
	listing, err := client.List(t.Context(), modelRepo)
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]xet.FileInfo{}
	for _, file := range listing.Files {
		listed[file.Path] = file
	}
	fsys := newFS(t, client, xet.OpenRequest{RepoID: modelRepo})
	if fsys.Commit() != listing.Commit {
		t.Error(fsys.Commit())
	}
	client.Close() // so that it can't
	folders := 0
	err = fs.WalkDir(fsys, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		if info.IsDir() {
			folders++
			if info.Sys() != nil || info.Mode() != fs.ModeDir|0o555 {
				t.Errorf("%s: %v", name, info)
			}
			return nil
		}
		if *info.Sys().(*xet.FileInfo) != listed[name] || info.Name() != path.Base(name) ||
			info.Size() != listed[name].Size || info.Mode() != 0o444 || !info.ModTime().IsZero() {
			t.Errorf("%v, listed as %+v", info, listed[name])
		}
		delete(listed, name)
		return nil
	})
	if err != nil || len(listed) > 0 || folders != 5 {
		t.Errorf("%v, %d folders, and not found: %v", err, folders, listed)
	}
	if found, err := fs.Glob(fsys, "o*/*.bin"); err != nil || !slices.Equal(found, []string{"other/weights.bin"}) {
		t.Errorf("%v, %v", found, err)
	}
	_, err = fsys.Open("config.json")
	wantClosed(t, err)
}

// What can't be had is an error that programs know, with the name that was asked for, and one of this package.
func TestFSFails(t *testing.T) {
	fsys := newFS(t, newClient(t), xet.OpenRequest{RepoID: modelRepo})
	sub, err := fs.Sub(fsys, "other")
	if err != nil {
		t.Fatal(err)
	}
	want := func(operation, name string, is error, err error) {
		t.Helper()
		var failed *fs.PathError
		var failure *xet.Error
		if !errors.As(err, &failed) || failed.Op != operation || failed.Path != name ||
			!errors.As(err, &failure) || (is != nil && !errors.Is(err, is)) {
			t.Errorf("%s %s: %v", operation, name, err)
		}
	}
	for name, is := range map[string]error{
		"none": fs.ErrNotExist, "other/none": fs.ErrNotExist, "config.json/none": fs.ErrNotExist,
		"other/": fs.ErrInvalid, "/": fs.ErrInvalid, "../other": fs.ErrInvalid, "": fs.ErrInvalid,
	} {
		for _, fsys := range []fs.FS{fsys, sub} {
			_, err := fsys.Open(name)
			want("open", name, is, err)
			_, err = fs.Stat(fsys, name)
			want("stat", name, is, err)
			_, err = fs.ReadDir(fsys, name)
			want("readdir", name, is, err)
			_, err = fs.ReadFile(fsys, name)
			want("open", name, is, err)
			_, err = fsys.(fs.SubFS).Sub(name)
			want("sub", name, is, err)
		}
	}
	_, err = fsys.Open("none")
	if !errors.Is(err, xet.ErrEntryNotFound) {
		t.Error(err)
	}
	var failure *xet.Error
	if _, err = sub.Open("weights.txt"); !errors.As(err, &failure) || failure.File != "other/weights.txt" ||
		failure.Repo != modelRepo || failure.Revision != commits[modelRepo] {
		t.Errorf("%+v", failure)
	}
	_, err = fsys.ReadDir("config.json")
	want("readdir", "config.json", nil, err)
	_, err = fsys.Sub("config.json")
	want("sub", "config.json", nil, err)
	_, err = fsys.ReadFile("other")
	want("read", "other", nil, err)
	folder, err := fsys.Open("other")
	if err != nil {
		t.Fatal(err)
	}
	_, err = folder.Read(make([]byte, 1))
	want("read", "other", nil, err)
	if err := folder.Close(); err != nil {
		t.Error(err)
	}
	_, err = folder.Stat()
	if !errors.Is(err, fs.ErrClosed) {
		t.Error(err)
	}
	_, err = folder.(fs.ReadDirFile).ReadDir(1)
	if !errors.Is(err, fs.ErrClosed) {
		t.Error(err)
	}
}

// What the Hub refuses when a repo is listed, or a file opened, is no file system.
func TestFSThatIsRefused(t *testing.T) {
	bob := newClientWith(t, xet.Config{Token: bobToken})
	gate := newFS(t, bob, xet.OpenRequest{RepoID: gatedRepo})
	_, err := gate.Open("secret.txt")
	var failed *fs.PathError
	if !errors.As(err, &failed) || !errors.Is(err, xet.ErrGatedRepo) || !errors.Is(err, fs.ErrPermission) {
		t.Error(err)
	}
	_, err = bob.FS(t.Context(), xet.OpenRequest{RepoID: "alice/none"})
	if !errors.Is(err, xet.ErrRepoNotFound) || !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	_, err = bob.FS(t.Context(), xet.OpenRequest{RepoID: modelRepo, Filename: weights})
	wantInvalid(t, err, "filename")
	ctx, cancel := context.WithCancel(t.Context())
	fsys, err := bob.FS(ctx, xet.OpenRequest{RepoID: modelRepo})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := fsys.Open(weights); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// A listing that no file system can have is refused by a path that is wrong, and nothing is left out.
func TestFSOfAListingThatIsNone(t *testing.T) {
	client := newClient(t)
	for i, planted := range []string{
		"../evil", "/evil", "a//evil", "a/./evil", "evil/", ".", "a", "a.txt", "a.txt/b",
	} {
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			repo := newRepo(t, client)
			if _, err := client.CreateCommit(t.Context(), repo, []xet.Operation{
				xet.AddBytes("a.txt", []byte("a")), xet.AddBytes("a/b", []byte("b")),
			}); err != nil {
				t.Fatal(err)
			}
			if err := hub.Request(http.MethodPost, "/_hub/raw-tree", object{"repo": repo,
				"repo_type": "model", "entries": []object{{"path": planted, "content": "evil"}}}); err != nil {
				t.Fatal(err)
			}
			_, err := client.FS(t.Context(), xet.OpenRequest{RepoID: repo})
			// Of a file that is also a folder, either is wrong.
			wrong := map[string][]string{"a": {"a", "a/b"}, "a.txt/b": {"a.txt", "a.txt/b"}}[planted]
			var failure *xet.Error
			if !errors.As(err, &failure) || failure.Code != xet.CodeNetworkError ||
				!slices.Contains(append(wrong, planted), failure.File) ||
				!strings.Contains(failure.Message, failure.File) {
				t.Errorf("%q: %v", planted, err)
			}
		})
	}
}

// Without a network a file system is what the cache has, for a client that is offline and for one that is
// told; unless something is known to be missing.
func TestFSWithoutANetwork(t *testing.T) {
	cache := t.TempDir()
	client := newClientWith(t, xet.Config{CacheDir: cache})
	offline := newClientWith(t, xet.Config{CacheDir: cache, Offline: true})
	repo := newSmall(t, client)
	ask := func(check func(*xet.FS, error)) {
		for client, told := range map[*xet.Client]bool{client: true, offline: false} {
			check(client.FS(t.Context(), xet.OpenRequest{RepoID: repo, LocalFilesOnly: told}))
		}
	}
	missing := func(_ *xet.FS, err error) {
		t.Helper()
		if !errors.Is(err, xet.ErrLocalEntryNotFound) {
			t.Error(err)
		}
	}
	ask(missing)
	if _, err := client.DownloadFile(t.Context(), repo, "README.md"); err != nil {
		t.Fatal(err)
	}
	ask(func(fsys *xet.FS, err error) {
		if err != nil {
			t.Fatal(err)
		}
		if err := fstest.TestFS(fsys, "README.md"); err != nil {
			t.Error(err)
		}
	})
	if _, err := client.DownloadSnapshot(t.Context(), repo, xet.WithAllowPatterns("*.md")); err != nil {
		t.Fatal(err)
	}
	ask(missing)
	listed := newFS(t, client, xet.OpenRequest{RepoID: repo})
	if _, err := client.DownloadSnapshot(t.Context(), repo); err != nil {
		t.Fatal(err)
	}
	ask(func(fsys *xet.FS, err error) {
		if err != nil {
			t.Fatal(err)
		}
		if fsys.Commit() != listed.Commit() {
			t.Error(fsys.Commit())
		}
		err = fs.WalkDir(fsys, ".", func(name string, entry fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := entry.Info()
			if err != nil {
				return err
			}
			if content, here := small[name]; here {
				found, err := fsys.ReadFile(name)
				if err != nil || !bytes.Equal(found, content) {
					t.Errorf("%s: %q, %v", name, found, err)
				}
			}
			want, err := listed.Stat(name)
			if err != nil || fs.FormatFileInfo(info) != fs.FormatFileInfo(want) {
				t.Errorf("%v, listed as %v, %v", info, want, err)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
}

// A file system stays at its commit.
func TestFSStaysAtItsCommit(t *testing.T) {
	client := newClient(t)
	repo := newRepo(t, client)
	for _, text := range []string{"old", "new"} {
		if _, err := client.CreateCommit(t.Context(), repo,
			[]xet.Operation{xet.AddBytes("a.txt", []byte(text))}); err != nil {
			t.Fatal(err)
		}
		if text == "new" {
			continue
		}
		fsys := newFS(t, client, xet.OpenRequest{RepoID: repo})
		defer func() {
			content, err := fsys.ReadFile("a.txt")
			if err != nil || string(content) != "old" {
				t.Errorf("%q, %v", content, err)
			}
		}()
	}
}

// A web server serves files of the Hub, in parts, too.
func TestAWebServer(t *testing.T) {
	fsys := newFS(t, newClient(t), xet.OpenRequest{RepoID: modelRepo})
	server := httptest.NewServer(http.FileServer(http.FS(fsys)))
	defer server.Close()
	content := model[weights]
	get := func(path, wanted string) (int, []byte) {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if wanted != "" {
			request.Header.Set("Range", wanted)
		}
		answer, err := server.Client().Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		return answer.StatusCode, body
	}
	for _, c := range []struct {
		path, wanted string
		status       int
		body         []byte
	}{
		{"/" + weights, "", http.StatusOK, content},
		{"/" + weights, "bytes=1000000-1999999", http.StatusPartialContent, content[1_000_000:2_000_000]},
		{"/" + weights, "bytes=-10", http.StatusPartialContent, content[len(content)-10:]},
		{"/other/deeper/vocab.txt", "", http.StatusOK, model["other/deeper/vocab.txt"]},
	} {
		if status, body := get(c.path, c.wanted); status != c.status || !bytes.Equal(body, c.body) {
			t.Errorf("%s %s: %d, %d bytes", c.path, c.wanted, status, len(body))
		}
	}
	if status, _ := get("/none", ""); status != http.StatusNotFound {
		t.Error(status)
	}
	if _, body := get("/other/", ""); !bytes.Contains(body, []byte(`<a href="deeper/">`)) {
		t.Errorf("%s", body)
	}
}
