package xet_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	xet "github.com/xet-ffi/xet-ffi/go"
)

// fetch downloads a file into a new cache, and returns what the report says of it.
func fetch(t *testing.T, config xet.Config, name string) (xet.FileTransfer, error) {
	t.Helper()
	config.MaxAttempts = 1
	transfer, err := newClientWith(t, config).DownloadFile(t.Context(), modelRepo, name)
	if err != nil {
		return xet.FileTransfer{}, err
	}
	if len(transfer.FileTransfers) != 1 {
		t.Fatalf("%+v", transfer)
	}
	return transfer.FileTransfers[0], nil
}

// The transport decides which way Xet files come, and the report says which way each file came.
func TestTransport(t *testing.T) {
	size := int64(len(model["model.safetensors"]))
	for transport, want := range map[xet.Transport]xet.Way{
		"": xet.WayXet, xet.TransportAuto: xet.WayXet, xet.TransportXet: xet.WayXet,
		xet.TransportHTTP: xet.WayHTTP,
	} {
		got, err := fetch(t, xet.Config{Transport: transport}, "model.safetensors")
		if err != nil || got.Way != want || got.Path != "model.safetensors" ||
			got.BytesTotal != size || got.BytesNetwork < size {
			t.Errorf("%q: %+v, %v", transport, got, err)
		}
		got, err = fetch(t, xet.Config{Transport: transport}, "config.json")
		if err != nil || got.Way != xet.WayHTTP {
			t.Errorf("%q: %+v, %v", transport, got, err)
		}
	}
}

// Where Xet fails, "auto" falls back and says so, and "xet" returns Xet's error.
func TestTransportFallsBack(t *testing.T) {
	hub.Fault(t, "reconstruction", object{"status": http.StatusServiceUnavailable})
	got, err := fetch(t, xet.Config{}, "model.safetensors")
	if err != nil || got.Way != xet.WayXetThenHTTP || got.Fallbacks != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	_, err = fetch(t, xet.Config{Transport: xet.TransportXet}, "model.safetensors")
	var failure *xet.Error
	if !errors.As(err, &failure) || failure.HTTPStatus != http.StatusServiceUnavailable ||
		!errors.Is(err, xet.ErrNetwork) {
		t.Errorf("%v", err)
	}
	if got, err := fetch(t, xet.Config{Transport: xet.TransportHTTP}, "model.safetensors"); err != nil ||
		got.Way != xet.WayHTTP || got.Fallbacks != 0 {
		t.Errorf("%+v, %v", got, err)
	}
}

// One variable switches a program that says nothing, those with the compatibility layer, too.
func TestTransportVariable(t *testing.T) {
	t.Setenv("XET_FFI_TRANSPORT", "http")
	if got, err := fetch(t, xet.Config{}, "model.safetensors"); err != nil || got.Way != xet.WayHTTP {
		t.Errorf("%+v, %v", got, err)
	}
	got, err := fetch(t, xet.Config{Transport: xet.TransportAuto}, "model.safetensors")
	if err != nil || got.Way != xet.WayXet {
		t.Errorf("%+v, %v", got, err)
	}
	t.Setenv("XET_FFI_TRANSPORT", "carrier pigeon")
	_, err = xet.NewClient(&xet.Config{})
	var failure *xet.Error
	if !errors.As(err, &failure) || failure.Field != "XET_FFI_TRANSPORT" ||
		failure.Code != xet.CodeInvalidConfig {
		t.Errorf("%v", err)
	}
}

// A transport that doesn't exist is refused by its name.
func TestUnknownTransport(t *testing.T) {
	_, err := xet.NewClient(&xet.Config{Transport: "https"})
	var failure *xet.Error
	if !errors.As(err, &failure) || failure.Field != "transport" ||
		!strings.Contains(failure.Message, `auto, xet, http, not "https"`) {
		t.Errorf("%v", err)
	}
}

// The report of a snapshot has each file once, in the order of the listing; its parts add up, and
// it goes through JSON unchanged.
func TestFileTransfers(t *testing.T) {
	client := newClient(t)
	files, err := client.ListFiles(t.Context(), modelRepo)
	if err != nil {
		t.Fatal(err)
	}
	for _, again := range []bool{false, true} {
		transfer, err := client.DownloadSnapshot(t.Context(), modelRepo)
		if err != nil {
			t.Fatal(err)
		}
		if transfer.Files != len(files) || len(transfer.FileTransfers) != len(files) {
			t.Fatalf("%d listed: %+v", len(files), transfer)
		}
		var total, network, reused int64
		for i, file := range transfer.FileTransfers {
			total, network = total+file.BytesTotal, network+file.BytesNetwork
			reused += file.BytesReused
			local := again || file.BytesTotal == 0
			if file.Path != files[i].Path || local != (file.Way == xet.WayLocal) {
				t.Errorf("%+v for %+v", file, files[i])
			}
			if file.LocalPath != filepath.Join(transfer.Path, file.Path) || file.Verified == again {
				t.Errorf("%+v", file)
			}
			switch published := files[i]; file.HashKind {
			case xet.HashKindXet:
				if file.Hash != published.XetHash {
					t.Errorf("%+v for %+v", file, published)
				}
			case xet.HashKindSHA256:
				if file.Hash != published.SHA256 {
					t.Errorf("%+v for %+v", file, published)
				}
			case xet.HashKindGitBlob:
				if file.Hash != published.Hash || published.Kind != xet.FileKindGit {
					t.Errorf("%+v for %+v", file, published)
				}
			default:
				t.Errorf("%+v for %+v", file, published)
			}
		}
		if total != transfer.BytesTotal || network != transfer.BytesNetwork ||
			reused != transfer.BytesReused {
			t.Errorf("%d, %d, %d are not the sums of %+v", total, network, reused, transfer)
		}
		text, err := json.Marshal(transfer.FileTransfers[0])
		if err != nil || !strings.Contains(string(text), `"way":"`+string(transfer.FileTransfers[0].Way)) {
			t.Errorf("%s, %v", text, err)
		}
	}
}
