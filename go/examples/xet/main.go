// Command xet is an example of the package: it lists, downloads and uploads, shows progress, and turns errors into
// exit statuses. The result goes to stdout, everything else to stderr.
//
// The command for daily use is xet-ffi, which comes with the Python package. This one has fewer words and no other
// promise than that: a call, and what came of it.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	xet "github.com/xet-ffi/xet-ffi/go"
)

const usage = `usage: xet -repo NAMESPACE/NAME (-list | -file PATH | -snapshot | -upload PATH) [flags]

Lists a Hugging Face repo, downloads a file or all files of it, or uploads to it, over the Xet
protocol.
`

// What both have of these means the same in xet-ffi.
const exitStatus = `
exit status: 0 done; 1 unknown error; 2 wrong usage; 130 interrupted; else 10 plus the error's
XET_CODE_*: 11 bad argument, 12 bad token, 13 network, 14 not found, 15 permission, 16 checksum,
18 local file, 19 timeout, 20 rate limit, 21 conflict, 22 disk full, 23 offline
`

const (
	exitUnknown     = 1
	exitUsage       = 2
	exitNotFound    = exitBase + int(xet.CodeNotFound)
	exitLocalFile   = exitBase + int(xet.CodeIOError)
	exitInterrupted = 130
	exitBase        = 10
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	status := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

// run is the command; it returns the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	c, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return exitUsage
	}
	result, err := c.do(ctx, stderr)
	if isNothing(result) && len(c.include)+len(c.exclude) > 0 {
		fmt.Fprintln(stderr, "error: no file of the repo fits the patterns")
		return exitNotFound
	}
	if err == nil {
		if err = c.print(stdout, result); err != nil {
			err = fmt.Errorf("can't write the result: %w", err)
		}
	}
	if err != nil {
		fmt.Fprintln(stderr, "error:", err)
	}
	var failure *xet.Error
	if errors.As(err, &failure) {
		for _, made := range failure.Commits {
			fmt.Fprintln(stderr, "committed before that:", made.URL)
		}
	}
	return status(err)
}

// isNothing says whether a download has no files, or would have none.
func isNothing(result any) bool {
	switch got := result.(type) {
	case *xet.Transfer:
		return got != nil && got.Files == 0
	case *xet.Plan:
		return got != nil && len(got.Files) == 0
	}
	return false
}

func status(err error) int {
	var failure *xet.Error
	var local *fs.PathError
	switch {
	case err == nil:
		return 0
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	case errors.Is(err, errFoldersOnly):
		return exitUsage
	case errors.As(err, &local):
		return exitLocalFile
	case !errors.As(err, &failure) || failure.Code >= xet.CodeUnknown:
		return exitUnknown
	}
	return exitBase + int(failure.Code)
}

// client is the one that the flags ask for, or one that asks nobody.
func (c *command) client(offline bool) (*xet.Client, error) {
	return xet.NewClient(&xet.Config{
		Endpoint: c.endpoint, Token: c.token, CacheDir: c.cacheDir, UserAgent: "xet-go",
		Transport: xet.Transport(c.transport), Offline: offline,
	})
}

// do returns what is to be printed: []xet.FileInfo, *xet.Transfer, *xet.Plan or *xet.Commit.
func (c *command) do(ctx context.Context, stderr io.Writer) (any, error) {
	show, end := progress(c.quiet, stderr)
	defer end()
	client, err := c.client(false)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	repoType, revision := xet.WithRepoType(xet.RepoType(c.repoType)), xet.WithRevision(c.revision)
	localDir, progress := xet.WithLocalDir(c.localDir), xet.WithProgress(show)
	allow, ignore := xet.WithAllowPatterns(c.include...), xet.WithIgnorePatterns(c.exclude...)
	switch {
	case c.list:
		return client.ListFiles(ctx, c.repo, repoType, revision)
	case c.upload != "":
		return c.doUpload(ctx, client, show, stderr)
	case c.snapshot && c.dryRun:
		return client.PlanSnapshot(ctx, c.repo, repoType, revision, localDir, allow, ignore)
	case c.snapshot:
		return client.DownloadSnapshot(ctx, c.repo, repoType, revision, localDir, allow, ignore, progress)
	}
	return client.DownloadFile(ctx, c.repo, c.file, repoType, revision, localDir, progress)
}

// errFoldersOnly: what is to be uploaded turned out to be a file.
var errFoldersOnly = errors.New("-include, -exclude and -delete are for folders")

