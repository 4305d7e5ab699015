"""doctor: one line for each thing that could be in the way, with the way out."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trustme

from cli.conftest import OTHER
from published import noise
from tls_front import TlsFront
from world.stage import TOKEN, publish
from xet_ffi.cli import main
from xet_ffi.cli.doctor import scratch

if TYPE_CHECKING:
    from hub import Hub


def findings(
    capsys: pytest.CaptureFixture[str], *arguments: str
) -> tuple[int, dict[str, dict[str, Any]]]:
    """The status, and what was found of each thing."""
    capsys.readouterr()
    status = main(["doctor", "--json", *arguments])
    rows = json.loads(capsys.readouterr().out)
    return status, {row["about"]: row for row in rows}


def test_where_all_is_well_it_says_so(repo: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Down to bytes from the CAS and from the Hub."""
    status, found = findings(capsys, repo)
    assert status == 0
    assert {row["state"] for row in found.values()} == {"ok"}
    wanted = "endpoint token proxy certificates dns hub cache locks".split()  # noqa: SIM905
    assert {*wanted, "cas, storage", "plain http", "file system", "xet cache"} <= set(found)
    assert found["token"]["found"] == "from HF_TOKEN"
    assert main(["doctor", repo]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert len(shown) == len(found)
    assert TOKEN.secret not in "\n".join(shown)


@pytest.mark.parametrize(
    ("variables", "about", "status", "way_out"),
    [
        ({"HF_ENDPOINT": "http://127.0.0.1:9"}, "hub", 13, "HTTPS_PROXY"),
        ({"HF_ENDPOINT": "http://no-such-host.invalid"}, "dns", 13, "resolv.conf"),
        ({"HF_ENDPOINT": "huggingface.co"}, "endpoint", 11, "https://huggingface.co"),
        ({"HF_TOKEN": "hf_wrong"}, "hub", 12, "hf auth login"),
        ({"SSL_CERT_FILE": "/nowhere/ca.pem"}, "certificates", 11, "SSL_CERT_FILE"),
    ],
)
def test_what_is_in_the_way_is_named_with_the_way_out(
    variables: dict[str, str],
    about: str,
    status: int,
    way_out: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """And the status is that of a call that fails so."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    said, found = findings(capsys)
    assert said == status
    assert found[about]["state"] == "failed"
    assert way_out in found[about]["way_out"]


def test_storage_out_of_reach_is_told_from_the_hub(
    hub: Hub, repo: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """By its host; plain HTTP from the Hub's other way is another line."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, and nobody listens
        port = taken.getsockname()[1]
        hub.announce(storage=f"http://127.0.0.1:{port}", bridge=hub.storage)
        try:
            status, found = findings(capsys, repo)
        finally:
            hub.announce()
    assert status == 13
    assert found["hub"]["state"] == "ok"
    assert f"127.0.0.1:{port}" in found["cas, storage"]["found"]
    assert found["plain http"]["state"] == "ok"


def test_storage_that_refuses_is_no_question_of_access(
    hub: Hub, repo: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The Hub has signed what it refuses."""
    hub.fault("storage", status=403, path_regex="^/(xorbs|files|lfs)/")
    status, found = findings(capsys, repo)
    assert status == 15
    assert found["hub"]["state"] == "ok"
    for about in ("cas, storage", "plain http"):
        assert found[about]["way_out"].startswith("try later, or on another network")
    assert "XET_FFI_TRANSPORT=http" in found["cas, storage"]["way_out"]


def test_a_revision_that_is_not_there_is_no_question_of_the_repo(
    repo: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its name is right."""
    status, found = findings(capsys, f"{repo}@nothing")
    assert status == 14
    assert found["hub"]["way_out"].startswith("look at the revision")


def test_a_repo_without_xet_files_says_what_is_missing(
    hub: Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rather than "ok" for what nobody looked at."""
    small, _ = publish(hub, {"config.json": b"{}"})
    for asked in ([], [small]):
        status, found = findings(capsys, *asked)
        assert status == 0
        assert found["cas, storage"]["state"] == "skipped"


def test_a_cache_that_can_not_be_written_to_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """/proc is nobody's, not even root's."""
    monkeypatch.setenv("HF_HUB_CACHE", "/proc/hub")
    status, found = findings(capsys)
    assert status != 0
    (failed,) = [row for row in found.values() if row["state"] == "failed"]
    assert "HF_HUB_CACHE" in failed["way_out"]


def test_a_password_of_a_proxy_is_not_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What doctor prints is for bug reports."""
    monkeypatch.setenv("HTTPS_PROXY", "http://me:secret@127.0.0.1:9")
    _, found = findings(capsys)
    assert found["proxy"]["found"].startswith("HTTPS_PROXY=http://127.0.0.1:9")
    assert "secret" not in json.dumps(found)


def test_a_repo_that_one_may_not_read_is_told(hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    """A gated one tells the names of its files, and nothing more."""
    gated, _ = publish(hub, {"model.safetensors": noise(100_000, "gated")})
    hub.set_settings(gated, gate="manual")
    status, found = findings(capsys, gated, "--token", OTHER.secret)
    assert status == 15
    (failed,) = [row for row in found.values() if row["state"] == "failed"]
    assert "gated" in failed["found"]
    assert "access" in failed["way_out"]


def test_what_answers_and_is_no_hub_is_told(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Any web server has no such page, and no such repo."""
    monkeypatch.setenv("HF_ENDPOINT", f"{hub.endpoint}/no/hub")
    for asked in ([], ["alice/any"]):
        status, found = findings(capsys, *asked)
        assert status == 14
        assert found["hub"]["state"] == "failed"
        assert "HF_ENDPOINT" in found["hub"]["way_out"]


@pytest.mark.parametrize(
    ("endpoint", "is_exempt"),
    [
        ("http://127.0.0.1:9", True),
        ("http://localhost:9", True),
        ("http://[::1]:9", True),
        ("https://127.0.0.1:9", False),
        ("http://127.example.invalid", False),
    ],
)
def test_that_a_proxy_is_not_asked_is_told_where_it_is_so(
    endpoint: str,
    is_exempt: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Of plain HTTP to this machine, and of nothing else."""
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    _, found = findings(capsys)
    assert ("not for a loopback address" in found["proxy"]["found"]) == is_exempt


def test_certificates_that_are_none_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not only those that aren't there."""
    (tmp_path / "ca.pem").write_text("<html>")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    status, found = findings(capsys)
    assert status == 11
    assert "has no certificate" in found["certificates"]["found"]


def test_a_proxy_that_does_not_answer_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By its address, without who uses it."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, and nobody listens
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:secret@{address}")
        status, found = findings(capsys)
    assert status == 0
    assert found["proxy"]["state"] == "warning"
    assert f"{address} can't be reached: Connection refused" in found["proxy"]["found"]
    assert "secret" not in found["proxy"]["found"]


def test_a_call_that_was_ended_leaves_nothing() -> None:
    """What it writes when it has returned goes, too."""

    def straggle() -> None:
        for number in range(20):
            with contextlib.suppress(OSError):  # it goes in between
                Path(folder, "repo").mkdir(parents=True, exist_ok=True)
                Path(folder, "repo", str(number)).touch()
            time.sleep(0.01)

    with scratch() as folder:
        straggler = threading.Thread(target=straggle)
        straggler.start()
    straggler.join()
    assert not Path(folder).exists()


def test_a_certificate_that_is_not_trusted_has_its_own_way_out(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It isn't that the host can't be reached."""
    unknown = trustme.CA().issue_cert("127.0.0.1")
    with TlsFront.start(hub, unknown, tmp_path / "nginx") as front:
        monkeypatch.setenv("HF_ENDPOINT", front.endpoint)
        status, found = findings(capsys)
    hub.announce()
    assert status == 13
    assert "SSL_CERT_FILE" in found["hub"]["way_out"]
