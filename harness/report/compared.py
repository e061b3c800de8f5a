"""Published tables beside our own runs: which of our cells belongs to which of theirs.

Which tables is said by the records (``compare`` in their configuration) or by the caller; what is
ours is said by the tables' own files (harness/paper). Nothing here knows an experiment or a method.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from harness import paper
from harness.board import CONTEST, Board, csv
from harness.files import write_atomic
from harness.report.style import embedded

NO_EVIDENCE = (
    "Our figures here are of the embedded scale: a made-up world and a model of about a million "
    "parameters. They show that the experiment runs and are no evidence for or against the paper's."
)


@dataclass(frozen=True)
class Compared:
    """A published table with ours beside it, for one setting of ours.

    Attributes:
        published: the paper's.
        setting: what our cells have in common (suite, pool, budget, ...); empty if there are none.
        cells: a row a cell: ``row, column, published, ours, ours_sd, ours_stderr, n_seeds`` and the
            leaderboard columns that were matched; ours are missing where no run belongs.
        micro: whether ours are of the embedded scale.
    """

    published: paper.Published
    setting: dict[str, Any]
    cells: pd.DataFrame
    micro: bool

    @property
    def ours(self) -> str:
        """Our setting in words."""
        if not self.setting:
            return "no run of ours belongs to this table yet"
        seeds = self.cells["n_seeds"].dropna().astype(int)
        span = " to ".join(map(str, sorted({seeds.min(), seeds.max()})))
        words = [f"{name.replace('_', ' ')} {_words(v)}" for name, v in self.setting.items()]
        return ", ".join([*words, f"{span} seed{'' if span == '1' else 's'} a cell"])

    @property
    def caption(self) -> str:
        """Where the numbers come from, and what they are worth."""
        text = (
            f"Paper: {self.published.source}; {self.published.setting}. Ours: {self.ours}. Scores "
            "in percent; ± is the standard deviation over seeds. Empty: no such figure."
        )
        return f"{text} {NO_EVIDENCE}" if self.micro else text

    def label(self, side: str, name: str) -> str:
        """Which of our words stand for the row or column (``side``) ``name``, or ""."""
        here = self.cells[self.cells[side] == name]
        keys = self._keys(side)
        found = [" ".join(sorted(set(here[key].dropna()) - {""})) for key in keys]
        return ", ".join(words for words in found if words)

    def _keys(self, side: str) -> list[str]:
        """Matched columns that go with this side of the table and not with the other."""
        keys = []
        for key in sorted(self.published.keys):
            words: dict[str, set[tuple[str, ...]]] = {}
            for cell in self.published.cells:
                words.setdefault(getattr(cell, side), set()).add(cell.match.get(key, ()))
            every = set().union(*words.values())
            if len(every) > 1 and all(len(one) == 1 for one in words.values()):
                keys.append(key)
        return keys


def compare(board: Board, names: Iterable[str] = ()) -> list[Compared]:
    """The tables that the records ask for, and those in ``names``, one for each setting of ours."""
    known = set(paper.names())
    asked: set[str] = set()
    for record in board.records:
        wanted = record.config.get("compare")
        asked |= known & set(map(str, wanted)) if isinstance(wanted, list) else set()
    found: list[Compared] = []
    for name in sorted(asked | set(names)):
        found += _compare(board.leaderboard, paper.read_table(name))
    return found


def _compare(leaderboard: pd.DataFrame, published: paper.Published) -> list[Compared]:
    rows = leaderboard[leaderboard["scored"] == "suite"]
    if "selector_model" not in published.keys:  # then the paper selects with the trained model
        rows = rows[(rows["selector_model"] == "none") | (rows["selector_model"] == rows["model"])]
    keys = [key for key in CONTEST if key not in published.keys]
    found = []
    for values, group in rows.groupby(keys, sort=True):
        cells = _cells(group, published)
        if cells["ours"].notna().any():
            setting = dict(zip(keys, values, strict=True))
            found.append(Compared(published, setting, cells, embedded(str(setting["pool"]))))
    return found or [Compared(published, {}, _cells(rows.iloc[:0], published), False)]


def _cells(rows: pd.DataFrame, published: paper.Published) -> pd.DataFrame:
    columns = ["row", "column", "published", "ours", "ours_sd", "ours_stderr", "n_seeds"]
    keys = sorted(published.keys)
    table = []
    for cell in published.cells:
        line: dict[str, Any] = {
            "row": cell.row, "column": cell.column, "published": cell.published,
        }  # fmt: skip
        ours = _find(rows, cell)
        if ours is not None:
            line |= {"ours": ours[cell.value], "n_seeds": ours["n_seeds"]}
            line |= {f"ours_{kind}": ours[f"{cell.value}_{kind}"] for kind in ("sd", "stderr")}
            line |= {key: ours[key] for key in keys}
        table.append(line)
    return pd.DataFrame(table, columns=[*columns, *keys], dtype=object)


def _find(rows: pd.DataFrame, cell: paper.Cell) -> pd.Series | None:
    """Our row for a published cell; of several, the one whose words the table names first."""
    if cell.value not in rows:
        return None
    rows = rows[rows[cell.value].notna()]
    for key, words in cell.match.items():
        rows = rows[rows[key].isin(words)]
    if rows.empty:
        return None
    rank = [
        tuple(words.index(row[key]) for key, words in cell.match.items())
        for _, row in rows.iterrows()
    ]
    return rows.iloc[rank.index(min(rank))]


def write_compared(tables: Sequence[Compared], folder: Path) -> dict[str, Path]:
    """Write ``<name>.csv`` and ``<name>.md`` for every published table, all settings in one."""
    paths: dict[str, Path] = {}
    for name in dict.fromkeys(table.published.name for table in tables):
        same = [table for table in tables if table.published.name == name]
        frame = pd.concat(
            [
                table.cells.assign(**{f"our_{k}": v for k, v in table.setting.items()})
                for table in same
            ]
        )
        paths[f"{name}_csv"] = folder / f"{name}.csv"
        paths[f"{name}_md"] = folder / f"{name}.md"
        write_atomic(paths[f"{name}_csv"], csv(frame))
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
    for row in published.rows:
        words = [_named(table, "row", row)]
        for column in published.columns:
            words += list(pair(table, row, column))
        lines.append(f"| {' | '.join(words)} |")
    return "\n".join([*lines, ""])


def pair(table: Compared, row: str, column: str) -> tuple[str, str]:
    """The paper's figure and ours (with the spread of seeds) as text; empty where missing."""
    cells = table.cells
    found = cells[(cells["row"] == row) & (cells["column"] == column)]
    if found.empty:
        return "", ""
    cell = found.iloc[0]
    ours = _number(cell["ours"])
    if pd.notna(cell["ours_sd"]):
        ours += f" ± {cell['ours_sd']:.1f}"
    return _number(cell["published"]), ours


def _named(table: Compared, side: str, name: str) -> str:
    label = table.label(side, name)
    return f"{name} ({label})" if label else name


def _number(value: Any) -> str:
    return "" if value is None or pd.isna(value) else f"{value:.1f}"


def _words(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)
