package xet_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	xet "github.com/xet-ffi/xet-ffi/go"
)

// Figures of these are in bench/RESULTS.md, with the commands.

// BenchmarkCgo is a bare call into the library and back: what cgo itself costs.
func BenchmarkCgo(b *testing.B) {
	for b.Loop() {
		xet.ABIVersion()
	}
}

// BenchmarkListFiles is a listing: two requests to the hub.
func BenchmarkListFiles(b *testing.B) {
	client := newClient(b)
	cgo := bareCgo()
	for b.Loop() {
		if _, err := client.ListFiles(b.Context(), modelRepo); err != nil {
			b.Fatal(err)
		}
	}
	reportCgo(b, cgo)
}

// BenchmarkDownloadFile is a download that finds its file in the cache: of a commit, for which the
// hub needn't be asked, and of a branch, for which it must.
func BenchmarkDownloadFile(b *testing.B) {
	for _, revision := range []string{commits[modelRepo], "main"} {
		name := "branch"
		if revision != "main" {
			name = "commit"
		}
		b.Run(name, func(b *testing.B) {
			client := newClient(b)
			download := func() {
				_, err := client.DownloadFile(b.Context(), modelRepo, "config.json",
					xet.WithRevision(revision))
				if err != nil {
					b.Fatal(err)
				}
			}
			download()
			cgo := bareCgo()
			for b.Loop() {
				download()
			}
			reportCgo(b, cgo)
		})
	}
}

// bareCgo returns what a bare call costs just now.
func bareCgo() time.Duration {
	const calls = 100_000
	since := time.Now()
	for range calls {
		xet.ABIVersion()
	}
	return time.Since(since) / calls
}

func reportCgo(b *testing.B, cgo time.Duration) {
	each := float64(b.Elapsed()) / float64(b.N)
	b.ReportMetric(each/float64(max(cgo, 1)), "cgo-calls/op")
}

// BenchmarkCancel is the time from a cancelled context to the end of a call whose bytes have begun
// to come and then stalled. The promise is 100 ms.
func BenchmarkCancel(b *testing.B) {
	hub.Fault(b, "storage", object{"stall_after_bytes": 100_000})
	client := newClient(b)
	var took []time.Duration
	for b.Loop() {
		ctx, cancel := context.WithCancel(b.Context())
		var once sync.Once
		cancelled := make(chan time.Time, 1)
		// At some moment between two of the library's looks at the context, not right after one.
		later := time.Duration(len(took)*7%40) * time.Millisecond
		_, err := client.DownloadFile(ctx, modelRepo, "model.safetensors", xet.WithForceDownload(),
			xet.WithProgress(func(p xet.Progress) {
				if p.BytesNetwork > 0 {
					once.Do(func() {
						time.AfterFunc(later, func() {
							cancelled <- time.Now()
							cancel()
						})
					})
				}
			}))
		if err == nil {
			b.Fatal("it came")
		}
		took = append(took, time.Since(<-cancelled))
	}
	slices.Sort(took)
	milliseconds := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
	b.ReportMetric(milliseconds(took[len(took)/2]), "median-ms")
	b.ReportMetric(milliseconds(took[len(took)-1]), "max-ms")
}

