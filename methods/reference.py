"""Floors and ceilings: what no selection, all rows, or knowing the right sources would give."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from harness.context import Context
from methods.base import Method, Ordering


class BaseModel(Method):
    """No training at all: the floor of every table."""

    floor: ClassVar[bool] = True

    def budget(self, asked: int, pool_size: int) -> int:
        """No rows."""
        return 0

    def order(self, context: Context) -> Ordering:
        """Nothing."""
        return Ordering(np.empty(0, dtype=np.int64), np.empty(0))


class FullPool(Method):
    """All rows of the pool, whatever the budget."""

    floor: ClassVar[bool] = True

    def budget(self, asked: int, pool_size: int) -> int:
        """The whole pool."""
        return pool_size

    def order(self, context: Context) -> Ordering:
        """The pool as it stands."""
        size = context.pool.size
        return Ordering(np.arange(size), np.full(size, np.nan))


class NamedSources(Method):
    """Random rows of the sources that you name, the others never: what an oracle would pick from.

    Attributes:
        name: give one, so that tables tell two lists of sources apart.
        sources: names of sources (``dataset``) of the pool.
    """

    sources: list[str]

    floor: ClassVar[bool] = True
    seeded: ClassVar[bool] = True
    unlabelled: ClassVar[frozenset[str]] = frozenset({"sources"})

    def order(self, context: Context) -> Ordering:
        """The named sources' rows in random order."""
        pool = context.pool
        unknown = sorted(set(self.sources) - set(pool.sources))
        if unknown:
            raise ValueError(
                f"method.sources has {', '.join(unknown)}; the pool's sources are "
                f"{', '.join(pool.sources)}"
            )
        codes = [pool.sources.index(name) for name in self.sources]
        shuffled = context.rng("named_sources").permutation(pool.size)
        positions = shuffled[np.isin(np.asarray(pool.source_of)[shuffled], codes)]
        return Ordering(positions, np.full(len(positions), np.nan))
