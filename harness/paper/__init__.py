"""Published tables that a report lays beside its own runs: numbers and how to find our cells.

A table is ``<name>.csv`` with a line a published cell, and an entry in ``tables.yaml``. The columns
after ``value`` are columns of the leaderboard and say which of its rows is ours for this cell.
"""

from __future__ import annotations

import csv
import difflib
import re
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent
_FIXED = ("row", "column", "published", "flops", "rows", "value")
ALL = "paper"  # instead of a table's name: all tables that runs of ours belong to


@dataclass(frozen=True)
class Cell:
    """One published number and where ours is.

    Attributes:
        row, column: its place in the table, in the paper's words.
        published: in percent; in a table by source, rows; None where the paper has none.
        flops: of selection and fine-tuning by the paper's convention; None where it plots no cost.
        rows: that were selected, where a figure has them for its axis.
        value: the leaderboard's column that holds ours (``mean`` or a benchmark); in a table by
            source, our names of it (``a|b``, with ``*`` for any letters).
        match: leaderboard column to the words that it may hold.
    """

    row: str
    column: str
    published: float | None
    flops: float | None
    rows: float | None
    value: str
    match: dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class Published:
    """One published table.

    Attributes:
        cells: row by row.
        figure: title of the figure that its points are drawn in.
        lines: whether a line of that figure is a ``row`` or a ``column`` of the table.
        pool: the column of the pool itself, in a table of selected rows by source; else empty.
    """

    name: str
    title: str
    source: str
    setting: str
    cells: tuple[Cell, ...]
    figure: str
    lines: str = "row"
    pool: str = ""

    @property
    def rows(self) -> list[str]:
        """Row labels in the paper's order."""
        return list(dict.fromkeys(cell.row for cell in self.cells))

    @property
    def columns(self) -> list[str]:
        """Column labels in the paper's order."""
        return list(dict.fromkeys(cell.column for cell in self.cells))

    @property
    def keys(self) -> set[str]:
        """Leaderboard columns that any cell asks for."""
        return {key for cell in self.cells for key in cell.match}


def names() -> list[str]:
    """Tables that there are, by number, then figures."""
    found = (path.stem for path in FOLDER.glob("*.csv"))
    return sorted(found, key=_place)


def check_name(name: str) -> str:
    """``name`` if there is such a table or it stands for all; else a ValueError that lists them."""
    if name in (*names(), ALL):
        return name
    near = difflib.get_close_matches(name, names(), n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise ValueError(
        f"no published table {name!r}: there are {', '.join(names())}; {ALL} takes all that runs "
        f"belong to{hint}"
    )


def read_table(name: str) -> Published:
    """One published table.

    Raises:
        ValueError: there is none of that name, or its file is not as it should be.
    """
    import yaml

    if name not in names():
        check_name(name)
        raise ValueError(f"{name} is no one table")
    about = yaml.safe_load((FOLDER / "tables.yaml").read_text(encoding="utf-8"))[name]
    with (FOLDER / f"{name}.csv").open(encoding="utf-8", newline="") as stream:
        lines = list(csv.DictReader(stream))
    cells = []
    for number, line in enumerate(lines, start=2):
        if None in line or None in line.values():
            raise ValueError(f"{name}.csv:{number}: not as many fields as the first line names")
        cells.append(
            Cell(
                row=line["row"],
                column=line["column"],
                published=_number(line["published"]),
                flops=_number(line.get("flops", "")),
                rows=_number(line.get("rows", "")),
                value=line["value"],
                match={
                    key: tuple(words.split("|"))
                    for key, words in line.items()
                    if key not in _FIXED and words
                },
            )
        )
    figure, lines = about.get("figure", about["title"]), about.get("lines", "row")
    words = (about["title"], about["source"], about["setting"])
    return Published(name, *words, tuple(cells), figure, lines, about.get("pool", ""))


def _place(name: str) -> tuple[bool, int, str]:
    number = re.match(r"table_(\d+)", name)
    return number is None, int(number[1]) if number else 0, name


def _number(text: str) -> float | None:
    return float(text) if text else None
