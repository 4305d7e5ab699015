"""Listings, reports and progress are plain immutable values, and dataclasses in every respect."""

import copy
import dataclasses
import importlib.util
import inspect
import os
import pickle
import pydoc
import re
import sys
import threading
import typing
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import xet_ffi
from xet_ffi import (
    CommitAdd,
    CommitCopy,
    CommitDelete,
    FileInfo,
    FileTransfer,
    Transfer,
    _dataclass,
    cache,
)

FILE = FileInfo(path="a/b.bin", size=5, hash="0" * 40, kind="xet", sha256="1" * 64, xet_hash=None)
TRANSFER = Transfer(
    path="model.bin",
    files=1,
    bytes_total=2,
    bytes_network=3,
    bytes_reused=4,
    retries=5,
    fallbacks=6,
    stalls=7,
    refreshes=8,
    refetches=9,
    seconds=7.5,
    commit="c" * 40,
    file_transfers=(
        FileTransfer(
            path="model.bin",
            way="xet",
            bytes_total=2,
            bytes_network=3,
            bytes_reused=4,
            retries=5,
            fallbacks=6,
            local_path="/cache/model.bin",
            hash="2" * 64,
            hash_kind="xet",
            verified=True,
            bytes_shared=8,
        ),
    ),
    sources_dropped=7,
    bytes_shared=9,
    tier_errors=10,
)


def test_a_transfer_is_shown_in_two_lines() -> None:
    """However many files it has; `asdict` has all of it."""
    many = dataclasses.replace(TRANSFER, file_transfers=TRANSFER.file_transfers * 10_000)
    shown = repr(many)
    assert shown == repr(TRANSFER)
    assert shown.count("\n") == 1
    assert repr(TRANSFER.path) in shown
    assert max(map(len, shown.splitlines())) < 200
    assert len(dataclasses.asdict(many)["file_transfers"]) == len(many.file_transfers)


def test_values_compare_hash_and_print_by_value() -> None:
    """Like tuples with names."""
    assert pickle.loads(pickle.dumps(TRANSFER)) == TRANSFER
    same = pickle.loads(pickle.dumps(FILE))
    assert same == FILE
    assert hash(same) == hash(FILE)
    assert len({FILE, same}) == 1
    assert dataclasses.replace(FILE, size=6) != FILE
    assert repr(FILE).startswith("FileInfo(path='a/b.bin', size=5, hash='000")


def test_values_cannot_be_changed() -> None:
    """A Progress that a callback keeps is still what it was."""
    with pytest.raises(AttributeError):
        FILE.size = 6  # type: ignore[misc]
    with pytest.raises(AttributeError):
        del FILE.size
    with pytest.raises(AttributeError):
        FILE.other = 6  # type: ignore[attr-defined]
    assert FILE.size == 5
    assert not hasattr(FILE, "__dict__")


PUBLIC = [*map(vars(xet_ffi).get, xet_ffi.__all__), *map(vars(cache).get, cache.__all__)]

VALUES: list[type[Any]] = [
    cls
    for cls in PUBLIC
    if isinstance(cls, type)
    and not issubclass(cls, Exception)
    and cls not in {xet_ffi.Client, xet_ffi.File, xet_ffi.Listing}
]


@pytest.mark.parametrize("cls", VALUES)
def test_every_value_is_a_frozen_dataclass_with_slots(cls: type[Any]) -> None:
    """So that whatever takes dataclasses takes them; a report takes its fields by name."""
    assert dataclasses.is_dataclass(cls)
    assert cls.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert "__dict__" not in dir(cls)
    names = [field.name for field in dataclasses.fields(cls)]
    assert list(vars(cls)["__slots__"]) == names
    described = re.findall(r"^    (\w+): ", inspect.getdoc(cls) or "", flags=re.MULTILINE)
    assert described == names


@pytest.fixture(scope="module")
def real() -> dict[str, type[Any]]:
    """The same classes, from the same sources, made by `dataclasses`."""
    found: dict[str, type[Any]] = {}
    own, _dataclass.dataclass = _dataclass.dataclass, dataclasses.dataclass
    try:
        for module in [name for name in sys.modules if name.startswith("xet_ffi.")]:
            spec = importlib.util.find_spec(module)
            assert spec
            assert spec.loader
            if "\n@dataclass(" in inspect.getsource(sys.modules[module]):
                again = importlib.util.module_from_spec(spec)
                spec.loader.exec_module(again)
                found |= {
                    name: value
                    for name, value in vars(again).items()
                    if isinstance(value, type)
                    and dataclasses.is_dataclass(value)
                    and value.__module__ == module
                }
    finally:
        _dataclass.dataclass = own
    return found


