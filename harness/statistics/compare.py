"""Differences to a reference with intervals, p-values, Holm's correction and what can be seen.

Holm's step-down correction, not Benjamini-Hochberg's: a table makes few comparisons, each of which
is read as a claim, so what is controlled is the chance of any false claim, under whatever
dependence (all differences share the reference). A family is a column of a table: the methods of a
contest on one benchmark, or on the mean.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.statistics.bootstrap import LEVEL, Sampled
from harness.statistics.design import Cell

POWER = 0.8


@dataclass(frozen=True)
class Estimates:
    """Estimates of one measure: arrays [cells], in percent; NaN where nothing can be said.

    Attributes:
        value: the score or difference.
        error: its bootstrap standard error.
        low, high: ends of the 95 % interval.
        p: two-sided, for a true value of 0.
        detectable: the smallest true difference that a test at 5 % finds with 80 % power.
        freedom: Satterthwaite's degrees of freedom.
    """

    value: np.ndarray
    error: np.ndarray
    low: np.ndarray
    high: np.ndarray
    p: np.ndarray
    detectable: np.ndarray
    freedom: np.ndarray


def scores(sampled: Sampled, measure: int) -> Estimates:
    """The cells' own scores with their intervals."""
    every = np.arange(len(sampled.cells))
    error = sampled.noise[measure].std(axis=0, ddof=1)
    parts = _parts(sampled, measure, every, None)
    none = np.zeros(len(every), dtype=bool)
    return _estimates(sampled.values[measure], error, parts, none, none)


def differences(sampled: Sampled, measure: int, cells: np.ndarray, reference: int) -> Estimates:
    """``cells`` less the cell ``reference``, paired on the items.

    Runs that agree in every seed and item differ by exactly 0: interval [0, 0], p = 1.
    """
    noise = sampled.noise[measure]
    same = np.array([identical(sampled.cells[at], sampled.cells[reference]) for at in cells], bool)
    value = sampled.values[measure, cells] - sampled.values[measure, reference]
    error = (noise[:, cells] - noise[:, [reference]]).std(axis=0, ddof=1)
    parts = _parts(sampled, measure, cells, reference)
    paired = sampled.with_items[measure, cells] & sampled.with_items[measure, reference]
    return _estimates(value, error, parts, same, paired)


def identical(one: Cell, other: Cell) -> bool:
    """Whether two cells have the same seeds and, seed by seed, the same results."""
    if one.seeds != other.seeds:
        return False
    for mine, yours in zip(one.results, other.results, strict=True):
        if set(mine) != set(yours):
            return False
        for name, result in mine.items():
            theirs = yours[name]
            if result.score.score != theirs.score.score or result.score.n != theirs.score.n:
                return False
            if (result.items is None) != (theirs.items is None):
                return False
            if result.items is not None and theirs.items is not None:
                if result.items.items.digest != theirs.items.items.digest:
                    return False
                if not np.array_equal(result.items.values, theirs.items.values):
                    return False
    return True


def holm(p: np.ndarray) -> np.ndarray:
    """Holm's corrected p-values, any shape; NaN stays NaN and counts for nothing."""
    flat = np.asarray(p, dtype=float).ravel()
    result = np.full(flat.shape, np.nan)
    known = np.flatnonzero(~np.isnan(flat))
    order = known[np.argsort(flat[known], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    result[order] = np.minimum(1.0, np.maximum.accumulate(flat[order] * factors))
    return result.reshape(np.shape(p))


def _parts(
    sampled: Sampled, measure: int, cells: np.ndarray, reference: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Variances [parts, cells], and each one's square over its degrees of freedom."""
    strata = len(sampled.influence)
    chosen = range(strata) if measure == strata else [measure]
    weight = 1 / len(chosen) ** 2 if chosen else 1.0
    variances, squares = [], []
    for at in chosen:
        influence = sampled.influence[at][cells]
        if reference is not None:
            influence = influence - sampled.influence[at][reference]
        size = influence.shape[1]
        if size > 1:
            variances.append(weight * (influence**2).sum(axis=1) * size / (size - 1))
            squares.append(variances[-1] ** 2 / (size - 1))
        for side in [cells] if reference is None else [cells, np.full(len(cells), reference)]:
            variances.append(weight * sampled.errors[at, side] ** 2)
            squares.append(variances[-1] ** 2 / np.maximum(sampled.counts[at, side] - 1, 1))
    for side in [cells] if reference is None else [cells, np.full(len(cells), reference)]:
        variances.append(sampled.seeds[measure, side])
        # A difference of two variances is as uncertain as the larger of them.
        freedom = np.maximum(sampled.seed_counts[side] - 1, 1)
        squares.append(sampled.between[measure, side] ** 2 / freedom)
    return np.array(variances), np.array(squares)


def _estimates(
    value: np.ndarray,
    error: np.ndarray,
    parts: tuple[np.ndarray, np.ndarray],
    same: np.ndarray,
    paired: np.ndarray,
) -> Estimates:
    """No variance at all says nothing, but for runs whose items all agree: they differ by 0."""
    from scipy.special import stdtr, stdtrit

    variances, squares = parts
    total = variances.sum(axis=0)
    value = np.where(same, 0.0, value)
    known = ~np.isnan(value) & ((total > 0) | same | (paired & (value == 0)))
    error = np.where(same | (total == 0), 0.0, error)
    with np.errstate(divide="ignore", invalid="ignore"):
        freedom = total**2 / squares.sum(axis=0)
        freedom = np.where(np.isfinite(freedom), np.maximum(freedom, 1.0), 1.0)
        reach = stdtrit(freedom, (1 + LEVEL) / 2)
        p = np.where(error > 0, 2 * stdtr(freedom, -np.abs(value / error)), 1.0)
    detectable = (reach + stdtrit(freedom, POWER)) * error
    unknown = ~known
    columns = [value, error, value - reach * error, value + reach * error, p, detectable, freedom]
    for column in columns[1:]:
        column[unknown] = np.nan
    return Estimates(*columns)
