"""`dataclass` as the public values need it, without importing `dataclasses`.

That module (with `inspect` and `re`), and the methods that it compiles for each class, take several
times as long to import as all of xet_ffi. So the classes are made here. A type checker is shown the
real decorator, and the functions of `dataclasses` find real fields, made when they ask for them.

This is what the values use and no more: always frozen, with slots, and no `field()`, `ClassVar`,
`InitVar`, `__post_init__` or base class. Dataclasses that users derive from them are real.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from dataclasses import dataclass
    from typing import Any

__all__ = ["dataclass"]


class _Value:
    """What all values have. `_names` are the fields of the class that was made here."""

    __slots__ = ()

    if TYPE_CHECKING:  # at run time it would pass for a field's type
        _names: tuple[str, ...]

    def _values(self) -> tuple[Any, ...]:
        return tuple([getattr(self, name) for name in self._names])

    def __repr__(self) -> str:
        fields = ", ".join([f"{name}={getattr(self, name)!r}" for name in self._names])
        return f"{type(self).__qualname__}({fields})"

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self._values() == other._values()

    def __hash__(self) -> int:
        return hash(self._values())

    def __setattr__(self, name: str, value: object) -> None:
        self._refuse("assign to", name)
        super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        self._refuse("delete", name)
        super().__delattr__(name)

    def _refuse(self, what: str, name: str) -> None:
        # A class that a user derives may have attributes that aren't fields.
        if name in self._names or "_names" in vars(type(self)):
            from dataclasses import FrozenInstanceError

            message = f"cannot {what} field {name!r}"
            raise FrozenInstanceError(message)

    def __getstate__(self: Any) -> list[Any]:
        from dataclasses import fields  # of a user's dataclass, which may have more

        return [getattr(self, field.name) for field in fields(self)]

    def __setstate__(self: Any, state: list[Any]) -> None:
        from dataclasses import fields

        for field, value in zip(fields(self), state, strict=True):
            object.__setattr__(self, field.name, value)

    def __replace__(self: Any, /, **changes: Any) -> Any:  # for copy.replace of Python 3.13
        from dataclasses import replace

        return replace(self, **changes)


class _Later:
    """An attribute of a class that is made when it is first asked for, and then stands there.

    Two threads may both make it; either result will do.
    """

    __slots__ = ("_cls", "_make", "_name")

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make

    def __set_name__(self, cls: type, name: str) -> None:
        self._cls, self._name = cls, name

    def __get__(self, instance: object, cls: type) -> Any:
        value = self._make()
        setattr(self._cls, self._name, value)
        return value.__get__(instance, cls) if hasattr(value, "__get__") else value


def _init(cls: type, defaults: dict[str, Any], *, kw_only: bool) -> Any:
    """Returns an `__init__` with a signature of its own, and Python's errors for wrong arguments.

    It fills the slots themselves, which `__setattr__` doesn't guard: a report may have a value for
    each of 100,000 files. Compiled for those classes only of which there is a value.
    """
    names = list(cls.__annotations__)
    scope: dict[str, Any] = {f"_{i}": vars(cls)[name].__set__ for i, name in enumerate(names)}
    scope["__name__"] = cls.__module__
    fills = "; ".join([f"_{i}(self, {name})" for i, name in enumerate(names)])
    source = f"def __init__(self, {'*, ' if kw_only else ''}{', '.join(names)}): {fills}"
    exec(source, scope)  # noqa: S102 - of names that stand in this package
    init = scope["__init__"]
    init.__qualname__ = f"{cls.__qualname__}.__init__"
    init.__annotations__ = {**cls.__annotations__, "return": None}
    if kw_only:
        init.__kwdefaults__ = defaults
    else:
        init.__defaults__ = tuple(defaults.values())
    return init


def _real(cls: type, defaults: dict[str, Any], options: Any) -> Any:
    """Returns a real dataclass of the same fields."""
    from dataclasses import MISSING, field, make_dataclass

    fields: list[Any] = [
        (name, kind, field(default=defaults.get(name, MISSING)))
        for name, kind in cls.__annotations__.items()
    ]
    return make_dataclass(cls.__name__, fields, **options)


def _dataclass(*, frozen: bool, slots: bool, kw_only: bool = False) -> Callable[[type], type]:
    """Is what `dataclasses.dataclass` is, to the extent that the module's docstring tells."""
    options = {"frozen": frozen, "slots": slots, "kw_only": kw_only}

    def decorate(cls: type) -> type:
        names = tuple(cls.__annotations__)
        # Slots can't be added to a class: it's made again, without what it has instead of them.
        body = {k: v for k, v in vars(cls).items() if k not in {"__dict__", "__weakref__"}}
        defaults = {name: body.pop(name) for name in names if name in body}
        body |= {
            "_names": names,
            "__slots__": names,
            "__match_args__": () if kw_only else names,
            "__qualname__": cls.__qualname__,
            "__init__": _Later(lambda: _init(cls, defaults, kw_only=kw_only)),
            "__dataclass_fields__": _Later(
                lambda: _real(cls, defaults, options).__dataclass_fields__
            ),
            "__dataclass_params__": _Later(
                lambda: _real(cls, defaults, options).__dataclass_params__
            ),
        }
        cls = type(cls.__name__, (_Value,), body)
        return cls

    return decorate


if not TYPE_CHECKING:
    dataclass = _dataclass
