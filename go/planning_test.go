package xet_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	xet "github.com/xet-ffi/xet-ffi/go"
)

// A plan says what a download then does, and changes nothing.
func TestPlanSnapshot(t *testing.T) {
	client := newClient(t)
	pattern := xet.WithAllowPatterns("model.safetensors")
	size := int64(len(model["model.safetensors"]))
	plan, err := client.PlanSnapshot(t.Context(), modelRepo, pattern)
	if err != nil {
		t.Fatal(err)
	}
	if len(plan.Files) != 1 || plan.Files[0].Path != "model.safetensors" {
		t.Fatalf("%+v", plan)
	}
	if plan.BytesTotal != size || plan.BytesPresent != 0 || plan.Commit != commits[modelRepo] {
		t.Errorf("%+v", plan)
	}
	if plan.BytesReusable+plan.BytesRemote != size || plan.DiskNeed != size || !plan.Fits() {
		t.Errorf("%+v", plan)
	}
	transfer, err := client.DownloadSnapshot(t.Context(), modelRepo, pattern)
	if err != nil {
		t.Fatal(err)
	}
	if transfer.BytesReused != plan.BytesReusable {
		t.Errorf("planned %+v, did %+v", plan, transfer)
	}
	plan, err = client.PlanSnapshot(t.Context(), modelRepo, pattern)
	if err != nil || plan.BytesPresent != size || plan.DiskNeed != 0 {
		t.Errorf("%+v, %v", plan, err)
	}
}

// The cache is added up, verified, indexed and pruned.
func TestCacheCare(t *testing.T) {
	client := newClient(t)
	transfer, err := client.DownloadSnapshot(t.Context(), modelRepo)
	if err != nil {
		t.Fatal(err)
	}
	usage, err := client.CacheUsage(t.Context())
	if err != nil || usage.Repos != 1 || usage.Revisions != 1 || usage.Bytes != transfer.BytesTotal {
		t.Errorf("%+v, %v", usage, err)
	}
	verified, err := client.CacheVerify(t.Context())
	if err != nil || len(verified.Items) != 0 || verified.Files != usage.Files {
		t.Errorf("%+v, %v", verified, err)
	}
	blob, err := filepath.EvalSymlinks(filepath.Join(transfer.Path, "model.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(blob, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(blob, []byte("rotten"), 0o644); err != nil {
		t.Fatal(err)
	}
	verified, err = client.CacheVerify(t.Context())
	if err != nil || len(verified.Items) != 1 || verified.Items[0].Path != blob {
		t.Errorf("%+v, %v", verified, err)
	}
	if _, err := client.CacheIndex(t.Context(), true); err != nil {
		t.Error(err)
	}
	if _, err := client.CachePrune(t.Context(), xet.PruneLimits{}); !errors.Is(err, xet.ErrInvalidConfig) {
		t.Errorf("a limit has to be named: %v", err)
	}
	pruned, err := client.CachePrune(t.Context(), xet.PruneLimits{Unreferenced: true, DryRun: true})
	if err != nil || len(pruned.Items) != 0 {
		t.Errorf("all of it is referenced: %+v, %v", pruned, err)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := client.CacheVerify(cancelled); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
