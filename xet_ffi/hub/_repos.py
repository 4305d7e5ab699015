"""Making repos."""

from __future__ import annotations

from xet_ffi._errors import AuthError, PermissionDeniedError, XetError, invalid
from xet_ffi.hub._arguments import checked_repo, unsupported
from xet_ffi.hub._clients import client
from xet_ffi.hub._results import RepoUrl, page

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from xet_ffi.hub._clients import Token


def create_repo(
    repo_id: str,
    *,
    token: Token = None,
    private: bool | None = None,
    visibility: str | None = None,
    repo_type: str | None = None,
    exist_ok: bool = False,
    resource_group_id: str | None = None,
    region: str | None = None,
    space_sdk: str | None = None,
    space_hardware: Any = None,
    space_sleep_time: int | None = None,
    space_secrets: list[dict[str, str]] | None = None,
    space_variables: list[dict[str, str]] | None = None,
    space_volumes: list[Any] | None = None,
    space_template: str | None = None,
) -> RepoUrl:
    """Creates a repo. One that exists raises ConflictError, unless `exist_ok`.

    All other arguments than these can't be honoured, and must be None.

    Args:
        repo_id: "name" (in the namespace of the token) or "namespace/name".
        token: A token; True for that of this machine, which must be there; False for none.
            Default: that of this machine, if there is one.
        private: Who may see it. Default: as the namespace has it.
        visibility: The same: "public" or "private".
        repo_type: "model" (the default), "dataset" or "space".
        exist_ok: A repo that exists is as good as a new one; it stays as it is.
        space_sdk: What a space is made with, such as "static"; a space needs it.

    >>> create_repo("alice/other", private=True).repo_id
    'alice/other'
    """
    checked_repo(repo_id, repo_type)
    unsupported(
        resource_group_id=(resource_group_id, None),
        region=(region, None),
        space_hardware=(space_hardware, None),
        space_sleep_time=(space_sleep_time, None),
        space_secrets=(space_secrets, None),
        space_variables=(space_variables, None),
        space_volumes=(space_volumes, None),
        space_template=(space_template, None),
    )
    if visibility is not None:
        if private is not None:
            raise invalid("visibility", "and private say the same: give one of them")
        if visibility not in {"public", "private"}:
            raise invalid("visibility", f"must be public or private, not {visibility!r}")
        private = visibility == "private"
    if repo_type == "space" and space_sdk is None:
        raise invalid("space_sdk", "is needed for a space, such as 'static'")
    who = client(token)
    endpoint = who.info().endpoint
    try:
        made = who.create_repo(
            repo_id, repo_type=repo_type, private=private, exist_ok=exist_ok, space_sdk=space_sdk
        )
    except (AuthError, PermissionDeniedError):
        if not exist_ok:
            raise
        # Who may not make it may still find it made.
        try:
            who.resolve(repo_id, repo_type=repo_type)
        except XetError:
            pass
        else:
            return RepoUrl(page(endpoint, repo_id, repo_type), endpoint)
        raise
    return RepoUrl(made.url, endpoint)
