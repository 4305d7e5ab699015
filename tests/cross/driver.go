// One call from Go, for test_table.py; see driver.c.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	xet "github.com/xet-ffi/xet-ffi/go"
)

func optional(argument string) string {
	if argument == "-" {
		return ""
	}
	return argument
}

func or(value, other string) string {
	if value == "" {
		return other
	}
	return value
}

func truth(value bool) int {
	if value {
		return 1
	}
	return 0
}

func call(client *xet.Client, action, repo string, rest []string) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	switch action {
	case "info":
		i, err := client.Info()
		if err != nil {
			return err
		}
		fmt.Printf("info\t%s\t%s\t%s\t%s\t%s\t%d\t%d\t%d\n", i.Endpoint, i.CacheDir, i.XetCacheDir,
			i.TokenSource, i.Transport, i.MaxConcurrentDownloads, truth(i.Anonymous), truth(i.Offline))
		return nil
	case "cancel":
		return show(client.DownloadSnapshot(ctx, repo, xet.WithProgress(func(p xet.Progress) {
			if p.BytesNetwork > 0 {
				cancel()
			}
		})))
	case "upload":
		if _, err := client.CreateRepo(ctx, repo, xet.WithExistOK()); err != nil {
			return err
		}
		c, err := client.UploadFile(ctx, repo, rest[1], rest[2], xet.WithParentCommit(optional(rest[0])))
		if err != nil {
			return err
		}
		fmt.Printf("committed\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\n", c.Commits, c.Files, c.FilesChanged,
			c.BytesTotal, c.BytesNew, c.BytesOnHub, c.BytesRepeated, c.Xorbs)
		return nil
	case "limited":
		limited, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
		defer cancel()
		return show(client.DownloadSnapshot(limited, repo))
	}
	repoType := xet.WithRepoType(xet.RepoType(optional(rest[0])))
	revision := xet.WithRevision(optional(rest[1]))
	switch action {
	case "list":
		listing, err := client.List(ctx, repo, repoType, revision)
		if err != nil {
			return err
		}
		for _, f := range listing.Files {
			fmt.Printf("entry\t%s\t%s\t%d\t%s\t%s\t%s\t%s\n", f.Path, f.Kind, f.Size, f.Hash,
				or(f.SHA256, "-"), or(f.XetHash, "-"), listing.Commit)
		}
		return nil
	case "read":
		return readParts(ctx, client, xet.OpenRequest{RepoID: repo, RepoType: xet.RepoType(optional(rest[0])),
			Revision: optional(rest[1]), Filename: rest[2], NoReadahead: true}, rest[3:])
	case "resolve":
		commit, err := client.Resolve(ctx, repo, repoType, revision)
		if err != nil {
			return err
		}
		fmt.Printf("commit\t%s\n", commit)
		return nil
	}
	localDir := xet.WithLocalDir(optional(rest[2]))
	if action == "file" {
		return show(client.DownloadFile(ctx, repo, rest[3], repoType, revision, localDir))
	}
	var allow, ignore []string
	for _, pattern := range rest[3:] {
		if ignored, ok := strings.CutPrefix(pattern, "!"); ok {
			ignore = append(ignore, ignored)
		} else {
			allow = append(allow, pattern)
		}
	}
	allowed, ignored := xet.WithAllowPatterns(allow...), xet.WithIgnorePatterns(ignore...)
	if action == "plan" {
		return showPlan(client.PlanSnapshot(ctx, repo, repoType, revision, localDir, allowed, ignored))
	}
	return show(client.DownloadSnapshot(ctx, repo, repoType, revision, localDir, allowed, ignored))
}

func readParts(
	ctx context.Context, client *xet.Client, request xet.OpenRequest, numbers []string,
) error {
	file, err := client.Open(ctx, request)
	if err != nil {
		return err
	}
	defer file.Close()
	parts := make([]xet.Range, len(numbers)/2)
	for i := range parts {
		offset, failed := strconv.ParseInt(numbers[2*i], 10, 64)
		length, failedToo := strconv.Atoi(numbers[2*i+1])
		if err := errors.Join(failed, failedToo); err != nil {
			panic(err)
		}
		parts[i] = xet.Range{Offset: offset, Buffer: make([]byte, length)}
	}
	if err := file.ReadRanges(ctx, parts); err != nil {
		return err
	}
	for _, part := range parts {
		fmt.Printf("part\t%x\n", part.Buffer[:part.N])
	}
	n, err := file.ReadAt(parts[0].Buffer, parts[0].Offset)
	if err != nil && err != io.EOF {
		return err
	}
	fmt.Printf("part\t%x\n", parts[0].Buffer[:n])
	r, err := file.Report()
	if err != nil {
		return err
	}
	fmt.Printf("open\t%s\t%s\t%d\t%s\t%s\t%s\t%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\n", r.Path, r.Kind, r.Size,
		r.Commit, r.ETag, or(r.XetHash, "-"), r.Proof, r.Reads, r.BytesRead, r.BytesNetwork, r.BytesProof,
		r.BytesReused, r.Retries, r.Stalls)
	return nil
}

func showPlan(p *xet.Plan, err error) error {
	if err != nil {
		return err
	}
	fmt.Printf("plan\t%s\t%d\t%d\t%d\t%d\t%d\n", p.Commit,
		p.BytesTotal, p.BytesPresent, p.BytesReusable, p.BytesRemote, p.DiskNeed)
	for _, file := range p.Files {
		fmt.Printf("planned\t%s\t%d\t%d\t%d\t%d\n", file.Path,
			file.BytesTotal, file.BytesPresent, file.BytesReusable, file.BytesRemote)
	}
	return nil
}

func show(t *xet.Transfer, err error) error {
	if err != nil {
		return err
	}
	fmt.Printf("done\t%s\t%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\n", t.Path, t.Commit,
		t.Files, t.BytesTotal, t.BytesNetwork, t.BytesReused, t.Retries, t.Fallbacks, t.Stalls,
		t.Refreshes, t.Refetches)
	for _, one := range t.FileTransfers {
		fmt.Printf("way\t%s\t%s\t%d\t%d\t%d\t%d\t%d", one.Path, one.Way,
			one.BytesTotal, one.BytesNetwork, one.BytesReused, one.Retries, one.Fallbacks)
		fmt.Printf("\t%s\t%s\t%s\t%d\n",
			one.LocalPath, or(one.Hash, "-"), one.HashKind, truth(one.Verified))
	}
	return nil
}

func main() {
	args := os.Args[1:]
	client, err := xet.NewClient(&xet.Config{
		Endpoint: optional(args[0]), Token: optional(args[1]), CacheDir: args[2], MaxAttempts: 1,
	})
	if err == nil {
		defer client.Close()
		err = call(client, args[3], args[4], args[5:])
	}
	var failure *xet.Error
	if errors.As(err, &failure) {
		details, bad := json.Marshal(failure.Details)
		if bad != nil {
			panic(bad)
		}
		fmt.Printf("error\t%d\t%s\t%s\n", failure.Code, failure.Message, details)
	} else if err != nil {
		panic(err)
	}
}
