"""Which chunks of a file hold parts of it: what has to be received for these, at least."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike


class Held:
    """Chunks of one file, each counted once."""

    def __init__(self, lengths: Sequence[int]) -> None:
        self._lengths = lengths
        self._ends = np.cumsum(lengths)
        self._numbers: set[int] = set()

    def add(self, starts: ArrayLike, ends: ArrayLike) -> None:
        """Adds those that hold parts, of which none is empty; both in bytes of the file."""
        firsts = np.searchsorted(self._ends, starts, side="right")
        lasts = np.searchsorted(self._ends, np.asarray(ends) - 1, side="right")
        for first, last in zip(firsts, lasts, strict=True):
            self._numbers.update(range(first, last + 1))

    def size(self) -> int:
        """What they have, in bytes."""
        return sum(self._lengths[number] for number in self._numbers)
