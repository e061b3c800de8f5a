"""What the replicates say of order: the frontier, ranks, and whether a small setting decides.

All functions read scores ``values`` [cells] and their replicates ``draws`` [replicates, cells].
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

DECIDED = 0.975  # share of replicates that must agree on the better one of two


def frontier_probability(cost: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """[cells] share of replicates in which no cell that costs no more scores more.

    The costs are known; what is uncertain is the score. Of cells with equal cost the best is on
    the frontier, all of them where they tie.
    """
    order = np.argsort(cost, kind="stable")
    _, first, block = np.unique(cost[order], return_index=True, return_inverse=True)
    sorted_draws = draws[:, order]
    best = np.maximum.reduceat(sorted_draws, first, axis=1)
    reached = np.maximum.accumulate(best, axis=1)
    before = np.concatenate([np.full((len(draws), 1), -np.inf), reached[:, :-1]], axis=1)
    on = (sorted_draws > before[:, block]) & (sorted_draws >= best[:, block])
    result = np.empty(len(cost))
    result[order] = on.mean(axis=0)
    return result


def ranks(scores: np.ndarray) -> np.ndarray:
    """Ranks along the last axis, 1 for the highest; equal scores share the mean of their places."""
    scores = np.asarray(scores)
    ordered = np.sort(-scores, axis=-1)
    result = np.empty(scores.shape)
    for index in np.ndindex(scores.shape[:-1]):
        below = np.searchsorted(ordered[index], -scores[index], side="left")
        upto = np.searchsorted(ordered[index], -scores[index], side="right")
        result[index] = (below + upto + 1) / 2
    return result


def mean_rank(values: np.ndarray) -> np.ndarray:
    """[cells] mean over benchmarks of a cell's rank; ``values`` is [benchmarks, cells]."""
    return ranks(values).mean(axis=0)


def rank_range(draws: np.ndarray, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest place [cells] that the middle ``level`` of the replicates reach."""
    placed = ranks(draws)
    tail = (1 - level) / 2
    low = np.quantile(placed, tail, axis=0, method="inverted_cdf")
    return low, np.quantile(placed, 1 - tail, axis=0, method="inverted_cdf")


@dataclass(frozen=True)
class Decision:
    """How well a small setting orders the methods of a large one.

    Attributes:
        methods, pairs: how many are in both.
        accuracy: share of pairs that both order alike; a tie in the small one counts half.
        low, high: 95 % of the replicates.
        decided: pairs that the large setting itself orders beyond doubt.
        accuracy_decided: accuracy on these; NaN if there are none.
    """

    methods: int
    pairs: int
    accuracy: float
    low: float
    high: float
    decided: int
    accuracy_decided: float


def decision(
    small: np.ndarray, small_draws: np.ndarray, large: np.ndarray, large_draws: np.ndarray
) -> Decision:
    """Pairwise agreement of two settings; methods at equal places of the arrays."""
    one, two = np.triu_indices(len(small), 1)

    def agreement(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
        signs = np.sign(ours[..., one] - ours[..., two]) * np.sign(
            theirs[..., one] - theirs[..., two]
        )
        return (1 + signs) / 2

    alike = agreement(small, large)
    drawn = agreement(small_draws, large_draws).mean(axis=1)
    gaps = large_draws[:, one] - large_draws[:, two]
    sure = np.maximum((gaps > 0).mean(axis=0), (gaps < 0).mean(axis=0)) >= DECIDED
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Decision(
        len(small), len(one), float(alike.mean()), float(low), float(high), int(sure.sum()),
        float(alike[sure].mean()) if sure.any() else float("nan"),
    )  # fmt: skip
