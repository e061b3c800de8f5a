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

from harness.files import write_atomic
from harness.record import SELECTION_STAGES as SELECTION
from harness.record import Record, RecordError, Score, Stage, find_records, read_record

BENCHMARKS = ("mmlu", "gsm8k", "bbh", "tydiqa", "codex", "squad", "alpaca_eval")
REFERENCE_METHOD = "random"  # what the others are held against in plots
STAGES: tuple[Stage, ...] = (*SELECTION, "train", "evaluate")

# A cell, and within it the part that says which rows of the leaderboard compete with each other.
CELL = (
    "method", "pool", "pool_size", "budget", "target", "model",
    "selector_model", "recipe", "suite", "judge", "scored",
)  # fmt: skip
SINGLE_TASK = "single_task"
CONTEST = ("suite", "judge", "model", "recipe", "pool", "pool_size", "budget")

_COSTS = ("flops_select", "flops_train", "flops_total", "flops_paper", "tokens_train", "seconds",
          "peak_memory_mb")  # fmt: skip
_FIRST = ("run_id", "status", "method", "pool", "pool_size", "budget", "target", "model",
          "selector_model", "recipe", "seed", *BENCHMARKS, "mean", *_COSTS, "error")  # fmt: skip
_LAST = (
    "mean_stderr", "n_benchmarks", "floor", "suite", "judge", "scored",
    "seconds_select", "seconds_train", "seconds_evaluate", "flops_evaluate", "flops_spent",
    "rows_trained", "rows_without_labels", "rows_truncated", "git_commit",
)  # fmt: skip


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
    """

    records: list[Record]
    runs: pd.DataFrame
    leaderboard: pd.DataFrame
    benchmarks: tuple[str, ...] = BENCHMARKS
    warnings: list[str] = field(default_factory=list)

    @property
    def failures(self) -> pd.DataFrame:
        """The runs that are not done."""
        return self.runs[self.runs["status"] != "done"]

    def write(self, folder: Path) -> dict[str, Path]:
        """Write ``runs.csv`` and ``leaderboard.csv`` and return their paths."""
        paths = {"runs": folder / "runs.csv", "leaderboard": folder / "leaderboard.csv"}
        write_atomic(paths["runs"], csv(self.runs))
        write_atomic(paths["leaderboard"], csv(self.leaderboard))
        return paths


def read_board(folders: Iterable[Path]) -> Board:
    """Read every record below ``folders``.

    A file that is no readable record becomes a row with the status ``unreadable``.

    Raises:
        FileNotFoundError: a folder does not exist.
    """
    runs: dict[str, Record] = {}
    unreadable: list[dict[str, Any]] = []
    repeated = 0
    for path in find_records(*folders):
        try:
            record = read_record(path)
        except (RecordError, OSError) as error:
            unreadable.append(
                {"run_id": path.stem, "status": "unreadable", "error": _one_line(str(error))}
            )
            continue
        former = runs.get(record.run_id)
        repeated += former is not None
        if former is None or (former.status, record.status) == ("failed", "done"):
            runs[record.run_id] = record
    return _board(list(runs.values()), unreadable, repeated)


def _board(records: list[Record], unreadable: list[dict[str, Any]], repeated: int) -> Board:
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
        *_FIRST,
        *(f"{name}_stderr" for name in BENCHMARKS),
        *(column for name in extra for column in (_column(name), f"{_column(name)}_stderr")),
        *_LAST,
    ]
    rows = [_run_row(record, benchmarks) for record in records]
    composed, parts, incomplete = _single_task(records, rows)
    unreadable.sort(key=lambda row: (row["run_id"], row["error"]))
    # Objects, so that whole numbers stay whole beside the empty cells of unreadable records.
    runs = pd.DataFrame([*rows, *unreadable], columns=columns, dtype=object)
    warnings = [*_mixtures(records), *_unlike_suites(records), *incomplete]
    if repeated:
        warnings.append(f"{repeated} records name a run that another record names; taken once.")
    score_columns = tuple(_column(name) for name in benchmarks)
    leaderboard = _leaderboard([*rows, *composed], score_columns, parts)
    return Board(records, runs, leaderboard, score_columns, warnings)


def _column(name: str) -> str:
    """A benchmark's column: its name, unless that would hide another column."""
    return f"{name}_score" if name in {*_FIRST, *_LAST} - set(BENCHMARKS) else name


def _run_row(record: Record, benchmarks: Sequence[str]) -> dict[str, Any]:
    """One run as a row of ``runs``."""
    row = {name: getattr(record, name) for name in (*CELL[:-1], "run_id", "status")}
    row |= {"seed": record.seed, "floor": record.floor, "error": _one_line(record.error)}
    row["scored"] = scored_on(record)
    row |= _score_columns(record.scores, benchmarks, mean=row["scored"] == "suite")
    row |= {name: getattr(record, name) for name in ("flops_select", "flops_train", "flops_total")}
    row |= {
        "flops_paper": record.flops_paper,
        "flops_evaluate": record.cost("evaluate"),
        "flops_spent": sum(entry.flops for entry in record.ledger if not entry.reused),
        "tokens_train": record.cost("train", column="tokens"),
        "seconds": record.seconds,
        "seconds_select": float(record.cost(*SELECTION, column="seconds")),
        "seconds_train": float(record.cost("train", column="seconds")),
        "seconds_evaluate": float(record.cost("evaluate", column="seconds")),
        "peak_memory_mb": record.peak_memory_mb,
        "rows_trained": record.training.rows,
        "rows_without_labels": record.training.rows_without_labels,
        "rows_truncated": record.training.rows_truncated,
        "git_commit": record.git_commit,
    }
    return row


