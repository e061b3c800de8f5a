"""IFD (paper A.5): how little the prompt helps the model to predict the answer, of Li et al. 2024.

1. *Pre-experience*: the prompts of the first rows of the pool are embedded and clustered (k-means);
   each cluster gives a few rows of middling prompt perplexity; the model is trained on them once.
2. *Score* by that model: mean loss of the answer after its prompt, divided by the mean loss of the
   answer behind the role header alone (``harness/answer_loss.py``, several turns included).
3. *Drop* rows that do not fit the length (their answer would be cut) and rows above 1, whose prompt
   is no help. The rest is ordered, highest first: the ordering may be shorter than the pool.
The study scores its 5.8M pool with the model of its 200k pool. Here the pre-experience comes from
the first 200,000 rows of the pool's order, so larger pools share one model, as there.
Deviations: the prompt is read in the chat template with an end token (system and all user turns up
to the first answer); its embedding is L2-normalised float16 as all stored poolings are; the answer
includes its end token; the training is the run's recipe for one epoch (with ``recipe=paper`` the
authors' batch 128, 2e-5, 3 %); k-means starts once, with at most as many clusters as prompts.
"""

from __future__ import annotations

from functools import cache
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from harness.answer_loss import answer_losses
from harness.context import Context
from harness.flops import paper_forward
from harness.record import StageCost
from harness.training import Recipe
from harness.warmup import WarmUp
from methods import selectors
from methods.base import Ordering, RowMethod


class IFD(RowMethod):
    """Instruction-following difficulty.

    Attributes:
        ratio: ``loss`` of mean losses (the authors' code and paper), or ``perplexity``, its
            exponential (Superfiltering): the same rows lie above 1, but in another order.
        pre_experience_rows: rows of the pool, from the first on, that the training draws from.
        clusters, per_cluster: k-means clusters, and rows that each gives.
        low, high: percentiles of prompt perplexity within a cluster, between which they lie.
        recipe: of the pre-experience training.
    """

    ratio: Literal["loss", "perplexity"] = "loss"
    pre_experience_rows: int = Field(default=200_000, gt=0)
    clusters: int = Field(default=100, gt=0)
    per_cluster: int = Field(default=10, gt=0)
    low: float = Field(default=25.0, ge=0, le=100)
    high: float = Field(default=75.0, ge=0, le=100)
    recipe: Recipe = Recipe(name="pre_experience", epochs=1)

    needs_model: ClassVar[bool] = True
    seeded: ClassVar[bool] = True

    def identity(self) -> dict[str, Any]:
        """As always; of the recipe only what changes a training."""
        return {**super().identity(), "recipe": self.recipe.identity()}

    def plan(self, plan: Any) -> None:
        """The prompts' pass, the pre-experience, both losses of every row."""
        plan.pool_pass("prompt", head=True, rows=self.pre_experience_rows)
        plan.answers(plan.training(self.name, self.clusters * self.per_cluster, self.recipe))

    def order(self, context: Context) -> Ordering:
        """The rows that are scored and not above 1, in the order of the selector."""
        scores = self.scores(context)
        ranked = np.flatnonzero(scores <= 1)
        if not len(ranked):
            raise ValueError(
                f"{self.name}: none of {len(scores)} rows is left: each is longer than "
                "features.max_length or has an IFD above 1"
            )
        positions = ranked[selectors.ROW_SELECTORS[self.selector](scores[ranked])]
        return Ordering(positions, scores[positions])

    def scores(self, context: Context) -> np.ndarray:
        """float64 [rows]: IFD; NaN for a row without one."""
        model = context.warm_up(self.pre_experience(context), self.recipe, name=self.name)
        conditioned, alone, tokens = self._losses(context, model)
        found = (tokens > 0) & (alone > 0)
        scores = np.full(len(tokens), np.nan)
        if self.ratio == "loss":
            scores[found] = conditioned[found] / alone[found]
        else:
            scores[found] = np.exp((conditioned[found] - alone[found]) / tokens[found])
        return scores

    def pre_experience(self, context: Context) -> np.ndarray:
        """int64: the pool positions that the training is given."""
        from sklearn.cluster import KMeans
        from threadpoolctl import threadpool_limits

        first = context.first(self.pre_experience_rows)
        loss, tokens = first.pool_losses("prompt")  # first: its pass leaves the poolings too
        embedded = np.concatenate(list(first.pool_poolings("mean", "prompt"))).astype(np.float32)
        clusters = min(self.clusters, len(np.unique(embedded, axis=0)))
        with threadpool_limits(1):  # sums in a fixed order: the same clusters on any machine
            found = KMeans(clusters, random_state=0, n_init=1).fit(embedded)
        perplexity = np.exp(loss / np.maximum(tokens, 1))
        return pick(found.labels_, perplexity, self.per_cluster, self.low, self.high)

    def _losses(self, context: Context, warm: WarmUp) -> list[np.ndarray]:
        features, flops = context.features, context.selector_flops
        load = cache(lambda: warm.load(merged=True))

        def compute(rows: Any, on_rows: Any) -> dict[str, np.ndarray]:
            found = answer_losses(
                load(),
                features.model.chat,
                [row.messages for row in rows],
                max_length=features.max_length,
                max_tokens=features.settings.max_tokens or 2048,
                flops=flops,
                on_batch=on_rows,
            )
            return vars(found)

        identity = {"version": 1, "warmup": warm.identity, "max_length": features.max_length}
        feature = context.compute("ifd", identity, compute, bytes_per_row=32)
        cost = StageCost(
            stage="score",
            flops=float(feature.array("flops").sum()),
            flops_paper=paper_forward(flops.parameters, context.pool.size),  # one pass, as its code
            tokens=int(feature.array("read").sum()),
            rows=context.pool.size,
            **feature.spent,
        )
        context.charge(self.name, cost)
        return [feature.array(key) for key in ("conditioned", "alone", "tokens")]


def pick(
    cluster: np.ndarray, perplexity: np.ndarray, count: int, low: float, high: float
) -> np.ndarray:
    """int64 positions: ``count`` rows of each cluster by even stride over its middling ones.

    A cluster of fewer than ``count`` rows gives all, one with fewer in the band all of those.
    """
    picked = []
    for number in np.unique(cluster):
        members = np.flatnonzero(cluster == number)
        if len(members) >= count:
            bounds = np.percentile(perplexity[members], [low, high])
            inside = (perplexity[members] >= bounds[0]) & (perplexity[members] <= bounds[1])
            members = members[inside]
        picked.append(members[:: max(1, len(members) // count)][:count])
    return np.concatenate(picked)
