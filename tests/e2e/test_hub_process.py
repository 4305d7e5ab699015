"""xet-hub as a process: how it starts, stops, survives a kill, and keeps its data to itself."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from huggingface_hub import CommitOperationAdd, HfApi, hf_hub_download

import raw
from hub import Hub, HubError, Token, find_binary

StartHub = Callable[..., Hub]


def api_of(hub: Hub, tokens: dict[str, Token]) -> HfApi:
    """The official client as alice."""
    return HfApi(endpoint=hub.endpoint, token=tokens["alice"].secret)


def test_acknowledged_commits_survive_a_kill(
    own_hub: StartHub, tokens: dict[str, Token], cache_dir: Path
) -> None:
    """Everything that a client was told to be done is there after SIGKILL."""
    hub = own_hub()
    api = api_of(hub, tokens)
    data = os.urandom(800_000)
    api.create_repo("alice/r", private=True)
    api.update_repo_settings("alice/r", gated="manual")
    hub.set_access("alice/r", ["carol"])
    operations = [CommitOperationAdd("x.bin", data), CommitOperationAdd("x.txt", b"text")]
    commit = api.create_commit("alice/r", operations, commit_message="m").oid
    api.create_branch("alice/r", branch="dev")
    api.create_tag("alice/r", tag="v1")
    api.create_pull_request("alice/r", title="pr")
    api.move_repo("alice/r", "alice/s")
    before = list(api.list_repo_tree("alice/s", recursive=True, expand=True))

    hub.kill()
    hub.restart()

    assert list(api.list_repo_tree("alice/s", recursive=True, expand=True)) == before
    info = api.repo_info("alice/r")
    assert (info.id, info.sha, info.private, info.gated) == ("alice/s", commit, True, "manual")
    refs = api.list_repo_refs("alice/s", include_pull_requests=True)
    names = [ref.ref for ref in refs.branches + refs.tags + (refs.pull_requests or [])]
    assert names == ["refs/heads/dev", "refs/heads/main", "refs/tags/v1", "refs/pr/1"]
    carol = tokens["carol"].secret
    for name, content in {"x.bin": data, "x.txt": b"text"}.items():
        path = hf_hub_download(
            "alice/s", name, endpoint=hub.endpoint, cache_dir=cache_dir, token=carol
        )
        assert Path(path).read_bytes() == content
    api.upload_file(path_or_fileobj=data, path_in_repo="again.bin", repo_id="alice/s")


def test_a_kill_amid_commits_loses_none_of_them(
    own_hub: StartHub, tokens: dict[str, Token]
) -> None:
    """However the kill falls, each commit whose answer arrived is in the history."""
    hub = own_hub()
    api = api_of(hub, tokens)
    api.create_repo("alice/r")
    acknowledged: list[str] = []
    some = threading.Event()

    def commit_until_it_fails() -> None:
        for n in range(10_000):
            try:
                made = api.create_commit(
                    "alice/r", [CommitOperationAdd(f"{n}.txt", b"%d" % n)], commit_message=str(n)
                )
            except Exception:  # noqa: BLE001 - whatever the client makes of a dead server
                return
            acknowledged.append(made.oid)
            if len(acknowledged) == 20:
                some.set()

    worker = threading.Thread(target=commit_until_it_fails)
    worker.start()
    assert some.wait(60)
    hub.kill()
    worker.join()
    hub.restart()
    history = [commit.commit_id for commit in api.list_repo_commits("alice/r")]
    assert set(acknowledged) <= set(history)
    assert len(history) - len(acknowledged) in (
        1,
        2,
    )  # the first one, and one whose answer was lost


def test_one_data_directory_has_one_server(own_hub: StartHub) -> None:
    """A second server on the same data fails at once and says why; the first goes on."""
    hub = own_hub()
    with pytest.raises(HubError, match="in use by another xet-hub"):
        Hub.start(hub.data)
    assert raw.get(f"{hub.endpoint}/api/models").status == 200


def test_a_stop_is_clean_even_if_a_request_hangs(
    own_hub: StartHub, tokens: dict[str, Token]
) -> None:
    """SIGTERM ends the server with code 0 within its grace, whatever a fault holds back."""
    hub = own_hub()
    api_of(hub, tokens).create_repo("alice/r")
    hub.fault("tree", stall_before=1000)

    def hang() -> None:
        with pytest.raises(OSError):  # noqa: PT011 - reset or closed, as the kernel likes
            raw.get(f"{hub.endpoint}/api/models/alice/r/tree/main", timeout=60)

    getter = threading.Thread(target=hang)
    getter.start()
    hub.wait_for(lambda stats: stats.requests("hub", "tree") == 1, "the request")
    assert hub.stop() == 0
    getter.join(10)
    assert not getter.is_alive()


def test_the_ready_line_is_the_endpoint(tmp_path: Path) -> None:
    """Without further flags, standard output is one line: the URL of the Hub."""
    command = [str(find_binary()), "serve", "--data", str(tmp_path / "new" / "data")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("http://127.0.0.1:")
        assert raw.get(line.strip() + "/api/models").json() == []
        process.terminate()
        assert process.stdout.read() == ""
        assert process.wait(10) == 0


def test_users_are_added_to_a_data_directory(tmp_path: Path) -> None:
    """The printed token works on the next start, and isn't stored itself."""
    data = tmp_path / "data"
    command = [str(find_binary()), "user", "add", "dora", "--data", str(data), "--role", "read"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    token = done.stdout.strip()
    assert token.startswith("hf_")
    assert token not in (data / "users.json").read_text()
    with Hub.start(data) as hub:
        me = raw.get(f"{hub.endpoint}/api/whoami-v2", token=token).json()
        assert (me["name"], me["auth"]["accessToken"]["role"]) == ("dora", "read")
        again = subprocess.run(command, capture_output=True, text=True, check=False)
        assert again.returncode == 1
        assert "in use" in again.stderr


def test_no_token_is_good_unless_it_was_given(tmp_path: Path) -> None:
    """A server without users knows nobody."""
    with Hub.start(tmp_path / "data") as hub:
        for guess in ("hf_alice_secret", "hf_token", "admin"):
            assert raw.get(f"{hub.endpoint}/api/whoami-v2", token=guess).status == 401


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--token", "nobody"], "USER:TOKEN"),
        (["--page-size", "0"], "at least one entry"),
        (["--config", "/nonexistent.json"], "nonexistent.json"),
        (["--port", "99999"], "99999"),
    ],
)
def test_bad_flags_are_explained(tmp_path: Path, flags: list[str], message: str) -> None:
    """A mistake on the command line ends the start with a reason."""
    with pytest.raises(HubError, match=message):
        Hub.start(tmp_path / "data", args=flags)
