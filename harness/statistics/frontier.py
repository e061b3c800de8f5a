"""How likely each cell is on the frontier of score against compute, for every way to count it."""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from typing import Any

import numpy as np

from harness.statistics.ranks import frontier_probability

# Column: the cost that it is of, and what says whether that cost is known at all. To select may
# well cost nothing; a run that trains does not.
FRONTIERS = {
    "frontier_probability": ("flops_total", "flops_total"),
    "frontier_probability_select": ("flops_select", "flops_total"),
    "frontier_probability_paper": ("flops_paper", "flops_paper"),
    "frontier_probability_paper_select": ("flops_paper_select", "flops_paper"),
}


def add_frontiers(rows: Sequence[MutableMapping[str, Any]], draws: np.ndarray) -> None:
    """Fill in the columns of FRONTIERS.

    Args:
        rows: of the leaderboard, all that may stand on one frontier; floors have no place there.
        draws: [replicates, rows] of their means.
    """
    for name, (cost, known) in FRONTIERS.items():
        places = [at for at, row in enumerate(rows) if not row["floor"] and row[known]]
        if not places:
            continue
        costs = np.array([rows[at][cost] for at in places], dtype=float)
        for at, value in zip(places, frontier_probability(costs, draws[:, places]), strict=True):
            rows[at][name] = float(value)
