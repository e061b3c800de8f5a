"""What the page's script draws from: the board as columns, small enough for a thousand runs.

Costs are kept by stage in both conventions, so that the page can leave stages out; a
``single_task`` cell has the means of the runs that it is made of, as on the board.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from harness.board import Board
from harness.board_rows import CELL, STAGES, scored_on
from harness.record import Record
from harness.report.selected import Selections, histogram
from harness.report.sources import COLOURS, MOST, OTHER
from harness.report.style import colours
from harness.report.table import contests
from harness.single_task import SINGLE_TASK
from harness.statistics.columns import BENCHMARK_COLUMNS, MEAN_COLUMNS
from harness.statistics.contest import CONTEST

_TEXT = (*(name for name in CELL if name not in ("pool_size", "budget")), "reference", "noise")
_NUMBERS = (
    "pool_size", "budget", "rank", "n_seeds", "n_failed", "mean", "mean_sd", "mean_stderr",
    "seconds", *(name for name in MEAN_COLUMNS if name not in ("reference", "noise")),
)  # fmt: skip
_PANEL = ("suite", "judge", "model", "recipe")


def page_data(board: Board, selections: Selections) -> dict[str, Any]:
    """Everything that the charts and the board's sorting need, as plain JSON values.

    Returns:
        ``cells`` (columns; a cell is known by its place in them), ``groups`` (contests: which
        cells stand together), ``panels``, ``sources``, ``scores`` (histograms), ``runs``,
        ``colours``, ``benchmarks``, ``reference``, ``stages``.
    """
    table = board.leaderboard[board.leaderboard["part_of"] == ""]
    place = {index: at for at, index in enumerate(table.index)}
    members = cell_records(board, table)
    panels, groups = _groups(board, place)
    whole = selections.seeds_read(members)
    return {
        "reference": board.statistics.reference,
        "benchmarks": [name for name in board.benchmarks if table[name].notna().any()],
        "stages": list(STAGES),
        "colours": colours(table.loc[~table["floor"].astype(bool), "method"]),
        "panels": panels,
        "groups": groups,
        "cells": _cells(board, table) | {"costs": [cell_costs(records) for records in members]},
        "sources": _sources(table, members),
        "scores": {
            "files": len(selections),
            "all_seeds": whole,
            "cells": [_scores(selections, records, whole) for records in members],
        },
        "runs": _runs(board, table, members),
    }


def cell_records(board: Board, table: pd.DataFrame) -> list[list[Record]]:
    """The finished runs of each cell of ``table`` (leaderboard rows), by seed.

    Of a ``single_task`` cell, those that it is made of.
    """
    cells: dict[tuple[Any, ...], list[Record]] = defaultdict(list)
    for record in board.records:
        if record.status == "done":
            key = (*(getattr(record, name) for name in CELL[:-1]), scored_on(record))
            cells[key].append(record)
    parts: dict[tuple[Any, ...], list[Record]] = defaultdict(list)
    shared = [name for name in CELL if name not in ("target", "scored")]
    for _, row in board.leaderboard[board.leaderboard["part_of"] == SINGLE_TASK].iterrows():
        parts[tuple(row[name] for name in shared)] += cells[tuple(row[name] for name in CELL)]
    found = []
    for _, row in table.iterrows():
        own = cells.get(tuple(row[name] for name in CELL), [])
        if not own and row["target"] == SINGLE_TASK:
            own = parts.get(tuple(row[name] for name in shared), [])
        found.append(sorted(own, key=lambda record: (record.seed, record.run_id)))
    return found


def _groups(board: Board, place: Mapping[Any, int]) -> tuple[list[str], list[dict[str, Any]]]:
    """Contests with the cells in them; those of a panel may stand on common axes."""
    keys: dict[tuple[Any, ...], int] = {}
    groups = []
    for title, rows in contests(board.leaderboard):
        rivals = rows[~rows["floor"].astype(bool)]
        first = rows.iloc[0]
        key = tuple(first[name] for name in _PANEL)
        groups.append(
            {
                "title": title,
                "panel": keys.setdefault(key, len(keys)),
                **{name: _plain(first[name]) for name in CONTEST if len(rivals)},
                "cells": [place[index] for index in rows.index],
            }
        )
    varying = [at for at in range(len(_PANEL)) if len({key[at] for key in keys}) > 1]
    return [", ".join(f"{_PANEL[at]} {key[at]}" for at in varying) for key in keys], groups


def _cells(board: Board, table: pd.DataFrame) -> dict[str, Any]:
    columns: dict[str, Any] = {name: _words(table[name]) for name in _TEXT}
    columns |= {name: _values(table[name]) for name in _NUMBERS}
    columns["floor"] = [int(bool(value)) for value in table["floor"]]
    kinds = ("sd", "stderr", *BENCHMARK_COLUMNS)
    for name in board.benchmarks:
        if table[name].notna().any():
            columns[f"b:{name}"] = {"score": _values(table[name])} | {
                kind: _values(table[f"{name}_{kind}"]) for kind in kinds
            }
    return columns


def cell_costs(records: Sequence[Record]) -> list[list[float]]:
    """FLOPs as measured, FLOPs by the paper, and seconds, each by stage: means over the runs."""
    rows = []
    for column in ("flops", "flops_paper", "seconds"):
        sums = [sum(record.cost(stage, column=column) for record in records) for stage in STAGES]
        rows.append([_round(value / max(len(records), 1)) or 0.0 for value in sums])
    return rows


def _sources(table: pd.DataFrame, members: Sequence[Sequence[Record]]) -> dict[str, Any]:
    """Rows by source of every cell, and of the pools; the rare sources are one."""
    pools: dict[tuple[str, int], Counter[str]] = {}
    picked: list[Counter[str]] = []
    for records in members:
        counts: Counter[str] = Counter()
        for record in records:
            counts.update(record.selection.sources)
            if record.selection.pool_sources:
                pools[(record.pool, record.pool_size)] = Counter(record.selection.pool_sources)
        picked.append(counts)
    largest: dict[str, float] = {}
    for counts in [*picked, *pools.values()]:
        total = sum(counts.values()) or 1
        for name, count in counts.items():
            largest[name] = max(largest.get(name, 0.0), count / total)
    kept = sorted(sorted(largest, key=lambda name: (-largest[name], name))[:MOST])
    names = kept + [OTHER] * (len(largest) > len(kept))

    def row(counts: Counter[str]) -> list[int]:
        numbers = [counts.get(name, 0) for name in kept]
        rest = [sum(counts.values()) - sum(numbers)] if len(names) > len(kept) else []
        return [*numbers, *rest] if counts else []

    return {
        "names": names,
        "colours": COLOURS,
        "cells": [row(counts) for counts in picked],
        "pools": [
            {"pool": pool, "pool_size": size, "rows": row(counts)}
            for (pool, size), counts in sorted(pools.items())
        ],
    }


def _scores(
    selections: Selections, records: Sequence[Record], all_seeds: bool
) -> list[Any] | str | None:
    """``[low, high, counts]``; ``""`` for a method without scores; None where no file is left."""
    if not records or not len(selections):
        return None
    found = selections.scores(records if all_seeds else records[:1])
    if found is None:
        return None
    if not len(found):
        return ""
    low, high, counts = histogram(found)
    return [_round(low, 6), _round(high, 6), counts]


def _runs(board: Board, table: pd.DataFrame, members: Sequence[Sequence[Record]]) -> dict[str, Any]:
    """Every run with what made it; machines and versions are numbered in ``environments``."""
    cell_of = {record.run_id: at for at, records in enumerate(members) for record in records}
    environments: dict[str, int] = {}
    rows = []
    for record in board.records:
        versions = [f"{name} {value}" for name, value in sorted(record.versions.items())]
        machine = [f"{name} {value}" for name, value in sorted(record.hardware.items())]
        commit = [f"commit {record.git_commit}"] if record.git_commit else []
        words = "; ".join([*commit, *machine, *versions]) or "not recorded"
        rows.append(
            [
                record.run_id,
                cell_of.get(record.run_id, -1),
                record.seed,
                _round(record.mean) if record.mean is not None else None,
                _round(record.seconds),
                _round(record.peak_memory_mb),
                record.selection.ordering or "",
                environments.setdefault(words, len(environments)),
                record.status,
            ]
        )
    return {"environments": list(environments), "rows": rows}


def _words(column: pd.Series) -> dict[str, list[Any]]:
    """Text said once: the different words, and for each cell which one."""
    values = ["" if value is None or pd.isna(value) else str(value) for value in column]
    words = {value: at for at, value in enumerate(dict.fromkeys(values))}
    return {"words": list(words), "at": [words[value] for value in values]}


def _values(column: pd.Series) -> list[float | int | None]:
    return [_plain(value) for value in column]


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return value
    if value is None or pd.isna(value):
        return None
    if isinstance(value, bool):
        return int(value)
    return _round(float(value))


def _round(value: float, digits: int = 5) -> float | int | None:
    """``value`` to a few significant digits; a whole number without a point."""
    if not math.isfinite(value):
        return None
    rounded = float(f"{value:.{digits}g}") if abs(value) < 1e15 or value != int(value) else value
    if float(value).is_integer() and abs(value) < 1e9:
        return int(value)
    return rounded
