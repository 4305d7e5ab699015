"""The command that looks at what could be in the way: one line for each thing, with the way out."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import tempfile
from dataclasses import asdict
from pathlib import Path
from urllib.parse import urlsplit

from xet_ffi import (
    AuthError,
    Client,
    NotFoundError,
    PermissionDeniedError,
    XetError,
    __version__,
)
from xet_ffi._bar import size
from xet_ffi._dataclass import dataclass
from xet_ffi._lib import lib
from xet_ffi._strings import text
from xet_ffi.cli import output
from xet_ffi.cli.shown import Shown
from xet_ffi.cli.target import Target, client

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

    from xet_ffi import ClientInfo, FileInfo, Progress

#: Below this a download of a model is likely to fail.
_LITTLE = 5_000_000_000
#: Seconds for each question, unless --timeout says otherwise.
_PATIENCE = 30.0
#: A repo that nobody has, to hear the Hub answer.
_NOBODYS = "xet-ffi/doctor-asks-for-nothing"
_NO_TOKEN = "none"  # noqa: S105 - no token is no secret
_PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY")
_CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What was found of one thing.

    Attributes:
        about: The thing.
        state: "ok", "warning", "failed", or "skipped".
        found: What was found.
        way_out: What to do about it; None if nothing needs to be.
        status: The exit status that stands for it, if it failed.
    """

    about: str
    state: str
    found: str
    way_out: str | None = None
    status: int = 0


def _ok(about: str, found: str) -> Finding:
    return Finding(about=about, state="ok", found=found)


def _warning(about: str, found: str, way_out: str) -> Finding:
    return Finding(about=about, state="warning", found=found, way_out=way_out)


def _failed(about: str, found: str, way_out: str, status: int) -> Finding:
    return Finding(about=about, state="failed", found=found, way_out=way_out, status=status)


def _skipped(about: str, found: str, way_out: str) -> Finding:
    return Finding(about=about, state="skipped", found=found, way_out=way_out)


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
    yield _ok("version", f"xet_ffi {__version__}, libxet {text(lib.xet_version())}")
    with client(arguments) as hub, Shown(arguments):
        info = hub.info()
        yield _ok("endpoint", info.endpoint + (" (offline)" if info.offline else ""))
        yield _token(info)
        yield _proxy(info)
        yield _certificates()
        if info.offline:
            yield _skipped("network", "offline", "unset HF_HUB_OFFLINE to look at it")
        else:
            yield _dns(info)
            yield from _network(hub, arguments)
        yield from _disks(info)


def _token(info: ClientInfo) -> Finding:
    source = info.token_source
    if source == _NO_TOKEN:
        way_out = "set HF_TOKEN or run `hf auth login`, if a repo is private or gated"
        return _warning("token", "none: anonymous", way_out)
    return _ok("token", {"argument": "from --token"}.get(source, f"from {source}"))


def _proxy(info: ClientInfo) -> Finding:
    named = {
        name: value
        for name in (*map(str.lower, _PROXIES), *_PROXIES)
        if (value := os.environ.get(name))
    }
    if not named:
        return _ok("proxy", "none named")
    # A password may stand in it.
    told = [
        f"{name}={value if name.upper() == 'NO_PROXY' else _bare(value)}"
        for name, value in named.items()
    ]
    note = "; not for a loopback address over plain HTTP" if "://127." in info.endpoint else ""
    return _ok("proxy", ", ".join(told) + note)


def _bare(url: str) -> str:
    """Returns a URL without who uses it."""
    scheme, separator, rest = url.rpartition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"


def _certificates() -> Finding:
    for name in _CERTIFICATES:
        if value := os.environ.get(name):
            if any(Path(part).exists() for part in value.split(os.pathsep)):
                return _ok("certificates", f"{name}={value}")
            way_out = f"let {name} name what is there, or unset it"
            return _failed("certificates", f"{name}={value} is not there", way_out, 11)
    return _ok("certificates", "the system's")


def _dns(info: ClientInfo) -> Finding:
    host = urlsplit(info.endpoint).hostname or ""
    try:
        found = {str(entry[4][0]) for entry in socket.getaddrinfo(host, None)}
    except OSError as error:
        proxied = any(os.environ.get(name) for name in ("https_proxy", "HTTPS_PROXY"))
        if proxied:
            return _warning("dns", f"{host}: {error.strerror}", "none, if the proxy looks it up")
        way_out = "look at /etc/resolv.conf, name a proxy (HTTPS_PROXY), or a mirror (HF_ENDPOINT)"
        return _failed("dns", f"{host}: {error.strerror}", way_out, 13)
    return _ok("dns", f"{host}: {', '.join(sorted(found))}")


def _network(hub: Client, arguments: argparse.Namespace) -> Iterator[Finding]:
    where = "xet-ffi doctor REPO, with a repo that has Xet files"
    if arguments.repo is None:
        yield _hub(hub, arguments)
        yield _skipped("cas, storage", "not asked for", where)
        return
    arguments.repo_type = arguments.revision = None
    repo = Target(arguments)
    try:
        files = hub.list_files(repo.repo_id, timeout=arguments.timeout, **repo.where)
    except XetError as error:
        yield _failed("hub", str(error), _way_out(error), output.status_of(error))
        return
    yield _ok("hub", f"{repo} has {len(files)} files")
    by_xet = [file for file in files if file.kind == "xet" and file.size]
    if not by_xet:
        yield _skipped("cas, storage", f"{repo.repo_id} has no Xet files", where)
        return
    smallest = min(by_xet, key=lambda file: file.size)
    for about, transport in (("cas, storage", "xet"), ("plain http", "http")):
        yield _fetch(repo, smallest, about, transport, arguments)