// doUpload uploads a file or a folder, whichever it is.
func (c *command) doUpload(
	ctx context.Context, client *xet.Client, show func(xet.Progress), stderr io.Writer,
) (*xet.Commit, error) {
	local := c.upload
	if rest, ok := strings.CutPrefix(local, "~"); ok && (rest == "" || rest[0] == '/') { // as the library has it
		home, err := os.UserHomeDir()
		if err != nil {
			return nil, err
		}
		local = filepath.Join(home, rest)
	}
	info, err := os.Stat(local)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() && len(c.include)+len(c.exclude)+len(c.deletions) > 0 {
		return nil, errFoldersOnly
	}
	send := func(client *xet.Client, revision string, deletions []string) (*xet.Commit, error) {
		at, progress := xet.WithRevision(revision), xet.WithProgress(show)
		repoType := xet.WithRepoType(xet.RepoType(c.repoType))
		message := xet.WithCommitMessage(c.message)
		description := xet.WithCommitDescription(c.description)
		var createPR xet.UploadOption // nil is no option
		if c.createPR {
			createPR = xet.WithCreatePR()
		}
		if info.IsDir() {
			return client.UploadFolder(ctx, c.repo, local,
				repoType, at, progress, message, description, createPR,
				xet.WithPathInRepo(c.pathInRepo), xet.WithDeletePatterns(deletions...),
				xet.WithAllowPatterns(c.include...), xet.WithIgnorePatterns(c.exclude...))
		}
		target := cmp.Or(c.pathInRepo, filepath.Base(local))
		if strings.HasSuffix(target, "/") {
			target += filepath.Base(local)
		}
		return client.UploadFile(ctx, c.repo, target, local,
			repoType, at, progress, message, description, createPR)
	}
	if c.createRepo || c.private {
		if err := c.doCreate(ctx, client, send); err != nil {
			return nil, err
		}
	}
	commit, err := send(client, c.revision, c.deletions)
	if err == nil {
		c.tellLeftOut(stderr, commit)
	}
	return commit, err
}

// doCreate makes the repo of an upload, if there is none: not for what can't be read on this machine, nor for nothing.
func (c *command) doCreate(
	ctx context.Context, client *xet.Client,
	send func(client *xet.Client, revision string, deletions []string) (*xet.Commit, error),
) error {
	alone, err := c.client(true)
	if err != nil {
		return err
	}
	defer alone.Close()
	// All of an upload up to where it asks the Hub. What such a revision stands for is known: content has to ask.
	_, err = send(alone, strings.Repeat("0", 40), nil)
	if !errors.Is(err, xet.ErrOffline) {
		return err
	}
	create := []xet.RepoOption{xet.WithRepoType(xet.RepoType(c.repoType)), xet.WithExistOK()}
	if c.private {
		create = append(create, xet.WithPrivate(true))
	}
	_, err = client.CreateRepo(ctx, c.repo, create...)
	return err
}

// tellLeftOut says what a reader of the URL alone would take for done.
func (c *command) tellLeftOut(stderr io.Writer, commit *xet.Commit) {
	if commit.FilesLeftOut > 0 {
		fmt.Fprintf(stderr, "left out: %d files that are no content (sockets, pipes, devices, or links that lead "+
			"nowhere or in a circle); RUST_LOG=warn names them\n", commit.FilesLeftOut)
	}
	if !commit.NothingToCommit() {
		return
	}
	why := "the folder has no files"
	if commit.Files > 0 {
		why = "the Hub has these files already"
	} else if len(c.include)+len(c.exclude) > 0 {
		why = "no file of the folder fits the patterns"
	}
	fmt.Fprintln(stderr, "nothing to commit:", why)
}

func (c *command) print(stdout io.Writer, result any) error {
	if c.json {
		encoder := json.NewEncoder(stdout)
		encoder.SetIndent("", "  ")
		encoder.SetEscapeHTML(false)
		return encoder.Encode(result)
	}
	var err error
	switch result := result.(type) {
	case []xet.FileInfo:
		for _, file := range result {
			_, one := fmt.Fprintf(stdout, "%15d  %-3s  %s\n", file.Size, file.Kind, file.Path)
			err = errors.Join(err, one)
		}
	case *xet.Plan:
		err = printPlan(stdout, result)
	case *xet.Transfer:
		_, err = fmt.Fprintln(stdout, result.Path)
	case *xet.Commit:
		_, err = fmt.Fprintln(stdout, cmp.Or(result.PRURL, result.CommitURL))
	}
	return err
}

// printPlan prints the plan of a download as a table.
func printPlan(stdout io.Writer, plan *xet.Plan) error {
	const row = "%15s  %15s  %15s  %s\n"
	_, err := fmt.Fprintf(stdout, row, "present", "reusable", "remote", "file")
	line := func(present, reusable, remote int64, name string) {
		_, one := fmt.Fprintf(
			stdout, row, fmt.Sprint(present), fmt.Sprint(reusable), fmt.Sprint(remote), name,
		)
		err = errors.Join(err, one)
	}
	for _, file := range plan.Files {
		line(file.BytesPresent, file.BytesReusable, file.BytesRemote, file.Path)
	}
	line(plan.BytesPresent, plan.BytesReusable, plan.BytesRemote, "total")
	room := ""
	if plan.DiskFree >= 0 {
		room = fmt.Sprintf(", %d free", plan.DiskFree)
	}
	_, last := fmt.Fprintf(stdout, "disk: %d needed%s\n", plan.DiskNeed, room)
	if plan.Windows > 1 {
		_, limit := fmt.Fprintf(stdout, "rate limit: %d requests need %d of the Hub's windows\n",
			plan.Requests, plan.Windows)
		last = errors.Join(last, limit)
	}
	return errors.Join(err, last)
}
