package xet_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	xet "github.com/xet-ffi/xet-ffi/go"
	"github.com/xet-ffi/xet-ffi/go/internal/testhub"
	"go.uber.org/goleak"
)

const (
	aliceToken = testhub.AliceToken
	bobToken   = testhub.BobToken
)

// What is published on the hub, by repo and path.
const (
	modelRepo   = "alice/model"
	datasetRepo = "alice/data"
	gatedRepo   = "alice/gated"
)

var (
	model = map[string][]byte{
		"README.md":              []byte("---\nlicense: apache-2.0\n---\n# A model\n"),
		"config.json":            []byte("{\"layers\": 2}\n"),
		"empty.txt":              nil,
		"nested/café 雪.json":     []byte("{\"a\": 1}\n"),
		"nested/part.bin":        noise(200_000, 1),
		"model.safetensors":      noise(3_000_000, 2),
		"lfs/old.bin":            noise(100_000, 3),
		"other/weights.bin":      noise(150_000, 4),
		"other/deeper/vocab.txt": []byte("a\nb\n"),
	}
	dataset = map[string][]byte{"train.csv": []byte("a,b\n1,2\n")}
	gated   = map[string][]byte{"secret.txt": []byte("for members\n")}
)

// hub is the xet-hub of all tests, which don't run in parallel; commits are those of its repos.
var (
	hub     *testhub.Hub
	commits = map[string]string{}
)

type object = testhub.Object

// preloaded is set in a child process that has an older library: see TestOlderLibrary.
const preloaded = "XET_TEST_PRELOADED"

func TestMain(m *testing.M) {
	if os.Getenv(preloaded) != "" { // in a child that needs no hub
		os.Exit(m.Run())
	}
	os.Exit(testhub.Run(m, publish, func() error {
		return errors.Join(goleak.Find(), xet.CheckNatives())
	}))
}

// publish uploads what the tests download, all in one run of the official client, which alone can
// upload over Xet.
func publish(started *testhub.Hub, base string) error {
	hub = started
	// For the examples; the tests say what they mean.
	if err := errors.Join(
		os.Setenv("HF_ENDPOINT", hub.Endpoint), os.Setenv("HF_TOKEN", aliceToken),
	); err != nil {
		return err
	}
	repos := []struct {
		repoType, id string
		files        map[string][]byte
	}{{"model", modelRepo, model}, {"dataset", datasetRepo, dataset}, {"model", gatedRepo, gated}}
	args := []string{"testdata/publish.py", hub.Endpoint, aliceToken}
	for _, repo := range repos {
		folder := filepath.Join(base, "source", repo.id)
		if err := write(folder, repo.files); err != nil {
			return err
		}
		args = append(args, repo.repoType, repo.id, folder)
	}
	python := exec.Command(pythonBinary(), args...)
	python.Stderr = os.Stderr
	out, err := python.Output()
	if err != nil {
		return fmt.Errorf("publishing: %w: run `make setup`, or set XET_PYTHON", err)
	}
	for i, commit := range strings.Fields(string(out)) {
		commits[repos[i].id] = commit
	}
	return hub.Request(http.MethodPut, "/_hub/repos/model/"+gatedRepo+"/settings",
		object{"gate": "manual"})
}

func pythonBinary() string {
	return or(os.Getenv("XET_PYTHON"), "../.venv/bin/python")
}

// newClient returns alice's client with an empty cache, until the test ends.
func newClient(t testing.TB) *xet.Client {
	t.Helper()
	return newClientWith(t, xet.Config{})
}

// newClientWith is newClient with a configuration; what it leaves open is filled in.
func newClientWith(t testing.TB, config xet.Config) *xet.Client {
	t.Helper()
	config.Endpoint = or(config.Endpoint, hub.Endpoint)
	config.CacheDir = or(config.CacheDir, t.TempDir())
	// What another test has downloaded isn't reused.
	t.Setenv("HF_XET_CACHE", t.TempDir())
	if !config.Anonymous {
		config.Token = or(config.Token, aliceToken)
	}
	client, err := xet.NewClient(&config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	})
	return client
}

func noise(size int, seed uint64) []byte {
	content := make([]byte, size)
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	if _, err := rand.NewChaCha8(key).Read(content); err != nil {
		panic(err)
	}
	return content
}

func write(folder string, files map[string][]byte) error {
	for name, content := range files {
		path := filepath.Join(folder, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, content, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// read returns the files below a folder, without those that the Hub or the library add.
func read(t *testing.T, folder string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.Name() == ".cache":
			return fs.SkipDir
		case entry.IsDir() || entry.Name() == ".gitattributes":
			return nil
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(folder, path)
		files[filepath.ToSlash(name)] = content
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// only returns the files whose names a predicate likes.
func only(files map[string][]byte, likes func(string) bool) map[string][]byte {
	chosen := map[string][]byte{}
	for name, content := range files {
		if likes(name) {
			chosen[name] = content
		}
	}
	return chosen
}

func sameFiles(t *testing.T, got, want map[string][]byte) {
	t.Helper()
	for name, content := range want {
		if found, ok := got[name]; !ok || !bytes.Equal(found, content) {
			t.Errorf("%s: present %v, %d bytes; published were %d", name, ok, len(found), len(content))
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			t.Errorf("%s was not asked for", name)
		}
	}
}

func or(value, fallback string) string {
	if value == "" {
		return fallback
	}
	return value
}

// soon is how long a call may take that must not wait for the network: the promise is 100 ms, and the
// rest is for busy machines. What it must not wait for takes at least 15 s.
const soon = 5 * time.Second
