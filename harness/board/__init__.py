"""The board: one table of runs and one of cells, made from records alone.

``runs`` has a row a run, failed and unreadable ones included; ``leaderboard`` a row a cell, seeds
aggregated. Both are the same bytes for the same records: nothing is read from the clock, the
machine or the order in which files were found.

Single-task selection as in the paper's Table 1 (a selection and a model for each benchmark) is a
cell with the target ``single_task``, which takes each benchmark's score from the run made for it.
It is there for every seed for which all of the suite's benchmarks have their run; what is missing
is a warning. Its costs are means over these runs: what one benchmark's selection and model cost, as
in the paper's Figure 1; seven models cost seven times as much.

What competes for a rank: all cells of a contest that answer for the whole suite, whatever their
target. A method that looks at no queries (target ``any``) trains one model for all benchmarks, and
so competes with ``single_task`` and with ``multi_task`` alike, as in the paper's Tables 1 and 2.
Runs scored on a part of the suite have no mean and no rank; those that a ``single_task`` cell is
made of have no rank beside it.

Differences, intervals and all else that is said of chance come from the per-item results
(harness/statistics); where a run has none, from its recorded standard errors.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from harness.board_rows import (
    BENCHMARKS,
    CELL,
    COSTS,
    FIRST,
    FURTHER_COSTS,
    LAST,
    REFERENCE_METHOD,
    STAGES,
    asked_reference,
    column,
    one_line,
    present,
    run_row,
    scored_on,
)
from harness.files import write_atomic
from harness.record import Record, RecordError, find_records, read_record
from harness.single_task import SINGLE_TASK, single_task_rows
from harness.statistics.columns import (
    BENCHMARK_COLUMNS,
    MEAN_COLUMNS,
    Entry,
    Items,
    Statistics,
    add_columns,
)
from harness.statistics.contest import CONTEST
from harness.statistics.items import ItemScores, ItemStore


@dataclass
class Board:
    """All that the records of some folders say.

    Attributes:
        records: the readable records, in the order of ``runs``; each run once.
        runs: see the module; scores in percent.
        leaderboard: see the module. ``<name>_sd`` is the sample standard deviation over seeds
            (empty for one seed), ``<name>_stderr`` the standard error that comes from the finite
            number of test items (root mean square over the seeds: they share the items, so it does
            not shrink with more of them). ``rank`` counts rivals of the same contest. ``part_of``
            names the cell that a row is a part of (``single_task``) or is empty.
        benchmarks: columns of the seven, then of others found, by name.
        warnings: what a reader of the numbers should know.
        statistics: the reference method, how far small settings decide as large ones do, and notes
            on how the runs could be compared.
    """

    records: list[Record]
    runs: pd.DataFrame
    leaderboard: pd.DataFrame
    benchmarks: tuple[str, ...] = BENCHMARKS
    warnings: list[str] = field(default_factory=list)
    statistics: Statistics = field(default_factory=lambda: Statistics(REFERENCE_METHOD))

    @property
    def failures(self) -> pd.DataFrame:
        """The runs that are not done."""
        return self.runs[self.runs["status"] != "done"]

    def write(self, folder: Path) -> dict[str, Path]:
        """Write ``runs.csv`` and ``leaderboard.csv``, and return their paths.

        Where settings of several sizes can be held against each other, ``decisions.csv`` too.
        """
        frames = {"runs": self.runs, "leaderboard": self.leaderboard}
        if self.statistics.decisions:
            frames["decisions"] = pd.DataFrame(self.statistics.decisions, dtype=object)
        paths = {name: folder / f"{name}.csv" for name in frames}
        for name, frame in frames.items():
            write_atomic(paths[name], csv(frame))
        return paths


def read_board(folders: Iterable[Path], reference: str | None = None) -> Board:
    """Read every record below ``folders``, and the per-item results that they name.

    A file that is no readable record becomes a row with the status ``unreadable``.

    Args:
        folders: searched for ``records/*.json``, at any depth.
        reference: the method that the others of a contest are held against; None: the one that
            most records name (``report.reference``).

    Raises:
        FileNotFoundError: a folder does not exist.
    """
    runs: dict[str, Record] = {}
    roots: dict[str, Path] = {}
    unreadable: list[dict[str, Any]] = []
    repeated = 0
    for path in find_records(*folders):
        try:
            record = read_record(path)
        except (RecordError, OSError) as error:
            unreadable.append(
                {"run_id": path.stem, "status": "unreadable", "error": one_line(str(error))}
            )
            continue
        former = runs.get(record.run_id)
        repeated += former is not None
        if former is None or (former.status, record.status) == ("failed", "done"):
            runs[record.run_id] = record
            roots[record.run_id] = path.parent.parent
    store = ItemStore()

    def items(run_id: str, benchmark: str) -> ItemScores | None:
        relative = runs[run_id].scores[benchmark].items
        return store.scores(roots[run_id], relative) if relative else None

    reference = reference or asked_reference(runs.values())
    board = _board(list(runs.values()), unreadable, repeated, items, reference)
    store.save()
    if store.problems:
        first, problem = next(iter(store.problems.items()))
        board.statistics.notes.append(
            f"{len(store.problems)} per-item files cannot be used, e.g. {first}: {problem}."
        )
    return board


def _board(
    records: list[Record],
    unreadable: list[dict[str, Any]],
    repeated: int,
    items: Items,
    reference: str,
) -> Board:
    records = sorted(
        records,
        key=lambda record: tuple(
            getattr(record, name) for name in (*CONTEST, "target", "method", "seed", "run_id")
        ),
    )
    found = {name for record in records for name in record.scores}
    extra = tuple(sorted(found - set(BENCHMARKS)))
    benchmarks = BENCHMARKS + extra
    columns = [
        *FIRST,
        *(f"{name}_stderr" for name in BENCHMARKS),
        *(head for name in extra for head in (column(name), f"{column(name)}_stderr")),
        *LAST,
    ]
    rows = [run_row(record, benchmarks) for record in records]
    composed, parts, incomplete = single_task_rows(records, rows)
    unreadable.sort(key=lambda row: (row["run_id"], row["error"]))
    # Objects, so that whole numbers stay whole beside the empty cells of unreadable records.
    runs = pd.DataFrame([*rows, *unreadable], columns=columns, dtype=object)
    warnings = [*_mixtures(records), *_unlike_suites(records), *incomplete]
    if repeated:
        warnings.append(f"{repeated} records name a run that another record names; taken once.")
    wanted_columns = tuple(column(name) for name in benchmarks)
    entries = _aggregate([*rows, *composed], wanted_columns, parts)
    columns_of = dict(zip(benchmarks, wanted_columns, strict=True))
    found_statistics = add_columns(entries, columns_of, items, reference)
    leaderboard = _leaderboard([entry.row for entry in entries], wanted_columns)
    return Board(records, runs, leaderboard, wanted_columns, warnings, found_statistics)


def _aggregate(
    rows: Sequence[dict[str, Any]],
    wanted_columns: Sequence[str],
    parts: Collection[tuple[Any, ...]],
) -> list[Entry]:
    """Aggregate rows of ``runs`` over seeds, best mean of each contest first, floors last."""
    cells: dict[tuple[Any, ...], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        cells[tuple(row[name] for name in CELL)].append(row)
    scores = ["mean", *wanted_columns]
    aggregated = []
    for key, members in cells.items():
        done = [row for row in members if row["status"] == "done"]
        cell: dict[str, Any] = dict(zip(CELL, key, strict=True))
        cell["part_of"] = SINGLE_TASK if key in parts else ""
        cell["floor"] = any(row["floor"] for row in members)
        cell["n_seeds"] = len({row["seed"] for row in done})
        cell["n_failed"] = len(members) - len(done)
        for name in scores:
            values = present(done, name)
            errors = present(done, f"{name}_stderr")
            cell[name] = statistics.fmean(values) if values else None
            cell[f"{name}_sd"] = statistics.stdev(values) if len(values) > 1 else None
            cell[f"{name}_stderr"] = (
                math.sqrt(statistics.fmean(error**2 for error in errors)) if errors else None
            )
        for name in (*COSTS, *FURTHER_COSTS):
            values = present(done, name)
            cell[name] = statistics.fmean(values) if values else None
        aggregated.append(Entry(cell, done))
    aggregated.sort(key=lambda entry: _place(entry.row))
    return aggregated


def _place(cell: Mapping[str, Any]) -> tuple[Any, ...]:
    return (
        *(cell[name] for name in CONTEST),
        cell["floor"],
        bool(cell["part_of"]),
        math.inf if cell["mean"] is None else -cell["mean"],
        *(cell[name] for name in CELL),
    )


def _leaderboard(
    aggregated: Sequence[dict[str, Any]], wanted_columns: Sequence[str]
) -> pd.DataFrame:
    """The cells, in their order, as a table with ranks."""
    ranks: Counter[tuple[Any, ...]] = Counter()
    for cell in aggregated:
        contest = tuple(cell[name] for name in CONTEST)
        if not cell["floor"] and not cell["part_of"] and cell["mean"] is not None:
            ranks[contest] += 1
            cell["rank"] = ranks[contest]
    columns = [
        *CELL[:6], "rank", "n_seeds", "n_failed", "mean", "mean_sd", "mean_stderr",
        *wanted_columns,
        *COSTS, *CELL[6:], "floor", "part_of", *FURTHER_COSTS,
        *(f"{name}_{kind}" for name in wanted_columns for kind in ("sd", "stderr")),
        *MEAN_COLUMNS,
        *(f"{name}_{kind}" for name in wanted_columns for kind in BENCHMARK_COLUMNS),
    ]  # fmt: skip
    return pd.DataFrame(aggregated, columns=columns)


def spending(records: Iterable[Record]) -> pd.DataFrame:
    """What the runs cost by stage, at full price and as really spent.

    The full price counts a stage in every run that needs it. What was really spent leaves out what
    a run found in the store (``reused``), so that a shared pool pass counts once.

    Returns:
        One row a stage and a last row ``total``; columns ``flops, flops_spent, seconds,
        seconds_spent, tokens, tokens_spent``.
    """
    names = ("flops", "seconds", "tokens")
    columns = [column for name in names for column in (name, f"{name}_spent")]
    table: dict[str, dict[str, float]] = {stage: dict.fromkeys(columns, 0.0) for stage in STAGES}
    for record in records:
        for entry in record.ledger:
            for name in names:
                value = getattr(entry, name)
                table[entry.stage][name] += value
                table[entry.stage][f"{name}_spent"] += 0.0 if entry.reused else value
    frame = pd.DataFrame.from_dict(table, orient="index")
    frame.loc["total"] = frame.sum()
    return frame


def csv(frame: pd.DataFrame) -> str:
    """``frame`` as CSV text: every number in one fixed form, missing ones empty."""
    formatted = pd.DataFrame(
        {name: [_cell(name, value) for value in frame[name].tolist()] for name in frame.columns},
        dtype=object,
    )
    return formatted.to_csv(index=False, lineterminator="\n")


def _cell(name: str, value: Any) -> str:
    if value is None or value is pd.NaT or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    if isinstance(value, float):
        if name.startswith("flops"):
            return f"{value:.6g}"
        if name == "p" or name.endswith("p_holm"):
            return f"{value:.4g}"
        if value.is_integer() and (name in _WHOLE or name.startswith("n_")):
            return str(int(value))
        digits = 1 if name == "peak_memory_mb" else 3 if name.startswith("seconds") else 4
        return f"{value:.{digits}f}"
    return str(value)


_WHOLE = ("pool_size", "budget", "seed", "rank", "rank_low", "rank_high", "tokens_train",
          "rows_trained", "rows_without_labels", "rows_truncated")  # fmt: skip


def _mixtures(records: Iterable[Record]) -> list[str]:
    """Cells whose seeds were not run on the same data, weights and template."""
    seen: dict[tuple[Any, ...], dict[str, set[str | None]]] = defaultdict(lambda: defaultdict(set))
    for record in records:
        if record.status != "done":
            continue
        cell = seen[(*(getattr(record, name) for name in CELL[:-1]), scored_on(record))]
        for name, value in {**record.digests, "template": record.chat_template_hash}.items():
            cell[name].add(value)
    return [
        f"{key[0]} (pool {key[1]}, {key[2]} rows, budget {key[3]}) averages runs whose {name} "
        "differs: see the digests in their records."
        for key, digests in seen.items()
        for name, values in digests.items()
        if len(values) > 1
    ]


def _unlike_suites(records: Iterable[Record]) -> list[str]:
    """Contests in which a benchmark was left out of the suite of some runs and not of others."""
    seen: dict[tuple[Any, ...], set[frozenset[str]]] = defaultdict(set)
    for record in records:
        if record.status == "done" and scored_on(record) == "suite":
            seen[tuple(getattr(record, name) for name in CONTEST)].add(frozenset(record.scores))
    return [
        f"Means of unlike benchmarks are ranked together (suite {key[0]}, model {key[2]}, pool "
        f"size {key[5]}, budget {key[6]}): not all runs have "
        f"{', '.join(sorted(frozenset.union(*sets) - frozenset.intersection(*sets)))}."
        for key, sets in sorted(seen.items(), key=lambda item: str(item[0]))
        if len(sets) > 1
    ]