def _hub(hub: Client, arguments: argparse.Namespace) -> Finding:
    try:
        hub.resolve(_NOBODYS, timeout=arguments.timeout)
    except (NotFoundError, PermissionDeniedError):
        pass
    except AuthError as error:
        # Without a token, a refusal is what such a repo gets.
        if hub.info().token_source != _NO_TOKEN:
            return _failed("hub", str(error), _way_out(error), output.status_of(error))
    except XetError as error:
        return _failed("hub", str(error), _way_out(error), output.status_of(error))
    return _ok("hub", "answers")


class _Enough(Exception):  # noqa: N818 - it's no failure
    """Bytes have come; no more are needed."""


def _fetch(
    repo: Target, file: FileInfo, about: str, transport: str, arguments: argparse.Namespace
) -> Finding:
    """Asks for bytes of a file until some come, with no help of what is on this machine."""

    def watch(progress: Progress) -> None:
        if progress.bytes_network:
            raise _Enough

    with tempfile.TemporaryDirectory(prefix="xet-ffi-doctor-") as folder:
        asking = dict(vars(arguments), cache_dir=folder)
        space = type(arguments)(**asking)
        try:
            with client(space, transport=transport) as hub:
                came = hub.download_file(
                    repo.repo_id,
                    file.path,
                    force_download=True,
                    timeout=arguments.timeout,
                    progress=watch,
                    **repo.where,
                )
        except _Enough:
            pass
        except XetError as error:
            return _failed(about, str(error), _way_out(error), output.status_of(error))
        else:
            if not came.bytes_network:
                way_out = "name a repo of which nothing is here"
                return _skipped(about, f"all of {file.path} is on this machine", way_out)
    return _ok(about, f"bytes of {file.path} came")


def _way_out(error: XetError) -> str:
    status = output.status_of(error)
    ways: dict[int, str] = {
        12: "get a new token: `hf auth login`, or HF_TOKEN",
        13: "let this machine reach the host that is named, name a proxy (HTTPS_PROXY), or use a "
        "mirror (HF_ENDPOINT); XET_FFI_TRANSPORT=http does without the CAS",
        14: "look at the name of the repo; a private one needs a token that may read it",
        15: "ask the owners of the repo for access, or use a token that has it",
        19: "the same as for a host that can't be reached; a slow line needs --timeout",
        20: "wait; requests with a token have a limit of their own",
    }
    return ways.get(status, "see the message")


def _disks(info: ClientInfo) -> Iterator[Finding]:
    for about, folder in (("cache", info.cache_dir), ("xet cache", info.xet_cache_dir)):
        place = Path(folder)
        while not place.exists() and place != place.parent:
            place = place.parent
        free = shutil.disk_usage(place).free
        told = f"{folder}: {size(free)}B free"
        if not os.access(place, os.W_OK | os.X_OK):
            variable = "HF_HUB_CACHE" if about == "cache" else "HF_XET_CACHE"
            way_out = f"let {variable} name a folder that you may write to"
            yield _failed(about, f"{place} can't be written to", way_out, 15)
            continue
        if free < _LITTLE:
            yield _warning(about, told, "xet-ffi cache ls --sort size, xet-ffi cache rm")
        else:
            yield _ok(about, told)
        if about == "cache":
            yield from _abilities(place)


def _abilities(place: Path) -> Iterator[Finding]:
    """Tries on the cache's own disk what downloads use there."""
    try:
        with tempfile.TemporaryDirectory(prefix=".xet-ffi-doctor-", dir=place) as folder:
            yield _locks(folder)
            yield _links(folder)
    except OSError as error:
        way_out = "let HF_HUB_CACHE name a folder on another disk"
        yield _failed("file system", f"{place}: {error.strerror}", way_out, output.LOCAL_FILE)


def _locks(folder: str) -> Finding:
    path = os.path.join(folder, "lock")
    descriptors = [os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600) for _ in range(2)]
    exclusive = fcntl.LOCK_EX | fcntl.LOCK_NB
    weak = "each process downloads by itself; a local disk (HF_HUB_CACHE) lets them share"
    try:
        fcntl.flock(descriptors[0], exclusive)
        fcntl.flock(descriptors[1], exclusive)
    except BlockingIOError:
        return _ok("locks", "keep others out")
    except OSError as error:
        return _warning("locks", f"are refused: {error.strerror}", weak)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
    return _warning("locks", "are granted to everyone", weak)


def _links(folder: str) -> Finding:
    source = os.path.join(folder, "file")
    Path(source).write_bytes(b"x")
    able: list[str] = []
    unable: list[str] = []
    tries: dict[str, Callable[[], None]] = {
        "symbolic links": lambda: os.symlink("file", os.path.join(folder, "symbolic")),
        "hard links": lambda: os.link(source, os.path.join(folder, "hard")),
        "shared blocks": lambda: _clone(source, os.path.join(folder, "clone")),
    }
    for name, make in tries.items():
        (able if _works(make) else unable).append(name)
    told = f"has {', '.join(able) or 'no links'}" + (f"; no {', '.join(unable)}" if unable else "")
    if "symbolic links" in unable:
        return _warning("file system", told, "each revision takes its own space; use another disk")
    return _ok("file system", told)


def _works(make: Callable[[], None]) -> bool:
    try:
        make()
    except OSError:
        return False
    return True


#: ioctl of Linux: share all blocks of another file.
_FICLONE = 0x40049409


def _clone(source: str, target: str) -> None:
    with open(source, "rb") as old, open(target, "wb") as new:
        fcntl.ioctl(new, _FICLONE, old.fileno())


COMMANDS = {"doctor": _doctor}
