"""A run as a row of the board's tables: which columns there are, and what stands in them."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from harness.record import SELECTION_STAGES as SELECTION
from harness.record import Record, Score, Stage

BENCHMARKS = ("mmlu", "gsm8k", "bbh", "tydiqa", "codex", "squad", "alpaca_eval")
STAGES: tuple[Stage, ...] = (*SELECTION, "train", "evaluate")

# A cell, and within it the part that says which rows of the leaderboard compete with each other.
CELL = (
    "method", "pool", "pool_size", "budget", "target", "model",
    "selector_model", "recipe", "suite", "judge", "scored",
)  # fmt: skip

COSTS = ("flops_select", "flops_train", "flops_total", "flops_paper", "tokens_train", "seconds",
          "peak_memory_mb")  # fmt: skip
FURTHER_COSTS = ("flops_paper_select",)  # came later: they stand behind the columns that were there
FIRST = ("run_id", "status", "method", "pool", "pool_size", "budget", "target", "model",
          "selector_model", "recipe", "seed", *BENCHMARKS, "mean", *COSTS, "error")  # fmt: skip
LAST = (
    "mean_stderr", "n_benchmarks", "floor", "suite", "judge", "scored",
    "seconds_select", "seconds_train", "seconds_evaluate", "flops_evaluate", "flops_spent",
    "rows_trained", "rows_without_labels", "rows_truncated", "git_commit", *FURTHER_COSTS,
)  # fmt: skip

REFERENCE_METHOD = "random"  # what the others are held against where nobody asks for another


def column(name: str) -> str:
    """A benchmark's column: its name, unless that would hide another column."""
    return f"{name}_score" if name in {*FIRST, *LAST} - set(BENCHMARKS) else name


def run_row(record: Record, benchmarks: Sequence[str]) -> dict[str, Any]:
    """One run as a row of ``runs``; ``results`` is no column: by benchmark, score and run id."""
    row = {name: getattr(record, name) for name in (*CELL[:-1], "run_id", "status")}
    row |= {"seed": record.seed, "floor": record.floor, "error": one_line(record.error)}
    row["scored"] = scored_on(record)
    row |= score_columns(record.scores, benchmarks, mean=row["scored"] == "suite")
    row["results"] = {name: (score, record.run_id) for name, score in record.scores.items()}
    row |= {name: getattr(record, name) for name in ("flops_select", "flops_train", "flops_total")}
    row |= {
        "flops_paper": record.flops_paper,
        "flops_paper_select": record.cost(*SELECTION, column="flops_paper"),
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


def score_columns(
    scores: Mapping[str, Score], benchmarks: Sequence[str], *, mean: bool
) -> dict[str, Any]:
    """Each benchmark's score and standard error and, if asked for, their mean."""
    row: dict[str, Any] = {}
    for name in benchmarks:
        score = scores.get(name)
        row[column(name)] = finite(score.score if score else None)
        row[f"{column(name)}_stderr"] = finite(score.stderr if score else None)
    row["n_benchmarks"] = len(scores)
    if scores and mean:
        row["mean"] = finite(statistics.fmean(score.score for score in scores.values()))
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


def asked_report(record: Record) -> dict[str, Any]:
    """What the record's configuration asks of reports; earlier records have ``compare`` alone."""
    asked = record.config.get("report")
    return asked if isinstance(asked, dict) else {"compare": record.config.get("compare")}


def asked_reference(records: Iterable[Record]) -> str:
    """The method that most records want the others held against; the first by name of several."""
    asked = Counter(
        str(name) for record in records if (name := asked_report(record).get("reference"))
    )
    return min(asked, key=lambda name: (-asked[name], name), default=REFERENCE_METHOD)


def present(rows: Iterable[dict[str, Any]], name: str) -> list[float]:
    """The values of a column that are there."""
    return [row[name] for row in rows if row.get(name) is not None]


def finite(value: float | None) -> float | None:
    """The value; None if it is no finite number."""
    return value if value is not None and math.isfinite(value) else None


def one_line(text: str) -> str:
    """The text without line ends."""
    return " ".join(text.split())