def _score_columns(
    scores: Mapping[str, Score], benchmarks: Sequence[str], *, mean: bool
) -> dict[str, Any]:
    """Each benchmark's score and standard error and, if asked for, their mean."""
    row: dict[str, Any] = {}
    for name in benchmarks:
        score = scores.get(name)
        row[_column(name)] = _finite(score.score if score else None)
        row[f"{_column(name)}_stderr"] = _finite(score.stderr if score else None)
    row["n_benchmarks"] = len(scores)
    if scores and mean:
        row["mean"] = _finite(statistics.fmean(score.score for score in scores.values()))
        errors = [score.stderr for score in scores.values()]
        known = [error for error in errors if error is not None and math.isfinite(error)]
        if len(known) == len(errors):  # independent items: variances add
            row["mean_stderr"] = math.sqrt(sum(error**2 for error in known)) / len(known)
    return row


def suite_of(record: Record) -> tuple[str, ...]:
    """The benchmarks of the record's suite, whether the run was scored on all of them or not."""
    suite = record.config.get("suite")
    benchmarks = suite.get("benchmarks") if isinstance(suite, dict) else None
    return tuple(benchmarks) if isinstance(benchmarks, dict) else ()


def task_of(record: Record) -> str | None:
    """The one benchmark that the selection was made for; None for none or several."""
    if record.target in ("any", "none"):
        return None
    target = record.config.get("target")
    if not isinstance(target, dict):
        return record.target if record.target in {*record.scores, *BENCHMARKS} else None
    tasks = target.get("tasks")
    return tasks[0] if isinstance(tasks, list) and len(tasks) == 1 else None


def scored_on(record: Record) -> str:
    """``suite``, or the names of the benchmarks if the run was scored on a part of it."""
    names = set(record.scores)
    if not names and record.config.get("evaluate") == "target" and (task := task_of(record)):
        names = {task}  # it failed before it had a score
    suite = suite_of(record)
    if not names or not suite or names >= set(suite):
        return "suite"
    return "+".join(name for name in suite if name in names)


# What the runs behind one single_task cell have in common.
_SINGLE = tuple(name for name in CELL if name not in ("target", "scored"))


def _single_task(
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
    row |= _score_columns(scores, names, mean=True)
    for name in _COSTS:
        values = _present([one for _, one in members], name)
        row[name] = statistics.fmean(values) if values else None
    return row


def _leaderboard(
    rows: Sequence[dict[str, Any]],
    score_columns: Sequence[str],
    parts: Collection[tuple[Any, ...]] = (),
) -> pd.DataFrame:
    """Aggregate rows of ``runs`` over seeds, best mean of each contest first, floors last."""
    cells: dict[tuple[Any, ...], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        cells[tuple(row[name] for name in CELL)].append(row)
    scores = ["mean", *score_columns]
    aggregated = []
    for key, members in cells.items():
        done = [row for row in members if row["status"] == "done"]
        cell: dict[str, Any] = dict(zip(CELL, key, strict=True))
        cell["part_of"] = SINGLE_TASK if key in parts else ""
        cell["floor"] = any(row["floor"] for row in members)
        cell["n_seeds"] = len({row["seed"] for row in done})
        cell["n_failed"] = len(members) - len(done)
        for name in scores:
            values = _present(done, name)
            errors = _present(done, f"{name}_stderr")
            cell[name] = statistics.fmean(values) if values else None
            cell[f"{name}_sd"] = statistics.stdev(values) if len(values) > 1 else None
            cell[f"{name}_stderr"] = (
                math.sqrt(statistics.fmean(error**2 for error in errors)) if errors else None
            )
        for name in _COSTS:
            values = _present(done, name)
            cell[name] = statistics.fmean(values) if values else None
        aggregated.append(cell)
    aggregated.sort(
        key=lambda cell: (
            *(cell[name] for name in CONTEST),
            cell["floor"],
            bool(cell["part_of"]),
            math.inf if cell["mean"] is None else -cell["mean"],
            *(cell[name] for name in CELL),
        )
    )
    ranks: Counter[tuple[Any, ...]] = Counter()
    for cell in aggregated:
        contest = tuple(cell[name] for name in CONTEST)
        if not cell["floor"] and not cell["part_of"] and cell["mean"] is not None:
            ranks[contest] += 1
            cell["rank"] = ranks[contest]
    columns = [
        *CELL[:6], "rank", "n_seeds", "n_failed", "mean", "mean_sd", "mean_stderr",
        *score_columns,
        *_COSTS, *CELL[6:], "floor", "part_of",
        *(f"{name}_{kind}" for name in score_columns for kind in ("sd", "stderr")),
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
        if value.is_integer() and (name in _WHOLE or name.startswith("n_")):
            return str(int(value))
        digits = 1 if name == "peak_memory_mb" else 3 if name.startswith("seconds") else 4
        return f"{value:.{digits}f}"
    return str(value)


_WHOLE = ("pool_size", "budget", "seed", "rank", "tokens_train", "rows_trained",
          "rows_without_labels", "rows_truncated")  # fmt: skip


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


def _present(rows: Iterable[dict[str, Any]], name: str) -> list[float]:
    return [row[name] for row in rows if row.get(name) is not None]


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _one_line(text: str) -> str:
    return " ".join(text.split())
