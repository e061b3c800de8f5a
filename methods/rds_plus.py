"""RDS+ (paper A.8, 3, G.2): cosine of pooled hidden states between pool rows and queries.

A row's embedding is the position-weighted mean of the base model's last hidden states (after the
final norm) over its real tokens, BOS included: weight i / (1 + ... + L) for token i. Both sides are
L2-normalised; rows are picked by round-robin over queries, or over tasks with the best query's
score when there are several tasks.

Axes of the paper's Table 9: ``pooling`` (uniform mean, last token) and ``span`` (prompt or label
alone). Deviations from the published code: pooling is fp32 for every choice and never sees padding
(there, mean and last-token pooling were bf16 and tied heavily); a query is written as one
conversation and tokenised whole, as pool rows are; its prompt span leaves the answer prefix out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

import numpy as np

from harness.chat import Span
from harness.context import Context
from methods.base import PairMethod


class RDSPlus(PairMethod):
    """Representation-based selection; the defaults are the paper's RDS+."""

    pooling: Literal["weighted_mean", "mean", "eos"] = "weighted_mean"
    span: Span = "full"

    needs_model: ClassVar[bool] = True

    def pool_features(self, context: Context) -> Iterator[np.ndarray]:
        """Blocks of float16 [rows, width]."""
        return context.pool_poolings(self.pooling, self.span)

    def query_features(self, context: Context) -> np.ndarray:
        """float16 [queries, width]."""
        return context.query_poolings(self.pooling, self.span)
