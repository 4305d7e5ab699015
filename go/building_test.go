package xet_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	xet "github.com/xet-ffi/xet-ffi/go"
)

// A header that is older than the package stops the compiler with one error, which names the version
// that is needed: that of the header which this package was tested with, since it uses all of it.
func TestOlderHeader(t *testing.T) {
	header, err := os.ReadFile("xet.h")
	if err != nil {
		t.Fatal(err)
	}
	number := regexp.MustCompile(`(#define XET_ABI_VERSION )\d+`)
	compiled, _ := xet.ABIVersion()
	module := copyOfModule(t)
	build := func(header string) (string, error) {
		if err := os.WriteFile(filepath.Join(module, "xet.h"), []byte(header), 0o600); err != nil {
			t.Fatal(err)
		}
		command := exec.Command("go", "build", "-tags", "xet_system", ".")
		command.Dir = module
		out, err := command.CombinedOutput()
		return string(out), err
	}
	if out, err := build(string(header)); err != nil {
		t.Fatalf("the present header: %v: %s", err, out)
	}
	out, err := build(number.ReplaceAllString(string(header), fmt.Sprintf("${1}%d", compiled-1)))
	needed := fmt.Sprintf("needs XET_ABI_VERSION %d or later: install a newer libxet", compiled)
	if err == nil || !strings.Contains(out, needed) || strings.Count(out, "error:") != 1 {
		t.Errorf("%v: %s", err, out)
	}
}

// copyOfModule returns the folder of a copy of this package, without its tests, in which other packages can
// be found that it is built with.
func copyOfModule(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if !entry.Type().IsRegular() || strings.HasSuffix(entry.Name(), "_test.go") {
			continue
		}
		content, err := os.ReadFile(entry.Name())
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, entry.Name()), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(filepath.Join(wd(t), "lib"), filepath.Join(folder, "lib")); err != nil {
		t.Fatal(err)
	}
	return folder
}

// wd returns the folder that the tests run in: the package's.
func wd(t *testing.T) string {
	t.Helper()
	folder, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	return folder
}

// Without cgo the compiler says that it is needed, and nothing else.
func TestWithoutCgo(t *testing.T) {
	for _, arguments := range [][]string{{"."}, {"-tags", "xet_debug", "."}, {"./examples/xet"}} {
		command := exec.Command("go", append([]string{"build"}, arguments...)...)
		command.Env = append(os.Environ(), "CGO_ENABLED=0")
		out, err := command.CombinedOutput()
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		if err == nil || len(lines) != 2 || !strings.Contains(lines[1],
			"package xet needs cgo: set CGO_ENABLED=1 and install a C compiler") {
			t.Errorf("%v: %s", err, out)
		}
	}
}