// BenchmarkThroughput downloads a large file into an empty cache, in turn from Go and from a Python
// process that times its own calls, and reports the medians. XET_BENCH_MIB is the
// file's size; TMPDIR should be in memory, or the disk is what is measured.
func BenchmarkThroughput(b *testing.B) {
	const pairs = 15
	size := 1024
	if text := os.Getenv("XET_BENCH_MIB"); text != "" {
		var err error
		if size, err = strconv.Atoi(text); err != nil {
			b.Fatal(err)
		}
	}
	const repo, name = "alice/large", "large.bin"
	publishLarge(b, repo, name, size)
	python := startPython(b, repo, name)
	inGo := func(cache string) time.Duration {
		client := newClientWith(b, xet.Config{CacheDir: cache})
		since := time.Now()
		if _, err := client.DownloadFile(b.Context(), repo, name); err != nil {
			b.Fatal(err)
		}
		return time.Since(since)
	}
	empty := func(download func(string) time.Duration) float64 {
		cache := b.TempDir()
		took := download(cache)
		if err := os.RemoveAll(cache); err != nil {
			b.Fatal(err)
		}
		return took.Seconds()
	}
	for b.Loop() {
		empty(inGo) // whoever is first finds the hub's files not yet in memory
		var goes, pythons, ratios []float64
		for pair := range pairs {
			var g, p float64
			if pair%2 == 0 {
				g = empty(inGo)
				p = empty(python)
			} else {
				p = empty(python)
				g = empty(inGo)
			}
			goes, pythons, ratios = append(goes, g), append(pythons, p), append(ratios, p/g)
		}
		b.Logf("Go %.3f, Python %.3f, ratios %.3f", goes, pythons, ratios)
		b.ReportMetric(float64(size)/median(goes), "go-MiB/s")
		b.ReportMetric(float64(size)/median(pythons), "python-MiB/s")
		b.ReportMetric(median(ratios), "go/python")
		// The fastest runs are those that the rest of the machine disturbed least.
		b.ReportMetric(slices.Min(pythons)/slices.Min(goes), "go/python-fastest")
	}
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

func publishLarge(b *testing.B, repo, name string, mebibytes int) {
	b.Helper()
	folder := b.TempDir()
	path := filepath.Join(folder, name)
	file, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	for i := range mebibytes {
		if _, err := file.Write(noise(1<<20, uint64(i))); err != nil {
			b.Fatal(err)
		}
	}
	if err := file.Close(); err != nil {
		b.Fatal(err)
	}
	python := exec.Command(pythonBinary(), "testdata/publish.py", hub.Endpoint, aliceToken,
		"model", repo, folder)
	if out, err := python.CombinedOutput(); err != nil {
		b.Fatalf("publishing: %v: %s", err, out)
	}
	if err := os.Remove(path); err != nil {
		b.Fatal(err)
	}
}

// startPython starts a Python process that downloads a file into the caches that it is told, one
// after the other, and says how long each call took.
func startPython(b *testing.B, repo, name string) func(cache string) time.Duration {
	b.Helper()
	python := exec.Command(pythonBinary(), "testdata/download.py", hub.Endpoint, aliceToken, repo, name)
	python.Stderr = os.Stderr
	stdin, err := python.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	stdout, err := python.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := python.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := stdin.Close(); err != nil {
			b.Error(err)
		}
		if err := python.Wait(); err != nil {
			b.Error(err)
		}
	})
	answers := bufio.NewReader(stdout)
	return func(cache string) time.Duration {
		if _, err := fmt.Fprintln(stdin, cache); err != nil {
			b.Fatal(err)
		}
		line, err := answers.ReadString('\n')
		if err == io.EOF {
			b.Fatal("Python ended")
		}
		seconds, err := strconv.ParseFloat(strings.TrimSpace(line), 64)
		if err != nil {
			b.Fatal(err)
		}
		return time.Duration(seconds * float64(time.Second))
	}
}

// BenchmarkReadAt reads 4 KiB of an open file, which are in its window, or in the cache.
func BenchmarkReadAt(b *testing.B) {
	for _, cached := range []bool{false, true} {
		b.Run(map[bool]string{false: "window", true: "cache"}[cached], func(b *testing.B) {
			client := newClient(b)
			if cached {
				if _, err := client.DownloadFile(b.Context(), modelRepo, weights); err != nil {
					b.Fatal(err)
				}
			}
			file := open(b, client, xet.OpenRequest{RepoID: modelRepo, Filename: weights})
			buffer := make([]byte, 4096)
			cgo := bareCgo()
			for b.Loop() {
				if _, err := file.ReadAt(buffer, 1_000_000); err != nil {
					b.Fatal(err)
				}
			}
			reportCgo(b, cgo)
		})
	}
}
