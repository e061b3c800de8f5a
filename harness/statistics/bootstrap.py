"""The hierarchical bootstrap: seeds, then clusters of items, drawn for all cells together.

A replicate of a cell's score is its score, plus what the cell's seeds give when drawn anew, plus
what the clusters of items give when drawn anew. Clusters are drawn once for all cells, so
differences are paired on the items; seeds are drawn for every cell by itself, since trainings that
share a seed's number share no randomness that matters. n - 1 of n are drawn: such replicates have
the variance s²/n without the factor (n-1)/n, which with three seeds would lose a third of it.

Seeds are shaken by item noise too, which the clusters' part holds already. The seeds' part is
therefore shrunk by the share of their variance that item noise explains; without this a pair of
trainings would be charged for it twice.

Intervals are estimate ± t × bootstrap error, with Satterthwaite's degrees of freedom over the
seeds' and the clusters' parts: percentiles of three seeds would never reach far enough.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.seeds import generator
from harness.statistics.design import Cell, Design, Stratum

REPLICATES = 2000
LEVEL = 0.95
MEAN = "mean"


@dataclass
class Sampled:
    """Scores of cells with their replicates. Measures are the benchmarks and their mean.

    Attributes:
        cells: the cells.
        measures: names; the mean last.
        values: [measures, cells] in percent; NaN where a cell lacks the benchmark. The mean is of
            the cells that have all benchmarks that any has.
        noise: [measures, replicates, cells] fp32: replicates less the value.
        seeds: [measures, cells] variance that comes from seeds; 0 with one seed.
        between: [measures, cells] the same before item noise was taken out: it decides how well
            ``seeds`` is known.
        seed_counts: [cells].
        with_items: [measures, cells]: item noise is known from shared items.
        with_errors: [measures, cells]: item noise is known from the recorded standard error alone.
    """

    cells: list[Cell]
    measures: list[str]
    values: np.ndarray
    noise: np.ndarray
    seeds: np.ndarray
    between: np.ndarray
    seed_counts: np.ndarray
    with_items: np.ndarray
    with_errors: np.ndarray
    influence: list[np.ndarray]  # a stratum: [cells, clusters], zero where there are no items
    errors: np.ndarray  # [strata, cells] recorded standard errors where items are missing, else 0
    counts: np.ndarray  # [strata, cells] items behind them


def sample(design: Design, replicates: int = REPLICATES) -> Sampled:
    """Draw the replicates; the same for the same cells and items, whatever else is there."""
    cells, strata = list(design.cells), design.strata
    shape = (len(strata) + 1, len(cells))
    sampled = Sampled(
        cells, [*(stratum.name for stratum in strata), MEAN],
        np.full(shape, np.nan), np.zeros((shape[0], replicates, shape[1]), dtype=np.float32),
        np.zeros(shape), np.zeros(shape), np.array([len(cell.seeds) for cell in cells]),
        np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool), [],
        np.zeros((len(strata), len(cells))), np.zeros((len(strata), len(cells))),
    )  # fmt: skip
    overlap = np.zeros(shape)  # the part of the variance between seeds that is item noise
    for at, stratum in enumerate(strata):
        _items(sampled, at, stratum, overlap)
    if strata:
        sampled.values[-1] = sampled.values[:-1].mean(axis=0)  # NaN where one is missing
        sampled.noise[-1] = sampled.noise[:-1].mean(axis=0)
        overlap[-1] = overlap[:-1].sum(axis=0) / len(strata) ** 2
        sampled.with_items[-1] = sampled.with_items[:-1].all(axis=0)
        known = sampled.with_items[:-1] | sampled.with_errors[:-1]
        sampled.with_errors[-1] = known.all(axis=0) & ~sampled.with_items[-1]
        for number in np.flatnonzero(sampled.seed_counts > 1):
            _seeds(sampled, int(number), strata, overlap)
    return sampled


def _items(sampled: Sampled, at: int, stratum: Stratum, overlap: np.ndarray) -> None:
    """The clusters' part of one benchmark."""
    cells = range(len(sampled.cells))
    size = len(stratum.sizes)
    influence = np.zeros((len(sampled.cells), size))
    total = stratum.sizes.sum()
    averages = np.zeros((len(sampled.cells), size))
    for number in cells:
        sums, scores = stratum.sums[number], stratum.scores[number]
        if sums is not None and size > 1:
            rows = sums.sum(axis=1) / total
            every = (sums - rows[:, None] * stratum.sizes) / total
            influence[number] = every.mean(axis=0)
            averages[number] = sums.mean(axis=0)
            sampled.values[at, number] = rows.mean()
            sampled.with_items[at, number] = True
            if len(rows) > 1:
                rest = every - influence[number]
                overlap[at, number] = (rest**2).sum() / (len(rows) - 1) * size / (size - 1)
        elif scores is not None:
            sampled.values[at, number] = scores.mean()
            if np.isfinite(stratum.errors[number]):
                sampled.errors[at, number] = stratum.errors[number]
                sampled.counts[at, number] = stratum.counts[number]
                sampled.with_errors[at, number] = True
    sampled.influence.append(influence)
    replicates = sampled.noise.shape[1]
    own = sampled.with_items[at]
    if own.any():
        draws = _draws(replicates, size, f"clusters:{stratum.name}:{stratum.digest}")
        weights = draws @ stratum.sizes.astype(np.float32)
        centred = (averages - np.outer(sampled.values[at], stratum.sizes))[own]
        sampled.noise[at][:, own] = (draws @ centred.T.astype(np.float32)) / weights[:, None]
    for number in map(int, np.flatnonzero(sampled.with_errors[at])):
        random = generator(0, f"errors:{stratum.name}:{sampled.cells[number].name}")
        sampled.noise[at][:, number] = random.normal(0, sampled.errors[at, number], size=replicates)


