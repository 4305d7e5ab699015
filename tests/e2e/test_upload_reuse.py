"""What this machine has uploaded needn't come back to it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from published import MIB, noise, publish
from xet_ffi import Client

if TYPE_CHECKING:
    from huggingface_hub import HfApi

    from hub import Hub, Token

SIZE = 8 * MIB
CONTENT = noise(SIZE, "upload/reuse")


def uploaded(client: Client, repo_id: str, folder: Path) -> Path:
    """A file that was uploaded."""
    file = folder / "weights.bin"
    file.write_bytes(CONTENT)
    client.create_repo(repo_id)
    client.upload_file(file, "weights.bin", repo_id)
    return file


def test_an_uploaded_file_is_not_fetched(
    hub: Hub, tokens: dict[str, Token], repo_id: str, cache_dir: Path, tmp_path: Path
) -> None:
    """Downloading it again takes it from where it was uploaded, and verifies it."""
    with Client(hub.endpoint, tokens["alice"].secret, cache_dir) as client:
        uploaded(client, repo_id, tmp_path)
        hub.reset_stats()
        transfer = client.download_file(repo_id, "weights.bin")
    assert Path(transfer).read_bytes() == CONTENT
    assert (transfer.bytes_network, transfer.bytes_reused) == (0, SIZE)
    assert hub.stats().bytes_sent("storage") == 0


def test_a_repo_that_shares_its_chunks_costs_the_others(
    hub: Hub, tokens: dict[str, Token], hf_api: HfApi, repo_id: str, cache_dir: Path, tmp_path: Path
) -> None:
    """A variant that somebody else publishes costs what differs."""
    variant = noise(MIB, "upload/variant") + CONTENT[MIB:]
    with Client(hub.endpoint, tokens["alice"].secret, cache_dir) as client:
        uploaded(client, repo_id, tmp_path)
        publish(hf_api, f"{repo_id}-variant", {"weights.bin": variant})
        hub.reset_stats()
        transfer = client.download_file(f"{repo_id}-variant", "weights.bin")
    assert Path(transfer).read_bytes() == variant
    assert hub.stats().bytes_sent("storage") <= 1.2 * MIB


def test_a_file_that_changed_since_is_fetched(
    hub: Hub, tokens: dict[str, Token], repo_id: str, cache_dir: Path, tmp_path: Path
) -> None:
    """The content that was uploaded is what counts, not the file that it was uploaded from."""
    with Client(hub.endpoint, tokens["alice"].secret, cache_dir) as client:
        uploaded(client, repo_id, tmp_path).write_bytes(noise(SIZE, "upload/other"))
        transfer = client.download_file(repo_id, "weights.bin")
    assert Path(transfer).read_bytes() == CONTENT
    assert transfer.bytes_network >= SIZE
