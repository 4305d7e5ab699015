//go:build xet_debug

package xet

import (
	"fmt"
	"runtime"
	"time"
)

// CheckNatives waits until the count of what lives in C is 0; cleanups of collected clients run on
// a goroutine of the runtime.
func CheckNatives() error {
	for end := time.Now().Add(10 * time.Second); natives.Load() != 0; runtime.Gosched() {
		if time.Now().After(end) {
			return fmt.Errorf("%d native objects are still alive", natives.Load())
		}
		runtime.GC()
	}
	return nil
}
