"""Lets examples in docstrings be code: Markdown would take `>>>` for a quotation.

griffe, which reads the sources for mkdocstrings, calls it for each object.
"""

from __future__ import annotations

import re

import griffe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_EXAMPLE = re.compile(r"^>>> .*(?:\n(?!\n).*)*", re.MULTILINE)


class Examples(griffe.Extension):  # type: ignore[misc] # griffe is in the documentation's own venv
    """Puts fences around the examples of every docstring."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Changes the docstring of one object."""
        if obj.docstring is not None:
            obj.docstring.value = _EXAMPLE.sub(_fenced, obj.docstring.value)


def _fenced(example: re.Match[str]) -> str:
    return f"```pycon\n{example[0]}\n```"