def pair(cls: type[Any], real: dict[str, type[Any]]) -> tuple[Any, Any]:
    """A value of ours and of the real class, with the same in the fields."""
    fields = {name: f"the {name}" for name in vars(cls)["__slots__"]}
    twin = real[cls.__name__]
    assert twin is not cls
    return cls(**fields), twin(**fields)


@pytest.mark.parametrize("cls", VALUES)
def test_a_value_looks_like_a_real_dataclass(cls: type[Any], real: dict[str, type[Any]]) -> None:
    """To whoever inspects it, prints it, or takes it apart."""
    ours, theirs = pair(cls, real)
    twin = type(theirs)
    assert inspect.signature(cls) == inspect.signature(twin)
    assert inspect.signature(cls.__init__) == inspect.signature(twin.__init__)
    assert str(cls.__dataclass_params__) == str(twin.__dataclass_params__)
    assert list(map(repr, dataclasses.fields(cls))) == list(map(repr, dataclasses.fields(twin)))
    assert cls.__annotations__ == twin.__annotations__
    if cls is not CommitAdd:  # whose source has a type that only type checkers know
        assert list(typing.get_type_hints(cls)) == list(typing.get_type_hints(twin))
    assert cls.__match_args__ == twin.__match_args__
    assert cls.__qualname__ == twin.__qualname__
    assert (repr(ours), hash(ours)) == (repr(theirs), hash(theirs))
    assert dataclasses.asdict(ours) == dataclasses.asdict(theirs)
    assert dataclasses.astuple(ours) == dataclasses.astuple(theirs)
    usage = f"{cls.__name__}{inspect.signature(twin)}".removesuffix(" -> None")
    shown = pydoc.plain(pydoc.render_doc(cls))
    # Newer versions of Python break the lines of a long one.
    assert re.sub(r"[\s|]", "", usage) in re.sub(r"[\s|]", "", shown)


@pytest.mark.parametrize("cls", VALUES)
def test_a_value_is_copied_and_compared_like_a_real_dataclass(
    cls: type[Any], real: dict[str, type[Any]]
) -> None:
    """Every pickle protocol included, and what the fields hold is copied only by deepcopy."""
    ours, theirs = pair(cls, real)
    first = dataclasses.fields(cls)[0].name
    other = dataclasses.replace(ours, **{first: ["something else"]})
    assert repr(other) == repr(dataclasses.replace(theirs, **{first: ["something else"]}))
    assert ours != other
    assert ours != theirs
    assert ours.__eq__(theirs) is NotImplemented
    with pytest.raises(TypeError, match="unhashable type: 'list'"):
        hash(other)
    copies = [copy.copy(other), copy.deepcopy(other)]
    copies += [
        pickle.loads(pickle.dumps(other, protocol))
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
    ]
    for made in copies:
        assert type(made) is cls
        assert made == other
    shared = [getattr(made, first) is getattr(other, first) for made in copies]
    assert shared == [True] + [False] * (len(shared) - 1)
    assert ours.__getstate__() == theirs.__getstate__()
    # What copy.replace calls, since Python 3.13.
    assert ours.__replace__(**{first: 1}) == dataclasses.replace(ours, **{first: 1})
    with pytest.raises(TypeError, match="cannot create weak reference"):
        weakref.ref(ours)


@pytest.mark.parametrize("cls", VALUES)
def test_a_value_refuses_what_a_real_dataclass_refuses(
    cls: type[Any], real: dict[str, type[Any]]
) -> None:
    """In the same words."""
    ours, theirs = pair(cls, real)
    names = vars(cls)["__slots__"]
    fields = dict.fromkeys(names, 1)
    wrong: list[Callable[[Any], object]] = [
        lambda value: type(value)(),
        lambda value: type(value)(*names, "one more"),
        lambda value: type(value)(**fields, other=1),
        lambda value: type(value)(1, **fields),
        lambda value: setattr(value, names[0], 1),
        lambda value: delattr(value, names[-1]),
        lambda value: dataclasses.replace(value, other=1),
    ]
    for attempt in wrong:
        with pytest.raises((TypeError, AttributeError)) as expected:
            attempt(theirs)
        with pytest.raises(expected.type) as refused:
            attempt(ours)
        assert type(refused.value) is expected.type
        assert str(refused.value) == str(expected.value)
    # Here a real one with slots says something odd in many versions of Python.
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot assign to field 'other'"):
        ours.other = 1
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot delete field 'other'"):
        del ours.other
    assert ours == pair(cls, real)[0]


