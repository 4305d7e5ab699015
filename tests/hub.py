"""Starts and drives an xet-hub: the real server that the end-to-end tests run against.

    with Hub.start(tmp_path / "hub", tokens=TOKENS) as hub:
        api = HfApi(endpoint=hub.endpoint, token=TOKENS["alice"].secret)

One `Hub` is one data directory. `restart` and `kill` keep the data, and the port, so that clients
that were made before go on working.
"""

from __future__ import annotations

import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal
from urllib.parse import urlencode, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from types import TracebackType

    from typing_extensions import Self

JSON = dict[str, Any]
RepoType = Literal["model", "dataset", "space", "kernel"]

#: Seconds until a server that isn't ready, or doesn't stop, is a failure.
DEADLINE = 30.0

#: Bytes of a request's body that a loaded machine hashes and stores in a second, at the least.
SLOWEST = 10_000_000


class HubError(Exception):
    """The server didn't start, or its test API refused a request."""


@dataclass(frozen=True)
class Token:
    """A token of a user; `role` is read, write or admin."""

    user: str
    secret: str = field(repr=False)
    role: str = "write"

    @property
    def flag(self) -> str:
        """As `xet-hub serve --token` takes it."""
        return f"{self.user}:{self.secret}:{self.role}"


def find_binary() -> Path:
    """The xet-hub to run: `$XET_HUB_BINARY`, else on PATH, beside Python, or built in the tree."""
    named = os.environ.get("XET_HUB_BINARY")
    if named:
        return Path(named)
    built = Path(__file__).parent.parent / "native" / "target" / "release" / "xet-hub"
    for found in (shutil.which("xet-hub"), Path(sys.executable).parent / "xet-hub", built):
        if found and Path(found).is_file():
            return Path(found)
    msg = "no xet-hub: set XET_HUB_BINARY, or run `cargo build --release -p xet-hub`"
    raise HubError(msg)


@dataclass(frozen=True)
class Stats:
    """The server's counters; `raw` is all of them as sent."""

    raw: JSON

    def requests(self, origin: str, *classes: str) -> int:
        """Requests to an origin (hub, cas, storage), of the given kinds or of all."""
        counts: dict[str, int] = self.raw["requests"].get(origin, {})
        return sum(n for kind, n in counts.items() if not classes or kind in classes)

    def bytes_sent(self, origin: str) -> int:
        """Body bytes that an origin sent."""
        return int(self.raw["bytes_sent"][origin])

    def peak(self, origin: str) -> int:
        """The most requests that were in flight at an origin at once."""
        return int(self.raw["peak_in_flight"][origin])

    def in_flight(self, origin: str) -> int:
        """Requests to an origin whose answers haven't gone out to their last byte."""
        return int(self.raw["in_flight"][origin])

    def fetched(self, kind: str) -> int:
        """Requests to storage for `xorbs`, `files` (plain bytes of Xet files) or `lfs` objects."""
        return int(self.raw["storage"].get(kind, {}).get("requests", 0))

    def fetched_bytes(self, kind: str) -> int:
        """Body bytes that storage sent of those."""
        return int(self.raw["storage"].get(kind, {}).get("bytes_sent", 0))

    def statuses(self, status: int) -> int:
        """Answers with a status, from all origins."""
        return int(self.raw["statuses"].get(str(status), 0))

    @property
    def xorbs_received(self) -> int:
        """Xorbs that uploads added to the CAS."""
        return int(self.raw["xorbs_received"])

    @property
    def shards_received(self) -> int:
        """Shards that uploads added to the CAS."""
        return int(self.raw["shards_received"])

    @property
    def lfs_puts(self) -> int:
        """Objects uploaded over LFS."""
        return int(self.raw["lfs_puts"])

    @property
    def leaked_authorization(self) -> int:
        """Requests to storage that carried an Authorization header."""
        return int(self.raw["storage_requests_with_authorization"])


