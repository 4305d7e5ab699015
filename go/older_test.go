//go:build linux && !xet_static

package xet_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	xet "github.com/xet-ffi/xet-ffi/go"
)

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
	source := filepath.Join(t.TempDir(), "older.c")
	older := strings.TrimSuffix(source, "c") + "so"
	compiled, _ := xet.ABIVersion()
	text := fmt.Sprintf("#include <stdint.h>\nuint32_t xet_abi_version(void) { return %d; }\n", compiled-1)
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
		!strings.Contains(string(out), fmt.Sprintf(
			"has ABI version %d, but this program needs %d or later", compiled-1, compiled)) {
		t.Errorf("%v: %s", err, out)
	}
}
