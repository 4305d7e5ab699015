package xet_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	xet "github.com/xet-ffi/xet-ffi/go"
	"go.uber.org/goleak"
)

// Users of the hub: alice owns the repos, bob is on no access list.
const (
	aliceToken = "hf_alice_secret"
	bobToken   = "hf_bob_secret"
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

// hub is the xet-hub of all tests. They don't run in parallel, and each narrows its faults to itself.
var hub *testHub

func TestMain(m *testing.M) {
	code, err := withHub(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(code)
}

func withHub(m *testing.M) (code int, err error) {
	if os.Getenv(preloaded) != "" { // in a child that needs no hub
		return m.Run(), nil
	}
	base, err := os.MkdirTemp("", "xet-go-")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(base)) }()
	if err := isolate(base); err != nil {
		return 0, err
	}
	hub, err = startHub(base)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, hub.stop()) }()
	if err := hub.publish(base); err != nil {
		return 0, err
	}
	code = m.Run()
	http.DefaultClient.CloseIdleConnections()
	if code == 0 {
		err = errors.Join(goleak.Find(), xet.CheckNatives())
	}
	return code, err
}

// isolate takes everything of the user's out of the environment.
func isolate(base string) error {
	for _, entry := range os.Environ() {
		name, _, _ := strings.Cut(entry, "=")
		if strings.HasPrefix(name, "HF_") || strings.HasPrefix(name, "HUGGING") ||
			strings.HasSuffix(strings.ToUpper(name), "_PROXY") || name == "RUST_LOG" {
			if err := os.Unsetenv(name); err != nil {
				return err
			}
		}
	}
	return errors.Join(
		os.Setenv("HF_HOME", filepath.Join(base, "hf")),
		os.Setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1"),
		os.Setenv("HF_HUB_DISABLE_TELEMETRY", "1"),
	)
}

type testHub struct {
	endpoint string
	process  *exec.Cmd
	commits  map[string]string
}

func startHub(base string) (*testHub, error) {
	binary := or(os.Getenv("XET_HUB_BINARY"), "../native/target/release/xet-hub")
	process := exec.Command(binary, "serve", "--data", filepath.Join(base, "hub"),
		"--print-ready", "json", "--token", "alice:"+aliceToken, "--token", "bob:"+bobToken)
	process.Stderr = os.Stderr
	stdout, err := process.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := process.Start(); err != nil {
		return nil, fmt.Errorf("%w: run `make native`, or set XET_HUB_BINARY", err)
	}
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	var ready struct{ Endpoint string }
	if err == nil {
		err = json.Unmarshal(line, &ready)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("xet-hub did not start: %w", err),
			process.Process.Kill(), process.Wait())
	}
	return &testHub{endpoint: ready.Endpoint, process: process}, nil
}

func (h *testHub) stop() error {
	return errors.Join(h.process.Process.Signal(syscall.SIGTERM), h.process.Wait())
}

// publish uploads what the tests download, all in one run of the official client.
func (h *testHub) publish(base string) error {
	repos := []struct {
		repoType, id string
		files        map[string][]byte
	}{{"model", modelRepo, model}, {"dataset", datasetRepo, dataset}, {"model", gatedRepo, gated}}
	args := []string{"testdata/publish.py", h.endpoint, aliceToken}
	for _, repo := range repos {
		folder := filepath.Join(base, "source", repo.id)
		if err := write(folder, repo.files); err != nil {
			return err
		}
		args = append(args, repo.repoType, repo.id, folder)
	}
	python := exec.Command(or(os.Getenv("XET_PYTHON"), "../.venv/bin/python"), args...)
	python.Stderr = os.Stderr
	out, err := python.Output()
	if err != nil {
		return fmt.Errorf("publishing: %w: run `make setup`, or set XET_PYTHON", err)
	}
	h.commits = map[string]string{}
	for i, commit := range strings.Fields(string(out)) {
		h.commits[repos[i].id] = commit
	}
	return h.request(http.MethodPut, "/_hub/repos/model/"+gatedRepo+"/settings",
		map[string]string{"gate": "manual"})
}

// request calls the hub's test API.
func (h *testHub) request(method, path string, body any) error {
	encoded, err := json.Marshal(body)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(
		context.Background(), method, h.endpoint+path, bytes.NewReader(encoded))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode >= 300 {
		err = fmt.Errorf("%s %s: %s %s", method, path, answer.Status, text)
	}
	return err
}

type object map[string]any

// fault makes the hub misbehave on a route until the test ends.
func (h *testHub) fault(t *testing.T, route string, action object) {
	t.Helper()
	rule := object{"route": route, "action": action}
	if err := h.request(http.MethodPost, "/_hub/faults", []any{rule}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.request(http.MethodDelete, "/_hub/faults", nil); err != nil {
			t.Error(err)
		}
	})
}

// newClient returns alice's client with an empty cache, until the test ends.
func newClient(t testing.TB) *xet.Client {
	t.Helper()
	return newClientWith(t, xet.Config{})
}

// newClientWith is newClient with a configuration; what it leaves open is filled in.
func newClientWith(t testing.TB, config xet.Config) *xet.Client {
	t.Helper()
	config.Endpoint = or(config.Endpoint, hub.endpoint)
	config.CacheDir = or(config.CacheDir, t.TempDir())
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
	source := rand.NewChaCha8([32]byte{byte(seed)})
	if _, err := source.Read(content); err != nil {
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
