"""What can go wrong on the way: each ends in a commit, or in an error with nothing on the Hub."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from huggingface_hub import HfApi

from published import MIB, noise
from xet_ffi import (
    AuthError,
    CancelledError,
    Client,
    CommitAdd,
    CommitDelete,
    ConflictError,
    NetworkError,
    OfflineError,
    PermissionDeniedError,
    RateLimitedError,
    TransferTimeoutError,
    XetError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from hub import Hub


def commits(api: HfApi, repo: str) -> list[str]:
    """The titles of a repo's commits, newest first."""
    return [commit.title for commit in api.list_repo_commits(repo)]


def upload(client: Client, repo: str, seed: str, size: int = 3 * MIB) -> bytes:
    """Uploads a Xet file and a plain one in one commit, and returns the first's content."""
    data = noise(size, f"faults/{seed}")
    operations = [CommitAdd("x.bin", data), CommitAdd("y.txt", seed.encode())]
    client.create_commit(repo, operations, commit_message="Ours")
    return data


@pytest.mark.parametrize(
    "fault",
    [
        {"route": "preupload", "status": 503},
        {"route": "preupload", "cut_after_bytes": 0},
        {"route": "xet-token", "status": 500},
        {"route": "chunks", "status": 500},
        {"route": "xorb", "status": 500},
        {"route": "xorb", "cut_after_bytes": 0},
        {"route": "storage", "method": "PUT", "status": 500},
        {"route": "storage", "method": "PUT", "cut_after_bytes": 0},
        {"route": "shard", "status": 503},
        {"route": "shard", "cut_after_bytes": 0},
        {"route": "commit", "status": 503},
        {"route": "commit", "status": 429, "headers": {"Retry-After": "1"}},
        {"route": "commit", "cut_after_bytes": 0},
        {"route": "commit", "close_after_bytes": 10},
    ],
    ids=lambda fault: "-".join(
        str(value) for value in fault.values() if not isinstance(value, dict)
    ),
)
def test_what_passes_is_survived(
    hub: Hub, hf_api: HfApi, alice: Client, empty_repo: str, fault: dict[str, object]
) -> None:
    """One failure of each kind: one commit is made, not two, and it is complete."""
    rest = {name: value for name, value in fault.items() if name != "route"}
    hub.fault(str(fault["route"]), times=1, **rest)  # type: ignore[arg-type]
    data = upload(alice, empty_repo, repr(fault))
    assert commits(hf_api, empty_repo)[:-1] == ["Ours"]
    assert sum(rule["fired"] for rule in hub.faults()) == 1
    assert Path(alice.download_file(empty_repo, "x.bin")).read_bytes() == data


@pytest.mark.parametrize("create_pr", [False, True])
def test_a_commit_whose_answer_is_lost_is_found(
    hub: Hub, hf_api: HfApi, alice: Client, empty_repo: str, create_pr: bool
) -> None:
    """It was made, so it isn't made again; and the report names it."""
    hub.fault("commit", times=1, cut_after_bytes=0)
    commit = alice.upload_file(b"text\n", "a.txt", empty_repo, create_pr=create_pr)
    revision = "refs/pr/1" if create_pr else None
    info = hf_api.repo_info(empty_repo, revision=revision)
    assert commit.oid == info.sha
    assert commit.commit_url == f"{hub.endpoint}/{empty_repo}/commit/{info.sha}"
    assert hub.stats().requests("hub", "commit") == 1
    if create_pr:
        assert commit.pr_url == f"{hub.endpoint}/{empty_repo}/discussions/1"
        assert len(list(hf_api.get_repo_discussions(empty_repo))) == 1


def test_a_lost_commit_that_deletes_what_it_brings_is_found(
    hub: Hub, hf_api: HfApi, alice: Client, empty_repo: str
) -> None:
    """That the deleted path is there again doesn't make it someone else's."""
    alice.upload_file(b"text\n", "dir/a.txt", empty_repo)
    hub.fault("commit", times=1, cut_after_bytes=0)
    back = CommitAdd("dir/a.txt", b"text\n")
    commit = alice.create_commit(empty_repo, [CommitDelete("dir/a.txt"), back])
    assert commit.oid == hf_api.repo_info(empty_repo).sha
    assert len(commits(hf_api, empty_repo)) == 3


@pytest.mark.parametrize("page", ["", "https://hub.example/alice/r/discussions/new"])
def test_a_pull_request_without_a_number(
    hub: Hub, hf_api: HfApi, alice: Client, empty_repo: str, tmp_path: Path, page: str
) -> None:
    """Nothing can be committed to it, so there is an error; no second one is opened."""
    body = json.dumps({"commitOid": "0" * 40, "commitUrl": "u", "pullRequestUrl": page})
    hub.fault("commit", times=1, status=200, body=body)
    for i in range(300):
        (tmp_path / f"{i}.txt").write_text(f"{i}\n")
    with pytest.raises(NetworkError, match="pullRequestUrl"):
        alice.upload_folder(tmp_path, empty_repo, create_pr=True)
    assert list(hf_api.get_repo_discussions(empty_repo)) == []


