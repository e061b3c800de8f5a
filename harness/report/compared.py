"""Published tables beside our own runs: which of our cells belongs to which of theirs.

Which tables is said by the records (``report.compare`` in their configuration) or by the caller;
what is ours is said by the tables' own files (harness/paper). Nothing here knows an experiment or a
method.

Intervals are the board's (harness/statistics): they know the noise of our items and seeds. The
paper gives no spread for its figures, which count as exact here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from harness import paper
from harness.board import CONTEST, Board, csv
from harness.board_rows import asked_report
from harness.files import write_atomic
from harness.report.style import embedded

_SIDE = ("suite", "judge", "model", "recipe")  # of our settings: what the paper has one of

NO_EVIDENCE = (
    "Our figures here are of the embedded scale: a made-up world and a model of about a million "
    "parameters. They show that the experiment runs and are no evidence for or against the paper's."
)


# Of a compared table. difference: ours less the paper's; gain: over the reference method, paired;
# _low and _high: ends of 95 % intervals of ours; flops: by the paper's convention; rows: selected.
COLUMNS = (
    "row", "column", "published", "ours", "ours_sd", "ours_stderr", "n_seeds", "ours_low",
    "ours_high", "difference", "difference_low", "difference_high", "published_gain", "gain",
    "gain_low", "gain_high", "published_flops", "flops", "published_rows", "rows",
)  # fmt: skip


@dataclass(frozen=True)
class Compared:
    """A published table with ours beside it, for one setting of ours.

    Attributes:
        published: the paper's.
        setting: what our cells have in common (suite, pool, budget, ...); empty if there are none.
        cells: a row a cell: the columns of ``COLUMNS`` and the leaderboard's that were matched;
            ours are missing where no run belongs.
        micro: whether ours are of the embedded scale.
        reference: the method that gains are over.
    """

    published: paper.Published
    setting: dict[str, Any]
    cells: pd.DataFrame
    micro: bool
    reference: str = "random"

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
        found = [
            " ".join(sorted({str(word) for word in here[key].dropna()} - {""})) for key in keys
        ]
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
    """The tables that the records ask for, and those in ``names``, one for each setting of ours.

    ``paper`` asks for every table of which we have two averages or more, one of them of runs for a
    target; each once: in the setting that fills most of it, of several the one with the largest
    pool and budget.
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
            found += _compare(board, paper.read_table(name))
        elif paper.ALL in asked:
            found += _fullest(_compare(board, paper.read_table(name)))
    return found


def _fullest(tables: Sequence[Compared]) -> list[Compared]:
    best: dict[tuple[Any, ...], tuple[tuple[Any, ...], Compared]] = {}
    for table in tables:
        means = {(c.row, c.column) for c in table.published.cells if c.value == "mean"}
        places = pd.Series(zip(table.cells["row"], table.cells["column"], strict=True))
        own = table.cells[places.isin(means) & table.cells["ours"].notna()]
        if len(own) < 2 or own["target"].isin(["any", "none"]).all():
            continue  # random rows alone, or one method, belong to every table
        place = (table.cells["ours"].notna().sum(), table.setting.get("pool_size", 0),
                 table.setting.get("budget", 0))  # fmt: skip
        side = tuple(table.setting.get(name) for name in _SIDE)
        if side not in best or place > best[side][0]:
            best[side] = (place, table)
    return [table for _, table in best.values()]


def _compare(board: Board, published: paper.Published) -> list[Compared]:
    rows, reference = board.leaderboard, board.statistics.reference
    rows = rows[rows["scored"] == "suite"]
    if "selector_model" not in published.keys:  # then the paper selects with the trained model
        rows = rows[(rows["selector_model"] == "none") | (rows["selector_model"] == rows["model"])]
    keys = [key for key in CONTEST if key not in published.keys]
    found = []
    for values, group in rows.groupby(keys, sort=True):
        cells = _cells(group, published, reference)
        if cells["ours"].notna().any():
            setting = dict(zip(keys, values, strict=True))
            micro = embedded(str(setting["pool"]))
            found.append(Compared(published, setting, cells, micro, reference))
    return found or [Compared(published, {}, _cells(rows.iloc[:0], published, reference), False)]


