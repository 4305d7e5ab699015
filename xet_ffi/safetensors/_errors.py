"""What is wrong with a file of tensors, or with a name."""

from __future__ import annotations

from xet_ffi._errors import NotFoundError, XetError


class InvalidSafetensorsError(XetError, ValueError):
    """A file isn't what the safetensors format allows; `file` names it.

    Also if two files that were opened together have a tensor of the same name. `kind` is
    "invalid_safetensors".
    """


class TensorNotFoundError(NotFoundError, KeyError):
    """No tensor has that name, or none fits the pattern."""


def malformed(repo: str, file: str, problem: str) -> InvalidSafetensorsError:
    """Returns the error for a file that can't be read as safetensors."""
    return InvalidSafetensorsError(
        f"{repo}: {file} is not a valid safetensors file: {problem}",
        details={"kind": "invalid_safetensors", "repo": repo, "file": file},
    )
