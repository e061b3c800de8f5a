"""RDS+ (paper A.8, 3, G.2): cosine of pooled hidden states between pool rows and queries.

A row's embedding is the position-weighted mean of the base model's last hidden states (after the
final norm) over its real tokens, BOS included: weight i / (1 + ... + L) for token i. Both sides are
L2-normalised; rows are picked by round-robin over queries, or over tasks with the best query's
score when there are several tasks.

Axes of the paper's Table 9: ``pooling`` (uniform mean, last token) and ``span`` (prompt or label
alone). A third, ``layer``: -1 reads the last hidden state after the final norm, as the paper does;
k reads what layer k gave (0: the embeddings; transformers' ``hidden_states[k]``), and the pass runs
and costs no more layers than that.

Deviations from the published code: pooling is fp32 for every choice and never sees padding (there,
mean and last-token pooling were bf16 and tied heavily); a query is written as one conversation and
tokenised whole, as pool rows are; its prompt span leaves the answer prefix out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from harness.chat import Span
from harness.context import Context
from methods.base import PairMethod

if TYPE_CHECKING:
    from harness.plan.work import SelectionPlan


class RDSPlus(PairMethod):
    """Representation-based selection; the defaults are the paper's RDS+."""

    pooling: Literal["weighted_mean", "mean", "eos"] = "weighted_mean"
    span: Span = "full"
    layer: int = Field(default=-1, ge=-1)

    needs_model: ClassVar[bool] = True

    def identity(self) -> dict[str, Any]:
        """``layer`` counts where it is a choice: what was ordered before it was one stays valid."""
        found = super().identity()
        return {k: v for k, v in found.items() if k != "layer" or v != -1}

    @property
    def needs_labels(self) -> bool:
        """The label alone is nothing where there is none."""
        return self.span == "label"

    def plan(self, plan: SelectionPlan) -> None:
        """One pass over the pool and one over the queries."""
        plan.pool_pass(self.span, layer=self.layer)
        plan.query_pass(self.span, self.layer)

    def pool_features(self, context: Context) -> Iterator[np.ndarray]:
        """Blocks of float16 [rows, width]."""
        return context.pool_poolings(self.pooling, self.span, self.layer)

    def query_features(self, context: Context) -> np.ndarray:
        """float16 [queries, width]."""
        return context.query_poolings(self.pooling, self.span, self.layer)