def test_a_commit_that_was_begun_is_ended(
    hub: Hub, hf_api: HfApi, alice: Client, empty_repo: str, tmp_path: Path
) -> None:
    """Though the next batch of the folder has failed meanwhile."""
    for i in range(300):
        (tmp_path / f"{i}.txt").write_text(f"{i}\n")
    hub.fault("commit", stall_before=1)
    hub.fault("preupload", skip=1, status=400)
    with pytest.raises(XetError) as caught:
        alice.upload_folder(tmp_path, empty_repo, commit_message="Ours")
    assert caught.value.http_status == 400
    assert commits(hf_api, empty_repo)[:-1] == ["Ours"]


def test_a_folder_that_fails_says_what_it_has_committed(
    hub: Hub, hf_api: HfApi, alice: Client, empty_repo: str, tmp_path: Path
) -> None:
    """Ids and pages of the commits that were made, in their order; and so when it's cancelled."""
    for i in range(700):
        (tmp_path / f"{i}.txt").write_text(f"{i}\n")
    hub.fault("commit", skip=2, status=400)
    with pytest.raises(XetError) as caught:
        alice.upload_folder(tmp_path, empty_repo)
    made = [commit.commit_id for commit in hf_api.list_repo_commits(empty_repo)[:-1]]
    assert len(made) == 2
    pages = {commit: f"{hub.endpoint}/{empty_repo}/commit/{commit}" for commit in made}
    expected = [{"oid": commit, "url": pages[commit]} for commit in reversed(made)]
    assert caught.value.details["commits"] == expected
    assert caught.value.details["http_status"] == 400

    hub.clear_faults()
    # The first is seen before the second is made.
    hub.fault("commit", skip=1, times=1, stall_before=5)
    with pytest.raises(CancelledError) as cancelled:
        alice.upload_folder(
            tmp_path,
            empty_repo,
            path_in_repo="again",
            cancel=lambda: len(hf_api.list_repo_commits(empty_repo)) > 3,
        )
    now = hf_api.list_repo_commits(empty_repo)
    said = [commit["oid"] for commit in cancelled.value.details.get("commits", [])]
    # The commit may have been made at the very moment: then it's in doubt, or told.
    assert said or cancelled.value.kind == "commit_unknown"
    assert set(said) <= {commit.commit_id for commit in now[: len(now) - 3]}


def test_a_folder_that_fails_names_its_pull_request(
    hub: Hub, alice: Client, empty_repo: str, tmp_path: Path
) -> None:
    """The one that its first commit has opened."""
    for i in range(300):
        (tmp_path / f"{i}.txt").write_text(f"{i}\n")
    hub.fault("commit", skip=1, status=400)
    with pytest.raises(XetError) as caught:
        alice.upload_folder(tmp_path, empty_repo, create_pr=True)
    found = caught.value.details
    assert found["pull_request_url"] == f"{hub.endpoint}/{empty_repo}/discussions/1"
    assert len(found["commits"]) == 1


def test_a_commit_whose_answers_are_lost_is_unknown(
    hub: Hub, alice: Client, empty_repo: str
) -> None:
    """Neither made nor refused as far as anyone can say: an error of a kind of its own.

    It says what became of the commit, and of the look for it.
    """
    hub.fault("commit", cut_after_bytes=0)
    hub.fault("commits", status=500)
    with pytest.raises(XetError) as caught:
        alice.upload_file(b"text\n", "a.txt", empty_repo)
    assert caught.value.kind == "commit_unknown"
    assert caught.value.http_status == 500
    (tried,) = caught.value.details["tried"]
    assert tried.startswith("the commit: the connection to ")


def test_a_commit_that_was_never_sent_is_not_unknown(
    hub: Hub, alice: Client, empty_repo: str
) -> None:
    """What fails before it, and a refusal, leave no doubt."""
    for fault in ({"route": "preupload"}, {"route": "commit"}):
        hub.fault(fault["route"], status=400)
        with pytest.raises(XetError) as caught:
            alice.upload_file(b"text\n", "a.txt", empty_repo)
        assert caught.value.kind == "bad_request"
        assert "commits" not in caught.value.details
        hub.clear_faults()