def _draws(replicates: int, size: int, purpose: str) -> np.ndarray:
    """fp32 [replicates, size]: how often each of ``size`` is among ``size - 1`` drawn."""
    random = generator(0, purpose)
    drawn = np.empty((replicates, size), dtype=np.float32)
    step = max(1, 4_000_000 // size)
    for start in range(0, replicates, step):
        count = min(step, replicates - start)
        chosen = random.integers(0, size, size=(count, size - 1), dtype=np.int32)
        chosen += np.arange(count, dtype=np.int32)[:, None] * size
        drawn[start : start + count] = np.bincount(chosen.ravel(), minlength=count * size).reshape(
            count, size
        )
    return drawn


def _seeds(sampled: Sampled, number: int, strata: list[Stratum], overlap: np.ndarray) -> None:
    """The seeds' part of one cell, all benchmarks together: a seed is one model."""
    count = int(sampled.seed_counts[number])
    table = np.full((count, len(strata) + 1), np.nan)
    for at, stratum in enumerate(strata):
        sums, scores = stratum.sums[number], stratum.scores[number]
        if sums is not None:
            table[:, at] = sums.sum(axis=1) / stratum.sizes.sum()
        elif scores is not None:
            table[:, at] = scores
    table[:, -1] = table[:, :-1].mean(axis=1)
    deviations = np.nan_to_num(table - table.mean(axis=0))
    deviations[np.abs(deviations) < 1e-9] = 0.0  # sums of equal numbers differ in the last bit
    between = deviations.var(axis=0, ddof=1)
    share = np.divide(overlap[:, number], between, out=np.ones_like(between), where=between > 0)
    kept = np.sqrt(np.clip(1 - share, 0, 1))
    sampled.between[:, number] = between / count
    sampled.seeds[:, number] = kept**2 * between / count
    draws = _draws(sampled.noise.shape[1], count, f"seeds:{sampled.cells[number].name}")
    part = (draws @ (deviations * kept).astype(np.float32)) / (count - 1)
    sampled.noise[:, :, number] += part.T
