package xet_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	xet "github.com/xet-ffi/xet-ffi/go"
)

// These run against the tests' hub, which the environment names as it would name another one.

func Example() {
	client, err := xet.NewClient(&xet.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	model, err := client.DownloadSnapshot(context.Background(), "alice/model",
		xet.WithAllowPatterns("*.json", "*.safetensors"))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		log.Fatal("no such model")
	case err != nil:
		log.Fatal(err)
	}
	for _, file := range model.FileTransfers {
		fmt.Println(file.Path, file.BytesTotal)
	}
	// Output:
	// config.json 14
	// model.safetensors 3000000
	// nested/café 雪.json 9
}

func ExampleNewClient() {
	client, err := xet.NewClient(&xet.Config{
		UserAgent:   "my-service/1.2",
		Anonymous:   true, // whatever HF_TOKEN holds
		ReadTimeout: 30 * time.Second,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	info, err := client.Info()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(info.TokenSource, info.Transport, info.MaxConcurrentDownloads)
	// Output: none auto 8
}

func ExampleClient_DownloadFile() {
	client, err := xet.NewClient(&xet.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	file, err := client.DownloadFile(context.Background(), "alice/model", "config.json")
	if err != nil {
		log.Fatal(err)
	}
	content, err := os.ReadFile(file.Path)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s", content)
	// Output: {"layers": 2}
}

func ExampleClient_DownloadSnapshot() {
	client, err := xet.NewClient(&xet.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	folder, err := os.MkdirTemp("", "model-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(folder)

	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	percent := int64(0)
	model, err := client.DownloadSnapshot(ctx, "alice/model",
		xet.WithLocalDir(folder), xet.WithIgnorePatterns("*.md", "lfs/"),
		xet.WithProgressInterval(time.Second),
		xet.WithProgress(func(p xet.Progress) {
			if p.BytesTotal > 0 {
				percent = 100 * p.BytesCompleted / p.BytesTotal
			}
		}))
	if errors.Is(err, context.DeadlineExceeded) {
		log.Fatal("not within an hour; the next call goes on where this one was")
	} else if err != nil {
		log.Fatal(err)
	}
	fmt.Println(model.Path == folder, percent, "%")
	// Output: true 100 %
}

func ExampleClient_List() {
	client, err := xet.NewClient(&xet.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	ctx := context.Background()
	listing, err := client.List(ctx, "alice/data", xet.WithRepoType(xet.RepoTypeDataset))
	if err != nil {
		log.Fatal(err)
	}
	for _, file := range listing.Files {
		if strings.HasSuffix(file.Path, ".csv") {
			// From the very commit that was listed, whatever became of the branch meanwhile.
			transfer, err := client.DownloadFile(ctx, "alice/data", file.Path,
				xet.WithRepoType(xet.RepoTypeDataset), xet.WithRevision(listing.Commit))
			if err != nil {
				log.Fatal(err)
			}
			fmt.Println(file.Path, file.Kind, filepath.Base(transfer.Path))
		}
	}
	// Output: train.csv git train.csv
}

func ExampleClient_PlanSnapshot() {
	client, err := xet.NewClient(&xet.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	plan, err := client.PlanSnapshot(context.Background(), "alice/model",
		xet.WithAllowPatterns("other/"), xet.WithForceDownload())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(plan.Files), "files,", plan.BytesRemote, "bytes to fetch, room:", plan.Fits())
	// Output: 2 files, 150004 bytes to fetch, room: true
}

func ExampleClient_CreateCommit() {
	client, err := xet.NewClient(&xet.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	ctx := context.Background()
	if _, err := client.CreateRepo(ctx, "alice/example", xet.WithExistOK()); err != nil {
		log.Fatal(err)
	}
	source, sink := io.Pipe() // whatever gives bytes, as slowly as it likes
	go func() {
		_, err := fmt.Fprint(sink, "loss,0.1\n")
		sink.CloseWithError(err) // nil is io.EOF
	}()
	commit, err := client.CreateCommit(ctx, "alice/example", []xet.Operation{
		xet.AddReader("log.csv", source),
		xet.AddBytes("README.md", []byte("# An example\n")),
	}, xet.WithCommitMessage("Add a log"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(commit.Files, "files in", commit.Commits, "commit")
	// Output: 2 files in 1 commit
}

func ExampleClient_UploadFolder() {
	client, err := xet.NewClient(&xet.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	commit, err := client.UploadFolder(context.Background(), "alice/nowhere", "testdata",
		xet.WithAllowPatterns("*.py"))
	var failure *xet.Error
	switch {
	case errors.Is(err, xet.ErrRepoNotFound):
		fmt.Println("create it first")
	case errors.As(err, &failure):
		log.Fatalf("%v; %d commits were made before", err, len(failure.Commits))
	default:
		fmt.Println(commit.CommitURL)
	}
	// Output: create it first
}

func ExampleClient_OpenStorage() {
	client, err := xet.NewClient(&xet.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	folder, err := os.MkdirTemp("", "storage-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(folder)

	// A folder has everything; a CAS also needs a token, a RefreshURL or a TokenFunc.
	ctx := context.Background()
	storage, err := client.OpenStorage(ctx, xet.StorageOptions{Endpoint: "local://" + folder + "/cas"})
	if err != nil {
		log.Fatal(err)
	}
	defer storage.Close()

	uploads, err := storage.Uploads()
	if err != nil {
		log.Fatal(err)
	}
	defer uploads.Close()
	if _, err := uploads.AddReader(strings.NewReader("weights")); err != nil {
		log.Fatal(err)
	}
	sent, err := uploads.Wait(ctx)
	if err != nil {
		log.Fatal(err)
	}

	downloads, err := storage.Downloads()
	if err != nil {
		log.Fatal(err)
	}
	defer downloads.Close()
	path := filepath.Join(folder, "weights.bin")
	if _, err := downloads.Add(sent.Tasks[0].Hash, path, 0); err != nil {
		log.Fatal(err)
	}
	if _, err := downloads.Wait(ctx); err != nil {
		log.Fatal(err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n", content)
	// Output: weights
}

func ExampleStorage_Open() {
	client, err := xet.NewClient(&xet.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	ctx := context.Background()
	files, err := client.ListFiles(ctx, "alice/model")
	if err != nil {
		log.Fatal(err)
	}
	storage, err := client.OpenStorage(ctx, xet.StorageOptions{
		RefreshURL:     os.Getenv("HF_ENDPOINT") + "/api/models/alice/model/xet-read-token/main",
		RefreshHeaders: http.Header{"Authorization": {"Bearer " + os.Getenv("HF_TOKEN")}},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer storage.Close()

	for _, file := range files {
		if file.Path != "nested/part.bin" {
			continue
		}
		part, err := storage.Open(ctx, file.XetHash, file.Size, 1000, 3000)
		if err != nil {
			log.Fatal(err)
		}
		defer part.Close()
		n, err := io.Copy(io.Discard, part)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(n, "of", file.Size, "bytes")
	}
	// Output: 2000 of 200000 bytes
}

func ExampleWithProgress() {
	client, err := xet.NewClient(&xet.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	var last xet.Progress
	_, err = client.DownloadFile(context.Background(), "alice/model", "nested/part.bin",
		xet.WithProgress(func(p xet.Progress) { last = p }))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(last.Phase, last.BytesCompleted, "of", last.BytesTotal)
	// Output: finalizing 200000 of 200000
}
