"""A report for the terminal, and as JSON."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter, defaultdict
from typing import Any, Literal

from evaluation.check.report import Checked, Report

Kind = Literal["errors", "gaps", "remarks"]
_TITLES: dict[Kind, str] = {
    "remarks": "Remarks",
    "gaps": "Missing, and named where it matters (no error; --strict makes it one)",
    "errors": "Errors",
}


def plain(report: Report) -> dict[str, Any]:
    """The report as JSON data; ``ok`` says whether there is no error."""
    return {
        "ok": not report.all("errors"),
        "suite": report.suite,
        "data": report.data,
        "benchmarks": {
            checked.name: {**dataclasses.asdict(checked), "ok": not checked.errors}
            for checked in report.benchmarks
        },
        "leaderboards": [
            {**dataclasses.asdict(row), "published": _number(row.published), "ok": row.ok}
            for row in report.boards
        ],
        "errors": report.all("errors"),
        "gaps": report.all("gaps"),
        "remarks": report.all("remarks"),
    }


def show(report: Report, console: Any) -> None:
    """Print tables, errors and remarks on a ``rich`` console."""
    from rich.table import Table

    console.print(f"suite {report.suite}, data {report.data}", highlight=False)
    table = Table(title="Benchmarks", title_justify="left")
    table.add_column("benchmark", no_wrap=True)
    for name in ("queries", "paper", "items", "paper", "left out", "gold", "wrong", "shared", "s"):
        table.add_column(name, justify="right")
    table.add_column("")
    for checked in report.benchmarks:
        table.add_row(*_row(checked))
    console.print(table)
    for table in _boards(report):
        console.print(table)
    kinds: tuple[Kind, ...] = ("remarks", "gaps", "errors")
    for kind in kinds:
        if texts := report.all(kind):
            console.print(_TITLES[kind], style="bold")
            for text in texts:
                console.print(f"  - {text}", highlight=False, markup=False)
    bad = len(report.all("errors"))
    words = f"{bad} error{'s' * (bad != 1)}" if bad else "all right"
    console.print(f"{words}, {len(report.all('gaps'))} gaps", style="red" if bad else "green")


def _row(checked: Checked) -> list[str]:
    paper = checked.paper
    return [
        checked.name,
        _count(checked.queries),
        _count(paper.queries if paper else None),
        _count(checked.items),
        _count(paper.items if paper else None),
        str(len(checked.left_out)),
        _score(checked.gold),
        _score(checked.wrong),
        str(len(checked.shared)),
        f"{checked.seconds:.0f}",
        "off" if checked.errors else "ok",
    ]


def _boards(report: Report) -> list[Any]:
    """A table a board: by model the win rate here and as published, and how many figures agree."""
    from rich.table import Table

    boards: dict[str, dict[str, list[Any]]] = defaultdict(lambda: defaultdict(list))
    for row in report.boards:
        boards[row.board][row.model].append(row)
    tables = []
    for board, models in boards.items():
        title = f"Recorded verdicts replayed: {board} (win rate, then all figures)"
        table = Table(title=title, title_justify="left")
        table.add_column("model", no_wrap=True)
        for name in ("here", "published", "equal", "differ", "no comparison"):
            table.add_column(name, justify="right", no_wrap=True)
        for model, rows in models.items():
            rate = next((row for row in rows if row.metric == "win_rate"), None)
            kinds = Counter("missing" if row.missing else str(row.ok) for row in rows)
            shown = [_rate(rate.ours), _rate(rate.published)] if rate else ["-", "-"]
            table.add_row(model, *shown, *(str(kinds[k]) for k in ("True", "False", "missing")))
        tables.append(table)
    return tables


def _rate(value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else f"{value:.10g}"


def _count(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def _score(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value
