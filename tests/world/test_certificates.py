"""HTTPS: who is trusted, who isn't, and what is said then."""

from __future__ import annotations

import datetime as dt
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trustme

from slow_disk import SlowDisk
from tls_front import TlsFront
from world.stage import TOKEN, Model, name_certificates
from xet_ffi import Client, InvalidConfigError, NetworkError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hub import Hub

NOW = dt.datetime.now(dt.timezone.utc)
HOST = "127.0.0.1"


@pytest.fixture
def front(hub: Hub, model: Model, authority: trustme.CA, tmp_path: Path) -> Iterator[TlsFront]:
    """The hub behind HTTPS, with a certificate of the authority's."""
    del model  # Made before.
    with TlsFront.start(hub, authority.issue_cert(HOST), tmp_path / "nginx") as front:
        yield front


def download(endpoint: str, model: Model, folder: Path) -> None:
    """Downloads all of a model, and compares it."""
    with Client(endpoint, TOKEN.secret, folder / "cache") as client:
        transfer = client.download_snapshot(model.repo_id)
        for path, content in model.files.items():
            assert (Path(transfer) / path).read_bytes() == content


@pytest.mark.parametrize(
    "variable", ["SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"]
)
def test_a_private_authority_is_trusted_if_a_variable_names_it(
    front: TlsFront,
    model: Model,
    bundle: str,
    variable: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All that Python's clients and curl know; and the Hub is spoken to in HTTP/2."""
    monkeypatch.setenv(variable, str(tmp_path) if variable.endswith("DIR") else bundle)
    download(front.endpoint, model, tmp_path)
    assert all("HTTP/2.0" in line for line in front.requests("endpoint"))
    assert all("HTTP/1.1" in line for line in front.requests("storage"))
    assert front.requests("storage")


LIST = """
import sys
from xet_ffi import Client, XetError
endpoint, token, repo, cache = sys.argv[1:]
with Client(endpoint, token, cache, first_byte_timeout=1.0) as client:
    try:
        print(len(client.list_files(repo)))
    except XetError as error:
        print(error.kind, error)
"""


#: Three times the same, which fails.
POLL = """
import sys
from pathlib import Path
from xet_ffi import Client, XetError
endpoint, token, repo, cache = sys.argv[1:]
with Client(endpoint, token, cache, first_byte_timeout=1.0, max_attempts=1) as client:
    for _ in range(3):
        try:
            client.list_files(repo)
        except XetError as error:
            print(error.kind)
names = [thread.read_text().strip() for thread in Path("/proc/self/task").glob("*/comm")]
print(names.count("xet-connect"), flush=True)
"""


def ask(
    program: str,
    lines: int,
    front: TlsFront,
    model: Model,
    bundle: str,
    tmp_path: Path,
    *,
    hangs: bool,
) -> tuple[SlowDisk, list[str]]:
    """Has a program trust what is on a disk, which hangs until the first lines were said: those."""
    disk = SlowDisk(tmp_path / "tools", tmp_path / "slow")
    trusted = disk.folder / "ca.pem"
    shutil.copy(bundle, trusted)
    if hangs:
        disk.rule("open", delay_ms=300_000, match="ca.pem", until_exists=tmp_path / "gate")
    with subprocess.Popen(
        [
            *(sys.executable, "-c", program, front.endpoint, TOKEN.secret, model.repo_id),
            tmp_path / "cache",
        ],
        env={**os.environ, **disk.environment(), "SSL_CERT_FILE": str(trusted)},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        said = [process.stdout.readline().strip() for _ in range(lines)]
        (tmp_path / "gate").touch()
    return disk, said


def test_a_disk_of_certificates_that_hangs_keeps_one_thread(
    front: TlsFront, model: Model, bundle: str, tmp_path: Path
) -> None:
    """However often it's asked for them."""
    _, said = ask(POLL, 4, front, model, bundle, tmp_path, hangs=True)
    assert said == ["timeout"] * 3 + ["1"]


@pytest.mark.parametrize("hangs", [False, True])
def test_the_disk_of_certificates_holds_up_no_other_call(
    front: TlsFront, model: Model, bundle: str, tmp_path: Path, *, hangs: bool
) -> None:
    """They are read on a thread that may block, and not for ever."""
    disk, (said,) = ask(LIST, 1, front, model, bundle, tmp_path, hangs=hangs)
    if hangs:
        assert said.startswith("timeout the certificates of trusted authorities")
    else:
        assert int(said) >= len(model.files)
    threads = {call.thread for call in disk.calls() if call.path == str(disk.folder / "ca.pem")}
    assert "xet-connect" in threads
    assert "xet" not in threads, "a worker of the runtime"


def test_uploads_go_over_https(
    front: TlsFront, model: Model, bundle: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """To the Hub, the CAS and storage."""
    monkeypatch.setenv("SSL_CERT_FILE", bundle)
    content = b"new" * 400_000
    with Client(front.endpoint, TOKEN.secret, tmp_path / "cache") as client:
        client.upload_file(content, "new.safetensors", model.repo_id)
    with Client(front.endpoint, TOKEN.secret, tmp_path / "other") as client:
        transfer = client.download_file(model.repo_id, "new.safetensors")
        assert Path(transfer).read_bytes() == content
    assert front.requests("cas")


def test_the_first_of_the_variables_counts(
    front: TlsFront, model: Model, bundle: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An empty one is none."""
    monkeypatch.setenv("SSL_CERT_FILE", "")
    monkeypatch.setenv("SSL_CERT_DIR", "")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", bundle)
    monkeypatch.setenv("CURL_CA_BUNDLE", "/nowhere")
    download(front.endpoint, model, tmp_path)


def self_signed(folder: Path, *options: str) -> tuple[bytes, bytes]:
    """Key and certificate of openssl's making, as its users make them."""
    key, certificate = folder / "own.key", folder / "own.pem"
    command = [
        *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
        *("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", *options),
        *("-keyout", str(key), "-out", str(certificate)),
    ]
    subprocess.run(command, check=True, capture_output=True)
    return key.read_bytes(), certificate.read_bytes()


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        ("unknown", ["signed by nobody who is trusted", "SSL_CERT_FILE"]),
        ("name", ["another name"]),
        ("expired", ["expired", "clock"]),
        ("early", ["isn't valid yet", "clock"]),
        ("authority", ["CA:TRUE", "CA:FALSE"]),
    ],
)
def test_a_server_that_cannot_be_trusted_is_final(
    hub: Hub,
    model: Model,
    authority: trustme.CA,
    bundle: str,
    problem: str,
    words: list[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """It is said in plain words, once: asking again doesn't help."""
    day = dt.timedelta(days=1)
    monkeypatch.setenv("SSL_CERT_FILE", bundle)
    certificate: trustme.LeafCert | tuple[bytes, bytes]
    if problem == "unknown":
        certificate = trustme.CA().issue_cert(HOST)
    elif problem == "name":
        certificate = authority.issue_cert("hub.example")
    elif problem == "expired":
        certificate = authority.issue_cert(HOST, not_before=NOW - 3 * day, not_after=NOW - day)
    elif problem == "early":
        certificate = authority.issue_cert(HOST, not_before=NOW + day, not_after=NOW + 3 * day)
    else:
        certificate = self_signed(tmp_path)
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "own.pem"))
    with (
        TlsFront.start(hub, certificate, tmp_path / "nginx") as front,
        Client(front.endpoint, TOKEN.secret, tmp_path / "cache") as client,
        pytest.raises(NetworkError) as caught,
    ):
        client.download_file(model.repo_id, "config.json")
    assert caught.value.kind == "certificate"
    assert caught.value.details.get("attempts", 1) == 1
    for word in [*words, front.endpoint.removeprefix("https://")]:
        assert word in str(caught.value)


def test_a_self_signed_certificate_that_is_no_authoritys_is_trusted(
    hub: Hub, model: Model, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """If the variable names it."""
    certificate = self_signed(tmp_path, "-addext", "basicConstraints=critical,CA:FALSE")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "own.pem"))
    with TlsFront.start(hub, certificate, tmp_path / "nginx") as front:
        download(front.endpoint, model, tmp_path)


@pytest.mark.parametrize(
    "variable", ["SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"]
)
@pytest.mark.parametrize("content", [None, b"", b"not PEM\n"])
def test_a_useless_file_of_certificates_is_named(
    variable: str, content: bytes | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With its variable: that is what has to be changed."""
    place = tmp_path / "certificates"
    name_certificates(monkeypatch, variable, content, place)
    with (
        Client("https://127.0.0.1:9", cache_dir=tmp_path / "cache", token=False) as client,
        pytest.raises(InvalidConfigError, match=variable) as caught,
    ):
        client.list_files("a/b")
    assert str(place) in str(caught.value)


def forms(pem: bytes) -> dict[str, bytes]:
    """A file of certificates as people have it, and as OpenSSL and curl take it."""
    return {
        "a mark of UTF-8's": b"\xef\xbb\xbf" + pem,
        "marks of UTF-8's within": b"\xef\xbb\xbf" + pem + b"\xef\xbb\xbf" + pem,
        "CRLF": pem.replace(b"\n", b"\r\n"),
        "both": b"\xef\xbb\xbf" + pem.replace(b"\n", b"\r\n"),
        "blanks": pem.replace(b"\n", b"  \n"),
        "comments": b"# Our authority: x\n=====\n" + pem + b"\nsubject=CN=x\n",
        "trusted": openssl(pem, "-trustout"),
        "trusted for servers": openssl(pem, "-trustout", "-addtrust", "serverAuth"),
        "not trusted for mail": openssl(pem, "-trustout", "-addreject", "emailProtection"),
        "with its text": openssl(pem, "-text"),
        "beside others": openssl(pem, "-pubkey") + pem + b"-----BEGIN CERTIFICATE-----\nAA\n",
    }


def openssl(pem: bytes, *options: str) -> bytes:
    """A certificate as openssl writes it."""
    command = ["openssl", "x509", *options]
    return subprocess.run(command, input=pem, check=True, stdout=subprocess.PIPE).stdout


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"])
def test_certificates_are_taken_in_each_form(
    front: TlsFront,
    model: Model,
    authority: trustme.CA,
    variable: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Files that editors and other systems have been at, and OpenSSL's own form."""
    for form, content in forms(authority.cert_pem.bytes()).items():
        name_certificates(monkeypatch, variable, content, tmp_path / "place")
        with Client(front.endpoint, TOKEN.secret, tmp_path / "cache") as client:
            assert client.list_files(model.repo_id), form


@pytest.mark.parametrize(
    ("form", "named"),
    [("der", "DER"), ("utf-16", "UTF-16"), ("key", "PUBLIC KEY"), ("mail", "itself")],
)
def test_a_form_that_cannot_be_taken_is_named(
    authority: trustme.CA, form: str, named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that one knows what to make of the file."""
    pem = authority.cert_pem.bytes()
    content = {
        "der": openssl(pem, "-outform", "der"),
        "utf-16": pem.decode().encode("utf-16"),
        "key": openssl(pem, "-pubkey", "-noout"),
        "mail": openssl(pem, "-trustout", "-addtrust", "emailProtection"),
    }[form]
    name_certificates(monkeypatch, "SSL_CERT_FILE", content, tmp_path / "ca.pem")
    with (
        Client("https://127.0.0.1:9", cache_dir=tmp_path / "cache", token=False) as client,
        pytest.raises(InvalidConfigError, match=rf"SSL_CERT_FILE.*{named}.*ca\.pem"),
    ):
        client.list_files("a/b")


@pytest.mark.parametrize("useless", ["missing", "empty", "rubbish"])
@pytest.mark.parametrize(
    "variables",
    [
        {"SSL_CERT_DIR": "{useless}:{good}"},
        {"SSL_CERT_DIR": "{good}:{useless}"},
        {"SSL_CERT_FILE": "{bundle}", "SSL_CERT_DIR": "{useless}"},
        {"SSL_CERT_FILE": "{useless}", "SSL_CERT_DIR": "{good}"},
    ],
)
def test_one_that_is_of_no_use_is_passed_over_beside_another(
    front: TlsFront,
    model: Model,
    bundle: str,
    useless: str,
    variables: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As OpenSSL does; a warning names it."""
    (tmp_path / "good").mkdir()
    shutil.copy(bundle, tmp_path / "good" / "ca.pem")
    place = tmp_path / useless
    if useless != "missing":
        place.mkdir()
    if useless == "rubbish":
        (place / "a.pem").write_bytes(b"no certificate\n")
    for variable, value in variables.items():
        names = {"useless": place, "good": tmp_path / "good", "bundle": bundle}
        monkeypatch.setenv(variable, value.format(**names))
    with Client(front.endpoint, TOKEN.secret, tmp_path / "cache") as client:
        assert client.list_files(model.repo_id)
    (warning,) = [r.getMessage() for r in caplog.records if str(place) in r.getMessage()]
    assert "SSL_CERT_" in warning


def test_if_all_are_of_no_use_all_are_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Somebody has to mend one of them."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "file"))
    monkeypatch.setenv("SSL_CERT_DIR", f"{tmp_path}/a:{tmp_path}/b")
    with (
        Client("https://127.0.0.1:9", cache_dir=tmp_path / "cache", token=False) as client,
        pytest.raises(InvalidConfigError) as caught,
    ):
        client.list_files("a/b")
    for words in (
        f"SSL_CERT_FILE: {tmp_path}/file",
        f"{tmp_path}/a",
        f"SSL_CERT_DIR: {tmp_path}/b",
    ):
        assert words in str(caught.value)


def test_plain_http_needs_no_certificates(
    hub: Hub, model: Model, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Neither on this machine nor elsewhere."""
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere")
    download(hub.endpoint, model, tmp_path)
    # Plain HTTP to an address that isn't known to be this machine.
    mapped = hub.endpoint.replace("127.0.0.1", "[::ffff:127.0.0.1]")
    with Client(mapped, TOKEN.secret, tmp_path / "other") as client:
        assert Path(client.download_file(model.repo_id, "config.json")).read_bytes() == b"{}"
