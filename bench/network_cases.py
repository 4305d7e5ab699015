"""Cases of `world.py`: proxies, certificates, mirrors, encodings and tokens."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial

import trustme
from setting import ALICE, Case, Job, World

from forward_proxy import http_proxy
from gateway import Gateway
from tls_front import TlsFront, free_port, port_of

NOW = dt.datetime.now(dt.timezone.utc)

#: Unusable values of HTTP_PROXY.
PROXIES = {
    "`p\\s`": "p\\s",
    "with a blank": "http://pro xy:1",
    "`::::`": "::::",
    "an unknown scheme": "gopher://127.0.0.1:1",
    "`#` in the password": "http://ada:pass#word@127.0.0.1:1",
}

#: What a mirror does, in nginx's language.
HABITS = {
    "redirects elsewhere": "location ~ /resolve/ { return 302 {other}$request_uri; }",
    "no X-Repo-Commit": """location ~ /resolve { proxy_pass {hub};
        proxy_hide_header X-Repo-Commit; }""",
    "no lengths": """location ~ /resolve { proxy_pass {hub}; proxy_hide_header X-Linked-Size;
        if ($request_method = HEAD) { return 200 ''; } }""",
    "foreign ETags": """location ~ /resolve { proxy_pass {hub}; proxy_hide_header ETag;
        proxy_hide_header X-Linked-Etag; add_header ETag '"65f1c0de-2a"' always; }""",
    "no HEAD (405)": """location ~ /resolve { if ($request_method = HEAD) { return 405; }
        proxy_pass {hub}; }""",
    "no tree (404)": "location ~ /tree/ { return 404; }",
    "no tree (405)": "location ~ /tree/ { return 405; }",
}
REST = "location / { proxy_pass {hub}; }"


@contextmanager
def bad_proxy(world: World, value: str) -> Iterator[Job]:
    """An unusable value, for a host that is no exception."""
    repo, files = world.model()
    endpoint = world.hub.endpoint.replace("127.0.0.1", "[::ffff:127.0.0.1]")
    yield Job("snapshot", endpoint, repo, files, env={"HTTP_PROXY": value, "http_proxy": value})


@contextmanager
def tls_proxy(world: World, how: str) -> Iterator[Job]:
    """HTTPS through a proxy that is down, refuses, or isn't for this host."""
    with (
        trusted(world, "SSL_CERT_FILE") as job,
        http_proxy(world.folder(), user="ada", password="secret") as proxy,
    ):
        url = {
            "asks for a password (407)": f"http://{proxy.address}",
            "takes the password": f"http://ada:secret@{proxy.address}",
        }.get(how, f"http://127.0.0.1:{free_port()}")
        job.env = {**job.env, "HTTPS_PROXY": url}
        if how == "is down, and NO_PROXY has host:port":
            ports = [port_of(url) for url in (job.endpoint, *job.others)]
            job.env = {**job.env, "NO_PROXY": ",".join(f"127.0.0.1:{port}" for port in ports)}
        yield job


@contextmanager
def behind_tls(
    world: World, issue: Callable[[trustme.CA], trustme.LeafCert], variable: str
) -> Iterator[Job]:
    """A certificate that is made for a private authority, which a variable names."""
    repo, files = world.model()
    authority, folder = trustme.CA(), world.folder()
    bundle = folder / "authority.pem"
    authority.cert_pem.write_to_path(str(bundle))
    with TlsFront.start(world.hub, issue(authority), folder / "nginx") as front:
        job = Job("snapshot", front.endpoint, repo, files, env={variable: str(bundle)})
        job.others = (front.url("cas"), front.url("storage"))
        yield job


def trusted(world: World, variable: str) -> AbstractContextManager[Job]:
    """A private authority that a variable names."""
    return behind_tls(world, lambda authority: authority.issue_cert("127.0.0.1"), variable)


def untrusted(world: World, problem: str) -> AbstractContextManager[Job]:
    """A certificate that isn't to be trusted."""
    day = dt.timedelta(days=1)
    issue: Callable[[trustme.CA], trustme.LeafCert] = {
        "expired": lambda authority: authority.issue_cert(
            "127.0.0.1", not_before=NOW - 3 * day, not_after=NOW - day
        ),
        "for another name": lambda authority: authority.issue_cert("example.org"),
        "of an unknown authority": lambda _: trustme.CA().issue_cert("127.0.0.1"),
    }[problem]
    return behind_tls(world, issue, "SSL_CERT_FILE")


