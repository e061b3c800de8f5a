"""Balanced random selection (paper A.2): equal shares for all sources, by water-filling.

A source that runs out leaves its share to the others. Each source's rows come in an order drawn
anew for every seed; the published script always takes the first rows of each source, so its seeds
give one set, which the paper's "three runs" cannot have meant.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from harness.context import Context
from methods.base import Method, Ordering


class Balanced(Method):
    """Round-robin over the sources, each offering its rows in random order.

    The prefix of length n holds min(size, level) or one more row of every source: water-filling at
    every budget. Which sources get the odd rows is drawn with the seed.
    """

    seeded: ClassVar[bool] = True

    def order(self, context: Context) -> Ordering:
        """All positions; round k holds the k-th row of every source that still has one."""
        pool, rng = context.pool, context.rng("balanced")
        shuffled = rng.permutation(pool.size)
        turn = rng.permutation(len(pool.sources))
        source = np.asarray(pool.source_of)[shuffled]
        by_source = np.argsort(source, kind="stable")
        starts = np.searchsorted(source[by_source], np.arange(len(pool.sources)))
        rounds = np.empty(pool.size, dtype=np.int64)
        rounds[by_source] = np.arange(pool.size) - starts[source[by_source]]
        positions = shuffled[np.lexsort((turn[source], rounds))]
        return Ordering(positions, np.full(len(positions), np.nan))
