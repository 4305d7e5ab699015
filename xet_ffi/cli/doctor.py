"""The command that looks at what could be in the way: one line for each thing, with the way out."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import asdict
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from xet_ffi import (
    AuthError,
    Client,
    NetworkError,
    NotFoundError,
    PermissionDeniedError,
    RepoNotFoundError,
    XetError,
    __version__,
)
from xet_ffi._lib import lib
from xet_ffi._strings import text
from xet_ffi.cli import output
from xet_ffi.cli.disks import disks
from xet_ffi.cli.finding import Finding, failed, ok, skipped, warning
from xet_ffi.cli.shown import Shown
from xet_ffi.cli.target import Target, client

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator

    from xet_ffi import ClientInfo, FileInfo, Progress

#: Seconds for each question, unless --timeout says otherwise.
_PATIENCE = 30.0
#: A repo that nobody has, to hear the Hub answer.
_NOBODYS = "xet-ffi/doctor-asks-for-nothing"
_NO_TOKEN = "none"  # noqa: S105 - no token is no secret
_PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY")
#: Where proxies listen whose addresses don't say it.
_PORTS = {"https": 443, "socks4": 1080, "socks5": 1080, "socks5h": 1080}
#: Seconds for a proxy to take a connection.
_PROXY_PATIENCE = 5.0
#: Seconds for what a call that was ended still writes, and between two looks at that.
_STRAGGLERS, _BETWEEN_LOOKS = 5.0, 0.1
_CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


def _doctor(arguments: argparse.Namespace) -> int:
    arguments.timeout = arguments.timeout or _PATIENCE
    status, rows = output.DONE, []
    for finding in _look(arguments):
        status = status or finding.status
        rows.append(asdict(finding))
        if not arguments.json:
            _print(finding)
    if arguments.json:
        output.result(rows, as_json=True)
    return status


_COLORS = {"ok": "32", "warning": "33", "failed": "31", "skipped": "2"}


def _print(finding: Finding) -> None:
    import sys

    state = output.paint(f"{finding.state:<8}", _COLORS[finding.state], sys.stdout)
    way_out = f" -> {finding.way_out}" if finding.way_out else ""
    # One line each, whatever an error has to say.
    print(
        f"{state} {finding.about:<13} {' '.join(f'{finding.found}{way_out}'.split())}", flush=True
    )


def _look(arguments: argparse.Namespace) -> Iterator[Finding]:
    yield ok("version", f"xet_ffi {__version__}, libxet {text(lib.xet_version())}")
    with client(arguments) as hub, Shown(arguments):
        info = hub.info()
        endpoint = _endpoint(info, arguments)
        yield endpoint
        yield _token(info)
        yield _proxy(info)
        yield _certificates()
        if info.offline:
            yield skipped("network", "offline", "unset HF_HUB_OFFLINE to look at it")
        elif endpoint.status:
            yield skipped("network", "nobody to ask", "see endpoint")
        else:
            yield _dns(info)
            yield from _network(hub, arguments)
        yield from disks(info)


def _endpoint(info: ClientInfo, arguments: argparse.Namespace) -> Finding:
    named = os.environ.get("HF_ENDPOINT", "")
    if not arguments.endpoint and named and urlsplit(named).scheme not in {"http", "https"}:
        # The library says so of each call that needs one; what it knows till then is the default.
        way_out = "let it be a URL, such as https://huggingface.co, or unset it"
        return failed("endpoint", f"HF_ENDPOINT={named} is no URL", way_out, 11)
    return ok("endpoint", info.endpoint + (" (offline)" if info.offline else ""))


def _token(info: ClientInfo) -> Finding:
    source = info.token_source
    if source == _NO_TOKEN:
        way_out = "set HF_TOKEN or run `hf auth login`, if a repo is private or gated"
        return warning("token", "none: anonymous", way_out)
    return ok("token", {"argument": "from --token"}.get(source, f"from {source}"))


def _proxy(info: ClientInfo) -> Finding:
    named = {
        name: value
        for name in (*map(str.lower, _PROXIES), *_PROXIES)
        if (value := os.environ.get(name))
    }
    if not named:
        return ok("proxy", "none named")
    exempt = {name: named.pop(name) for name in list(named) if name.upper() == "NO_PROXY"}
    # A password may stand in it.
    told = [
        *(f"{name}={_bare(value)}" for name, value in named.items()),
        *(f"{name}={value}" for name, value in exempt.items()),
    ]
    is_exempt = _is_plain_loopback(info.endpoint)
    note = "; not for a loopback address over plain HTTP" if is_exempt else ""
    if lost := _lost_proxy(named.values()):
        way_out = "start it, or name another one, or none"
        return warning("proxy", f"{', '.join(told)}{note}; {lost}", way_out)
    return ok("proxy", ", ".join(told) + note)


def _is_plain_loopback(url: str) -> bool:
    """Whether a URL needs no proxy, as the library has it."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    with suppress(ValueError):
        return parts.scheme == "http" and ip_address(host).is_loopback
    return parts.scheme == "http" and host == "localhost"


