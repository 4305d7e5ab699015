// Package testhub starts and drives an xet-hub, the real server that the tests run against.
package testhub

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// Users of the hub: alice owns the repos, bob is on no access list.
const (
	AliceToken = "hf_alice_secret"
	BobToken   = "hf_bob_secret"
)

// Root is the folder of the repository.
var Root = func() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..", "..")
}()

// Hub is a running xet-hub.
type Hub struct {
	Endpoint string
	process  *exec.Cmd
}

// Object is JSON.
type Object map[string]any

// Start serves a new data folder below base. The binary is that of XET_HUB_BINARY, else cargo's.
func Start(base string) (*Hub, error) {
	binary := os.Getenv("XET_HUB_BINARY")
	if binary == "" {
		binary = filepath.Join(Root, "native", "target", "release", "xet-hub")
	}
	process := exec.Command(binary, "serve", "--data", filepath.Join(base, "hub"),
		"--print-ready", "json", "--token", "alice:"+AliceToken, "--token", "bob:"+BobToken)
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
	return &Hub{ready.Endpoint, process}, nil
}

// Stop stops the server.
func (h *Hub) Stop() error {
	http.DefaultClient.CloseIdleConnections()
	return errors.Join(h.process.Process.Signal(syscall.SIGTERM), h.process.Wait())
}

// Publish makes a model of alice's with files that git keeps. Others need the official client.
func (h *Hub) Publish(name string, files map[string][]byte) error {
	err := h.Request(http.MethodPost, "/api/repos/create", Object{"type": "model", "name": name})
	if err != nil {
		return err
	}
	var commit bytes.Buffer
	lines := json.NewEncoder(&commit)
	err = lines.Encode(Object{"key": "header", "value": Object{"summary": "Add files"}})
	for path, content := range files {
		encoded := base64.StdEncoding.EncodeToString(content)
		file := Object{"path": path, "content": encoded, "encoding": "base64"}
		err = errors.Join(err, lines.Encode(Object{"key": "file", "value": file}))
	}
	if err != nil {
		return err
	}
	return h.send(http.MethodPost, "/api/models/alice/"+name+"/commit/main", &commit)
}

// Request sends JSON, as alice.
func (h *Hub) Request(method, path string, body any) error {
	encoded, err := json.Marshal(body)
	if err != nil {
		return err
	}
	return h.send(method, path, bytes.NewReader(encoded))
}

func (h *Hub) send(method, path string, body io.Reader) error {
	request, err := http.NewRequestWithContext(context.Background(), method, h.Endpoint+path, body)
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Authorization", "Bearer "+AliceToken)
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

// Fault makes the hub misbehave on a route until the test ends.
func (h *Hub) Fault(t testing.TB, route string, action Object) {
	t.Helper()
	h.FaultAfter(t, 0, route, action)
}

// FaultAfter is Fault from the request on that follows so many.
func (h *Hub) FaultAfter(t testing.TB, requests int, route string, action Object) {
	t.Helper()
	rules := []Object{{"route": route, "skip": requests, "action": action}}
	if err := h.Request(http.MethodPost, "/_hub/faults", rules); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Request(http.MethodDelete, "/_hub/faults", nil); err != nil {
			t.Error(err)
		}
	})
}

// Fired says whether a rule that makes the hub misbehave has done so, by its number; yes, after an
// error, so that nothing waits for it. It may be asked in a callback.
func (h *Hub) Fired(t testing.TB, rule int) bool {
	t.Helper()
	answer, err := http.Get(h.Endpoint + "/_hub/faults")
	if err != nil {
		t.Error(err)
		return true
	}
	defer answer.Body.Close()
	var rules []struct{ Fired int }
	if err := json.NewDecoder(answer.Body).Decode(&rules); err != nil || rule >= len(rules) {
		t.Error(rules, err)
		return true
	}
	return rules[rule].Fired > 0
}

// Isolate takes everything of the user's out of the environment: tokens, caches, proxies.
func Isolate(base string) error {
	for _, entry := range os.Environ() {
		name, _, _ := strings.Cut(entry, "=")
		if strings.HasPrefix(name, "HF_") || strings.HasPrefix(name, "HUGGING") ||
			name == "XET_FFI_TRANSPORT" ||
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

// Run runs tests with a hub in a new folder, which is removed afterwards. `prepare` publishes, and
// `check` looks at what the tests left behind.
func Run(m *testing.M, prepare func(hub *Hub, base string) error, check func() error) int {
	code, err := run(m, prepare, check)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

func run(
	m *testing.M, prepare func(*Hub, string) error, check func() error,
) (code int, err error) {
	base, err := os.MkdirTemp("", "xet-go-")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(base)) }()
	if err := Isolate(base); err != nil {
		return 0, err
	}
	hub, err := Start(base)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, hub.Stop()) }()
	if err := prepare(hub, base); err != nil {
		return 0, err
	}
	code = m.Run()
	http.DefaultClient.CloseIdleConnections()
	return code, check()
}
