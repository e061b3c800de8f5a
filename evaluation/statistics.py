"""Means and standard errors over items."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Literal

import numpy as np


def mean_and_error(
    values: Sequence[float], groups: Sequence[str], average: Literal["items", "groups"]
) -> tuple[float, float | None]:
    """Mean and its standard error, both in percent, of item scores in [0, 1].

    ``items``: the plain mean, with the sample standard error over items. ``groups``: the unweighted
    mean of the groups' means; their errors are combined as independent. Where a group has a single
    item, its spread is unknown, and the error of the plain mean stands in. ``None`` for one item.
    """
    array = np.asarray(values, dtype=float)
    plain = float(array.std(ddof=1) / np.sqrt(len(array))) if len(array) > 1 else None
    if average == "items":
        return 100 * float(array.mean()), None if plain is None else 100 * plain
    by_group: dict[str, list[float]] = defaultdict(list)
    for value, group in zip(values, groups, strict=True):
        by_group[group].append(value)
    mean = float(np.mean([np.mean(members) for members in by_group.values()]))
    if any(len(members) < 2 for members in by_group.values()):
        return 100 * mean, None if plain is None else 100 * plain
    variance = sum(np.var(members, ddof=1) / len(members) for members in by_group.values())
    return 100 * mean, 100 * float(np.sqrt(variance)) / len(by_group)
