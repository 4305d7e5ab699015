package xet_test

import (
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
