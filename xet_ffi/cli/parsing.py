"""Argparse, as people type: options anywhere, the nearest word for a wrong one, usage at hand."""

from __future__ import annotations

import argparse
import re
import sys

from xet_ffi.cli.output import USAGE, error, say
from xet_ffi.cli.words import did_you_mean, nearest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn, TypeAlias

    Commands: TypeAlias = argparse._SubParsersAction["Parser"]  # noqa: SLF001 - it has no other name


class Parser(argparse.ArgumentParser):
    """One that takes options in between arguments, too, as `hf` does.

    It has commands, or it is that of one. What it can't understand it says itself, with its own
    usage, and not the parser of all commands.
    """

    #: What to say behind a word too many.
    surplus = ""
    _has_commands = False
    _is_within = False

    def __init__(self, **options: Any) -> None:
        options.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(allow_abbrev=False, **options)

    def takes_negative_values(self) -> None:
        """Says that what begins with a minus and a digit is a value, such as "-8:" and "-1KiB:"."""
        self._negative_number_matcher = re.compile(r"-[\d.]")

    def add_subparsers(self, **options: Any) -> Any:
        """Is what makes it a parser of commands."""
        self._has_commands = True
        return super().add_subparsers(**options)

    def parse_known_args(self, *arguments: Any) -> Any:  # type: ignore[override] # as it's called
        """Parses, and refuses what is left over."""
        if self._is_within:
            return super().parse_known_args(*arguments)
        rest = next((a.dest for a in self._actions if a.nargs == argparse.REMAINDER), None)
        if rest is not None:
            return self._leave_all(rest, *arguments)
        if self._has_commands:
            namespace, left = super().parse_known_args(*arguments)
        else:
            self._is_within = True
            try:
                namespace, left = self.parse_known_intermixed_args(*arguments)
            finally:
                self._is_within = False
        for word in left:
            self._refuse(word)
        return namespace, left

    def _leave_all(self, rest: str, words: list[str], namespace: Any) -> Any:
        """Leaves all words to a program, whatever they look like; only `--help` is ours."""
        ours = words if words[:1] in (["-h"], ["--help"]) else []
        namespace, _ = super().parse_known_args(ours, namespace)
        setattr(namespace, rest, words)
        return namespace, []

    def _refuse(self, word: str) -> NoReturn:
        if not word.startswith("-") or word == "-":
            self.error(f"what is {word!r}? There are arguments enough{self.surplus}")
        name = word.partition("=")[0]
        hint = did_you_mean(name, self._option_string_actions)
        if not hint and not name.startswith("--") and self._get_positional_actions():
            hint = f"; a name that begins with a dash stands behind --: -- {name}"
        self.error(f"there is no option {name}{hint}")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            choices = [str(choice) for choice in action.choices]
            is_command = isinstance(action, argparse._SubParsersAction)  # noqa: SLF001 - it has no other name
            hint = did_you_mean(str(value), choices) or f"; choose from {', '.join(choices)}"
            if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - the same
                hint = self._elsewhere(value, action) or hint
            message = f"there is no {'command ' if is_command else ''}{value!r}{hint}"
            raise argparse.ArgumentError(None if is_command else action, message)

    def _elsewhere(self, word: str, commands: Commands) -> str | None:
        """Returns a hint at what has that very name, and isn't one of these commands."""
        if f"--{word}" in self._option_string_actions:
            return f"; did you mean --{word}?"
        for name, command in commands.choices.items():
            if any(
                isinstance(action, argparse._SubParsersAction) and word in action.choices  # noqa: SLF001 - it has no other name
                for action in command._actions  # noqa: SLF001 - the same
            ):
                other = nearest(word, commands.choices)
                return f"; did you mean {name} {word}{f', or {other}' if other else ''}?"
        return None

    def format_usage(self) -> str:
        """Returns one line; what the options are is a question for `--help`."""
        self.usage = self.usage or self._in_one_line()
        return super().format_usage()

    def format_help(self) -> str:
        """Returns the help, which begins with that line."""
        self.usage = self.usage or self._in_one_line()
        return super().format_help()

    def _in_one_line(self) -> str:
        words = [self.prog]
        if self._get_optional_actions():
            words.append("[options]")
        for action in self._get_positional_actions():
            name = str(action.metavar or action.dest)
            if action.choices is not None and action.metavar is None:
                name = "{" + ",".join(map(str, action.choices)) + "}"
            several = {"?": f"[{name}]", "*": f"[{name} ...]", "+": f"{name} ..."}
            more = " ..." if action.nargs == argparse.PARSER else ""
            words.append(several.get(str(action.nargs), name + more))
        return " ".join(words).replace("%", "%%")

    def error(self, message: str) -> NoReturn:
        """Says what is wrong, and how it's meant."""
        say(self.format_usage(), end="")
        error(message)
        say(f"       {self.prog} --help says more")
        sys.exit(USAGE)
