"""LESS's features (paper A.6): projected gradients at each epoch of a warm-up, stored."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from harness.attempts import spent
from harness.chat import Message
from harness.files import digest
from harness.gradients import AdamDirection, Direction, LoraGradients, label, project_gradients
from harness.memory import peak_memory_mb
from harness.projection import Projection
from harness.ranges import RowFeature, load, missing_rows, save
from harness.record import Stage, StageCost

if TYPE_CHECKING:
    from pathlib import Path

    from harness.context import Context
    from harness.pool import Row
    from harness.warmup import WarmUp

VERSION = 2  # of what is stored: raise it when the same inputs give other arrays


class CheckpointGradients:
    """Projected gradients at one epoch of a warm-up: of pool rows and of queries, in the store.

    The model is loaded when the first of them has to be computed. Costs go on the context's bill:
    forward and backward passes (``flops.gradients``) and the product with the signs; the paper
    counts 6 N a token.

    Args:
        epoch: counted from 0.
        form: of the Adam direction that rows are stored as; queries are plain gradients.
    """

    kind = "gradients"

    def __init__(
        self,
        context: Context,
        warm: WarmUp,
        epoch: int,
        projection: Projection,
        form: Literal["code", "paper"],
    ) -> None:
        self.context, self.warm, self.epoch = context, warm, epoch
        self.projection, self.form = projection, form
        self._features = context.features
        self.bytes_per_row = 2 * projection.dim + 12  # float16, and three counts
        self._shared = {
            "version": VERSION,
            "warmup": warm.identity,
            "epoch": epoch,
            "max_length": self._features.max_length,
            "projection": [projection.dim, projection.seed],
        }
        self._identity = {**self._shared, "adam": form}

    def missing_rows(self) -> int:
        """Rows that are still to be computed."""
        features = self._features
        return missing_rows(
            features.store,
            self.context.pool,
            features.settings.rows_per_range,
            self.kind,
            self._identity,
        )

    def rows(self) -> RowFeature:
        """``gradients`` float16 [rows, dim] of unit length (or 0), and int32 [rows] of tokens.

        ``lengths``: of the row, ``read``: that went through the model, ``labels``; all 0 where a
        row has no label.
        """

        def compute(rows: list[Row], on_rows: Callable[[int, int], None]) -> dict[str, np.ndarray]:
            return self._compute([row.messages for row in rows], self._direction, on_rows)

        found = self.context.compute(
            self.kind, self._identity, compute, bytes_per_row=self.bytes_per_row
        )
        self._charge(
            "score",
            found.array,
            **found.spent,
        )
        return found

    def queries(self) -> np.ndarray:
        """float16 [queries, dim]: plain gradients, of unit length."""
        conversations = [query.messages for query in self.context.queries]

        def build(part: Path) -> dict[str, Any]:
            start = time.perf_counter()
            save(part, self._compute(conversations, None, lambda rows, tokens: None))
            seconds = time.perf_counter() - start
            return {"seconds": seconds, "peak_memory_mb": peak_memory_mb()}

        identity = {**self._shared, "queries": digest(conversations)}
        found = self._features.store.require(f"query_{self.kind}", identity, build)
        took = {"reused": found.reused, **found.info, **spent(found.attempts)}
        self._charge("queries", lambda name: load(found, name), **took)
        return load(found, self.kind)

    def close(self) -> None:
        """Free the model."""
        for name in ("_gradients", "_direction"):
            self.__dict__.pop(name, None)

    @functools.cached_property
    def _gradients(self) -> LoraGradients:
        return LoraGradients(self.warm.load(self.epoch))

    @functools.cached_property
    def _direction(self) -> AdamDirection:
        first, second = (self._gradients.flat(part) for part in self.warm.moments(self.epoch))
        return AdamDirection(first, second, self.form, self.warm.epochs[self.epoch].step)

    def _compute(
        self,
        rows: Sequence[Sequence[Message]],
        direction: Direction | None,
        on_rows: Callable[[int, int], None],
    ) -> dict[str, np.ndarray]:
        labelled = label(rows, self._features.model.chat, self._features.max_length)
        projected = project_gradients(
            self._gradients, labelled, self.projection, direction, on_batch=on_rows
        )
        counts = [
            (row.length, len(row.ids), len(row.places)) if row.places else (0, 0, 0)
            for row in labelled
        ]
        columns = np.array(counts, dtype=np.int32).reshape(-1, 3).T
        names = ("lengths", "read", "labels")
        return {self.kind: projected.astype(np.float16), **dict(zip(names, columns, strict=True))}

    def _charge(self, stage: Stage, array: Callable[[str], np.ndarray], **spent: Any) -> None:
        from harness.flops import paper_train

        assert self.warm.recipe.lora is not None
        flops = self.context.selector_flops
        counted = flops.gradients(self.warm.recipe.lora.model_dump())
        read, labels, lengths = array("read"), array("labels"), array("lengths")
        product = counted.projected(int((labels > 0).sum()), self.projection.dim)
        cost = StageCost(
            stage=stage,
            flops=counted(read, labels) + product,
            # As with a forward pass, the paper takes the queries as free.
            flops_paper=paper_train(flops.parameters, len(lengths), 1) if stage == "score" else 0,
            tokens=int(lengths.sum()),
            rows=len(lengths),
            **spent,
        )
        self.context.charge(f"{self.kind} {self.epoch}", cost)
