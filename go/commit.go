package xet

// #include "xet.h"
import "C"

import (
	"io"
	"time"
)

// Operation is one change of a commit. AddFile, AddBytes, AddReader, Delete, DeleteFolder, Copy and
// CopyFrom make one.
type Operation struct {
	kind                 C.uint32_t
	pathInRepo           string
	localPath            string
	data                 []byte
	reader               io.Reader
	srcPath, srcRevision string
}

// AddFile adds a file of this machine, or replaces what is at its path in the repo.
func AddFile(pathInRepo, localPath string) Operation {
	return Operation{
		kind: C.XET_OPERATION_ADD_PATH, pathInRepo: pathInRepo, localPath: localPath,
	}
}

// AddBytes adds a file with this content, which must not be changed until the call returns.
func AddBytes(pathInRepo string, data []byte) Operation {
	return Operation{kind: C.XET_OPERATION_ADD_BYTES, pathInRepo: pathInRepo, data: data}
}

// AddReader adds a file with what the reader gives, up to its end. It is read once, on the goroutine
// that makes the call; its error ends the call, and is what the call's error wraps. More than 4 MiB
// are written to a file below HF_XET_CACHE first.
func AddReader(pathInRepo string, reader io.Reader) Operation {
	return Operation{kind: C.XET_OPERATION_ADD_STREAM, pathInRepo: pathInRepo, reader: reader}
}

// Delete deletes a file, which must be there.
func Delete(pathInRepo string) Operation {
	return Operation{kind: C.XET_OPERATION_DELETE, pathInRepo: pathInRepo}
}

// DeleteFolder deletes a folder and all that is in it.
func DeleteFolder(pathInRepo string) Operation {
	return Operation{kind: C.XET_OPERATION_DELETE_FOLDER, pathInRepo: pathInRepo}
}

// Copy copies a file of the same repo, as it is where the commit goes.
func Copy(srcPath, pathInRepo string) Operation {
	return CopyFrom("", srcPath, pathInRepo)
}

// CopyFrom copies a file of the same repo from a revision.
func CopyFrom(revision, srcPath, pathInRepo string) Operation {
	return Operation{
		kind: C.XET_OPERATION_COPY, pathInRepo: pathInRepo, srcPath: srcPath, srcRevision: revision,
	}
}

// Commit is the report of a finished upload. BytesTotal is the sum of BytesNew, BytesOnHub and
// BytesRepeated.
type Commit struct {
	// OID is the commit, the last one if there are several; with nothing to commit, the one that the
	// revision stands for. CommitURL is its page on the Hub.
	OID       string `json:"oid"`
	CommitURL string `json:"commit_url"`
	// PullRequestURL is the page of the pull request that was opened, if one was.
	PullRequestURL string `json:"pr_url,omitempty"`
	// Commits says how many were made; 0: there was nothing to commit.
	Commits int `json:"commits"`
	// Files says how many files the call was about, and FilesChanged how many of them were added or
	// replaced.
	Files        int `json:"files"`
	FilesChanged int `json:"files_changed"`
	// BytesTotal is the content of these files.
	BytesTotal int64 `json:"bytes_total"`
	// BytesNew is content that neither the Hub nor an earlier file of the call had.
	BytesNew int64 `json:"bytes_new"`
	// BytesOnHub is content that the Hub had, in whatever file.
	BytesOnHub int64 `json:"bytes_on_hub"`
	// BytesRepeated is content that stood earlier in the files of the call.
	BytesRepeated int64 `json:"bytes_repeated"`
	// BytesSent was sent as content, as sent: compressed or in base64, with its description for
	// the storage.
	BytesSent int64 `json:"bytes_sent"`
	// Xorbs counts the blocks of Xet storage that were sent.
	Xorbs int `json:"xorbs"`
	// Retries counts requests, and whole sessions with Xet storage, that were made again.
	Retries int `json:"retries"`
	// Seconds is the wall time of the call.
	Seconds float64 `json:"seconds"`
}

// NothingToCommit says whether the Hub had everything already, so that no commit was made.
func (c *Commit) NothingToCommit() bool { return c.Commits == 0 }

// Duration is the wall time of the call.
func (c *Commit) Duration() time.Duration {
	return time.Duration(c.Seconds * float64(time.Second))
}

// Repo is a repo that CreateRepo has made, or found.
type Repo struct {
	// ID is "namespace/name".
	ID string `json:"repo_id"`
	// URL is its page on the Hub.
	URL string `json:"url"`
}
