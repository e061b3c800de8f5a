"""What a method is given: the pool, the target's queries, features, and a bill to charge."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from harness.chat import Span
from harness.features import Features
from harness.pool import Pool
from harness.query import Query
from harness.record import Stage, StageCost
from harness.seeds import generator

if TYPE_CHECKING:
    from harness.flops import ModelFlops


@dataclass
class Context:
    """The world as a method sees it. Every pass that it asks for is charged to it.

    Attributes:
        pool: the rows in use.
        queries: the target's, task after task.
        seed: of the run. Use ``rng``, never the global generators.
        depth: how many positions of the ordering are needed.
    """

    pool: Pool
    queries: list[Query]
    seed: int
    depth: int
    features: Features
    _bill: dict[tuple[Stage, Span], StageCost] = field(default_factory=dict)

    @property
    def costs(self) -> list[StageCost]:
        """What the method asked for so far. A pass counts once, however often it is read."""
        return list(self._bill.values())

    def rng(self, purpose: str) -> np.random.Generator:
        """A generator of its own for every purpose."""
        return generator(self.seed, purpose)

    @property
    def tasks(self) -> np.ndarray:
        """int64 [Q]: the task of each query, numbered in order of first appearance."""
        names = list(dict.fromkeys(query.task for query in self.queries))
        return np.array([names.index(query.task) for query in self.queries], dtype=np.int64)

    def pool_poolings(self, pooling: str, span: Span) -> Iterator[np.ndarray]:
        """Blocks of float16 [rows, width] hidden-state poolings, in pool order."""
        self._charge_pass("hidden", span, head=False)
        return self.features.pool_poolings(pooling, span)

    def query_poolings(self, pooling: str, span: Span) -> np.ndarray:
        """float16 [Q, width] of the queries."""
        artifact = self.features.query_poolings(self.queries, span)
        lengths = self.features.load(artifact, "lengths")
        self._charge("queries", span, lengths, False, artifact.info, artifact.reused)
        return self.features.load(artifact, pooling)

    def pool_losses(self, span: Span = "full") -> tuple[np.ndarray, np.ndarray]:
        """Summed next-token losses float64 [rows] in nats and predicted tokens int64 [rows]."""
        self._charge_pass("losses", span, head=True)
        return self.features.pool_losses(span)

    def token_lengths(self) -> np.ndarray:
        """int64 [rows]: tokens of the whole row in the selector model's template, uncut."""
        return self.features.pool_lengths("tokens", "full")[0].astype(np.int64)

    def _charge_pass(self, kind: str, span: Span, *, head: bool) -> None:
        lengths, seconds, memory, reused = self.features.pool_lengths(kind, span)
        info = {"seconds": seconds, "peak_memory_mb": memory}
        self._charge("score", span, lengths, head, info, reused)

    def _charge(
        self,
        stage: Stage,
        span: Span,
        lengths: np.ndarray,
        head: bool,
        info: dict[str, float],
        reused: bool,
    ) -> None:
        from harness.flops import paper_forward

        flops = self.selector_flops
        rows = len(lengths)
        cost = StageCost(
            stage=stage,
            flops=flops.forward(lengths, head=head),
            # The paper charges the pass over the pool and takes the queries as free (App. E).
            flops_paper=paper_forward(flops.parameters, rows) if stage == "score" else 0.0,
            tokens=int(lengths.sum()),
            rows=rows,
            seconds=info["seconds"],
            peak_memory_mb=info["peak_memory_mb"],
            reused=reused,
        )
        # Hidden states and losses of one text come from one pass: the dearer of the two is it.
        known = self._bill.get((stage, span))
        if known is None or known.flops < cost.flops:
            self._bill[stage, span] = cost

    @property
    def selector_flops(self) -> ModelFlops:
        """FLOP counts of the selector model."""
        from harness.flops import model_flops

        return model_flops(self.features.model.config.load_config())