def _cells(rows: pd.DataFrame, published: paper.Published, reference: str) -> pd.DataFrame:
    keys = sorted(published.keys)
    base = {
        cell.column: (cell.row, cell.published)
        for cell in reversed(published.cells)
        if reference in cell.match.get("method", ())
    }
    table = []
    for cell in published.cells:
        line: dict[str, Any] = {
            "row": cell.row, "column": cell.column, "published": cell.published,
            "published_flops": cell.flops, "published_rows": cell.rows,
        }  # fmt: skip
        row, level = base.get(cell.column, (cell.row, None))
        if row != cell.row and level is not None and cell.published is not None:
            line["published_gain"] = cell.published - level
        ours = _find(rows, cell)
        if ours is not None:
            line |= _ours(ours, cell) | {key: ours[key] for key in keys}
        table.append(line)
    return pd.DataFrame(table, columns=[*COLUMNS, *keys], dtype=object)


def _ours(ours: pd.Series, cell: paper.Cell) -> dict[str, Any]:
    """What the leaderboard says of our cell."""
    name = cell.value
    line = {"ours": ours[name], "n_seeds": ours["n_seeds"]}
    line |= {f"ours_{kind}": ours[f"{name}_{kind}"] for kind in ("sd", "stderr", "low", "high")}
    if cell.published is not None:
        line["difference"] = ours[name] - cell.published
        for end in ("low", "high"):
            if pd.notna(ours[f"{name}_{end}"]):
                line[f"difference_{end}"] = ours[f"{name}_{end}"] - cell.published
    gain = "difference" if name == "mean" else f"{name}_difference"
    line |= {"gain": ours[gain], "gain_low": ours[f"{gain}_low"], "gain_high": ours[f"{gain}_high"]}
    if cell.flops is not None:
        line["flops"] = ours["flops_paper"]
    if cell.rows is not None:
        line["rows"] = ours["budget"]
    return line


def _find(rows: pd.DataFrame, cell: paper.Cell) -> pd.Series | None:
    """Our row for a published cell; of several, the one whose words the table names first."""
    if cell.value not in rows:
        return None
    rows = rows[rows[cell.value].notna()]
    for key, words in cell.match.items():
        rows = rows[rows[key].astype(str).isin(words)]
    if rows.empty:
        return None
    rank = [
        tuple(words.index(str(row[key])) for key, words in cell.match.items())
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
    return "\n".join([*lines, "", *_apart(table)])


def _apart(table: Compared) -> list[str]:
    """How far ours is from the paper's, as a Markdown table of all cells that we have."""
    found = differences(table, means_only=False)
    if not found:
        return []
    over = f"over {table.reference}"
    head = ["", "", "ours − paper", "95 %", f"paper {over}", f"ours {over}", "95 %"]
    lines = [f"| {' | '.join(head)} |", "|---|---|" + "---:|" * (len(head) - 2)]
    return [*lines, *(f"| {' | '.join(words)} |" for words in found), "", INTERVALS, ""]


INTERVALS = (
    "Intervals are of the noise of our items and seeds; the paper gives none for its figures. "
    "Gains over the reference method are paired on the items."
)


def differences(table: Compared, *, means_only: bool = True) -> list[tuple[str, ...]]:
    """Ours less the paper's, and the gains of both over the reference method, as text.

    Args:
        means_only: leave out the cells of single benchmarks.

    Returns:
        For every cell that we have: row, column, difference, its interval, the paper's gain, ours,
        its interval; empty where there is none.
    """
    value = {(cell.row, cell.column): cell.value for cell in table.published.cells}
    found: list[tuple[str, ...]] = []
    for _, cell in table.cells[table.cells["ours"].notna()].iterrows():
        if means_only and value[cell["row"], cell["column"]] != "mean":
            continue
        found.append(
            (
                cell["row"], cell["column"], _signed(cell["difference"]),
                _span(cell["difference_low"], cell["difference_high"]),
                _signed(cell["published_gain"]), _signed(cell["gain"]),
                _span(cell["gain_low"], cell["gain_high"]),
            )
        )  # fmt: skip
    return found


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


def _signed(value: Any) -> str:
    return "" if value is None or pd.isna(value) else f"{value:+.1f}".replace("-", "−")


def _span(low: Any, high: Any) -> str:
    return f"{_signed(low)} to {_signed(high)}" if _signed(low) and _signed(high) else ""


def _words(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)
