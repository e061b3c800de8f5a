"""LESS (paper A.6; Xia et al. 2024): influence of a row's training step on a query's loss.

A LoRA adapter is trained on a random part of the pool, and every epoch leaves a checkpoint. At each
a row's feature is the direction that Adam would take on its gradient (mean loss over its label
tokens, LoRA weights, dropout off), with the checkpoint's moments; a query's is its plain gradient.
Both go through one Rademacher projection and are L2-normalised; the score is the sum over
checkpoints of the cosine times the epoch's mean learning rate, these scaled to sum 1.

Choices where the sources leave or contradict something. Direction: the code's form (no correction
of bias, epsilon inside the root) by default. Three checkpoints of four, as the study counts LESS,
are the first three, which have 94 % of the weight. Selection: round-robin as in the study;
``query_mean`` with ``selector=global_max`` is LESS's own, mean cosine of a sub-task and then the
maximum over sub-tasks, a sub-task being a task here. Gradients are projected in fp32 (there: fp16)
and in many-row blocks, with other random signs than TRAK's of the same distribution. A query is a
conversation like a row. A row without a label token within ``features.max_length`` has influence
0. Gradients run in the selector model's ``dtype``: fp32 is exact, bfloat16 is for devices with
matrix units. Other pool sizes and seeds draw another warm-up, so they share no gradients.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from pydantic import Field, PrivateAttr, model_validator

from harness.context import Context
from harness.gradient_features import CheckpointGradients
from harness.projection import Projection
from harness.ranges import RowFeature, check_room
from harness.ranking import products
from harness.training import Lora, Recipe
from methods.base import PairMethod

if TYPE_CHECKING:
    from harness.plan.work import SelectionPlan


def published_warmup() -> Recipe:
    """LoRA r 128, 4 epochs at 2e-5, linear, batch 128 (paper A.6)."""
    return Recipe(name="less_warmup", epochs=4, learning_rate=2e-5, lora=Lora())


class LESS(PairMethod):
    """Gradient-based selection; the defaults are the published ones.

    Attributes:
        warmup: how the adapter is trained; it needs ``lora`` and whole epochs.
        fraction: of the pool that it is trained on; ``least_rows`` if that is less.
        checkpoints: how many of the epochs are used, the first ones; None takes all.
        dim: of the projection, a multiple of 64; ``projection_seed`` of its signs.
        adam: ``code`` or ``paper`` (moments corrected for bias, epsilon outside the root).
        query_mean: each query stands for the mean of its task's features.
    """

    warmup: Recipe = Field(default_factory=published_warmup)
    fraction: float = Field(default=0.05, gt=0, le=1)
    least_rows: int = Field(default=1, gt=0)
    checkpoints: int | None = Field(default=None, gt=0)
    dim: int = Field(default=8192, gt=0, multiple_of=64)
    projection_seed: int = 0
    adam: Literal["code", "paper"] = "code"
    query_mean: bool = False

    needs_labels: ClassVar[bool] = True
    needs_model: ClassVar[bool] = True
    seeded: ClassVar[bool] = True
    # Sizes belong to the scale.
    unlabelled: ClassVar[frozenset[str]] = frozenset(
        {"fraction", "least_rows", "dim", "projection_seed"}
    )
    _made: tuple[Context, list[tuple[float, RowFeature, np.ndarray]]] | None = PrivateAttr(None)

    @model_validator(mode="after")
    def _whole(self) -> LESS:
        if self.warmup.lora is None or self.warmup.epochs != int(self.warmup.epochs):
            raise ValueError("method.warmup needs lora and a whole number of epochs")
        if self.checkpoints is not None and self.checkpoints > self.warmup.epochs:
            raise ValueError(
                f"method.checkpoints={self.checkpoints}, but method.warmup.epochs="
                f"{self.warmup.epochs:g}: a checkpoint is the end of an epoch"
            )
        return self

    def plan(self, plan: SelectionPlan) -> None:
        """The warm-up, and a gradient of every row and query at each checkpoint."""
        count = max(round(self.fraction * plan.rows), self.least_rows)
        warm = plan.training("less", count, self.warmup, epochs=True)
        checkpoints = self.checkpoints or round(self.warmup.epochs)
        plan.gradients(warm, self.warmup, self.dim, checkpoints)

    def pair_scores(self, context: Context) -> Iterator[np.ndarray]:
        """Blocks of float32 [rows, queries]: weighted sums of cosines over the checkpoints."""
        if self._made is None or self._made[0] is not context:
            self._made = (context, self._features(context))
        weights, rows, queries = zip(*self._made[1], strict=True)
        parts = [products(f.blocks("gradients"), q) for f, q in zip(rows, queries, strict=True)]
        for blocks in zip(*parts, strict=True):
            total = np.float32(weights[0]) * blocks[0]
            for weight, block in zip(weights[1:], blocks[1:], strict=True):
                total += np.float32(weight) * block
            yield total

    def _features(self, context: Context) -> list[tuple[float, RowFeature, np.ndarray]]:
        """For each checkpoint its weight, the rows' features and those of the queries."""
        size = context.pool.size
        count = min(size, max(round(self.fraction * size), self.least_rows))
        drawn = np.sort(context.rng("less warm-up").choice(size, count, replace=False))
        warm = context.warm_up(drawn, self.warmup, name="less", keep_epochs=True)
        signs = Projection(self.dim, self.projection_seed)
        steps = [
            CheckpointGradients(context, warm, epoch, signs, self.adam)
            for epoch in range(len(warm.epochs))[: self.checkpoints]
        ]
        # All checkpoints' features have to fit, so this is asked before the first is computed.
        missing = sum(step.missing_rows() for step in steps)
        check_room(context.features.store, "gradients", missing, steps[0].bytes_per_row)
        rates = np.array([epoch.learning_rate for epoch in warm.epochs[: self.checkpoints]])
        found = []
        for weight, step in zip(rates / rates.sum(), steps, strict=True):
            queries, rows = step.queries(), step.rows()
            step.close()
            if self.query_mean:
                members = context.tasks[:, None] == context.tasks
                queries = members / members.sum(1, keepdims=True) @ queries.astype(np.float32)
            found.append((float(weight), rows, queries))
        return found
