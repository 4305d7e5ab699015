"""The manual, as roff and as Markdown: from the parser, so that it says what `--help` says."""

from __future__ import annotations

import argparse
import re
from typing import NamedTuple

from xet_ffi import __version__
from xet_ffi.cli.grammar import DESCRIPTION, SCRIPT, parser
from xet_ffi.cli.output import STATUSES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_ENVIRONMENT = {
    "HF_ENDPOINT": "Address of the Hub.",
    "HF_TOKEN": "Access token; else that of `hf auth login`.",
    "HF_HOME, HF_HUB_CACHE": "Where the cache is.",
    "HF_XET_CACHE": "Where the index of chunks is, and what interrupted calls have left.",
    "HF_HUB_OFFLINE": "1: ask nobody.",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1: show no bar.",
    "XET_FFI_TRANSPORT": "Which way Xet files come: auto, xet or http.",
    "HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY": "Proxies, and what needs none.",
    "SSL_CERT_FILE, SSL_CERT_DIR": "Certificates that are trusted instead of the system's.",
    "NO_COLOR": "Anything but empty: no colors.",
}


class Command(NamedTuple):
    """A command: its words, what may follow them, what it does, and its options."""

    words: str
    usage: str
    about: str
    options: list[tuple[str, str]]


def page() -> str:
    """Returns the manual."""
    lines = [
        f'.TH XET-FFI 1 "" "xet-ffi {__version__}" "User Commands"',
        ".SH NAME",
        f"xet-ffi \\- {_text(DESCRIPTION)}",
        ".SH SYNOPSIS",
        f".B {SCRIPT}",
        "[options] COMMAND ...",
        ".SH COMMANDS",
    ]
    for command in _commands():
        lines += [f".SS {_text(f'{command.words} {command.usage}')}", _text(command.about)]
        for names, meaning in command.options:
            lines += [".TP", f".B {_text(names)}", _text(meaning)]
    lines.append(".SH EXIT STATUS")
    for status, meaning in STATUSES.items():
        lines += [".TP", f".B {status}", _text(meaning)]
    lines.append(".SH ENVIRONMENT")
    for names, meaning in _ENVIRONMENT.items():
        lines += [".TP", f".B {_text(names)}", _text(meaning)]
    return "\n".join(lines)


def markdown() -> str:
    """Returns the manual as sections of the documentation."""
    lines = []
    for command in _commands():
        lines += [f"### `{command.words}`", "", command.about, ""]
        lines += ["```text", f"{command.words} {command.usage}", "```", ""]
        if command.options:
            lines += _table(("option", "meaning"), command.options)
    lines += ["## Exit statuses", ""]
    lines += _table(("status", "meaning"), [(str(n), said) for n, said in STATUSES.items()])
    lines += ["## Environment", ""]
    lines += _table(("variable", "meaning"), list(_ENVIRONMENT.items()))
    return "\n".join(lines)


def _table(heads: tuple[str, str], rows: list[tuple[str, str]]) -> Iterator[str]:
    yield f"| {heads[0]} | {heads[1]} |"
    yield "| --- | --- |"
    for name, meaning in rows:
        # Outside of code, letters mean themselves, too.
        spans = re.split("(`[^`]*`)", meaning)
        spans[::2] = (
            re.sub(r"([\\*_\[|])", r"\\\1", span).replace("<", "&lt;") for span in spans[::2]
        )
        yield f"| `{name}` | {''.join(spans)} |"
    yield ""


def _commands() -> Iterator[Command]:
    whole = parser()
    whole.prog = SCRIPT
    yield from _below(whole, SCRIPT)


def _below(of: argparse.ArgumentParser, words: str) -> Iterator[Command]:
    for action in of._actions:  # noqa: SLF001 - argparse has no other way to ask
        if not isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - the same
            continue
        for name, command in action.choices.items():
            full = f"{words} {name}"
            if any(isinstance(inner, argparse._SubParsersAction) for inner in command._actions):  # noqa: SLF001 - the same
                yield from _below(command, full)
                continue
            usage = " ".join(command.format_usage().partition(f" {name} ")[2].split())
            yield Command(full, usage, (command.description or "").strip(), list(_options(command)))


def _options(of: argparse.ArgumentParser) -> Iterator[tuple[str, str]]:
    for action in of._actions:  # noqa: SLF001 - argparse has no other way to ask
        if action.help in (None, argparse.SUPPRESS) or action.dest == "help":
            continue
        value = "" if action.nargs == 0 else str(action.metavar or action.dest.upper())
        if action.choices is not None and action.metavar is None:
            value = "|".join(map(str, action.choices))
        names = ", ".join(action.option_strings)
        yield f"{names} {value}".strip(), str(action.help)


def _text(words: str) -> str:
    """Escapes what roff would take for its own: backslashes, dashes, a dot or a quote in front."""
    escaped = words.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{escaped}" if escaped.startswith((".", "'")) else escaped
