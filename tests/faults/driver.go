// Makes the calls of the fault matrix from Go: a JSON object per line says what to fetch, and one
// line answers how that ended. See cell.py.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	xet "github.com/xet-ffi/xet-ffi/go"
)

type request struct {
	Endpoint string
	Cache    string
	Repo     string
	// File is what to download; empty lists the files.
	File string
	// Folders are where to; an empty one is the cache. They are filled side by side.
	Folders []string
	// Limit is how many seconds it may take.
	Limit float64
}

type outcome struct {
	Kind  string   `json:"kind"`
	Text  string   `json:"text"`
	Files []string `json:"files"`
}

func (r *request) run() []outcome {
	client, err := xet.NewClient(&xet.Config{
		Endpoint: r.Endpoint, Anonymous: true, CacheDir: r.Cache,
		ReadTimeout: time.Second, ConnectTimeout: time.Second, MaxAttempts: 2,
	})
	if err != nil {
		return []outcome{failed(err)}
	}
	defer client.Close()
	outcomes := make([]outcome, len(r.Folders))
	var calls sync.WaitGroup
	for i, folder := range r.Folders {
		calls.Add(1)
		go func() {
			defer calls.Done()
			outcomes[i] = r.attempt(client, folder)
		}()
	}
	calls.Wait()
	return outcomes
}

func (r *request) attempt(client *xet.Client, folder string) outcome {
	limit := time.Duration(r.Limit * float64(time.Second))
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	if r.File == "" {
		files, err := client.ListFiles(ctx, r.Repo)
		if err != nil {
			return failed(err)
		}
		done := outcome{Kind: "ok"}
		for _, file := range files {
			done.Files = append(done.Files, file.Path)
		}
		return done
	}
	transfer, err := client.DownloadFile(ctx, r.Repo, r.File, xet.WithLocalDir(folder))
	if err != nil {
		return failed(err)
	}
	return outcome{Kind: "ok", Text: transfer.Path}
}

func failed(err error) outcome {
	var failure *xet.Error
	if errors.As(err, &failure) {
		return outcome{Kind: failure.Details.Kind, Text: failure.Message}
	}
	return outcome{Kind: fmt.Sprintf("%T", err), Text: err.Error()}
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	answers := json.NewEncoder(os.Stdout)
	for lines.Scan() {
		var r request
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			panic(err)
		}
		if err := answers.Encode(r.run()); err != nil {
			panic(err)
		}
	}
}
