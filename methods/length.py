"""Length (paper A.3, after Zhao et al. 2024): the longest rows by token count.

The paper names neither the tokenizer nor the template nor whether rows are cut before counting.
Here: tokens of the whole conversation in the selector model's template, uncut, since a cut at the
training length would leave the order of all longer rows to chance.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from harness.context import Context
from methods.base import RowMethod

if TYPE_CHECKING:
    from harness.plan.work import SelectionPlan


class Length(RowMethod):
    """Scores a row by its number of tokens."""

    needs_model: ClassVar[bool] = True

    def plan(self, plan: SelectionPlan) -> None:
        """No pass; but the longest rows are the dearest to train on."""
        plan.takes_longest()

    def scores(self, context: Context) -> np.ndarray:
        """float64 [rows]: tokens."""
        return context.token_lengths().astype(np.float64)