def test_a_lost_answer_and_someone_elses_commit(
    hub: Hub, hf_api: HfApi, alice: Client, empty_repo: str
) -> None:
    """A commit by another client with another content is not taken for ours."""
    hub.fault("commit", times=1, skip=1, status=503)
    # The other client's commit passes; ours meets the error, and is made on top of it.
    hf_api.upload_file(
        path_or_fileobj=b"theirs\n",
        path_in_repo="a.txt",
        repo_id=empty_repo,
        commit_message="Ours",
    )
    alice.upload_file(b"ours\n", "a.txt", empty_repo, commit_message="Ours")
    assert commits(hf_api, empty_repo)[:-1] == ["Ours", "Ours"]
    assert Path(alice.download_file(empty_repo, "a.txt")).read_bytes() == b"ours\n"


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, XetError),
        (403, PermissionDeniedError),
        (409, ConflictError),
        (412, ConflictError),
        (413, XetError),
    ],
)
def test_a_commit_that_is_refused(
    hub: Hub,
    hf_api: HfApi,
    alice: Client,
    empty_repo: str,
    status: int,
    error: type[XetError],
) -> None:
    """The error has its class and status, at the first attempt."""
    hub.fault("commit", status=status)
    with pytest.raises(error) as caught:
        upload(alice, empty_repo, f"refused/{status}")
    assert caught.value.http_status == status
    assert hub.stats().requests("hub", "commit") == 1
    assert len(commits(hf_api, empty_repo)) == 1


@pytest.mark.parametrize(
    ("route", "status", "error"),
    [
        ("preupload", 500, NetworkError),
        ("xet-token", 503, NetworkError),
        ("xorb", 500, NetworkError),
        ("shard", 503, NetworkError),
        ("commit", 500, NetworkError),
        ("xorb", 403, PermissionDeniedError),
        ("xorb", 401, AuthError),
    ],
)
def test_what_does_not_pass_is_an_error(
    hub: Hub,
    hf_api: HfApi,
    empty_repo: str,
    route: str,
    status: int,
    error: type[XetError],
) -> None:
    """After some attempts, with a class that says what it is, and nothing on the Hub."""
    hub.fault(route, status=status)
    with (
        Client(hub.endpoint, "hf_alice_secret", max_attempts=2) as client,
        pytest.raises(error) as caught,
    ):
        upload(client, empty_repo, f"{route}/{status}", 200_000)
    assert caught.value.http_status == status
    hub.clear_faults()
    assert len(commits(hf_api, empty_repo)) == 1


def test_a_commit_that_is_limited_for_longer_than_there_is_time(
    hub: Hub, hf_api: HfApi, alice: Client, empty_repo: str
) -> None:
    """It wasn't made, and isn't in doubt."""
    hub.fault("commit", status=429, headers={"Retry-After": "3600"})
    with pytest.raises(RateLimitedError, match="timeout") as caught:
        alice.upload_file(b"x", "x", empty_repo, timeout=60)
    assert caught.value.http_status == 429
    assert len(commits(hf_api, empty_repo)) == 1


def test_tokens_that_expire_on_the_way(own_hub: Callable[..., Hub], cache_dir: Path) -> None:
    """A CAS token that lives for two seconds is renewed as often as needed."""
    hub = own_hub(args=["--token-ttl", "2"])
    api = HfApi(endpoint=hub.endpoint, token="hf_alice_secret")
    api.create_repo("alice/r")
    hub.fault("storage", method="PUT", stall_before=2.5)
    with Client(hub.endpoint, "hf_alice_secret", cache_dir) as client:
        upload(client, "alice/r", "expiry", 70 * MIB)
    assert commits(api, "alice/r")[:-1] == ["Ours"]


def test_a_token_that_the_cas_does_not_take_is_replaced(
    hub: Hub, hf_api: HfApi, alice: Client, empty_repo: str
) -> None:
    """A 401 in the middle, though the clock says that the token is good."""
    hub.fault("shard", times=1, status=401)
    upload(alice, empty_repo, "refused")
    assert commits(hf_api, empty_repo)[:-1] == ["Ours"]
    assert hub.stats().requests("hub", "xet-token") >= 2
    # The xorb of the first session wasn't sent again.
    assert hub.stats().xorbs_received == 1


def test_storage_that_takes_nothing_is_noticed(hub: Hub, hf_api: HfApi, empty_repo: str) -> None:
    """It is left alone after half of the patience, and the content is sent again."""
    hub.fault("storage", method="PUT", times=1, stall_before=60)
    with Client(hub.endpoint, "hf_alice_secret", read_timeout=0.5) as client:
        started = time.monotonic()
        upload(client, empty_repo, "stall")
    assert time.monotonic() - started < 40
    assert commits(hf_api, empty_repo)[:-1] == ["Ours"]


def test_the_hub_may_take_its_time_for_a_commit(hub: Hub, hf_api: HfApi, empty_repo: str) -> None:
    """Once all of it is sent, the read timeout is no limit: the commit is asked for once."""
    hub.fault("commit", times=1, stall_before=1.5)
    token = "hf_alice_secret"
    with Client(hub.endpoint, token, read_timeout=0.5, first_byte_timeout=15) as client:
        commit = client.upload_file(b"text\n", "a.txt", empty_repo)
    assert (commit.commits, commit.retries) == (1, 0)
    assert hub.stats().requests("hub", "commit") == 1
    assert hf_api.repo_info(empty_repo).sha == commit.oid


