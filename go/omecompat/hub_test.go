package omecompat_test

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/xet-ffi/xet-ffi/go/internal/testhub"
	xet "github.com/xet-ffi/xet-ffi/go/omecompat"
)

const (
	modelRepo = "alice/model"
	dataRepo  = "alice/data"
	gatedRepo = "alice/gated"
)

var (
	hub   *testhub.Hub
	model = map[string][]byte{
		".gitattributes":     nil, // the Hub's own
		"config.json":        []byte("{\"layers\": 2}\n"),
		"nested/vocab.txt":   []byte("a\nb\n"),
		"model.safetensors":  noise(3_000_000),
		"original/00.pth":    noise(1_000_000),
		"original/notes.txt": []byte("old\n"),
	}
	data = map[string][]byte{"train.csv": []byte("a,b\n1,2\n")}
)

func TestMain(m *testing.M) {
	os.Exit(testhub.Run(m, publish, func() error { return nil }))
}

// publish uploads what the tests download, with the official client, which alone can upload over Xet.
func publish(started *testhub.Hub, base string) error {
	hub = started
	args := []string{filepath.Join(testhub.Root, "go", "testdata", "publish.py"), hub.Endpoint, testhub.AliceToken}
	for _, repo := range []struct {
		repoType, id string
		files        map[string][]byte
	}{
		{"model", modelRepo, model}, {"dataset", dataRepo, data},
		{"model", gatedRepo, map[string][]byte{"secret.txt": []byte("for members\n")}},
	} {
		folder := filepath.Join(base, "source", repo.id)
		for name, content := range repo.files {
			if name == ".gitattributes" {
				continue
			}
			path := filepath.Join(folder, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				return err
			}
			if err := os.WriteFile(path, content, 0o600); err != nil {
				return err
			}
		}
		args = append(args, repo.repoType, repo.id, folder)
	}
	python := os.Getenv("XET_PYTHON")
	if python == "" {
		python = filepath.Join(testhub.Root, ".venv", "bin", "python")
	}
	command := exec.Command(python, args...)
	command.Stderr = os.Stderr
	if err := command.Run(); err != nil {
		return fmt.Errorf("publishing: %w: run `make setup`, or set XET_PYTHON", err)
	}
	if err := hub.Request(http.MethodPost, "/api/models/"+modelRepo+"/branch/refs%2Ftry%2F7",
		testhub.Object{}); err != nil {
		return err
	}
	return hub.Request(http.MethodPut, "/_hub/repos/model/"+gatedRepo+"/settings",
		testhub.Object{"gate": "manual"})
}

func noise(size int) []byte {
	content := make([]byte, size)
	if _, err := rand.NewChaCha8([32]byte{byte(size >> 16)}).Read(content); err != nil {
		panic(err)
	}
	return content
}

// clientWith makes a client of a configuration; what it leaves open is filled in.
func clientWith(t *testing.T, config xet.Config) *xet.Client {
	t.Helper()
	t.Setenv("HF_XET_CACHE", t.TempDir()) // what another test has downloaded isn't reused
	config.Endpoint = hub.Endpoint
	config.CacheDir = t.TempDir()
	client, err := newClient(&config)
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

// alice is a client of the owner of all repos.
func alice(t *testing.T) *xet.Client {
	t.Helper()
	return clientWith(t, xet.Config{Token: testhub.AliceToken, EnableDedup: true})
}

// holds says that a folder has these files with their content, and no others, hidden ones included.
func holds(t *testing.T, folder string, names ...string) {
	t.Helper()
	wanted := map[string]bool{}
	for _, name := range names {
		wanted[name] = true
	}
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(folder, path)
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if entry.Name() == ".cache" {
				t.Error("there is a .cache")
			}
			return nil
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if !wanted[name] || name != ".gitattributes" && string(content) != string(model[name]) {
			t.Errorf("%s (%d bytes) was not asked for, or isn't what was published", name, len(content))
		}
		delete(wanted, name)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for name := range wanted {
		t.Errorf("%s is missing", name)
	}
}

func all() []string {
	var names []string
	for name := range model {
		names = append(names, name)
	}
	return names
}
