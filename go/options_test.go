package xet_test

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// How each method is called, with a verb for the option.
var methods = map[string]string{
	"List":             "c.List(ctx, repo, %s)",
	"ListFiles":        "c.ListFiles(ctx, repo, %s)",
	"DownloadFile":     "c.DownloadFile(ctx, repo, path, %s)",
	"DownloadSnapshot": "c.DownloadSnapshot(ctx, repo, %s)",
	"PlanSnapshot":     "c.PlanSnapshot(ctx, repo, %s)",
	"CreateCommit":     "c.CreateCommit(ctx, repo, nil, %s)",
	"UploadFile":       "c.UploadFile(ctx, repo, path, path, %s)",
	"UploadFolder":     "c.UploadFolder(ctx, repo, path, %s)",
	"CreateRepo":       "c.CreateRepo(ctx, repo, %s)",
	"CreateBranch":     "c.CreateBranch(ctx, repo, path, %s)",
	"Resolve":          "c.Resolve(ctx, repo, %s)",
	"CacheUsage":       "c.CacheUsage(ctx, %s)",
	"CacheVerify":      "c.CacheVerify(ctx, %s)",
	"CacheRemove":      "c.CacheRemove(ctx, xet.Removal{}, %s)",
	"CachePrune":       "c.CachePrune(ctx, xet.PruneLimits{}, %s)",
	"CacheIndex":       "c.CacheIndex(ctx, true, %s)",
}

// Which methods each option belongs to.
var belongs = map[string][]string{
	"xet.WithRepoType(xet.RepoTypeDataset)": {
		"List", "ListFiles", "Resolve", "DownloadFile", "DownloadSnapshot", "PlanSnapshot",
		"CreateCommit", "UploadFile", "UploadFolder", "CreateRepo", "CreateBranch",
	},
	"xet.WithDeadlines(xet.Deadlines{})": {
		"List", "ListFiles", "Resolve", "DownloadFile", "DownloadSnapshot", "PlanSnapshot",
		"CreateCommit", "UploadFile", "UploadFolder", "CreateRepo", "CreateBranch",
		"CacheUsage", "CacheVerify", "CacheRemove", "CachePrune", "CacheIndex",
	},
	`xet.WithRevision("x")`: {
		"List", "ListFiles", "Resolve", "DownloadFile", "DownloadSnapshot", "PlanSnapshot",
		"CreateCommit", "UploadFile", "UploadFolder", "CreateBranch",
	},
	`xet.WithLocalDir("x")`:      {"DownloadFile", "DownloadSnapshot", "PlanSnapshot"},
	"xet.WithForceDownload()":    {"DownloadFile", "DownloadSnapshot", "PlanSnapshot"},
	"xet.WithLocalFilesOnly()":   {"DownloadFile", "DownloadSnapshot"},
	`xet.WithAllowPatterns("x")`: {"DownloadSnapshot", "PlanSnapshot", "UploadFolder"},
	"xet.WithIgnorePatterns()":   {"DownloadSnapshot", "PlanSnapshot", "UploadFolder"},
	"xet.WithProgress(nil)": {
		"DownloadFile", "DownloadSnapshot", "CreateCommit", "UploadFile", "UploadFolder",
		"CacheUsage", "CacheVerify", "CacheRemove", "CachePrune", "CacheIndex",
	},
	"xet.WithProgressInterval(1)": {
		"DownloadFile", "DownloadSnapshot", "CreateCommit", "UploadFile", "UploadFolder",
		"CacheUsage", "CacheVerify", "CacheRemove", "CachePrune", "CacheIndex",
	},
	`xet.WithCommitMessage("x")`:     {"CreateCommit", "UploadFile", "UploadFolder"},
	`xet.WithCommitDescription("x")`: {"CreateCommit", "UploadFile", "UploadFolder"},
	"xet.WithCreatePR()":             {"CreateCommit", "UploadFile", "UploadFolder"},
	`xet.WithParentCommit("x")`:      {"CreateCommit", "UploadFile", "UploadFolder"},
	`xet.WithPathInRepo("x")`:        {"UploadFolder"},
	`xet.WithDeletePatterns("x")`:    {"UploadFolder"},
	"xet.WithPrivate(true)":          {"CreateRepo"},
	"xet.WithExistOK()":              {"CreateRepo", "CreateBranch"},
	`xet.WithSpaceSDK("static")`:     {"CreateRepo"},
	"nil":                            slices.Collect(maps.Keys(methods)),
}

// Options compile with the methods they belong to, and with no others: the compiler says of every
// wrong pair which option it is, and that it is none of the method's.
func TestOptionsCompileWhereTheyBelong(t *testing.T) {
	var right []string
	wrong := map[string]string{} // by the call, the option
	for option, its := range belongs {
		for method, call := range methods {
			call = fmt.Sprintf(call, option)
			if slices.Contains(its, method) {
				right = append(right, call)
			} else {
				wrong[call] = option
			}
		}
	}
	if out, err := compile(t, right); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	lines := slices.Sorted(maps.Keys(wrong))
	out, err := compile(t, lines)
	if err == nil {
		t.Fatal("all of it compiles")
	}
	for i, call := range lines {
		at := fmt.Sprintf("uses.go:%d:", firstCall+i)
		found := slices.ContainsFunc(strings.Split(out, "\n"), func(line string) bool {
			return strings.Contains(line, at) && strings.Contains(line, "cannot use "+wrong[call]) &&
				strings.Contains(line, "does not implement")
		})
		if !found {
			t.Errorf("%s compiles, or fails for another reason", call)
		}
	}
	if t.Failed() {
		t.Log(out)
	}
}

// firstCall is the line of the first call in what compile compiles.
const firstCall = 10

// compile compiles a package that makes these calls, each on a line of its own; it isn't linked.
func compile(t *testing.T, calls []string) (string, error) {
	t.Helper()
	source := filepath.Join(t.TempDir(), "uses.go")
	text := `package uses

import (
	"context"

	xet "github.com/xet-ffi/xet-ffi/go"
)

func uses(ctx context.Context, c *xet.Client, repo, path string) {
` + strings.Join(calls, "\n") + "\n}\n"
	if err := os.WriteFile(source, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	// -e: all errors, not only the first ten.
	out, err := exec.Command("go", "build", "-gcflags=-e", source).CombinedOutput()
	return string(out), err
}
