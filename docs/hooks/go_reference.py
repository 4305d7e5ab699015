"""Renders what `go doc -all` says as Markdown."""

from __future__ import annotations

import re
import textwrap

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_SECTIONS = {
    "CONSTANTS": "Constants",
    "VARIABLES": "Variables",
    "FUNCTIONS": "Functions",
    "TYPES": "Types",
}


def markdown(said: str) -> str:
    """Returns the package's comment, and its declarations with theirs."""
    head, *rest = re.split(r"^(CONSTANTS|VARIABLES|FUNCTIONS|TYPES)$", said, flags=re.MULTILINE)
    clause, _, about = head.partition("\n\n")
    lines = [f'`import xet "{clause.split()[-1].strip(chr(34))}"`', _comment(about)]
    for name, text in zip(rest[::2], rest[1::2], strict=True):
        lines += [f"## {_SECTIONS[name]}", *_declarations(text)]
    return "\n\n".join(lines)


def _declarations(text: str) -> Iterator[str]:
    """Declarations begin at the margin, and end with the line that closes what they opened."""
    code: list[str] = []
    comment: list[str] = []
    opened = 0
    for line in text.strip("\n").splitlines():
        inside = opened > 0
        if not inside and line and not line.startswith(" "):
            yield from _declaration(code, comment)
            code, comment = [], []
        if inside or (line and not line.startswith(" ")):
            code.append(line)
            bare = re.sub(r'//.*|"(?:\\.|[^"\\])*"', "", line)
            opened += sum(map(bare.count, "({")) - sum(map(bare.count, ")}"))
        else:
            comment.append(line)
    yield from _declaration(code, comment)


def _declaration(code: list[str], comment: list[str]) -> Iterator[str]:
    if not code:
        return
    method = re.match(r"func \(\w+ \*?(\w+)\) (\w+)", code[0])
    plain = re.match(r"(?:func|type) (\w+)", code[0])
    if method:
        yield f"#### `{method[1]}.{method[2]}`"
    elif plain:
        yield f"### `{plain[1]}`"
    yield "\n".join(["```go", *code, "```"])
    if any(comment):
        yield _comment(textwrap.dedent("\n".join(comment)))


def _comment(text: str) -> str:
    """Text that is indented is code; the rest is prose, whose letters mean themselves."""
    paragraphs = []
    for paragraph in re.split(r"\n\n+", text.strip("\n")):
        if paragraph.startswith(("    ", "\t")):
            paragraphs.append(f"```go\n{textwrap.dedent(paragraph)}\n```")
        else:
            escaped = re.sub(r"([*_\[\\`])", r"\\\1", paragraph)
            paragraphs.append(escaped.replace("<", "&lt;"))
    return "\n\n".join(paragraphs)
