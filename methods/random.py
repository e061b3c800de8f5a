"""Random selection, unbalanced (paper A.1): a uniform draw from the pool, anew for every seed."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from harness.context import Context
from methods.base import Method, Ordering


class Random(Method):
    """A seeded permutation of the pool; budgets are its prefixes."""

    seeded: ClassVar[bool] = True

    def order(self, context: Context) -> Ordering:
        """All positions in random order."""
        positions = context.rng("random").permutation(context.pool.size)
        return Ordering(positions, np.full(len(positions), np.nan))
