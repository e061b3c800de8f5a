"""Top-PPL and mid-PPL (paper A.4): rows by their mean loss under the untuned base model.

The score is the mean negative log-likelihood in nats over all tokens of the row in its chat
template (prompt and answer, nothing masked), which orders rows as perplexity does. Top-PPL takes
the highest; mid-PPL the slice that begins at a third of the falling order. Yin & Rush, whom the
paper says it follows, differ in text, direction and "mid"; this is the paper's own code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from harness.context import Context
from methods.base import RowMethod

if TYPE_CHECKING:
    from harness.plan.work import SelectionPlan


class TopPerplexity(RowMethod):
    """Scores a row by its mean token loss and takes the highest."""

    needs_model: ClassVar[bool] = True

    def plan(self, plan: SelectionPlan) -> None:
        """One pass over the pool, with the head."""
        plan.pool_pass(head=True)

    def scores(self, context: Context) -> np.ndarray:
        """float64 [rows]: nats a token. A row of one token predicts nothing and scores -inf."""
        loss, tokens = context.pool_losses()
        return np.where(tokens > 0, loss / np.maximum(tokens, 1), -np.inf)


class MidPerplexity(TopPerplexity):
    """The same scores, taken from a third of the falling order on."""

    selector: str = "band"
