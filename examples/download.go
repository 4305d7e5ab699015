// Downloads one file of a repository, and prints where it is: download REPO FILE
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"

	xet "github.com/xet-ffi/xet-ffi/go"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintf(os.Stderr, "usage: %s REPO FILE\n", os.Args[0])
		os.Exit(2)
	}
	if err := download(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func download(repo, name string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	client, err := xet.NewClient(&xet.Config{}) // HF_TOKEN, HF_HOME, ... as ever
	if err != nil {
		return err
	}
	defer client.Close()
	transfer, err := client.DownloadFile(ctx, repo, name, xet.WithProgress(func(now xet.Progress) {
		fmt.Fprintf(os.Stderr, "\r%d of %d bytes", now.BytesCompleted, now.BytesTotal)
	}))
	if err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr)
	fmt.Println(transfer.Path)
	return nil
}