def _lost_proxy(urls: Iterable[str]) -> str | None:
    """Returns which of the proxies doesn't answer, and why."""
    for url in urls:
        address = urlsplit(url if "://" in url else f"http://{url}")
        try:
            where = address.hostname, address.port
        except ValueError as error:
            return f"{_bare(url)}: {error}"
        host, port = where[0], where[1] or _PORTS.get(address.scheme, 80)
        if not host:
            return f"{_bare(url)} is no address"
        try:
            socket.create_connection((host, port), _PROXY_PATIENCE).close()
        except OSError as error:
            return f"{host}:{port} can't be reached: {error.strerror or error}"
    return None


def _bare(url: str) -> str:
    """Returns a URL without who uses it."""
    scheme, separator, rest = url.rpartition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"


def _certificates() -> Finding:
    for name in _CERTIFICATES:
        if value := os.environ.get(name):
            found = [Path(part) for part in value.split(os.pathsep) if Path(part).exists()]
            way_out = f"let {name} name what is there, or unset it"
            if not found:
                return failed("certificates", f"{name}={value} is not there", way_out, 11)
            if any(path.is_file() for path in found) and not any(map(_has_certificates, found)):
                return failed("certificates", f"{name}={value} has no certificate", way_out, 11)
            return ok("certificates", f"{name}={value}")
    return ok("certificates", "the system's")


def _has_certificates(path: Path) -> bool:
    """Whether a file has what begins a certificate; a folder may."""
    if path.is_dir():
        return True
    try:
        return b"-----BEGIN " in path.read_bytes()
    except OSError:
        return False


def _dns(info: ClientInfo) -> Finding:
    host = urlsplit(info.endpoint).hostname or ""
    try:
        found = {str(entry[4][0]) for entry in socket.getaddrinfo(host, None)}
    except OSError as error:
        proxied = any(os.environ.get(name) for name in ("https_proxy", "HTTPS_PROXY"))
        if proxied:
            return warning("dns", f"{host}: {error.strerror}", "none, if the proxy looks it up")
        way_out = "look at /etc/resolv.conf, name a proxy (HTTPS_PROXY), or a mirror (HF_ENDPOINT)"
        return failed("dns", f"{host}: {error.strerror}", way_out, 13)
    return ok("dns", f"{host}: {', '.join(sorted(found))}")


def _network(hub: Client, arguments: argparse.Namespace) -> Iterator[Finding]:
    where = "xet-ffi doctor REPO, with a repo that has Xet files"
    if arguments.repo is None:
        yield _hub(hub, arguments)
        yield skipped("cas, storage", "not asked for", where)
        return
    arguments.repo_type = arguments.revision = None
    repo = Target(arguments)
    try:
        files = hub.list_files(repo.repo_id, timeout=arguments.timeout, **repo.where)
    except XetError as error:
        yield failed("hub", str(error), _way_out(error), output.status_of(error))
        return
    yield ok("hub", f"{repo} has {len(files)} files")
    by_xet = [file for file in files if file.kind == "xet" and file.size]
    if not by_xet:
        # Who may not read a gated repo is told its names all the same, and no Xet hashes.
        if some := [file for file in files if file.size]:
            smallest = min(some, key=lambda file: (file.kind == "git", file.size))
            yield _fetch(repo, smallest, "plain http", "http", arguments)
        yield skipped("cas, storage", f"no Xet files of {repo.repo_id} are told of", where)
        return
    smallest = min(by_xet, key=lambda file: file.size)
    for about, transport in (("cas, storage", "xet"), ("plain http", "http")):
        yield _fetch(repo, smallest, about, transport, arguments)


