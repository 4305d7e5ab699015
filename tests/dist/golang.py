"""A Go program outside the repository, of the modules in dist/."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from dist.conftest import DIST, public_proxy, run

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = """package main

import (
	"context"
	"fmt"
	"log"

	xet "github.com/xet-ffi/xet-ffi/go"
)

func main() {
	client, err := xet.NewClient(&xet.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	file, err := client.DownloadFile(context.Background(), "alice/model", "model.bin")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(file.Path)
}
"""


def environment(folder: Path) -> dict[str, str]:
    """Go that asks our modules' proxy first, which is a folder, and has nothing of them yet."""
    return {
        "GOPROXY": f"file://{DIST}/go,{public_proxy()}",
        "GONOSUMDB": "github.com/xet-ffi/*",
        "GOFLAGS": "-mod=mod -modcacherw",
        "GOMODCACHE": str(folder / "modules"),
        "PATH": os.environ["PATH"],
    }


def service(folder: Path, environ: dict[str, str], *flags: str) -> Path:
    """A program of one file, in a module that asks for ours by its version."""
    folder.mkdir()
    (folder / "main.go").write_text(PROGRAM)
    (folder / "go.mod").write_text("module service\n\ngo 1.24.0\n")
    run("go", "get", "github.com/xet-ffi/xet-ffi/go@v0.1.0", cwd=folder, **environ)
    run("go", "build", *flags, ".", cwd=folder, **environ)
    return folder / "service"
