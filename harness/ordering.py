"""The stage that puts the pool in order: a method's positions, checked, kept and charged."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.artifacts import Store
from harness.attempts import clock
from harness.context import Context
from harness.features import Features, LoadedModel
from harness.files import digest
from harness.memory import reset_peak
from harness.pool import Pool
from harness.ranking import counted_products
from harness.record import Selection, StageCost
from harness.settings import Settings
from harness.stages import costs_of, queries

log = logging.getLogger(__name__)

DEPTH = 65_536  # orderings are at least this long, so that most budgets share one


@dataclass
class OrderStage:
    """The ordering: pool positions best first, their scores, and what it cost."""

    path: Path
    positions: np.ndarray
    scores: np.ndarray
    costs: list[StageCost]

    def selection(self, pool: Pool, budget: int) -> Selection:
        """What the record says of the first ``budget`` rows."""
        taken = self.positions[:budget]
        return Selection(
            rows=len(taken),
            sources=pool.count_sources(taken) if len(taken) else {},
            pool_sources=pool.count_sources() if budget else {},
            ordering=f"{self.path.parent.name}/{self.path.name}" if budget else None,
        )

    def publish(self, pool: Pool, budget: int, folder: Path) -> None:
        """Write ``selection.parquet``: rank, id, source, score and pool position of every pick."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        taken = self.positions[:budget]
        if not len(taken):
            return
        rows = pool.rows(taken)
        table = pa.table(
            {
                "rank": np.arange(len(taken)),
                "id": [row.id for row in rows],
                "dataset": [row.dataset for row in rows],
                "score": self.scores[:budget],
                "position": taken,
            }
        )
        folder.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, folder / "selection.parquet")


def order(settings: Settings, store: Store, pool: Pool, budget: int) -> OrderStage:
    """Score the pool and put its rows in order, deep enough for ``budget``."""
    method = settings.method
    if budget == 0:
        return OrderStage(store.root, np.empty(0, np.int64), np.empty(0), [])
    # Rounded up, so that the budgets of a sweep share an ordering; a longer one extends a shorter.
    depth = min(pool.size, max(DEPTH, 1 << (budget - 1).bit_length()))
    wanted = queries(settings) if method.needs_queries else []
    identity: dict[str, Any] = {
        "version": 2,  # 1 did not say what putting the rows in order takes
        "method": {k: v for k, v in method.identity().items() if k != "name"},
        "pool": pool.digest,
        "size": pool.size,
        "depth": depth,
        "seed": settings.seed if method.seeded else None,
        "queries": digest([[q.task, q.messages] for q in wanted]),
        "model": settings.selector.content_identity() if method.needs_model else None,
        "max_length": settings.features.max_length if method.needs_model else None,
    }

    def build(part: Path) -> dict[str, Any]:
        reset_peak()
        loaded = LoadedModel(settings.selector)
        features = Features(store, pool, loaded, settings.features, progress=settings.progress)
        context = Context(pool, wanted, settings.seed, depth, features)
        start = clock().read()[0]
        with counted_products() as products:
            found = method.order(context)
        positions = _valid(found.positions, pool.size, method.name)
        if not len(positions):
            raise ValueError(f"method {method.name} ranked no row of the pool")
        np.save(part / "positions.npy", positions)
        np.save(part / "scores.npy", np.asarray(found.scores, dtype=np.float64))
        host, device = clock().peaks()
        # The clock stood still while passes and trainings were made or read: those have entries of
        # their own. The paper takes the work after scoring as free (App. E).
        ranking = StageCost(
            stage="order",
            flops=sum(products),
            rows=len(positions),
            seconds=clock().read()[0] - start,
            peak_memory_mb=device or host,
        )
        return {"costs": [cost.model_dump() for cost in [*context.costs, ranking]]}

    artifact = store.require("ordering", identity, build)
    positions = np.load(artifact.path / "positions.npy")
    if len(positions) < budget:
        log.warning(
            "method %s ranks %s of %s rows: they are all that a budget of %s trains on",
            method.name, f"{len(positions):,}", f"{pool.size:,}", f"{budget:,}",
        )  # fmt: skip
    return OrderStage(
        artifact.path,
        positions,
        np.load(artifact.path / "scores.npy"),
        costs_of(artifact, "order"),
    )


def _valid(positions: np.ndarray, size: int, name: str) -> np.ndarray:
    """A method's positions, checked: a wrong ordering must not become a wrong result."""
    positions = np.asarray(positions, dtype=np.int64)
    if positions.ndim != 1:
        raise ValueError(f"method {name} gave positions of shape {positions.shape}")
    if len(positions) and (positions.min() < 0 or positions.max() >= size):
        raise ValueError(f"method {name} gave positions outside 0..{size - 1}")
    if len(np.unique(positions)) != len(positions):
        raise ValueError(f"method {name} gave a position twice")
    return positions
