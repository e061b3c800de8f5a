"""From runs to arrays: cells × seeds × clusters of the items that they share.

Everything that is compared is asked the same items, so the arrays of a group of cells (one suite,
judge and model) are made together: per benchmark a matrix of cluster sums of every run, and the
clusters' sizes. A cluster is a subject, subtask, language or article. Fewer than MIN_GROUPS say too
little of their own spread: they count as given, and every item is its own cluster (at full size
MMLU, BBH and TyDi QA go by groups, SQuAD by its 48 articles, the others by items: Codex's are
problems, whatever number of samples each has). Benchmarks are fixed strata: their mean is
the mean over these seven, not over benchmarks at large.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from harness.record import Score
from harness.statistics.items import MIN_GROUPS, ItemScores, ItemSet

CLOSE = 2e-3  # percent: what is kept in fp32 against a record's score


@dataclass(frozen=True)
class Result:
    """One run's result on one benchmark; ``items`` is None where there is no usable file."""

    score: Score
    items: ItemScores | None


@dataclass(frozen=True)
class Cell:
    """Runs that differ in their seed alone.

    Attributes:
        name: names the cell among all others; what is random of it depends on this and the data.
        seeds: of the finished runs, sorted.
        results: by benchmark, one mapping a seed.
    """

    name: str
    seeds: tuple[int, ...]
    results: tuple[Mapping[str, Result], ...]


@dataclass
class Stratum:
    """One benchmark of a group of cells. Scores in percent.

    Attributes:
        name: the benchmark.
        digest: of the shared items; "" if no run has items.
        sizes: [clusters] weight of each cluster in the mean: its items, or 1 in a mean over groups.
        sums: by cell, [seeds, clusters] sums whose total over ``sizes``' total is the score; None
            where the cell's items are not usable.
        scores: by cell, [seeds] as recorded; None where a seed of the cell lacks the benchmark.
        errors: by cell, the standard error of the recorded scores; NaN where unknown.
        counts: by cell, the number of items as recorded.
    """

    name: str
    digest: str
    sizes: np.ndarray
    sums: list[np.ndarray | None]
    scores: list[np.ndarray | None]
    errors: np.ndarray
    counts: np.ndarray


@dataclass
class Design:
    """A group of cells with its strata and what a reader should know of how they were paired."""

    cells: Sequence[Cell]
    strata: list[Stratum]
    notes: list[str] = field(default_factory=list)


def design(cells: Sequence[Cell], benchmarks: Sequence[str]) -> Design:
    """Arrays of the cells that ran the benchmarks."""
    made = Design(cells, [])
    for name in benchmarks:
        stratum = _stratum(name, cells, made.notes)
        if any(scores is not None for scores in stratum.scores):
            made.strata.append(stratum)
    return made


def _stratum(name: str, cells: Sequence[Cell], notes: list[str]) -> Stratum:
    found = [[result.get(name) for result in cell.results] for cell in cells]
    scores: list[np.ndarray | None] = []
    errors, counts = np.full(len(cells), np.nan), np.zeros(len(cells))
    for at, results in enumerate(found):
        present = [result.score for result in results if result is not None]
        whole = len(present) == len(results) > 0
        scores.append(np.array([score.score for score in present]) if whole else None)
        known = [score.stderr for score in present if score.stderr is not None]
        if whole and len(known) == len(present):
            errors[at] = np.sqrt(np.mean(np.square(known)))
            counts[at] = min(score.n for score in present)
    rule = _rule(name, [r for results in found for r in results if r is not None], notes)
    shared, chosen = _shared(name, found, rule, notes)
    if shared is None:
        return Stratum(name, "", np.ones(0), [None] * len(cells), scores, errors, counts)
    grouped = len(set(shared.cluster_labels.tolist())) >= MIN_GROUPS
    clusters = shared.cluster_labels if grouped else np.arange(len(shared.keys))
    share = 1 / shared.members[shared.labels] if rule == "groups" else np.ones(len(clusters))
    sizes = np.bincount(clusters, weights=share)
    order = {key: at for at, key in enumerate(shared.keys)}
    maps: dict[str, np.ndarray | None] = {}
    sums: list[np.ndarray | None] = []
    for at, results in enumerate(found):
        if not chosen[at] or scores[at] is None:
            sums.append(None)
            continue
        table = np.empty((len(results), len(sizes)))
        for row, result in zip(table, results, strict=True):
            assert result is not None and result.items is not None
            items = result.items.items
            if items.digest not in maps:
                maps[items.digest] = _positions(items, shared, order)
            place = maps[items.digest]
            values = result.items.values if place is None else result.items.values[place]
            row[:] = np.bincount(clusters, weights=share * values)
        sums.append(100 * table)
    return Stratum(name, shared.digest, sizes, sums, scores, errors, counts)


