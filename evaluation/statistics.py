"""Means and standard errors over items."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Literal

import numpy as np

from harness.statistics.items import MIN_GROUPS


def mean_and_error(
    values: Sequence[float],
    groups: Sequence[str],
    average: Literal["items", "groups"],
    clusters: Sequence[str] | None = None,
) -> tuple[float, float | None]:
    """Mean and its standard error, both in percent, of item scores in [0, 1].

    ``items``: the plain mean, with the sample standard error over items. ``groups``: the unweighted
    mean of the groups' means; their errors are combined as independent. Where a group has a single
    item, its spread is unknown, and the error of the plain mean stands in. ``None`` for one item.

    ``clusters`` names what items share (subject, language, article). With MIN_GROUPS of them or
    more the error is that of a mean over clusters drawn at random, as on the board: the root of
    C/(C-1) · sum over C clusters of (sum of the items' weighted deviations from the mean)².
    """
    array = np.asarray(values, dtype=float)
    if clusters is not None and len(set(clusters)) >= MIN_GROUPS:
        return _clustered(array, groups, average, clusters)
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


def _clustered(
    values: np.ndarray, groups: Sequence[str], average: str, clusters: Sequence[str]
) -> tuple[float, float]:
    weights = np.full(len(values), 1 / len(values))
    if average == "groups":
        _, group, counts = np.unique(groups, return_inverse=True, return_counts=True)
        weights = 1 / (len(counts) * counts[group])
    mean = float(weights @ values)
    _, cluster = np.unique(clusters, return_inverse=True)
    sums = np.bincount(cluster, weights=weights * (values - mean))
    error = float(np.sqrt(len(sums) / (len(sums) - 1) * (sums @ sums)))
    return 100 * mean, 100 * error
