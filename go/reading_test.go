package xet_test

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"maps"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	xet "github.com/xet-ffi/xet-ffi/go"
)

// What the tests have opened is a file to all that reads files.
var (
	_ io.ReaderAt       = (*xet.File)(nil)
	_ io.ReadSeekCloser = (*xet.File)(nil)
	_ fs.File           = (*xet.File)(nil)
)

const weights = "model.safetensors"

// open opens a file until the test ends.
func open(t testing.TB, client *xet.Client, request xet.OpenRequest) *xet.File {
	t.Helper()
	file, err := client.Open(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeFile(t, file) })
	return file
}

func openWeights(t testing.TB) *xet.File {
	t.Helper()
	return open(t, newClient(t), xet.OpenRequest{RepoID: modelRepo, Filename: weights})
}

func closeFile(t testing.TB, file *xet.File) {
	t.Helper()
	if err := file.Close(); err != nil {
		t.Error(err)
	}
}

// A file is what was published, for all that io.Reader, io.Seeker and io.ReaderAt promise.
func TestFilesKeepTheContractsOfIO(t *testing.T) {
	client := newClient(t)
	repo := newSmall(t, client)
	for name, content := range small {
		file := open(t, client, xet.OpenRequest{RepoID: repo, Filename: name})
		if file.Size() != int64(len(content)) {
			t.Errorf("%s: %d bytes", name, file.Size())
		}
		if err := iotest.TestReader(file, content); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A file of each kind, of one chunk or of many, does what bytes.Reader does, whatever it is asked for.
func TestFilesAreLikeReadersOfMemory(t *testing.T) {
	client := newClient(t)
	random := rand.New(rand.NewPCG(7, 7))
	for name, content := range model {
		file := open(t, client, xet.OpenRequest{RepoID: modelRepo, Filename: name})
		memory := bytes.NewReader(content)
		both := [2]interface {
			io.ReadSeeker
			io.ReaderAt
		}{file, memory}
		for range 60 {
			var buffers [2][]byte
			var numbers [2]int64
			var errs [2]error
			length := []int{1, 100, 10_000, 150_000}[random.IntN(4)]
			offset := random.Int64N(int64(len(content)) + 100)
			what := random.IntN(3)
			for i, reader := range both {
				buffers[i] = make([]byte, length)
				var n int
				switch what {
				case 0:
					numbers[i], errs[i] = reader.Seek(offset, io.SeekStart)
					continue
				case 1:
					n, errs[i] = reader.Read(buffers[i])
				case 2:
					n, errs[i] = reader.ReadAt(buffers[i], offset)
				}
				numbers[i], buffers[i] = int64(n), buffers[i][:n]
			}
			if numbers[0] != numbers[1] || errs[0] != errs[1] || !bytes.Equal(buffers[0], buffers[1]) {
				t.Fatalf("%s: %d, %v, and not %d, %v", name, numbers[0], errs[0], numbers[1], errs[1])
			}
		}
		if _, err := file.Seek(0, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		if whole, err := io.ReadAll(file); err != nil || !bytes.Equal(whole, content) {
			t.Errorf("%s: %d bytes, %v", name, len(whole), err)
		}
	}
}

// ReadAt gives all that it is asked for or says why not, wherever the file ends.
func TestReadAt(t *testing.T) {
	content := model[weights]
	size := int64(len(content))
	file := openWeights(t)
	for _, c := range []struct {
		offset    int64
		length, n int
		err       error
	}{
		{0, 1, 1, nil},
		{0, len(content), len(content), nil},
		{0, len(content) + 1, len(content), io.EOF},
		{1_000_000, 70_000, 70_000, nil},
		{size - 10, 10, 10, nil},
		{size - 10, 11, 10, io.EOF},
		{size, 1, 0, io.EOF},
		{size + 1, 1, 0, io.EOF},
		{math.MaxInt64, 1, 0, io.EOF},
		{0, 0, 0, nil},
		{size, 0, 0, nil},
		{size + 1, 0, 0, nil},
	} {
		buffer := bytes.Repeat([]byte{0xAA}, c.length+1)
		n, err := file.ReadAt(buffer[:c.length], c.offset)
		if n != c.n || err != c.err {
			t.Errorf("%d from %d: %d, %v", c.length, c.offset, n, err)
		}
		if n > 0 && !bytes.Equal(buffer[:n], content[c.offset:c.offset+int64(n)]) {
			t.Errorf("%d from %d: other bytes", c.length, c.offset)
		}
		if buffer[c.length] != 0xAA {
			t.Errorf("%d from %d: wrote behind its buffer", c.length, c.offset)
		}
	}
	for _, buffer := range [][]byte{nil, make([]byte, 1)} {
		n, err := file.ReadAt(buffer, -1)
		wantInvalid(t, err, "offset")
		if n != 0 {
			t.Error(n)
		}
	}
	if position, err := file.Seek(0, io.SeekCurrent); position != 0 || err != nil {
		t.Errorf("ReadAt has moved the position to %d, %v", position, err)
	}
}

// Seek goes where a file has no bytes, but not before its beginning, nor where numbers end.
func TestSeek(t *testing.T) {
	file := openWeights(t)
	size := file.Size()
	for _, c := range []struct {
		offset   int64
		whence   int
		position int64
	}{
		{10, io.SeekStart, 10}, {5, io.SeekCurrent, 15}, {-15, io.SeekCurrent, 0},
		{-1, io.SeekEnd, size - 1}, {1, io.SeekEnd, size + 1}, {math.MaxInt64, io.SeekStart, math.MaxInt64},
	} {
		if position, err := file.Seek(c.offset, c.whence); position != c.position || err != nil {
			t.Errorf("%+v: %d, %v", c, position, err)
		}
	}
	if n, err := file.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("behind the end: %d, %v", n, err)
	}
	for whence, field := range map[int]string{io.SeekCurrent: "offset", 7: "whence"} {
		_, err := file.Seek(1, whence)
		wantInvalid(t, err, field)
	}
	for whence, offset := range map[int]int64{io.SeekStart: -1, io.SeekEnd: -size - 1} {
		_, err := file.Seek(offset, whence)
		wantInvalid(t, err, "offset")
	}
	if position, err := file.Seek(0, io.SeekCurrent); position != math.MaxInt64 || err != nil {
		t.Errorf("a seek that failed has moved the position to %d, %v", position, err)
	}
}

// Many goroutines read one file, each at offsets of its own, while others share its position: each byte is
// right, and is given to one of those.
func TestManyReaders(t *testing.T) {
	content := model[weights]
	file := openWeights(t)
	var group sync.WaitGroup
	for number := range 64 {
		group.Add(1)
		go func() {
			defer group.Done()
			random := rand.New(rand.NewPCG(uint64(number), 0))
			for range 20 {
				buffer := make([]byte, random.IntN(100_000))
				offset := random.Int64N(file.Size())
				n, err := file.ReadAt(buffer, offset)
				if (err != nil && err != io.EOF) || !bytes.Equal(buffer[:n], content[offset:offset+int64(n)]) {
					t.Errorf("%d bytes from %d: %d, %v", len(buffer), offset, n, err)
				}
			}
		}()
	}
	parts := make(chan []byte, 1000)
	for range 8 {
		group.Add(1)
		go func() {
			defer group.Done()
			for {
				part := make([]byte, 10_000)
				n, err := file.Read(part)
				if parts <- part[:n]; err != nil {
					if err != io.EOF {
						t.Error(err)
					}
					return
				}
			}
		}()
	}
	group.Wait()
	close(parts)
	left := len(content)
	for part := range parts {
		left -= len(part)
		if !bytes.Contains(content, part) {
			t.Error("a part that the file doesn't have")
		}
	}
	if left != 0 {
		t.Errorf("%d bytes were given to nobody, or to several", left)
	}
}

// ReadRanges fills many buffers: ranges in any order, that overlap, that are empty, that the end cuts short.
func TestReadRanges(t *testing.T) {
	content := model[weights]
	size := int64(len(content))
	file := openWeights(t)
	outside, err := syscall.Mmap(-1, 0, 1<<16, syscall.PROT_READ|syscall.PROT_WRITE,
		syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Munmap(outside)
	array := make([]byte, 3000)
	ranges := []xet.Range{
		{Offset: 2_000_000, Buffer: make([]byte, 500_000)},
		{Offset: 0, Buffer: make([]byte, 8)},
		{Offset: 2_100_000, Buffer: make([]byte, 500_000)}, // overlaps the first
		{Offset: 0, Buffer: make([]byte, 8)},               // again
		{Offset: 5}, {Offset: size, Buffer: []byte{}},
		{Offset: size - 5, Buffer: make([]byte, 10)},
		{Offset: size, Buffer: make([]byte, 10)},
		{Offset: math.MaxInt64, Buffer: make([]byte, 10), N: 10},
		{Offset: 77, Buffer: outside}, // memory that isn't Go's
		{Offset: 100, Buffer: array[:1000]}, {Offset: 900, Buffer: array[2000:]},
	}
	if err := file.ReadRanges(t.Context(), ranges); err != nil {
		t.Fatal(err)
	}
	for i, r := range ranges {
		want := int(max(0, min(int64(len(r.Buffer)), size-r.Offset)))
		if r.N != want || (want > 0 && !bytes.Equal(r.Buffer[:r.N], content[r.Offset:][:r.N])) {
			t.Errorf("range %d: %d bytes, not %d, or others", i, r.N, want)
		}
	}
	if !bytes.Equal(array[1000:2000], make([]byte, 1000)) {
		t.Error("wrote between two buffers")
	}
	for _, none := range [][]xet.Range{nil, {}, {{Offset: 7}}} {
		if err := file.ReadRanges(t.Context(), none); err != nil {
			t.Error(err)
		}
	}
	for _, buffer := range [][]byte{nil, make([]byte, 1)} {
		err := file.ReadRanges(t.Context(), []xet.Range{{Buffer: make([]byte, 1)}, {Offset: -1, Buffer: buffer}})
		wantInvalid(t, err, "offset")
	}
}

// As many ranges as an index of a file may have.
func TestAHundredThousandRanges(t *testing.T) {
	content := model[weights]
	file := openWeights(t)
	buffer := make([]byte, len(content))
	ranges := make([]xet.Range, 0, 100_000)
	for i := range cap(ranges) {
		from := i * 30
		ranges = append(ranges, xet.Range{Offset: int64(from), Buffer: buffer[from : from+30]})
	}
	rand.Shuffle(len(ranges), func(i, j int) { ranges[i], ranges[j] = ranges[j], ranges[i] })
	if err := file.ReadRanges(t.Context(), ranges); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(buffer, content) {
		t.Error("other bytes")
	}
}

// A report says what the file is, as the listing has it, and counts what was read.
func TestFileReports(t *testing.T) {
	client := newClient(t)
	listing, err := client.List(t.Context(), modelRepo)
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[xet.FileKind]int{}
	for _, listed := range listing.Files {
		file := open(t, client, xet.OpenRequest{RepoID: modelRepo, Filename: listed.Path})
		buffer := make([]byte, listed.Size)
		for range 2 {
			if _, err := file.ReadAt(buffer, 0); err != nil {
				t.Fatal(err)
			}
		}
		report, err := file.Report()
		if err != nil {
			t.Fatal(err)
		}
		etag, proof := listed.SHA256, xet.ProofNone
		switch listed.Kind {
		case xet.FileKindGit:
			etag = listed.Hash
		case xet.FileKindXet:
			proof = xet.ProofMerkle
		}
		if report.Path != listed.Path || report.Size != listed.Size || report.Kind != listed.Kind ||
			report.Commit != listing.Commit || report.ETag != etag || report.XetHash != listed.XetHash {
			t.Errorf("%+v, listed as %+v", report, listed)
		}
		if listed.Size == 0 {
			continue
		}
		kinds[listed.Kind]++
		if report.Reads != 2 || report.BytesRead != 2*listed.Size || report.Proof != proof ||
			report.BytesNetwork == 0 || report.BytesReused == 0 || report.Retries != 0 || report.Stalls != 0 {
			t.Errorf("%+v", report)
		}
	}
	if len(kinds) != 3 {
		t.Errorf("read files of the kinds %v alone", kinds)
	}
}

// A file stays at its commit, whatever becomes of the branch.
func TestFilesStayAtTheirCommit(t *testing.T) {
	client := newClient(t)
	repo := newRepo(t, client)
	old := noise(300_000, 31)
	first, err := client.CreateCommit(t.Context(), repo, []xet.Operation{xet.AddBytes("a.bin", old)})
	if err != nil {
		t.Fatal(err)
	}
	file := open(t, client, xet.OpenRequest{RepoID: repo, Filename: "a.bin"})
	if _, err := client.CreateCommit(t.Context(), repo, []xet.Operation{xet.Delete("a.bin")}); err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(file)
	if err != nil || !bytes.Equal(content, old) {
		t.Errorf("%d bytes, %v", len(content), err)
	}
	report, err := file.Report()
	if err != nil || report.Commit != first.OID {
		t.Errorf("%+v, %v", report, err)
	}
	if _, err := client.Open(t.Context(), xet.OpenRequest{RepoID: repo, Filename: "a.bin"}); !errors.Is(
		err, xet.ErrEntryNotFound) {
		t.Error(err)
	}
}

// What the cache has needs no network, nor a proof; what it hasn't is no file then.
func TestOpenWithoutANetwork(t *testing.T) {
	client := newClient(t)
	request := xet.OpenRequest{RepoID: modelRepo, Filename: weights, LocalFilesOnly: true, RequireProof: true}
	_, err := client.Open(t.Context(), request)
	if !errors.Is(err, xet.ErrLocalEntryNotFound) || !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	if _, err := client.DownloadFile(t.Context(), modelRepo, weights); err != nil {
		t.Fatal(err)
	}
	file := open(t, client, request)
	content, err := io.ReadAll(file)
	if err != nil || !bytes.Equal(content, model[weights]) {
		t.Errorf("%d bytes, %v", len(content), err)
	}
	report, err := file.Report()
	if err != nil || report.Proof != xet.ProofCache || report.BytesNetwork != 0 ||
		report.BytesReused != file.Size() {
		t.Errorf("%+v, %v", report, err)
	}
}

// Who wants proofs gets those of Xet files, and no byte of others.
func TestOpenWithProof(t *testing.T) {
	client := newClient(t)
	request := xet.OpenRequest{RepoID: modelRepo, Filename: weights, RequireProof: true,
		NoReadahead: true, WindowBytes: 8 << 20, Deadlines: xet.Deadlines{ReadTimeout: time.Minute}}
	content, err := io.ReadAll(open(t, client, request))
	if err != nil || !bytes.Equal(content, model[weights]) {
		t.Errorf("%d bytes, %v", len(content), err)
	}
	request.Filename = "lfs/old.bin"
	file, err := client.Open(t.Context(), request)
	if err == nil {
		defer closeFile(t, file)
		var n int
		n, err = file.Read(make([]byte, 10))
		if n != 0 {
			t.Errorf("gave %d bytes", n)
		}
	}
	var failure *xet.Error
	if !errors.As(err, &failure) || failure.Code != xet.CodeInvalidConfig ||
		failure.Field != "require_proof" || !strings.Contains(failure.Message, "lfs/old.bin") {
		t.Error(err)
	}
}

// What can't be opened says why, as errors that programs know.
func TestOpenFails(t *testing.T) {
	client := newClient(t)
	for name, c := range map[string]struct {
		request xet.OpenRequest
		errors  []error
	}{
		"file": {xet.OpenRequest{RepoID: modelRepo, Filename: "none"},
			[]error{xet.ErrEntryNotFound, fs.ErrNotExist}},
		"repo": {xet.OpenRequest{RepoID: "alice/none", Filename: "a"},
			[]error{xet.ErrRepoNotFound, fs.ErrNotExist}},
		"revision": {xet.OpenRequest{RepoID: modelRepo, Filename: weights, Revision: "none"},
			[]error{xet.ErrRevisionNotFound, fs.ErrNotExist}},
	} {
		file, err := client.Open(t.Context(), c.request)
		for _, is := range c.errors {
			if !errors.Is(err, is) || file != nil {
				t.Errorf("%s: %v is not %v", name, err, is)
			}
		}
	}
	bob := newClientWith(t, xet.Config{Token: bobToken})
	_, err := bob.Open(t.Context(), xet.OpenRequest{RepoID: gatedRepo, Filename: "secret.txt"})
	if !errors.Is(err, xet.ErrGatedRepo) || !errors.Is(err, fs.ErrPermission) {
		t.Error(err)
	}
	for field, request := range map[string]xet.OpenRequest{
		"repo_id":      {Filename: weights},
		"repo_type":    {RepoID: modelRepo, Filename: weights, RepoType: "bucket"},
		"revision":     {RepoID: modelRepo, Filename: weights, Revision: "a\x00b"},
		"filename":     {RepoID: modelRepo, Filename: "a\x00b"},
		"window_bytes": {RepoID: modelRepo, Filename: weights, WindowBytes: -1},
		"read_timeout": {RepoID: modelRepo, Filename: weights, Deadlines: xet.Deadlines{ReadTimeout: -1}},
	} {
		_, err := client.Open(t.Context(), request)
		wantInvalid(t, err, field)
	}
	for _, name := range []string{"", "../config.json", "nested/"} {
		_, err := client.Open(t.Context(), xet.OpenRequest{RepoID: modelRepo, Filename: name})
		var failure *xet.Error
		if !errors.As(err, &failure) || failure.Code != xet.CodeInvalidConfig || failure.Kind != "unsafe_path" {
			t.Errorf("%q: %v", name, err)
		}
	}
	//lint:ignore SA1012 it is an error
	_, err = client.Open(nil, xet.OpenRequest{RepoID: modelRepo, Filename: weights})
	wantInvalid(t, err, "ctx")
}

// A file works on when its client is closed.
func TestFilesOutliveTheirClient(t *testing.T) {
	client := newClient(t)
	file := open(t, client, xet.OpenRequest{RepoID: modelRepo, Filename: weights})
	client.Close()
	content, err := io.ReadAll(file)
	if err != nil || !bytes.Equal(content, model[weights]) {
		t.Errorf("%d bytes, %v", len(content), err)
	}
	for _, closed := range []*xet.Client{client, nil, {}} {
		_, err = closed.Open(t.Context(), xet.OpenRequest{RepoID: modelRepo, Filename: weights})
		wantClosed(t, err)
		_, err = closed.FS(t.Context(), xet.OpenRequest{RepoID: modelRepo})
		wantClosed(t, err)
	}
}

// Whatever is done with a file that is closed, twice, or was never opened, says so.
func TestClosedFiles(t *testing.T) {
	closed := openWeights(t)
	for range 2 {
		closeFile(t, closed)
	}
	for _, file := range []*xet.File{closed, {}, nil} {
		for name, use := range map[string]func() error{
			"Read":       func() error { _, err := file.Read(make([]byte, 1)); return err },
			"Read of 0":  func() error { _, err := file.Read(nil); return err },
			"ReadAt":     func() error { _, err := file.ReadAt(make([]byte, 1), 0); return err },
			"ReadAt of0": func() error { _, err := file.ReadAt(nil, 0); return err },
			"behind":     func() error { _, err := file.ReadAt(make([]byte, 1), math.MaxInt64); return err },
			"with context": func() error {
				_, err := file.ReadAtContext(t.Context(), make([]byte, 1), 0)
				return err
			},
			"ReadRanges":      func() error { return file.ReadRanges(t.Context(), []xet.Range{{Buffer: []byte{0}}}) },
			"ReadRanges of 0": func() error { return file.ReadRanges(t.Context(), nil) },
			"Seek":            func() error { _, err := file.Seek(0, io.SeekStart); return err },
			"Stat":            func() error { _, err := file.Stat(); return err },
			"Report":          func() error { _, err := file.Report(); return err },
		} {
			err := use()
			if !errors.Is(err, xet.ErrClosed) || !errors.Is(err, fs.ErrClosed) {
				t.Errorf("%s: %v", name, err)
			}
			wantInvalid(t, err, "file")
		}
	}
	var none *xet.File
	closeFile(t, none)
	if none.Size() != 0 {
		t.Error("nothing has a size")
	}
}

// readers are all ways to read bytes that stall.
var readers = map[string]func(context.Context, *xet.File) error{
	"ReadAtContext": func(ctx context.Context, file *xet.File) error {
		_, err := file.ReadAtContext(ctx, make([]byte, 2_000_000), 1_000_000)
		return err
	},
	"ReadRanges": func(ctx context.Context, file *xet.File) error {
		return file.ReadRanges(ctx, []xet.Range{{Buffer: make([]byte, 10)},
			{Offset: 1_000_000, Buffer: make([]byte, 2_000_000)}})
	},
}

// stalledWeights is a file whose bytes don't come.
func stalledWeights(t *testing.T) *xet.File {
	t.Helper()
	file := openWeights(t)
	hub.Fault(t, "storage", object{"stall_after_bytes": 100_000})
	return file
}

// The end of a context, or its deadline, ends the reads that have it at once, and leaves the file to others.
func TestContextsEndReads(t *testing.T) {
	for name, read := range readers {
		t.Run(name, func(t *testing.T) {
			file := stalledWeights(t)
			ctx := &endsAfter{Context: t.Context(), questions: 3}
			err := read(ctx, file)
			wantSoon(t, ctx.ended)
			if !errors.Is(err, xet.ErrCancelled) || !errors.Is(err, context.Canceled) ||
				!strings.Contains(err.Error(), modelRepo) {
				t.Error(err)
			}

			late, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			defer cancel()
			err = read(late, file)
			deadline, _ := late.Deadline()
			wantSoon(t, deadline)
			if !errors.Is(err, xet.ErrTimeout) || !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}

			if err := read(late, file); !errors.Is(err, context.DeadlineExceeded) { // before it begins
				t.Error(err)
			}
			err = read(nil, file)
			wantInvalid(t, err, "ctx")
			if _, err := file.Report(); err != nil {
				t.Error(err)
			}
		})
	}
}

// Open's context is also that of Read and ReadAt, and of no others.
func TestTheContextOfOpenEndsReads(t *testing.T) {
	client := newClient(t)
	ctx, cancel := context.WithCancel(t.Context())
	file, err := client.Open(ctx, xet.OpenRequest{RepoID: modelRepo, Filename: weights})
	if err != nil {
		t.Fatal(err)
	}
	defer closeFile(t, file)
	cancel()
	n, err := file.ReadAt(make([]byte, 10), 0)
	if n != 0 || !errors.Is(err, context.Canceled) {
		t.Errorf("%d, %v", n, err)
	}
	n, err = file.Read(make([]byte, 10))
	if n != 0 || !errors.Is(err, context.Canceled) {
		t.Errorf("%d, %v", n, err)
	}
	if n, err := file.ReadAtContext(t.Context(), make([]byte, 10), 0); n != 10 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if position, err := file.Seek(0, io.SeekCurrent); position != 0 || err != nil {
		t.Errorf("a Read that failed has moved the position to %d, %v", position, err)
	}
}

// Close doesn't wait for reads, but ends them.
func TestCloseEndsReads(t *testing.T) {
	readers := map[string]func(context.Context, *xet.File) error{
		"ReadAtContext": readers["ReadAtContext"], "ReadRanges": readers["ReadRanges"],
		"Read": func(_ context.Context, file *xet.File) error {
			_, err := file.Read(make([]byte, 3_000_000))
			return err
		},
	}
	for name, read := range readers {
		t.Run(name, func(t *testing.T) {
			file := stalledWeights(t)
			ended := make(chan error, 2)
			for range 2 { // one of two Reads waits for the other
				go func() { ended <- read(t.Context(), file) }()
			}
			for !hub.Fired(t, 0) {
				select {
				case err := <-ended:
					t.Fatalf("ended before its bytes had stalled: %v", err)
				default:
				}
			}
			since := time.Now()
			closeFile(t, file)
			for range 2 {
				err := <-ended
				if !errors.Is(err, xet.ErrClosed) || !errors.Is(err, fs.ErrClosed) {
					t.Error(err)
				}
			}
			wantSoon(t, since)
		})
	}
}

// Reads that meet a Close are right, or find the file closed.
func TestCloseMeetsReads(t *testing.T) {
	client := newClient(t)
	for range 20 {
		file := open(t, client, xet.OpenRequest{RepoID: modelRepo, Filename: "nested/part.bin"})
		content := model["nested/part.bin"]
		var group sync.WaitGroup
		for number := range 8 {
			group.Add(1)
			go func() {
				defer group.Done()
				buffer := make([]byte, 20_000)
				offset := int64(number) * 20_000
				n, err := file.ReadAt(buffer, offset)
				switch {
				case err != nil && !errors.Is(err, xet.ErrClosed):
					t.Error(err)
				case err == nil && !bytes.Equal(buffer[:n], content[offset:offset+20_000]):
					t.Error("other bytes")
				}
			}()
		}
		closeFile(t, file)
		group.Wait()
	}
}

// A context that panics in a read panics there, and the file lives on.
func TestPanicInARead(t *testing.T) {
	file := stalledWeights(t)
	caught := func() (value any) {
		defer func() { value = recover() }()
		_, err := file.ReadAtContext(&panics{t.Context(), 3}, make([]byte, 3_000_000), 0)
		t.Errorf("returned %v", err)
		return nil
	}()
	if caught != "no more questions" {
		t.Error(caught)
	}
	if _, err := file.Report(); err != nil {
		t.Error(err)
	}
}

// A file that nobody closes is freed by the garbage collector.
func TestForgottenFiles(t *testing.T) {
	client := newClient(t)
	for range 5 {
		file, err := client.Open(t.Context(), xet.OpenRequest{RepoID: modelRepo, Filename: "nested/part.bin"})
		if err != nil {
			t.Fatal(err)
		}
		// The last use of the file is the beginning of this read.
		if _, err := file.ReadAt(make([]byte, 1000), 100_000); err != nil {
			t.Fatal(err)
		}
	}
	client.Close()
	if err := xet.CheckNatives(); err != nil {
		t.Error(err)
	}
}

// What reads archives reads one that is on the Hub.
func TestAnArchiveOnTheHub(t *testing.T) {
	packed := maps.Clone(small)
	packed["weights.bin"] = noise(200_000, 44)
	var archive bytes.Buffer
	writer := zip.NewWriter(&archive)
	for name, content := range packed {
		entry, err := writer.Create(name)
		if err == nil {
			_, err = entry.Write(content)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	client := newClient(t)
	repo := newRepo(t, client)
	if _, err := client.CreateCommit(t.Context(), repo,
		[]xet.Operation{xet.AddBytes("all.zip", archive.Bytes())}); err != nil {
		t.Fatal(err)
	}
	file := open(t, client, xet.OpenRequest{RepoID: repo, Filename: "all.zip"})
	reader, err := zip.NewReader(file, file.Size())
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range packed {
		found, err := fs.ReadFile(reader, name)
		if err != nil || !bytes.Equal(found, content) {
			t.Errorf("%s: %d bytes, %v", name, len(found), err)
		}
	}
}
