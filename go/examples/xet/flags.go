package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
)

// command is what the flags say.
type command struct {
	repo, repoType, revision string
	list, snapshot           bool
	file                     string
	include, exclude         patterns
	localDir, cacheDir       string
	endpoint, token          string
	transport                string
	json, quiet              bool
	dryRun                   bool

	upload, pathInRepo   string
	message, description string
	deletions            patterns
	createPR, createRepo bool
	private              bool
}

// patterns is a flag that may be given several times.
type patterns []string

func (p *patterns) String() string { return strings.Join(*p, " ") }

func (p *patterns) Set(pattern string) error {
	*p = append(*p, pattern)
	return nil
}

// parse reads the flags; what is wrong with them is on stderr already.
func parse(args []string, stderr io.Writer) (*command, error) {
	c := &command{}
	flags := flag.NewFlagSet("xet", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&c.repo, "repo", "", "`id` of the repo: name or namespace/name")
	flags.StringVar(&c.repoType, "type", "model", "`type` of the repo: model, dataset or space")
	flags.StringVar(&c.revision, "revision", "", "branch, tag, commit or refs/pr/N (default: main)")
	flags.BoolVar(&c.list, "list", false, "list the files")
	flags.StringVar(&c.file, "file", "", "download one file, by its `path` in the repo")
	flags.BoolVar(&c.snapshot, "snapshot", false, "download all files")
	flags.Var(&c.include, "include", "only files that match this `pattern`; may be repeated")
	flags.Var(&c.exclude, "exclude", "no files that match this `pattern`; may be repeated")
	flags.StringVar(&c.upload, "upload", "", "upload the file or folder at this `path`")
	flags.StringVar(&c.pathInRepo, "to", "", "`path` in the repo that an upload goes to; a file goes into a folder if it ends with a slash")
	flags.Var(&c.deletions, "delete", "delete files of the repo that match this `pattern`")
	flags.StringVar(&c.message, "message", "", "`title` of the commit")
	flags.StringVar(&c.description, "description", "", "the rest of its message, as `text`")
	flags.BoolVar(&c.createPR, "create-pr", false, "upload to a new pull request")
	flags.BoolVar(&c.createRepo, "create-repo", false, "create the repo if it isn't there")
	flags.BoolVar(&c.private, "private", false, "create it private")
	flags.StringVar(&c.localDir, "local-dir", "", "download to this `folder`, not to the cache")
	flags.StringVar(&c.cacheDir, "cache-dir", "", "root `folder` of the cache")
	flags.StringVar(&c.endpoint, "endpoint", "", "`URL` of the Hub (default: HF_ENDPOINT)")
	flags.StringVar(&c.token, "token", "", "access `token` (default: that of hf auth login)")
	flags.StringVar(&c.transport, "transport", "",
		"`way` of Xet files: auto, xet or http (default: XET_FFI_TRANSPORT, else auto)")
	flags.BoolVar(&c.dryRun, "dry-run", false,
		"with -snapshot: say what would be downloaded, and change nothing")
	flags.BoolVar(&c.json, "json", false, "print JSON")
	flags.BoolVar(&c.quiet, "quiet", false, "show no progress")
	flags.Usage = func() {
		fmt.Fprint(stderr, usage)
		flags.PrintDefaults()
		fmt.Fprint(stderr, exitStatus)
	}
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if err := c.check(flags); err != nil {
		fmt.Fprintf(stderr, "error: %v; see xet -h\n", err)
		return nil, err
	}
	return c, nil
}

func (c *command) check(flags *flag.FlagSet) error {
	actions := 0
	for _, wanted := range []bool{c.list, given(flags, "file"), c.snapshot, given(flags, "upload")} {
		if wanted {
			actions++
		}
	}
	empty := ""
	for _, name := range []string{"upload", "to", "file", "local-dir", "cache-dir"} {
		// What a script makes of a variable that isn't set stands for no folder.
		if given(flags, name) && flags.Lookup(name).Value.String() == "" {
			empty = name
		}
	}
	switch {
	case empty != "":
		return fmt.Errorf("-%s is empty", empty)
	case flags.NArg() > 0:
		return fmt.Errorf("what is %q? All arguments are flags", flags.Arg(0))
	case c.repo == "":
		return errors.New("-repo is missing")
	case actions != 1:
		return errors.New("one of -list, -file, -snapshot and -upload is needed")
	}
	return c.checkMeaning(flags)
}

// meaning says for which of -list, -file, -snapshot and -upload a flag means something, and what that is. Those that
// aren't here are about the repo or the client, and mean the same to all of them.
var meaning = map[string]struct{ actions, sentence string }{
	"dry-run":     {"snapshot", "is for a -snapshot, of which -include chooses files"},
	"include":     {"snapshot upload", "chooses from a -snapshot or an uploaded folder"},
	"exclude":     {"snapshot upload", "chooses from a -snapshot or an uploaded folder"},
	"local-dir":   {"file snapshot", "is for downloads"},
	"to":          {"upload", "is for an -upload"},
	"delete":      {"upload", "is for an -upload"},
	"message":     {"upload", "is for an -upload"},
	"description": {"upload", "is for an -upload"},
	"create-pr":   {"upload", "is for an -upload"},
	"create-repo": {"upload", "is for an -upload"},
	"private":     {"upload", "is for an -upload"},
}

// checkMeaning refuses flags that would be ignored: who gives one counts on it.
func (c *command) checkMeaning(flags *flag.FlagSet) error {
	action := "snapshot"
	switch {
	case c.list:
		action = "list"
	case c.file != "":
		action = "file"
	case c.upload != "":
		action = "upload"
	}
	var err error
	flags.Visit(func(f *flag.Flag) {
		found, isKnown := meaning[f.Name]
		isOff := f.Value.String() == "false" && f.DefValue == "false"
		if isKnown && !isOff && !slices.Contains(strings.Fields(found.actions), action) {
			err = fmt.Errorf("-%s %s", f.Name, found.sentence)
		}
	})
	return err
}

// given says whether a flag was set, if only to its default.
func given(flags *flag.FlagSet, name string) bool {
	found := false
	flags.Visit(func(f *flag.Flag) { found = found || f.Name == name })
	return found
}
