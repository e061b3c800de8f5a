"""What every selection method is: a scorer, a selector, and what the two need.

A method of your own: subclass ``RowMethod`` (one score a pool row) or ``PairMethod`` (one score a
query and row), name the class in a YAML by ``_target_``, and run it. CONTRIBUTING.md has a page.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from pydantic import field_validator

from harness.component import Component
from harness.context import Context
from harness.ranking import PairScores, products
from methods import selectors


@dataclass(frozen=True)
class Ordering:
    """Distinct pool positions, int64 [n], best first; what placed each: float [n], or NaN."""

    positions: np.ndarray
    scores: np.ndarray


class Method(Component):
    """Base of all methods.

    Attributes:
        name: the word for it in records and tables.
        needs_queries: the ordering depends on the target.
        needs_model: it depends on the selector model (weights or tokenizer).
        seeded: it depends on the run's seed.
        floor: it is a reference line in plots and tables, not a rival.
        unlabelled: settings that the name stands for; ``label`` leaves them out.
    """

    name: str

    needs_queries: ClassVar[bool] = False
    needs_model: ClassVar[bool] = False
    seeded: ClassVar[bool] = False
    floor: ClassVar[bool] = False
    unlabelled: ClassVar[frozenset[str]] = frozenset()

    def budget(self, asked: int, pool_size: int) -> int:
        """Rows that a run of this method trains on when ``asked`` are allowed."""
        return min(asked, pool_size)

    @abstractmethod
    def order(self, context: Context) -> Ordering:
        """The pool's rows, best first: at least ``context.depth`` of them, or all."""

    def plan(self, plan: Any) -> None:
        """Ask a ``harness.plan.work.SelectionPlan`` for the passes that ``order`` makes."""
        if self.needs_model:
            plan.unknown()

    @property
    def label(self) -> str:
        """``name``, and every choice that differs from the class's defaults.

        What a preset's name stands for (``unlabelled``) and parts of many settings, such as a
        recipe, are left to the record.
        """
        changed = [
            f"{key}={value}"
            for key, value in self.model_dump().items()
            if key not in {"name", *self.unlabelled}
            and value != type(self).model_fields[key].default
            and not isinstance(getattr(self, key), Component)
        ]
        return f"{self.name}[{','.join(changed)}]" if changed else self.name


class RowMethod(Method):
    """A method with one score a row; ``selector`` is ``top``, ``band`` or ``band:0.25``."""

    selector: str = "top"

    @field_validator("selector")
    @classmethod
    def _known(cls, value: str) -> str:
        selectors.find(value, selectors.ROW_SELECTORS)
        return value

    @abstractmethod
    def scores(self, context: Context) -> np.ndarray:
        """float [rows in use], higher is better."""

    def order(self, context: Context) -> Ordering:
        """The rows in the order of the selector."""
        scores = self.scores(context)
        positions = selectors.find(self.selector, selectors.ROW_SELECTORS)(scores)
        return Ordering(positions, scores[positions])


class PairMethod(Method):
    """A method with a score a query and row.

    Give ``pool_features`` and ``query_features``, whose products are the scores, or override
    ``pair_scores``. ``needs_labels``: a query without an answer is of no use to it.
    """

    selector: str = "round_robin"
    needs_queries: ClassVar[bool] = True
    needs_labels: ClassVar[bool] = False

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """A subclass with scores of its own needs no features."""
        super().__pydantic_init_subclass__(**kwargs)
        if cls.pair_scores is not PairMethod.pair_scores:
            cls.__abstractmethods__ -= {"pool_features", "query_features"}

    @field_validator("selector")
    @classmethod
    def _known(cls, value: str) -> str:
        selectors.find(value, selectors.PAIR_SELECTORS)
        return value

    @abstractmethod
    def pool_features(self, context: Context) -> Iterator[np.ndarray]:
        """Blocks of float [rows, width], in pool order, normalised if a cosine is wanted."""

    @abstractmethod
    def query_features(self, context: Context) -> np.ndarray:
        """float [queries, width]."""

    def pair_scores(self, context: Context) -> Iterator[np.ndarray]:
        """Blocks of float32 [rows, queries], in pool order; called again for every reading."""
        return products(self.pool_features(context), self.query_features(context))

    def order(self, context: Context) -> Ordering:
        """The rows in the order of the selector; a ValueError if queries lack what it needs."""
        bare = [query.id for query in context.queries if not query.label]
        if bare and self.needs_labels:
            which = f"{len(bare)} of {len(context.queries)} have none (query {bare[0]})"
            raise ValueError(
                f"{self.label} reads the queries' answers, and {which}: take another target"
            )
        rows = context.pool.size
        scores = PairScores(rows, context.tasks, lambda: self.pair_scores(context))
        select = selectors.find(self.selector, selectors.PAIR_SELECTORS)
        return Ordering(*select(scores, min(context.depth, rows)))