@pytest.mark.parametrize("cls", VALUES)
def test_users_derive_from_a_value_as_from_a_real_dataclass(
    cls: type[Any], real: dict[str, type[Any]]
) -> None:
    """A plain class may have attributes of its own; a dataclass has fields of its own."""
    seen = []
    for value in pair(cls, real):
        base = type(value)
        fields = {name: getattr(value, name) for name in vars(base)["__slots__"]}
        plain = type("Plain", (base,), {})(**fields)
        if base is cls:  # a real one with slots fails here, in many versions of Python
            plain.more = 1
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(plain, next(iter(fields)), 1)
        assert plain != value
        derived = dataclasses.make_dataclass(
            "Derived", [("more", int, 5)], bases=(base,), frozen=True, slots=True
        )
        made = derived(**fields, more=6)
        assert copy.deepcopy(made) == made
        with pytest.raises(dataclasses.FrozenInstanceError):
            made.more = 7
        # Its state has the new field, too, though the class has no slots.
        loose = dataclasses.make_dataclass("Loose", [("more", int, 5)], bases=(base,), frozen=True)
        assert copy.copy(loose(**fields, more=6)) == loose(**fields, more=6)
        with pytest.raises(TypeError, match="cannot inherit non-frozen dataclass from a frozen"):
            dataclasses.make_dataclass("Thawed", [], bases=(base,))
        kinds = (type(plain), derived, loose)
        seen.append(
            [repr(plain), repr(made), dataclasses.asdict(made), plain.__getstate__()]
            + [str(inspect.signature(kind)) for kind in kinds]
            + [[field.name for field in dataclasses.fields(kind)] for kind in kinds]
        )
    assert seen[0] == seen[1]


@pytest.mark.parametrize("kw_only", [False, True])
def test_fields_may_have_defaults(kw_only: bool) -> None:
    """By position and by name."""
    made = []
    for dataclass in (_dataclass.dataclass, dataclasses.dataclass):

        class Bare:
            """Not yet a dataclass."""

            first: int
            second: str = "none"

        cls: Any = dataclass(frozen=True, slots=True, kw_only=kw_only)(Bare)
        made.append([inspect.signature(cls.__init__), repr(cls(first=1)), cls(first=1, second="2")])
        with pytest.raises(TypeError, match=r"missing 1 required .* argument: 'first'"):
            cls()
    assert list(map(str, made[0])) == list(map(str, made[1]))


def test_threads_may_be_the_first_to_use_a_class_together() -> None:
    """What is made at first use may be made by all of them."""
    for _ in range(50):

        @_dataclass.dataclass(frozen=True, slots=True)
        class Fresh:
            """New to everybody."""

            number: int
            name: str = "none"

        start = threading.Barrier(4)
        seen: list[object] = []

        def use(cls: Any = Fresh, start: Any = start, seen: list[object] = seen) -> None:
            start.wait()
            value = cls(1)
            seen.append((value.number, value.name, dataclasses.asdict(value), cls(1) == value))

        threads = [threading.Thread(target=use) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert seen == [(1, "none", {"number": 1, "name": "none"}, True)] * 4


def test_the_tools_of_dataclasses_work() -> None:
    """`asdict` reaches into reports, `replace` makes another, `match` knows the fields."""
    (file,) = TRANSFER.file_transfers
    assert dataclasses.asdict(TRANSFER)["file_transfers"] == (dataclasses.asdict(file),)
    assert dataclasses.replace(TRANSFER, seconds=0.0).files == TRANSFER.files
    assert copy.deepcopy(TRANSFER) == TRANSFER
    match TRANSFER:
        case Transfer(path=path, file_transfers=(FileTransfer(way="xet", retries=retries),)):
            assert (path, retries) == ("model.bin", 5)
        case _:
            pytest.fail("no match")


def test_operations_are_matched_by_position() -> None:
    """They are made so, too."""
    seen: list[tuple[object, ...]] = []
    for operation in (CommitAdd("a", b"1"), CommitDelete("b/"), CommitCopy("c", "d")):
        match operation:
            case CommitAdd(path, source):
                seen.append((path, source))
            case CommitDelete(path):
                seen.append((path,))
            case CommitCopy(src, path, None):
                seen.append((src, path))
    assert seen == [("a", b"1"), ("b/",), ("c", "d")]


def test_a_transfer_is_a_path(tmp_path: Path) -> None:
    """It goes wherever a path goes."""
    file = tmp_path / "model.bin"
    file.write_bytes(b"x")
    transfer = dataclasses.replace(TRANSFER, path=str(file))
    assert os.fspath(transfer) == str(file)
    assert Path(transfer).read_bytes() == b"x"
    with open(transfer, "rb") as opened:  # noqa: PTH123 - what the docs promise
        assert opened.read() == b"x"
