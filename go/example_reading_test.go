package xet_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net/http"
	"path"
	"time"

	xet "github.com/xet-ffi/xet-ffi/go"
)

func ExampleClient_Open() {
	client, err := xet.NewClient(&xet.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	file, err := client.Open(context.Background(), xet.OpenRequest{
		RepoID: "alice/model", Filename: "model.safetensors",
	})
	switch {
	case errors.Is(err, fs.ErrNotExist):
		log.Fatal("no such file")
	case err != nil:
		log.Fatal(err)
	}
	defer file.Close()

	header := make([]byte, 8)
	if _, err := file.ReadAt(header, 0); err != nil {
		log.Fatal(err)
	}
	// Whatever takes a reader takes a part of the file.
	tail, err := io.ReadAll(io.NewSectionReader(file, file.Size()-1000, 1000))
	if err != nil {
		log.Fatal(err)
	}
	report, err := file.Report()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(header)+len(tail), "of", report.Size, "bytes, proof:", report.Proof)
	// Output: 1008 of 3000000 bytes, proof: merkle
}

func ExampleFile_ReadRanges() {
	client, err := xet.NewClient(&xet.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	file, err := client.Open(ctx, xet.OpenRequest{
		RepoID: "alice/model", Filename: "model.safetensors", RequireProof: true,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer file.Close()

	rows := make([]float32, 3*256)
	ranges := make([]xet.Range, 3)
	buffer := make([]byte, 4*len(rows))
	for i, row := range []int64{7, 700, 1700} {
		ranges[i] = xet.Range{Offset: row * 1024, Buffer: buffer[i*1024 : (i+1)*1024]}
	}
	if err := file.ReadRanges(ctx, ranges); err != nil {
		log.Fatal(err)
	}
	if _, err := binary.Decode(buffer, binary.LittleEndian, rows); err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(ranges), "rows of", ranges[0].N, "bytes")
	// Output: 3 rows of 1024 bytes
}

func ExampleClient_FS() {
	client, err := xet.NewClient(&xet.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	model, err := client.FS(context.Background(), xet.OpenRequest{RepoID: "alice/model"})
	if err != nil {
		log.Fatal(err)
	}
	err = fs.WalkDir(model, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || path.Ext(name) != ".json" {
			return err
		}
		content, err := fs.ReadFile(model, name)
		fmt.Printf("%s: %s", name, content)
		return err
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output:
	// config.json: {"layers": 2}
	// nested/café 雪.json: {"a": 1}
}

// A web server whose files are those of a dataset, at one commit, read as they are asked for.
func ExampleFS() {
	client, err := xet.NewClient(&xet.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	data, err := client.FS(context.Background(), xet.OpenRequest{
		RepoID: "alice/data", RepoType: xet.RepoTypeDataset,
	})
	if err != nil {
		log.Fatal(err)
	}
	server := http.NewServeMux()
	server.Handle("/data/", http.StripPrefix("/data", http.FileServerFS(data)))

	entries, err := data.ReadDir(".")
	if err != nil {
		log.Fatal(err)
	}
	for _, entry := range entries {
		fmt.Println(entry)
	}
	// Output:
	// - .gitattributes
	// - train.csv
}
