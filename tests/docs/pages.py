"""The pages of the documentation, and the code in them.

Every fenced block is run, or says why it can't be. A comment on the line before it says more:

    <!-- not run: REASON -->   it isn't run
    <!-- within: NAME -->      it's a part of the program that FRAMES has under that name
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from abi.toolchain import ROOT

if TYPE_CHECKING:
    from pathlib import Path

DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]

_BLOCK = re.compile(
    r"(?:^<!-- (?P<how>not run|within): (?P<what>.+?) -->\n)?"
    r"^```(?P<language>\w*)\n(?P<text>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)

#: Programs around parts of programs, by what `within` calls them. The part stands at @.
FRAMES = {
    "go": """package main

import (
	"context"
	"fmt"
	"log"

	xet "github.com/xet-ffi/xet-ffi/go"
)

func download(ctx context.Context) error {
@
	if err == nil {
		fmt.Println(model.Path)
	}
	return err
}

func main() {
	if err := download(context.Background()); err != nil {
		log.Fatal(err)
	}
}
""",
    "c": """#include <xet.h>

int main(void) {
    XetClient *client = NULL;
    if (xet_client_create(NULL, &client) != NULL) {
        return 2;
    }
@
    xet_client_free(client);
    xet_transfer_free(transfer);
    return error == NULL ? 0 : 1;
}
""",
}


@dataclass(frozen=True)
class Block:
    """Code in a page."""

    page: str
    line: int
    language: str
    text: str
    #: Why it isn't run.
    reason: str | None

    def __str__(self) -> str:
        return f"{self.page}:{self.line} ({self.language})"


def name_of(page: Path) -> str:
    """A page's path in the tree."""
    return str(page.relative_to(ROOT))


def blocks(page: Path) -> list[Block]:
    """All fenced code of a page, in its order."""
    text = page.read_text(encoding="utf-8")
    found = []
    for match in _BLOCK.finditer(text):
        code = match["text"]
        if match["how"] == "within":
            code = FRAMES[match["what"]].replace("@\n", code)
        reason = match["what"] if match["how"] == "not run" else None
        line = text.count("\n", 0, match.start("language")) + 1
        found.append(Block(name_of(page), line, match["language"], code, reason))
    return found