@contextmanager
def no_bundle(world: World, what: str, *, https: bool) -> Iterator[Job]:
    """SSL_CERT_FILE names nothing of use."""
    with trusted(world, "SSL_CERT_FILE") as job:
        place = world.folder() / "stale.pem"
        if what == "an empty file":
            place.write_bytes(b"")
        job.env = {"SSL_CERT_FILE": str(place)}
        if not https:
            world.hub.announce()
            job.endpoint = world.hub.endpoint
        yield job


@contextmanager
def mirror(world: World, habit: str) -> Iterator[Job]:
    """A gateway with a habit."""
    repo, files = world.model()
    with Gateway.start(world.hub, world.folder(), habit + REST) as gateway:
        yield Job("snapshot", gateway.endpoint, repo, files)


@contextmanager
def prefix(world: World) -> Iterator[Job]:
    """A Hub below a path, whose redirects begin at its own root."""
    repo, files = world.model()
    locations = "location /mirrors/hf/ { proxy_pass {hub}/; } location / { return 404; }"
    with Gateway.start(world.hub, world.folder(), locations) as gateway:
        yield Job("snapshot", gateway.endpoint + "/mirrors/hf", repo, files)


@contextmanager
def encoded(world: World, action: Mapping[str, object]) -> Iterator[Job]:
    """Storage encodes what it sends, or says that it did."""
    repo, files = world.model()
    world.hub.fault("storage", method="GET", **action)
    yield Job("snapshot", world.hub.endpoint, repo, files)


@contextmanager
def token(world: World, value: str, task: str) -> Iterator[Job]:
    """A download of a private repo, or an upload to a public one, with a token of some kind."""
    repo, files = world.model()
    place = world.folder() / "content"
    place.write_bytes(b"text\n")
    up = task == "text"
    if not up:
        world.hub.set_settings(repo, private=True)
    yield Job(
        task,
        world.hub.endpoint,
        repo,
        {"new.txt": b"text\n"} if up else files,
        value or False,
        place,
    )


def _proxies() -> dict[str, Case]:
    found: dict[str, Case] = {
        f"4. HTTP_PROXY is {name}": partial(bad_proxy, value=value)
        for name, value in PROXIES.items()
    }
    ways = ["is down", "asks for a password (407)", "takes the password"]
    ways.append("is down, and NO_PROXY has host:port")
    return found | {f"4. the proxy {how}": partial(tls_proxy, how=how) for how in ways}


def _bundles() -> dict[str, Case]:
    found: dict[str, Case] = {
        f"5. SSL_CERT_FILE names {what}, {wire}": partial(
            no_bundle, what=what, https=wire == "https"
        )
        for what in ["no file", "an empty file"]
        for wire in ["https", "http"]
    }
    named: dict[str, Case] = {
        f"5. {name} names a private authority": partial(trusted, variable=name)
        for name in ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"]
    }
    problems: dict[str, Case] = {
        f"5. a certificate that is {problem}": partial(untrusted, problem=problem)
        for problem in ["expired", "for another name", "of an unknown authority"]
    }
    return found | named | problems


#: What storage does to the encoding.
CODINGS: dict[str, dict[str, object]] = {
    "compresses with gzip, unasked": {"gzip": True},
    "says `gzip` of what isn't": {"headers": {"Content-Encoding": "gzip"}},
}

#: Value and task of the cases of tokens.
TOKENS = {
    "blanks around it": (f" {ALICE.secret}\n", "snapshot"),
    "a wrong one": ("hf_wrong", "snapshot"),
    "none, for an upload": ("", "text"),
}

CASES: dict[str, Case] = {
    **_proxies(),
    **_bundles(),
    **{f"7. a mirror: {name}": partial(mirror, habit=habit) for name, habit in HABITS.items()},
    "7. a mirror below a path": prefix,
    **{f"8. storage {name}": partial(encoded, action=do) for name, do in CODINGS.items()},
    **{
        f"17. a token: {name}": partial(token, value=value, task=task)
        for name, (value, task) in TOKENS.items()
    },
}