def _rule(name: str, results: Sequence[Result], notes: list[str]) -> str:
    """Whether the recorded scores are means over items or over groups: the one that fits."""
    off = {"items": 0, "groups": 0}
    for result in results:
        if result.items is not None:
            for rule, value in result.items.means.items():
                off[rule] += abs(value - result.score.score) > CLOSE
    rule = min(off, key=lambda one: (off[one], one != "items"))
    if off[rule]:
        notes.append(
            f"{name}: {off[rule]} recorded scores are not the mean of their per-item results; "
            "their items are not used (python -m harness.board verify names them)."
        )
    return rule


def _usable(result: Result | None, rule: str) -> ItemSet | None:
    if result is None or result.items is None:
        return None
    value = result.items.means[rule]
    return result.items.items if abs(value - result.score.score) <= CLOSE else None


def _shared(
    name: str, found: Sequence[Sequence[Result | None]], rule: str, notes: list[str]
) -> tuple[ItemSet | None, list[bool]]:
    """The items that the cells share, and which cells have all of them.

    Where cells were asked different items, they are paired on what all share, if that is at least
    half of what the least of them was asked; otherwise the most frequent set counts, and cells
    with another have no items here.
    """
    sets: list[list[ItemSet]] = []
    for results in found:
        usable = [_usable(result, rule) for result in results]
        sets.append([one for one in usable if one is not None] if all(usable) else [])
    every = {one.digest: one for own in sets for one in own}
    if not every:
        return None, [False] * len(found)
    if len(every) == 1:
        return next(iter(every.values())), [bool(own) for own in sets]
    common = set.intersection(*(set(one.keys) for one in every.values()))
    if 2 * len(common) >= min(len(one.keys) for one in every.values()):
        # Older results do not name clusters; those of the same items that do speak for them.
        largest = max(
            every.values(), key=lambda one: (bool(one.clusters), len(one.keys), one.digest)
        )
        chosen = [at for at, key in enumerate(largest.keys) if key in common]
        keys = tuple(largest.keys[at] for at in chosen)
        groups = tuple(largest.groups[at] for at in chosen)
        clusters = tuple(largest.clusters[at] for at in chosen) if largest.clusters else ()
        if any(len(one.keys) != len(keys) for one in every.values()):
            notes.append(
                f"{name}: runs have scores on different items; paired on {len(keys)} shared ones."
            )
        shared = ItemSet(keys, groups, "+".join(sorted(every)), clusters)
        return shared, [bool(own) for own in sets]
    uses = {d: sum(all(o.digest == d for o in own) for own in sets if own) for d in every}
    best = max(uses, key=lambda d: (uses[d], d))
    fits = [bool(own) and all(one.digest == best for one in own) for own in sets]
    left = sum(bool(own) for own in sets) - sum(fits)
    notes.append(f"{name}: {left} cells were asked other items and are not paired with the rest.")
    return every[best], fits


def _positions(items: ItemSet, shared: ItemSet, order: Mapping[str, int]) -> np.ndarray | None:
    """Where each shared item is among ``items``; None if they are the same in the same order."""
    if items.digest == shared.digest:
        return None
    place = np.empty(len(order), dtype=np.int64)
    for at, key in enumerate(items.keys):
        if key in order:
            place[order[key]] = at
    return place
