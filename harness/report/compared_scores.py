"""Published scores beside our own: which of our cells belongs to which of theirs.

What is ours is said by the tables' own files (harness/paper): nothing here knows an experiment or a
method.

Intervals are the board's (harness/statistics): they know the noise of our items and seeds. The
paper gives no spread for its figures, which count as exact here.

A gain is over the reference method. Ours is the board's; the paper's is over the cell of the same
table that differs in the method (and its target) alone, the one that ours is held against. A table
without such a cell has no gains: nothing of the paper's could stand beside ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import pandas as pd

from harness import paper
from harness.board import CONTEST, Board
from harness.report.style import embedded

NO_EVIDENCE = (
    "Our figures here are of the embedded scale: a made-up world and a model of about a million "
    "parameters. They show that the experiment runs and are no evidence for or against the paper's."
)
INTERVALS = (
    "Intervals are of the noise of our items and seeds; the paper gives none for its figures."
)
PAIRED = "Gains over the reference method are paired on the items."

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

    what: ClassVar[str] = "averages"  # a line of ``differences``

    @property
    def rows(self) -> list[str]:
        """Labels of the rows, in order."""
        return self.published.rows

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

    @property
    def remark(self) -> str:
        """What the columns of ``differences`` are."""
        if self.gains:
            return f"{INTERVALS} {PAIRED}"
        return (
            f"{INTERVALS} Gains are left out: the table has no row of {self.reference} that the "
            "others could be held against."
        )

    @property
    def gains(self) -> bool:
        """Whether the paper has a gain over the reference method for any cell of ours."""
        return bool((self.cells["ours"].notna() & self.cells["published_gain"].notna()).any())

    @property
    def belongs(self) -> bool:
        """Whether our runs are of this table: two averages or more, one of them for a target."""
        means = {(c.row, c.column) for c in self.published.cells if c.value == "mean"}
        places = pd.Series(
            zip(self.cells["row"], self.cells["column"], strict=True), index=self.cells.index
        )
        own = self.cells[places.isin(means) & self.cells["ours"].notna()]
        # Random rows alone, or one method, belong to every table.
        return len(own) > 1 and not own["target"].isin(["any", "none"]).all()

    @property
    def files(self) -> dict[str, pd.DataFrame]:
        """What is written as CSV, by what is added to the table's name."""
        return {"": self.cells}

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

    def pair(self, row: str, column: str) -> tuple[str, str]:
        """The paper's figure and ours (with the spread of seeds) as text; empty where missing."""
        cells = self.cells
        found = cells[(cells["row"] == row) & (cells["column"] == column)]
        if found.empty:
            return "", ""
        cell = found.iloc[0]
        ours = number(cell["ours"])
        if pd.notna(cell["ours_sd"]):
            ours += f" ± {cell['ours_sd']:.1f}"
        return number(cell["published"]), ours

    @property
    def heads(self) -> list[str]:
        """Headings of what ``differences`` gives behind row and column."""
        over = f"over {self.reference}"
        gains = [f"paper {over}", f"ours {over}", "95 %"] if self.gains else []
        return ["ours − paper", "95 %", *gains]

    def differences(self, *, means_only: bool = True) -> list[tuple[str, ...]]:
        """Ours less the paper's, and the gains of both over the reference method, as text.

        Args:
            means_only: leave out the cells of single benchmarks.

        Returns:
            For every cell that we have: row, column, and what ``heads`` names; empty where there is
            none.
        """
        value = {(cell.row, cell.column): cell.value for cell in self.published.cells}
        found: list[tuple[str, ...]] = []
        for _, cell in self.cells[self.cells["ours"].notna()].iterrows():
            if means_only and value[cell["row"], cell["column"]] != "mean":
                continue
            texts = [signed(cell["difference"]), _span(cell, "difference")]
            if self.gains:
                texts += [signed(cell["published_gain"]), signed(cell["gain"]), _span(cell, "gain")]
            found.append((cell["row"], cell["column"], *texts))
        return found


