"""Renders xet.h as Markdown: its contract, and a section for each of its own."""

from __future__ import annotations

import re
import textwrap
from itertools import takewhile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_PIECE = re.compile(
    r"""
    (?P<section>/\*\ [-=]{4}\ (?P<title>.+?)\ [-=]{4,}\ \*/)
    | (?P<comment>/\*.*?\*/)
    | (?P<define>\#define[^\n]*)
    | (?P<declaration>[^\s/#][^;{]*(?:\{.*?\n\}[^;]*)?;)
    """,
    re.DOTALL | re.VERBOSE,
)
_NAME = re.compile(r"\b((?:xet_\w+|Xet[A-Z]\w+|XET_[A-Z0-9_]+)\*?)(?![\w<])")


def reference(header: str) -> str:
    """Returns all declarations between the header's markers, with their comments."""
    _, _, rest = header.partition("/* begin cdef */")
    text, marker, _ = rest.partition("/* end cdef */")
    if not marker:
        message = "the header has no markers"
        raise ValueError(message)
    pieces = list(_PIECE.finditer(text))
    names = {named for piece in pieces if (named := _named(piece))}
    return "\n\n".join(_pieces(pieces, names))


def contract(header: str) -> str:
    """Returns the comment at the head of the header."""
    comment = _plain(header.partition("*/")[0])
    _, _, rest = comment.partition("--------\n")
    rules, _, more = rest.partition("\n\n")
    lines = []
    for rule in re.split(r"\n(?=\S)", rules):
        title, said = rule.split(maxsplit=1)
        lines += [f"## {title}", _prose(said, set())]
    lines.append("## Environment")
    for paragraph in more.split("\n\n"):
        if paragraph.startswith("    "):
            lines.append(_code(textwrap.dedent(paragraph)))
        elif not paragraph.startswith("Only what stands between"):
            lines.append(_prose(paragraph, set()))
    return "\n\n".join(lines)


def _pieces(pieces: list[re.Match[str]], names: set[str]) -> Iterator[str]:
    about = ""
    for piece in pieces:
        if piece["section"]:
            yield f"## {piece['title'].strip('-= ').capitalize()}"
        elif piece["comment"]:
            # A comment that begins with two stars is about what follows.
            if piece["comment"].startswith("/**"):
                about = _prose(_plain(piece["comment"]), names)
            else:
                yield _prose(_plain(piece["comment"]), names)
        else:
            name = _named(piece)
            if name:
                yield f"### `{name}` {{ #{name} }}"
            else:
                yield f"### `{_common(piece[0])}*`"
            if about:
                yield about
            yield _code(piece[0])
            about = ""


def _named(piece: re.Match[str]) -> str | None:
    """What a piece declares; a group of numbers has no name."""
    if piece["define"]:
        return piece["define"].split()[1]
    declaration = piece["declaration"]
    if not declaration:
        return None
    for form in (r"^typedef [^{]*\(\*(\w+)\)", r"^typedef .*\b(\w+);$", r"\b(xet_\w+)\("):
        found = re.search(form, declaration, re.DOTALL)
        if found:
            return found[1]
    return None


def _common(numbers: str) -> str:
    """What the names of a group of numbers begin with."""
    names = re.findall(r"\bXET_\w+(?= =)", re.sub(r"/\*.*?\*/", "", numbers, flags=re.DOTALL))
    words = zip(*(name.split("_") for name in names), strict=False)
    shared = list(takewhile(lambda same: len(set(same)) == 1, words))
    return "_".join(same[0] for same in shared if len(names) > 1 or same != shared[-1]) + "_"


def _plain(comment: str) -> str:
    """The text of a comment, without its stars."""
    inner = re.sub(r"\A/\*+ ?|\s*\*+/\Z", "", comment)
    return re.sub(r"^ \* ?", "", inner, flags=re.MULTILINE).strip("\n")


def _prose(text: str, names: set[str]) -> str:
    joined = re.sub(r"[ \n]+", " ", text).strip()
    # What stands between backticks is code already. Elsewhere letters mean themselves.
    spans = re.split(r"(`[^`]*`)", joined)
    for at, span in enumerate(spans):
        if span.startswith("`"):
            spans[at] = _link(span.strip("`"), names)
        else:
            linked = _NAME.split(span)
            plain = [_escaped(part) for part in linked[::2]]
            found = [_link(name, names) for name in linked[1::2]]
            spans[at] = "".join(
                part for pair in zip(plain, [*found, ""], strict=True) for part in pair
            )
    return "".join(spans)


def _escaped(text: str) -> str:
    return re.sub(r"([*_\[\\])", r"\\\1", text).replace("<", "&lt;")


def _link(name: str, names: set[str]) -> str:
    return f"[`{name}`](#{name})" if name in names else f"`{name}`"


def _code(text: str) -> str:
    return f"```c\n{text}\n```"
