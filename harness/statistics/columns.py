"""What statistics adds to the leaderboard: columns of its cells, decisions, and notes.

Cells that one suite, judge and model scored on the same benchmarks are drawn together. Within a
contest each is held against the reference method's cell; the frontier is that of a recipe, over all
pools, pool sizes and budgets.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from harness.statistics import compare, ranks
from harness.statistics.bootstrap import Sampled, sample
from harness.statistics.contest import CONTEST, absent, nearest
from harness.statistics.design import Cell, Result, design
from harness.statistics.frontier import FRONTIERS, add_frontiers
from harness.statistics.items import ItemScores

ALPHA = 0.05
MEAN_COLUMNS = (
    "reference", "difference", "difference_low", "difference_high", "p", "p_holm", "tie",
    "tied_with_best", "minimum_detectable", "noise", "mean_low", "mean_high", "mean_rank",
    "rank_low", "rank_high", *FRONTIERS,
)  # fmt: skip
BENCHMARK_COLUMNS = (
    "low", "high", "difference", "difference_low", "difference_high", "p_holm", "tie",
)  # fmt: skip
_SAME = ("method", "target", "selector_model")  # what makes a method the same in two settings

Items = Callable[[str, str], ItemScores | None]


@dataclass
class Statistics:
    """What does not fit into a cell's row.

    Attributes:
        reference: the method that the others are held against.
        decisions: a row for each small setting that is held against a larger one.
        notes: what a reader of the numbers should know.
    """

    reference: str
    decisions: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass
class Entry:
    """A cell of the leaderboard on its way to statistics.

    Attributes:
        row: the leaderboard's row, to which columns are added.
        runs: rows of its finished runs; each has ``seed, run_id`` and ``results``, the record's
            score by benchmark with the run that it is of.
    """

    row: dict[str, Any]
    runs: Sequence[Mapping[str, Any]]


def add_columns(
    entries: Sequence[Entry], columns: Mapping[str, str], items: Items, reference: str
) -> Statistics:
    """Fill in MEAN_COLUMNS, and BENCHMARK_COLUMNS behind each benchmark's column name.

    Args:
        entries: cells of the leaderboard; those without a mean, and parts of others, are let be.
        columns: by benchmark, its column.
        items: gives the item scores of a run (by its id) on a benchmark, or None.
        reference: a method's name.
    """
    statistics = Statistics(reference)
    groups: dict[tuple[Any, ...], list[Entry]] = defaultdict(list)
    for entry in entries:
        row = entry.row
        if row["mean"] is not None and not row["part_of"] and entry.runs:
            asked = tuple(name for name in columns if name in entry.runs[0]["results"])
            groups[(row["suite"], row["judge"], row["model"], asked)].append(entry)
    for (*_, asked), members in sorted(groups.items(), key=lambda item: str(item[0])):
        _group(members, asked, columns, items, statistics)
    missing = absent([entry.row for entry in entries], reference)
    statistics.notes = list(dict.fromkeys([missing] * bool(missing) + statistics.notes))
    return statistics


def _group(
    members: Sequence[Entry],
    asked: Sequence[str],
    columns: Mapping[str, str],
    items: Items,
    statistics: Statistics,
) -> None:
    cells = [_cell(entry, items) for entry in members]
    made = design(cells, asked)
    statistics.notes += made.notes
    sampled = sample(made)
    for measure, name in enumerate([*(columns[name] for name in asked), "mean"]):
        own = compare.scores(sampled, measure)
        for at, entry in enumerate(members):
            entry.row |= {
                f"{name}_low": _number(own.low[at]), f"{name}_high": _number(own.high[at]),
            }  # fmt: skip
    without = int((~sampled.with_items[-1]).sum())
    if without:
        statistics.notes.append(
            f"{without} of {len(cells)} cells have no usable per-item results for some benchmark: "
            "they are compared by recorded standard errors, unpaired, which sees less."
        )
    contests: dict[tuple[Any, ...], list[int]] = defaultdict(list)
    recipes: dict[str, list[int]] = defaultdict(list)
    for at, entry in enumerate(members):
        contests[tuple(entry.row[name] for name in CONTEST)].append(at)
        if not entry.row["floor"]:
            recipes[entry.row["recipe"]].append(at)
    for inside in contests.values():
        _contest(members, np.array(inside), sampled, columns, statistics)
    for inside in recipes.values():
        draws = _draws(sampled, -1, np.array(inside))
        add_frontiers([members[at].row for at in inside], draws)
    _decisions(members, sampled, statistics)


def _cell(entry: Entry, items: Items) -> Cell:
    runs = sorted(entry.runs, key=lambda run: (run["seed"], run.get("run_id", "")))
    name = "\n".join(str(entry.row[key]) for key in (*_SAME, *CONTEST))
    results = tuple(
        {
            benchmark: Result(score, items(run_id, benchmark))
            for benchmark, (score, run_id) in run["results"].items()
        }
        for run in runs
    )
    return Cell(name, tuple(run["seed"] for run in runs), results)


def _contest(
    members: Sequence[Entry],
    places: np.ndarray,
    sampled: Sampled,
    columns: Mapping[str, str],
    statistics: Statistics,
) -> None:
    """Differences to the reference, ties and ranks of one contest."""
    rivals = np.array([at for at in places if not members[at].row["floor"]], dtype=int)
    if len(rivals):
        _ranks(members, rivals, sampled)
        best = rivals[int(np.argmax(sampled.values[-1, rivals]))]
        others = rivals[rivals != best]
        found = compare.differences(sampled, len(sampled.measures) - 1, others, int(best))
        corrected = compare.holm(found.p)
        members[best].row["tied_with_best"] = True
        for at, p in zip(others, corrected, strict=True):
            members[at].row["tied_with_best"] = _flag(p)
    rows = {int(at): members[at].row for at in rivals}
    held: dict[int, list[int]] = defaultdict(list)
    for at in places:
        against = nearest(rows, members[at].row, statistics.reference)
        if against is not None and against != at:
            held[against].append(int(at))
    pairs = [(against, np.array(cells)) for against, cells in held.items()]
    if not pairs:
        return
    order = np.concatenate([cells for _, cells in pairs])
    tables = []
    for measure in range(len(sampled.measures)):
        found_parts = [compare.differences(sampled, measure, c, a) for a, c in pairs]
        tables.append(
            {
                name: np.concatenate([getattr(part, name) for part in found_parts])
                for name in ("value", "low", "high", "p", "detectable")
            }
        )
    corrected = compare.holm(tables[-1]["p"])
    each = [compare.holm(table["p"]) for table in tables[:-1]]
    sides = np.concatenate([np.full(len(cells), against) for against, cells in pairs])
    for number, (at, against) in enumerate(zip(order, sides, strict=True)):
        row, table = members[at].row, tables[-1]
        row |= {
            "reference": _label(members[against].row),
            "difference": _number(table["value"][number]),
            "difference_low": _number(table["low"][number]),
            "difference_high": _number(table["high"][number]),
            "p": _number(table["p"][number]),
            "p_holm": _number(corrected[number]),
            "tie": _flag(corrected[number]),
            "minimum_detectable": _number(table["detectable"][number]),
            "noise": _noise(sampled, int(at), int(against)),
        }
        for measure, name in enumerate(sampled.measures[:-1]):
            table, prefix = tables[measure], columns[name]
            row |= {
                f"{prefix}_difference": _number(table["value"][number]),
                f"{prefix}_difference_low": _number(table["low"][number]),
                f"{prefix}_difference_high": _number(table["high"][number]),
                f"{prefix}_p_holm": _number(each[measure][number]),
                f"{prefix}_tie": _flag(each[measure][number]),
            }


def _ranks(members: Sequence[Entry], rivals: np.ndarray, sampled: Sampled) -> None:
    average = ranks.mean_rank(sampled.values[:-1, rivals])
    low, high = ranks.rank_range(_draws(sampled, -1, rivals))
    for number, at in enumerate(rivals):
        members[at].row |= {
            "mean_rank": float(average[number]),
            "rank_low": float(low[number]),
            "rank_high": float(high[number]),
        }


def _decisions(members: Sequence[Entry], sampled: Sampled, statistics: Statistics) -> None:
    """Each pool size against the largest at the same budget, and each budget likewise."""
    for axis, other in (("pool_size", "budget"), ("budget", "pool_size")):
        settings: dict[tuple[Any, ...], dict[int, dict[tuple[Any, ...], int]]] = {}
        for at, entry in enumerate(members):
            row = entry.row
            if row["floor"]:
                continue
            fixed = tuple(row[name] for name in CONTEST if name != axis)
            methods = settings.setdefault(fixed, {}).setdefault(row[axis], {})
            methods[tuple(row[name] for name in _SAME)] = at
        for fixed, sizes in sorted(settings.items(), key=lambda item: str(item[0])):
            large = max(sizes)
            for small in sorted(set(sizes) - {large}):
                common = sorted(set(sizes[small]) & set(sizes[large]))
                if len(common) < 2:
                    continue
                ours = np.array([sizes[small][name] for name in common])
                theirs = np.array([sizes[large][name] for name in common])
                found = ranks.decision(
                    sampled.values[-1, ours], _draws(sampled, -1, ours),
                    sampled.values[-1, theirs], _draws(sampled, -1, theirs),
                )  # fmt: skip
                context = dict(zip((n for n in CONTEST if n != axis), fixed, strict=True))
                held = context.pop(other)
                statistics.decisions.append(
                    {**context, "by": axis, "small": small, "large": large, f"at_{other}": held,
                     **vars(found)}
                )  # fmt: skip


def _draws(sampled: Sampled, measure: int, places: np.ndarray) -> np.ndarray:
    return sampled.values[measure, places] + sampled.noise[measure][:, places].astype(float)


def _noise(sampled: Sampled, one: int, other: int) -> str:
    """Which noise an interval knows of."""
    sides = [one, other]
    if sampled.with_items[-1, sides].all():
        items = "items"
    else:
        known = sampled.with_items[-1, sides] | sampled.with_errors[-1, sides]
        items = "standard errors" if known.all() else ""
    several = int((sampled.seed_counts[sides] > 1).sum())
    seeds = ("", "seeds of one", "seeds")[several]
    return " + ".join(words for words in (items, seeds) if words)


def _label(row: Mapping[str, Any]) -> str:
    target = "" if row["target"] in ("any", "none") else f" > {row['target']}"
    return f"{row['method']}{target}"


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _flag(p: float) -> bool | None:
    return None if np.isnan(p) else bool(p >= ALPHA)