def test_the_whole_call_has_a_timeout(
    hub: Hub, hf_api: HfApi, alice: Client, empty_repo: str
) -> None:
    """Whatever it is waiting for."""
    hub.fault("storage", method="PUT", stall_before=60)
    started = time.monotonic()
    with pytest.raises(TransferTimeoutError):
        alice.upload_file(noise(MIB, "faults/timeout"), "x.bin", empty_repo, timeout=0.7)
    assert time.monotonic() - started < 10
    assert len(commits(hf_api, empty_repo)) == 1


def test_nothing_is_sent_after_a_cancelled_call(hub: Hub, alice: Client, empty_repo: str) -> None:
    """What it had begun ends; nothing else begins."""
    hub.fault("storage", method="PUT", stall_before=1)

    def stop() -> bool:
        return bool(hub.stats().raw["methods"].get("storage", {}).get("PUT", 0))

    with pytest.raises(CancelledError):
        alice.upload_file(noise(200 * MIB, "faults/cancel"), "x.bin", empty_repo, cancel=stop)
    hub.clear_faults()
    upload(alice, empty_repo, "after-cancel")
    assert hub.stats().xorbs_received <= 3


def test_a_client_without_network(hub: Hub, empty_repo: str) -> None:
    """OfflineError, at once."""
    with (
        Client(hub.endpoint, "hf_alice_secret", offline=True) as client,
        pytest.raises(OfflineError),
    ):
        client.upload_file(b"x", "x", empty_repo)


def test_secrets_stay_out_of_errors_and_logs(
    hub: Hub, empty_repo: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither the Hub's token, nor the CAS's, nor a signature, whatever fails."""
    caplog.set_level("DEBUG", logger="xet_ffi")
    messages = []
    for route in ("preupload", "xet-token", "xorb", "storage", "shard", "commit"):
        hub.clear_faults()
        hub.fault(route, method=None if route == "xet-token" else "POST", status=500)
        hub.fault(route, method="PUT", status=500)
        with Client(hub.endpoint, "hf_alice_secret", max_attempts=1) as client:
            try:
                upload(client, empty_repo, f"secrets/{route}", 100_000)
            except XetError as error:
                messages.append(f"{error} {error.details}")
    text = "\n".join([*messages, *(record.getMessage() for record in caplog.records)])
    assert len(messages) >= 5
    for secret in ("hf_alice_secret", "xet_ey", "Signature="):
        assert secret not in text


#: Forks with a client that has uploaded, and uploads in the child.
FORK = """
import os, sys
from xet_ffi import Client

endpoint, repo = sys.argv[1:]
client = Client(endpoint, "hf_alice_secret")
client.upload_file(os.urandom(100_000), "parent.bin", repo)
pid = os.fork()
if pid == 0:
    client.upload_file(os.urandom(100_000), "child.bin", repo)
    os._exit(0)
_, status = os.waitpid(pid, 0)
client.upload_file(os.urandom(100_000), "after.bin", repo)
sys.exit(status)
"""


def test_a_forked_child_uploads(hub: Hub, hf_api: HfApi, empty_repo: str) -> None:
    """With the client that it inherited."""
    done = subprocess.run(
        [sys.executable, "-c", FORK, hub.endpoint, empty_repo],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert set(hf_api.list_repo_files(empty_repo)) == {
        ".gitattributes",
        "parent.bin",
        "child.bin",
        "after.bin",
    }


def test_an_upload_leaves_the_process_alone(hub: Hub, empty_repo: str, tmp_path: Path) -> None:
    """No signal handler, no output, no telemetry, nothing written outside HF_XET_CACHE."""
    code = """
import os, signal, sys
from pathlib import Path
before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
from xet_ffi import Client
endpoint, repo = sys.argv[1:]
with Client(endpoint, "hf_alice_secret") as client:
    client.upload_file(os.urandom(3_000_000), "x.bin", repo)
assert before == (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM))
caught = next(l for l in Path("/proc/self/status").read_text().splitlines() if "SigCgt" in l)
assert int(caught.split()[1], 16) & (1 << signal.SIGTERM - 1) == 0, caught
"""
    home = tmp_path / "home"
    home.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", code, hub.endpoint, empty_repo],
        env={
            "HOME": str(home),
            "HF_HOME": str(home / "hf"),
            "HF_XET_CACHE": str(tmp_path / "xet"),
            "PATH": "/usr/bin:/bin",
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not list(home.rglob("*"))
    assert not (tmp_path / "xet" / "logs").exists()
    assert hub.stats().requests("cas", "telemetry") == 0
