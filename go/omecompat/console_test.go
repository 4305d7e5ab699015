package omecompat

import (
	"bytes"
	"testing"

	xet "github.com/xet-ffi/xet-ffi/go"
)

// The console has one line, which covers a longer one before it, and ends with the download.
func TestConsole(t *testing.T) {
	var out bytes.Buffer
	write := console(&out, "direct")
	write(ProgressUpdate{})
	write(ProgressUpdate{
		Phase: ProgressPhaseDownloading, TotalBytes: 8, CompletedBytes: 2, TotalFiles: 2, CurrentFile: "a/é.bin",
	})
	for range 3 {
		write(ProgressUpdate{
			Phase: ProgressPhaseFinalizing, TotalBytes: 8, CompletedBytes: 8, TotalFiles: 2, CompletedFiles: 2,
		})
	}
	write(ProgressUpdate{})
	want := "\r[direct] scanning: 0.0%, 0 of 0 files" +
		"\r[direct] downloading: 25.0%, 0 of 2 files, a/é.bin" +
		"\r[direct] finalizing: 100.0%, 2 of 2 files         \n" +
		"\r[direct] scanning: 0.0%, 0 of 0 files"
	if out.String() != want {
		t.Errorf("%q\n%q", out.String(), want)
	}
	if text := ProgressPhase(9).String(); text != "unknown" {
		t.Error(text)
	}
}

// A client's transport is what EnableDedup says, and files in flight are bounded.
func TestNative(t *testing.T) {
	for _, tt := range []struct {
		config    Config
		transport xet.Transport
		files     int
	}{
		{Config{EnableDedup: true, MaxConcurrentDownloads: 1000}, xet.TransportAuto, 256},
		{Config{MaxConcurrentDownloads: 2}, xet.TransportHTTP, 2},
		{*defaults(), xet.TransportAuto, DefaultMaxConcurrentDownloads},
		{Config{}, xet.TransportHTTP, DefaultMaxConcurrentDownloads},
	} {
		client, err := NewClient(&tt.config)
		if err != nil {
			t.Fatal(err)
		}
		info, err := client.native().Info()
		if err != nil || info.Transport != tt.transport || info.MaxConcurrentDownloads != tt.files || !info.Anonymous {
			t.Errorf("%+v, %v", info, err)
		}
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	}
}
