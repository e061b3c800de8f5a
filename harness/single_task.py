"""The board's ``single_task`` rows: each benchmark's score from the run made for it (Table 1)."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from harness.board_rows import (
    BENCHMARKS,
    CELL,
    COSTS,
    FURTHER_COSTS,
    present,
    score_columns,
    suite_of,
    task_of,
)
from harness.record import Record

SINGLE_TASK = "single_task"
# What the runs behind one single_task cell have in common.
_SINGLE = tuple(name for name in CELL if name not in ("target", "scored"))


def single_task_rows(
    records: Sequence[Record], rows: Sequence[dict[str, Any]]
) -> tuple[list[dict[str, Any]], set[tuple[Any, ...]], list[str]]:
    """A row like those of ``runs`` for each seed whose runs cover the suite.

    Returns:
        these rows, the cells (as CELL) that they are made of, and warnings on incomplete sets.
    """
    groups: dict[tuple[Any, ...], dict[int, dict[str, tuple[Record, dict[str, Any]]]]] = {}
    suites: dict[str, set[str]] = defaultdict(set)
    for record in records:
        suites[record.suite] |= set(suite_of(record)) or set(record.scores)
    # Of two runs for one benchmark, the one scored on the whole suite, then the first by name.
    order = sorted(
        zip(records, rows, strict=True),
        key=lambda pair: (pair[1]["scored"] != "suite", pair[0].target, pair[0].run_id),
    )
    wanted: dict[tuple[Any, ...], set[str]] = {}
    tried: Counter[tuple[Any, ...]] = Counter()
    for record, row in order:
        task = task_of(record)
        if task is None or record.floor:
            continue
        key = tuple(row[name] for name in _SINGLE)
        wanted.setdefault(key, set()).update(suite_of(record) or suites[record.suite])
        tried[(*key, record.seed)] += 1
        members = groups.setdefault(key, {}).setdefault(record.seed, {})
        if record.status == "done" and task in record.scores:
            members.setdefault(task, (record, row))
    composed: list[dict[str, Any]] = []
    parts: set[tuple[Any, ...]] = set()
    warnings: list[str] = []
    for key in sorted(groups, key=str):
        names = [name for name in (*BENCHMARKS, *sorted(wanted[key])) if name in wanted[key]]
        names = list(dict.fromkeys(names))
        if len(names) < 2:
            continue
        for seed, members in sorted(groups[key].items()):
            missing = [name for name in names if name not in members]
            if missing:
                if tried[(*key, seed)] > 1:  # one run for one benchmark is no attempt
                    warnings.append(_incomplete(key, seed, missing))
                continue
            composed.append(_composed(key, seed, [members[name] for name in names], names))
            parts |= {tuple(row[name] for name in CELL) for _, row in members.values()}
    return composed, parts, warnings


def _incomplete(key: tuple[Any, ...], seed: int, missing: Sequence[str]) -> str:
    cell = dict(zip(_SINGLE, key, strict=True))
    return (
        f"{cell['method']} (pool {cell['pool']}, {cell['pool_size']} rows, budget "
        f"{cell['budget']}, model {cell['model']}) has no single_task row for seed {seed}: no "
        f"finished run for {', '.join(missing)}."
    )


def _composed(
    key: tuple[Any, ...],
    seed: int,
    members: Sequence[tuple[Record, dict[str, Any]]],
    names: Sequence[str],
) -> dict[str, Any]:
    """One seed's single-task result: scores by benchmark, costs as means over the runs."""
    row = dict(zip(_SINGLE, key, strict=True))
    row |= {"target": SINGLE_TASK, "scored": "suite", "seed": seed, "status": "done"}
    row["floor"] = False
    scores = {name: record.scores[name] for name, (record, _) in zip(names, members, strict=True)}
    row |= score_columns(scores, names, mean=True)
    row["results"] = {
        name: (scores[name], record.run_id)
        for name, (record, _) in zip(names, members, strict=True)
    }
    for name in (*COSTS, *FURTHER_COSTS):
        values = present([one for _, one in members], name)
        row[name] = statistics.fmean(values) if values else None
    return row