def _hub(hub: Client, arguments: argparse.Namespace) -> Finding:
    try:
        hub.resolve(_NOBODYS, timeout=arguments.timeout)
    except (RepoNotFoundError, PermissionDeniedError):
        pass
    except NotFoundError as error:
        return failed("hub", f"something else answers: {error}", _way_out(error), 14)
    except AuthError as error:
        # Without a token, a refusal is what such a repo gets.
        if hub.info().token_source != _NO_TOKEN:
            return failed("hub", str(error), _way_out(error), output.status_of(error))
    except XetError as error:
        return failed("hub", str(error), _way_out(error), output.status_of(error))
    return ok("hub", "answers")


@contextmanager
def scratch() -> Iterator[str]:
    """Makes a folder that is gone afterwards.

    A call that was ended returns at once: what it was just writing may come when it has returned.
    """
    folder = tempfile.mkdtemp(prefix="xet-ffi-doctor-")
    try:
        yield folder
    finally:
        end = time.monotonic() + _STRAGGLERS
        while os.path.exists(folder):
            if time.monotonic() > end:
                output.warning(f"{folder} can't be removed")
                break
            shutil.rmtree(folder, ignore_errors=True)
            time.sleep(_BETWEEN_LOOKS)


class _Enough(Exception):  # noqa: N818 - it's no failure
    """Bytes have come; no more are needed."""


def _fetch(
    repo: Target, file: FileInfo, about: str, transport: str, arguments: argparse.Namespace
) -> Finding:
    """Asks for bytes of a file until some come, with no help of what is on this machine."""

    def watch(progress: Progress) -> None:
        if progress.bytes_network:
            raise _Enough

    with scratch() as folder:
        asking = dict(vars(arguments), cache_dir=folder)
        space = type(arguments)(**asking)
        with client(space, transport=transport) as hub:
            try:
                came = hub.download_file(
                    repo.repo_id,
                    file.path,
                    force_download=True,
                    timeout=arguments.timeout,
                    progress=watch,
                    **repo.where,
                )
            except _Enough:
                return ok(about, f"bytes of {file.path} came")
            except XetError as error:
                is_storages = _is_storages(error, came_from=hub.info().endpoint)
                way_out = _STORAGES if is_storages else _way_out(error)
                if transport == "xet" and (is_storages or isinstance(error, NetworkError)):
                    way_out += "; XET_FFI_TRANSPORT=http does without the CAS"
                return failed(about, str(error), way_out, output.status_of(error))
    if not came.bytes_network:
        way_out = "name a repo of which nothing is here"
        return skipped(about, f"all of {file.path} is on this machine", way_out)
    return ok(about, f"bytes of {file.path} came")


#: What is done about storage that refuses what the Hub has signed.
_STORAGES = "try later, or on another network: it's that host, or something on the way to it"

#: What is done about errors that their kind tells more of than their code.
_BY_KIND = {
    "certificate": "let SSL_CERT_FILE name the authority's certificate, or the server have a valid "
    "one",
    # Any server says so of what it hasn't; a Hub says that it's a repo.
    "not_found": "look at HF_ENDPOINT, or --endpoint: it's the address of a Hub, without a path",
    "revision_not_found": "look at the revision: a branch, tag or commit of the repo",
}


def _is_storages(error: XetError, *, came_from: str) -> bool:
    """Whether it's storage that refuses, and not the Hub: what the Hub gave leads elsewhere."""
    refused = urlsplit(str(error.details.get("url", ""))).netloc
    return error.kind == "forbidden" and refused not in {"", urlsplit(came_from).netloc}


def _way_out(error: XetError) -> str:
    if error.kind in _BY_KIND:
        return _BY_KIND[error.kind]
    status = output.status_of(error)
    ways: dict[int, str] = {
        11: "mend what the message names",
        12: "get a new token: `hf auth login`, or HF_TOKEN",
        13: "let this machine reach the host that is named, name a proxy (HTTPS_PROXY), or use a "
        "mirror (HF_ENDPOINT)",
        14: "look at the name of the repo; a private one needs a token that may read it",
        15: "ask the owners of the repo for access, or use a token that has it",
        19: "let this machine reach the host, or name a proxy (HTTPS_PROXY); a slow line needs "
        "--timeout",
        20: "wait; requests with a token have a limit of their own",
    }
    return ways.get(status, "see the message")


COMMANDS = {"doctor": _doctor}
