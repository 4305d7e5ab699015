package xet_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	xet "github.com/xet-ffi/xet-ffi/go"
)

// preloaded is set in a child process that has an older library.
const preloaded = "XET_TEST_PRELOADED"

// The library has at least the interface that the package was compiled with.
func TestABIVersion(t *testing.T) {
	if compiled, library := xet.ABIVersion(); compiled < 1 || library < compiled {
		t.Errorf("compiled with %d, library has %d", compiled, library)
	}
	if xet.Version() == "" {
		t.Error("no version")
	}
}

// A library that is older than the header says so, with both numbers, before anything is done.
func TestOlderLibrary(t *testing.T) {
	if os.Getenv(preloaded) != "" {
		_, err := xet.NewClient(&xet.Config{})
		if err == nil || xet.SetLogger(nil) == nil {
			t.Fatal("made a client")
		}
		os.Stdout.WriteString("refused: " + err.Error() + "\n")
		return
	}
	if runtime.GOOS != "linux" {
		t.Skip("needs LD_PRELOAD")
	}
	source := filepath.Join(t.TempDir(), "older.c")
	older := strings.TrimSuffix(source, "c") + "so"
	const text = "#include <stdint.h>\nuint32_t xet_abi_version(void) { return 0; }\n"
	if err := os.WriteFile(source, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	compile := exec.Command(or(os.Getenv("CC"), "cc"), "-shared", "-fPIC", source, "-o", older)
	if out, err := compile.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	child := exec.Command(os.Args[0], "-test.run=^TestOlderLibrary$")
	child.Env = append(os.Environ(), preloaded+"=1", "LD_PRELOAD="+older)
	out, err := child.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "refused: ") ||
		!strings.Contains(string(out), "has ABI version 0, but this program needs 1 or later") {
		t.Errorf("%v: %s", err, out)
	}
}