def scores_beside(board: Board, published: paper.Published) -> list[Compared]:
    """The table with ours, one for each setting of ours; one without ours if there is none."""
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
    nothing = _cells(rows.iloc[:0], published, reference)
    return found or [Compared(published, {}, nothing, False, reference)]


def _cells(rows: pd.DataFrame, published: paper.Published, reference: str) -> pd.DataFrame:
    keys = sorted(published.keys)
    table = []
    for cell in published.cells:
        line: dict[str, Any] = {
            "row": cell.row, "column": cell.column, "published": cell.published,
            "published_flops": cell.flops, "published_rows": cell.rows,
        }  # fmt: skip
        ours = _find(rows, cell)
        base = _baseline(cell, published, reference, None if ours is None else ours["reference"])
        if base is not None and cell.published is not None:
            line["published_gain"] = cell.published - base
        if ours is not None:
            line |= _ours(ours, cell, gain=base is not None) | {key: ours[key] for key in keys}
        table.append(line)
    return pd.DataFrame(table, columns=[*COLUMNS, *keys], dtype=object)


def _baseline(
    cell: paper.Cell, published: paper.Published, reference: str, held: Any
) -> float | None:
    """The published score that ``cell``'s gain is over; None if the table has none or several.

    Args:
        held: what ours is held against, as the board names it; missing if it is against nothing;
            None if there is no run of ours, where any target's will do.
    """
    if held is not None and pd.isna(held):
        return None
    found = []
    for other in published.cells:
        same = other.value == cell.value and other is not cell
        same &= _setting(other) == _setting(cell) and other.published is not None
        if same and reference in other.match.get("method", ()):
            targets = other.match.get("target", ("any",))
            names = {reference if t in ("any", "none") else f"{reference} > {t}" for t in targets}
            if held is None or held in names:
                found.append(other.published)
    return found[0] if len(found) == 1 else None


def _setting(cell: paper.Cell) -> dict[str, tuple[str, ...]]:
    return {key: words for key, words in cell.match.items() if key not in ("method", "target")}


def _ours(ours: pd.Series, cell: paper.Cell, *, gain: bool) -> dict[str, Any]:
    """What the leaderboard says of our cell."""
    name = cell.value
    line = {"ours": ours[name], "n_seeds": ours["n_seeds"]}
    line |= {f"ours_{kind}": ours[f"{name}_{kind}"] for kind in ("sd", "stderr", "low", "high")}
    if cell.published is not None:
        line["difference"] = ours[name] - cell.published
        for end in ("low", "high"):
            if pd.notna(ours[f"{name}_{end}"]):
                line[f"difference_{end}"] = ours[f"{name}_{end}"] - cell.published
    if gain:
        own = "difference" if name == "mean" else f"{name}_difference"
        line |= {
            "gain": ours[own],
            "gain_low": ours[f"{own}_low"],
            "gain_high": ours[f"{own}_high"],
        }
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
    return rows.iloc[nearest([row for _, row in rows.iterrows()], cell)]


def nearest(rows: Sequence[Any], cell: paper.Cell) -> int:
    """Which of ``rows`` (of the matched columns) has the words that the table names first."""
    rank = [tuple(words.index(str(row[key])) for key, words in cell.match.items()) for row in rows]
    return rank.index(min(rank))


def number(value: Any) -> str:
    """To one digit; empty where there is none."""
    return "" if value is None or pd.isna(value) else f"{value:.1f}"


def signed(value: Any) -> str:
    """To one digit with its sign; empty where there is none."""
    return "" if value is None or pd.isna(value) else f"{value:+.1f}".replace("-", "−")


def _span(cell: pd.Series, name: str) -> str:
    low, high = signed(cell[f"{name}_low"]), signed(cell[f"{name}_high"])
    return f"{low} to {high}" if low and high else ""


def _words(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)
