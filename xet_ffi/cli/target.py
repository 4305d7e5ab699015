"""What most commands begin with: the repo that is meant, and a client."""

from __future__ import annotations

from xet_ffi import Client
from xet_ffi.cli.output import Misuse

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any


class Target:
    """Which repo a command is about, of REPO and the options that say the same."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        repo = arguments.repo
        self.repo_id: str = repo.repo_id
        self.repo_type: str = _one(arguments, "repo_type", repo.repo_type) or "model"
        self.revision: str | None = _one(arguments, "revision", repo.revision)
        self.path: str = repo.path

    @property
    def where(self) -> dict[str, Any]:
        """The arguments that methods of the client take for it."""
        return {"repo_type": self.repo_type, "revision": self.revision}

    def __str__(self) -> str:
        return f"{self.repo_id} at {self.revision or 'main'}"


def _one(arguments: argparse.Namespace, option: str, typed: str | None) -> str | None:
    """Returns what an option says or what stands in REPO; both may say the same."""
    said: str | None = getattr(arguments, option)
    if said and typed and said != typed:
        flag = option.replace("_", "-")
        message = f"REPO says {typed}, and --{flag} {said}"
        raise Misuse(message)
    return said or typed


def named(repo_id: str, repo_type: str | None) -> str:
    """Returns how the commands call a repo: a model by its id, others with their kind before it."""
    return repo_id if repo_type in {None, "model"} else f"{repo_type}s/{repo_id}"


def client(arguments: argparse.Namespace, **more: Any) -> Client:
    """Returns the client that the common options ask for."""
    return Client(
        arguments.endpoint,
        arguments.token,
        getattr(arguments, "cache_dir", None),
        user_agent="xet-ffi-cli",
        **more,
    )
