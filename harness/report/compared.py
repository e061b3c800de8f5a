"""Published tables beside our own runs: which ones, and the files that they are written to.

Which tables is said by the records (``report.compare`` in their configuration) or by the caller.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from harness import paper
from harness.board import Board, csv
from harness.board_rows import asked_report
from harness.files import write_atomic
from harness.report.compared_scores import Compared, scores_beside
from harness.report.compared_sources import sources_beside

_SIDE = ("suite", "judge", "model", "recipe")  # of our settings: what the paper has one of

_MARKS = {"|": r"\|", "<": "&lt;", ">": "&gt;"}


def compare(board: Board, names: Iterable[str] = ()) -> list[Compared]:
    """The tables that the records ask for, and those in ``names``, one for each setting of ours.

    ``paper`` asks for every table that our runs belong to (``Compared.belongs``); each once: in the
    setting that fills most of it, of several the one with the largest pool and budget.
    """
    known = {*paper.names(), paper.ALL}
    asked = set(names)
    for record in board.records:
        wanted = asked_report(record).get("compare")
        wanted = [wanted] if isinstance(wanted, str) else wanted
        asked |= known & set(map(str, wanted)) if isinstance(wanted, list) else set()
    found: list[Compared] = []
    for name in paper.names():
        if name in asked:
            found += _beside(board, name)
        elif paper.ALL in asked:
            found += _fullest([table for table in _beside(board, name) if table.belongs])
    return found


def _beside(board: Board, name: str) -> list[Compared]:
    published = paper.read_table(name)
    if published.pool:
        return [*sources_beside(board, published)]
    return scores_beside(board, published)


def _fullest(tables: Sequence[Compared]) -> list[Compared]:
    best: dict[tuple[Any, ...], tuple[tuple[Any, ...], Compared]] = {}
    for table in tables:
        place = (table.cells["ours"].notna().sum(), table.setting.get("pool_size", 0),
                 table.setting.get("budget", 0))  # fmt: skip
        side = tuple(table.setting.get(name) for name in _SIDE)
        if side not in best or place > best[side][0]:
            best[side] = (place, table)
    return [table for _, table in best.values()]


def write_compared(tables: Sequence[Compared], folder: Path) -> dict[str, Path]:
    """Write ``<name>.csv`` and ``<name>.md`` for every published table, all settings in one.

    Of a table by source, ``<name>_distances.csv`` too.
    """
    paths: dict[str, Path] = {}
    for name in dict.fromkeys(table.published.name for table in tables):
        same = [table for table in tables if table.published.name == name]
        for more in same[0].files:
            frame = pd.concat(
                [
                    table.files[more].assign(**{f"our_{k}": v for k, v in table.setting.items()})
                    for table in same
                ]
            )
            paths[f"{name}{more}_csv"] = folder / f"{name}{more}.csv"
            write_atomic(paths[f"{name}{more}_csv"], csv(frame))
        paths[f"{name}_md"] = folder / f"{name}.md"
        write_atomic(paths[f"{name}_md"], "\n".join(markdown(table) for table in same))
    return paths


def markdown(table: Compared) -> str:
    """The table as Markdown: the paper's figure, ours after it."""
    published = table.published
    head = ["", *(f"{_named(table, 'column', c)}: paper | ours" for c in published.columns)]
    lines = [
        f"## {published.title}",
        "",
        f"{table.caption}",
        "",
        f"| {' | '.join(head)} |",
        "|" + "---|" * (1 + 2 * len(published.columns)),
    ]
    for row in table.rows:
        words = [_named(table, "row", row)]
        for column in published.columns:
            words += list(table.pair(row, column))
        lines.append(f"| {' | '.join(words)} |")
    return "\n".join([*lines, "", *_apart(table)])


def _apart(table: Compared) -> list[str]:
    """How far ours is from the paper's, as a Markdown table of all cells that we have."""
    found = table.differences(means_only=False)
    if not found:
        return []
    head = ["", "", *table.heads]
    lines = [f"| {' | '.join(head)} |", "|---|---|" + "---:|" * (len(head) - 2)]
    return [*lines, *(f"| {' | '.join(words)} |" for words in found), "", table.remark, ""]


def _named(table: Compared, side: str, name: str) -> str:
    label = table.label(side, name)
    words = f"{name} ({label})" if label else name
    # Names of methods and sources come from records: they end no cell and are no HTML.
    return "".join(_MARKS.get(c, c if c.isprintable() else " ") for c in words)