class Hub:
    """A running xet-hub. Use `Hub.start`, best as a context manager."""

    endpoint: str
    cas: str
    storage: str
    pid: int

    def __init__(
        self,
        data: Path,
        tokens: Iterable[Token] = (),
        config: Mapping[str, Any] | None = None,
        args: Sequence[str] = (),
        log: str = "warn",
    ) -> None:
        self.data = data
        self.log_path = data.parent / f"{data.name}.log"
        self._command = [str(find_binary()), "serve", "--data", str(data), "--log", log]
        self._command += ["--print-ready", "json", *args]
        for token in tokens:
            self._command += ["--token", token.flag]
        if config is not None:
            path = data.parent / f"{data.name}.config.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(dict(config)))
            self._command += ["--config", str(path)]
        self._process: subprocess.Popen[str] | None = None
        self._port = 0

    @classmethod
    def start(
        cls,
        data: Path,
        tokens: Iterable[Token] = (),
        config: Mapping[str, Any] | None = None,
        args: Sequence[str] = (),
        log: str = "warn",
    ) -> Hub:
        """Serves `data`. `config` holds settings of the configuration file, `args` more flags."""
        hub = cls(data, tokens, config, args, log)
        hub._launch()
        return hub

    def _launch(self) -> None:
        self.data.parent.mkdir(parents=True, exist_ok=True)
        command = [*self._command, "--port", str(self._port)]
        with self.log_path.open("ab") as log:
            process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=log, stdin=subprocess.DEVNULL, text=True
            )
        self._process = process
        assert process.stdout is not None
        line = _first_line(process.stdout)
        if not line:
            process.kill()
            code = process.wait()
            process.stdout.close()
            self._process = None
            msg = f"xet-hub did not start (exit code {code}): {self.log()[-2000:]}"
            raise HubError(msg)
        ready = json.loads(line)
        self.endpoint, self.cas, self.storage = ready["endpoint"], ready["cas"], ready["storage"]
        self.pid = ready["pid"]
        self._port = urlsplit(self.endpoint).port or 0

    def stop(self) -> int:
        """Stops the server as SIGTERM does, and returns its exit code."""
        return self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Kills the server in the middle of whatever it does."""
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> int:
        process = self._process
        if process is None:
            return 0
        self._process = None
        process.send_signal(how)
        try:
            return process.wait(DEADLINE)
        except subprocess.TimeoutExpired as error:
            process.kill()
            process.wait()
            msg = "xet-hub did not stop"
            raise HubError(msg) from error
        finally:
            if process.stdout is not None:
                process.stdout.close()

    def restart(self) -> None:
        """Serves the same data on the same port again, after `kill` or `stop` or as it runs."""
        self.stop()
        self._launch()

    def log(self) -> str:
        """What all runs of this server wrote to standard error."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    # The test API, /_hub/.

    def request(self, method: str, path: str, body: object = None, *, patience: float = 0.0) -> Any:
        """Calls the test API and returns the answer's JSON (None if it is empty).

        A body of bytes is sent as it is, any other as JSON. `patience` is for answers that take
        more seconds than usual.
        """
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(self.endpoint + path, data=data, method=method)
        request.add_header("Content-Type", "application/json")
        # Never through a proxy: the server is on loopback.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        limit = DEADLINE + len(data or b"") / SLOWEST + patience
        try:
            with opener.open(request, timeout=limit) as answer:
                text = answer.read()
        except urllib.error.HTTPError as error:
            with error:
                reason = error.read().decode()
            msg = f"{method} {path}: {error.code} {reason}"
            raise HubError(msg) from None
        return json.loads(text) if text else None

    def stats(self) -> Stats:
        """The counters since the start or the last reset."""
        return Stats(self.request("GET", "/_hub/stats"))

    def reset_stats(self) -> None:
        """Sets all counters to zero."""
        self.request("POST", "/_hub/stats/reset")

    @contextmanager
    def for_a_test(self) -> Iterator[None]:
        """Counters are at zero and no fault is set; those that the test sets are gone after it."""
        self.clear_faults()
        self.reset_stats()
        yield
        self.clear_faults()

    def fault(
        self,
        route: str,
        *,
        method: str | None = None,
        path_regex: str | None = None,
        ranged: bool | None = None,
        skip: int = 0,
        every: int = 1,
        times: int | None = None,
        **action: Any,
    ) -> None:
        """Adds a fault rule, such as `hub.fault("tree", times=2, status=503)`.

        A rule stays until it has fired `times` times or `clear_faults` is called. On a hub that
        tests share, narrow it by `path_regex` to the repository of the test.
        """
        rule: JSON = {"route": route, "skip": skip, "every": every, "action": action}
        if method is not None:
            rule["method"] = method
        if path_regex is not None:
            rule["path_regex"] = path_regex
        if ranged is not None:
            rule["ranged"] = ranged
        if times is not None:
            rule["times"] = times
        self.request("POST", "/_hub/faults", [rule])

    def outage(self, way: Literal["signatures", "empty", "ranges"], *kinds: str) -> None:
        """Makes storage the CDN that the real Hub has had on some days, until `clear_faults`.

        It refuses all that the Hub has signed, sends nothing in its answers, or refuses each range
        as invalid; for `kinds` of content (xorbs, files, lfs), or for all.
        """
        path = f"^/({'|'.join(kinds or ('xorbs', 'files', 'lfs'))})/"
        actions: dict[str, JSON] = {
            "signatures": {"status": 403, "body": "Access denied"},
            "empty": {"empty": True},
            "ranges": {"status": 403, "body": "Invalid range", "ranged": True},
        }
        self.fault("storage", method="GET", path_regex=path, **actions[way])

    def faults(self) -> list[JSON]:
        """The rules, each with `seen` and `fired`."""
        report: list[JSON] = self.request("GET", "/_hub/faults")
        return report

    def clear_faults(self) -> None:
        """Removes all rules."""
        self.request("DELETE", "/_hub/faults")

    def announce(self, **origins: str) -> None:
        """Sends clients to other URLs: any of `endpoint`, `cas`, `storage` and `bridge`.

        `bridge` is where they get the plain bytes of large files; without it, `storage`. No
        argument ends all that.
        """
        self.request("PUT", "/_hub/announced", origins)

    def delay(self, seconds: float = 0.0, *origins: str) -> None:
        """Makes each request wait first, to the given origins or to all, beside all faults.

        Ends what an earlier call set; without arguments there is none.
        """
        delays = dict.fromkeys(origins or ("hub", "cas", "storage"), seconds)
        self.request("PUT", "/_hub/latency", delays)

    def line(self, bytes_per_second: int | None = None) -> None:
        """Has all that storage sends go out no faster; without an argument, as fast as it can."""
        speed = {} if bytes_per_second is None else {"bytes_per_second": bytes_per_second}
        self.request("PUT", "/_hub/line", speed)

    def limit(
        self,
        *,
        window: float = 300.0,
        anonymous: dict[str, int] | None = None,
        users: dict[str, int] | None = None,
        commits: int = 1_000_000,
        headers: bool = True,
    ) -> None:
        """Allows so many requests in a window of so many seconds, and commits in an hour.

        Per kind: `api`, `resolvers`, `pages`; those not given, all without an argument, are ample.
        """
        quotas = {"anonymous": anonymous or {}, "users": users or {}, "commits": commits}
        self.request("PUT", "/_hub/limits", {"window": window, "headers": headers, **quotas})

    def publish(
        self,
        repo_id: str,
        path: str,
        content: bytes,
        chunks: Literal["before-2025-09", "other-table"] | Sequence[int],
        *,
        times: int = 1,
        repo_type: RepoType = "model",
        revision: str | None = None,
    ) -> JSON:
        """Commits a Xet file with other chunk boundaries than today's; returns its description.

        As the chunker of before September 2025 made them (about one in twelve differs from
        today's), as one with another gear table would (all differ), or after the given lengths,
        again and again. Chunks of the file that was at `path` before aren't stored twice. The file
        is `content` so many `times`, of which more than one cost no space; then only its Xet hash
        can be checked, and the description is `size` and `xet_hash`.
        """
        how = chunks if isinstance(chunks, str) else ",".join(map(str, chunks))
        query = self._file(repo_id, path, repo_type, revision, chunks=how, times=str(times))
        # Each chunk is hashed twice, wherever it repeats.
        patience = len(content) * times / 1e9
        done: JSON = self.request("POST", f"/_hub/files?{query}", content, patience=patience)
        return done

    def describe(
        self,
        repo_id: str,
        path: str,
        *,
        repo_type: RepoType = "model",
        revision: str | None = None,
    ) -> JSON:
        """What a file is: `commit`, `size`, `sha256`, `xet_hash`, `terms`, `chunk_lengths`.

        A term is `{"xorb": hash, "chunks": [from, to], "bytes": length}`.
        """
        query = self._file(repo_id, path, repo_type, revision)
        found: JSON = self.request("GET", f"/_hub/files?{query}")
        return found

    @staticmethod
    def _file(repo_id: str, path: str, repo_type: str, revision: str | None, **more: str) -> str:
        named = {"repo": repo_id, "repo_type": repo_type, "path": path, **more}
        if revision is not None:
            named["revision"] = revision
        return urlencode(named)

    def corrupt(
        self,
        repo_id: str,
        path: str,
        *,
        repo_type: RepoType = "model",
        revision: str | None = None,
        offset: int = 0,
    ) -> JSON:
        """Flips the stored byte at `offset` of a file. The same call again restores it."""
        body: JSON = {"repo": repo_id, "repo_type": repo_type, "path": path, "offset": offset}
        if revision is not None:
            body["revision"] = revision
        done: JSON = self.request("POST", "/_hub/corrupt", body)
        return done

    def set_access(
        self, repo_id: str, users: Iterable[str], *, repo_type: RepoType = "model"
    ) -> None:
        """Sets the users who may read private and gated content besides the members."""
        path = f"/_hub/repos/{repo_type}/{repo_id}/access"
        self.request("PUT", path, {"users": list(users)})

    def set_settings(
        self,
        repo_id: str,
        *,
        repo_type: RepoType = "model",
        private: bool | None = None,
        gate: Literal["open", "auto", "manual"] | None = None,
        disabled: bool | None = None,
        xet: bool | None = None,
    ) -> None:
        """Changes switches of a repository; those not given stay."""
        switches = {"private": private, "gate": gate, "disabled": disabled, "xet": xet}
        changed = {name: value for name, value in switches.items() if value is not None}
        self.request("PUT", f"/_hub/repos/{repo_type}/{repo_id}/settings", changed)

    def plant(
        self, repo_id: str, entries: Sequence[JSON], *, repo_type: RepoType = "model"
    ) -> None:
        """Adds listing entries with unchecked paths: `{"path": "../evil", "content": "x"}`.

        `content` serves a plain file, `like` copies an existing file's metadata; `oid`, `size`,
        `sha256` and `xet_hash` claim whatever they say. Kept until the server stops.
        """
        body = {"repo": repo_id, "repo_type": repo_type, "entries": list(entries)}
        self.request("POST", "/_hub/raw-tree", body)

    def wait_for(self, condition: Any, what: str, deadline: float = DEADLINE) -> None:
        """Polls `condition(self.stats())` until it holds."""
        end = time.monotonic() + deadline
        pause = threading.Event()
        while not condition(self.stats()):
            if time.monotonic() > end:
                msg = f"waited {deadline} s for {what}"
                raise HubError(msg)
            pause.wait(0.01)


def _first_line(stream: IO[str]) -> str:
    """The first line of a stream, or nothing if it ends or the deadline passes."""
    lines: queue.Queue[str] = queue.Queue()
    threading.Thread(target=lambda: lines.put(stream.readline()), daemon=True).start()
    try:
        return lines.get(timeout=DEADLINE)
    except queue.Empty:
        return ""
