"""What the Hub has is not sent again, whatever file it is in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from published import MIB, noise
from xet_ffi import Client, CommitAdd

if TYPE_CHECKING:
    from hub import Hub


def received(hub: Hub) -> int:
    """Bytes of xorbs that the hub has received."""
    return int(hub.stats().raw["xorb_bytes_received"])


def test_a_changed_file_costs_its_changed_bytes(
    hub: Hub, alice: Client, empty_repo: str, tmp_path: Path
) -> None:
    """A tenth of 40 MiB changed, in two places: at most 1.15 times that is sent."""
    path = tmp_path / "model.bin"
    path.write_bytes(noise(40 * MIB, "dedup/base"))
    alice.upload_file(path, "model.bin", empty_repo)
    hub.reset_stats()
    with path.open("r+b") as file:
        for offset in (10, 30):
            file.seek(offset * MIB)
            file.write(noise(2 * MIB, f"dedup/{offset}"))
    second = alice.upload_file(path, "model.bin", empty_repo)
    assert received(hub) <= 1.15 * 4 * MIB
    assert second.bytes_sent <= 1.15 * 4 * MIB
    assert second.bytes_new + second.bytes_on_hub == second.bytes_total == 40 * MIB
    assert second.xorbs == hub.stats().xorbs_received == 1


def test_content_that_repeats_is_sent_once(hub: Hub, alice: Client, empty_repo: str) -> None:
    """Files with the same content, and a file that repeats itself, cost one of them."""
    data = noise(6 * MIB, "dedup/repeat")
    twice = noise(MIB, "dedup/twice") * 2
    commit = alice.create_commit(
        empty_repo,
        [CommitAdd("a.bin", data), CommitAdd("b.bin", data), CommitAdd("c.bin", twice)],
    )
    assert received(hub) <= 1.02 * (len(data) + len(twice))
    assert commit.bytes_total == 14 * MIB
    # Where the second half of `twice` begins, chunks are cut as in the first only after a while.
    assert 6 * MIB + 700_000 <= commit.bytes_repeated < 7 * MIB
    assert commit.bytes_new + commit.bytes_repeated == commit.bytes_total
    for path, content in {"a.bin": data, "b.bin": data, "c.bin": twice}.items():
        assert Path(alice.download_file(empty_repo, path)).read_bytes() == content


def test_another_repo_shares_the_content(hub: Hub, alice: Client, empty_repo: str) -> None:
    """A file that some repo has is new to another one, but its content isn't."""
    data = noise(5 * MIB, "dedup/share")
    alice.upload_file(data, "a.bin", empty_repo)
    other = alice.create_repo(f"{empty_repo}-2").repo_id
    hub.reset_stats()
    commit = alice.upload_file(data, "b.bin", other)
    assert (commit.commits, commit.bytes_new, commit.bytes_on_hub) == (1, 0, len(data))
    assert hub.stats().xorbs_received == 0


def upload_elsewhere(hub: Hub, repo: str, data: bytes, tmp_path: Path, *fields: str) -> list[int]:
    """Fields of the report of an upload from a machine that knows nothing."""
    from interpreter import python

    path = tmp_path / "b.bin"
    path.write_bytes(data)
    code = f"""
from xet_ffi import Client
with Client({hub.endpoint!r}, "hf_alice_secret") as client:
    commit = client.upload_file({str(path)!r}, "b.bin", {repo!r})
    print(*[getattr(commit, field) for field in {fields!r}])
"""
    elsewhere = tmp_path / "elsewhere"
    done = python(code, HF_HOME=str(elsewhere), HF_XET_CACHE=str(elsewhere / "xet"))
    assert done.returncode == 0, done.stderr
    return [int(number) for number in done.stdout.split()]


def test_a_machine_that_knows_nothing_asks_the_hub(
    hub: Hub, alice: Client, empty_repo: str, tmp_path: Path
) -> None:
    """Without the shards of earlier uploads, the Hub's own index finds the content."""
    data = noise(20 * MIB, "dedup/global")
    alice.upload_file(data, "a.bin", empty_repo)
    hub.reset_stats()
    new, on_hub = upload_elsewhere(hub, empty_repo, data, tmp_path, "bytes_new", "bytes_on_hub")
    assert new + on_hub == len(data)
    assert new <= 0.05 * len(data)
    assert received(hub) <= 0.05 * len(data)


def asked(hub: Hub, repo: str, data: bytes, tmp_path: Path) -> tuple[int, int, int]:
    """What a client that knows nothing asked the Hub's dedup in an upload, and what came of it."""
    fields = ("dedup_asked", "dedup_answered", "dedup_failed")
    questions, answered, failed = upload_elsewhere(hub, repo, data, tmp_path, *fields)
    return questions, answered, failed


def test_the_report_says_that_the_hub_knows_chunks(
    hub: Hub, alice: Client, empty_repo: str, tmp_path: Path
) -> None:
    """A shard of others came for a chunk: the Hub's dedup works."""
    data = noise(5 * MIB, "dedup/known")
    alice.upload_file(data, "a.bin", empty_repo)
    hub.reset_stats()
    questions, answered, failed = asked(hub, empty_repo, data, tmp_path)
    assert hub.stats().requests("cas", "chunks") == questions >= 1
    assert (answered >= 1, failed) == (True, 0)


def test_the_report_says_that_the_hub_knows_none(hub: Hub, empty_repo: str, tmp_path: Path) -> None:
    """What is new to the Hub is asked about by both prefixes, and counts once."""
    hub.reset_stats()
    questions, answered, failed = asked(hub, empty_repo, noise(5 * MIB, "dedup/new"), tmp_path)
    assert hub.stats().requests("cas", "chunks") == 2 * questions >= 2
    assert (answered, failed) == (0, 0)


@pytest.mark.parametrize("status", [400, 403, 404, 500])
def test_the_report_says_that_the_hub_dedup_fails(
    hub: Hub, alice: Client, empty_repo: str, tmp_path: Path, status: int
) -> None:
    """Refused everywhere, or a server that fails: the upload is complete, and says which it was."""
    data = noise(5 * MIB, f"dedup/{status}")
    alice.upload_file(data, "a.bin", empty_repo)
    hub.fault("chunks", status=status)
    questions, answered, failed = asked(hub, empty_repo, data, tmp_path)
    assert (questions >= 1, answered) == (True, 0)
    assert failed == (0 if status == 404 else questions)


@pytest.mark.parametrize("status", [400, 403, 404, 405, 501])
def test_the_hub_may_know_chunks_by_one_name_only(
    hub: Hub, alice: Client, empty_repo: str, tmp_path: Path, status: int
) -> None:
    """However it refuses the other one, it's asked by the one that it knows."""
    data = noise(20 * MIB, f"dedup/name/{status}")
    alice.upload_file(data, "a.bin", empty_repo)
    hub.fault("chunks", path_regex="/v1/chunks/default/", status=status)
    questions, answered, failed = asked(hub, empty_repo, data, tmp_path)
    assert (answered >= 1, failed) == (True, 0)
    assert questions >= 1
