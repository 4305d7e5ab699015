"""What tests of storages share: the content of a repository, and the right to it alone."""

from __future__ import annotations

import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from published import MIB, noise, publish

if TYPE_CHECKING:
    from huggingface_hub import HfApi

    from hub import Hub, Token

ABSENT = "ab" * 32


@dataclass(frozen=True)
class Access:
    """What storage has, and arguments that lead there with the right to read, and to write."""

    contents: dict[str, bytes]
    hashes: dict[str, str]
    read: dict[str, Any]
    write: dict[str, Any]


def publish_two(hub: Hub, hf_api: HfApi, alice: Token, repo_id: str) -> Access:
    """Two files."""
    contents = {"a.bin": noise(3 * MIB, repo_id), "b.bin": noise(2 * MIB, f"{repo_id}/b")}
    publish(hf_api, repo_id, contents)
    infos = hf_api.get_paths_info(repo_id, [*contents])
    hashes = {info.path: str(info.xet_hash) for info in infos}  # type: ignore[union-attr] # files
    headers = {"authorization": f"Bearer {alice.secret}"}
    url = f"{hub.endpoint}/api/models/{repo_id}/xet-{{}}-token/main"
    read, write = (
        {"refresh_url": url.format(right), "refresh_headers": headers}
        for right in ("read", "write")
    )
    hub.reset_stats()
    return Access(contents, hashes, read, write)


def token_of(access: Access) -> tuple[str, int]:
    """What the hub's route for tokens says."""
    request = urllib.request.Request(
        access.read["refresh_url"], headers=access.read["refresh_headers"]
    )
    with urllib.request.urlopen(request) as answer:
        return answer.headers["X-Xet-Access-Token"], int(answer.headers["X-Xet-Token-Expiration"])
