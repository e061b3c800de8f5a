"""What the paper's methods select beside what ours do: shares of the sources, and how far apart.

A distance is the total variation between two compositions: half the sum of the absolute differences
of their shares. It is the share of rows that would have to come from other sources.
"""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from itertools import combinations
from typing import Any, ClassVar

import pandas as pd

from harness import paper
from harness.board import Board
from harness.record import Record
from harness.report.compared_scores import Compared, nearest, number
from harness.report.style import embedded

NO_EVIDENCE = (
    "Our pool here is that of the embedded scale, a made-up world with sources of its own. That "
    "shows that the comparison runs; there is no distance to the paper's selections, and no "
    "evidence for or against them."
)
DISTANCES = (
    "Distances are the percentage of rows that would have to come from other sources: half the sum "
    "of the differences of shares (total variation). Between our seeds: the mean of all pairs."
)

# Of a compared table. published, ours: shares in percent; _rows and rows: how many that is.
COLUMNS = (
    "row", "column", "published", "ours", "ours_sd", "n_seeds", "difference", "published_rows",
    "rows",
)  # fmt: skip
# Of its distances, all in percent. from_pool: of a selection from the pool that it was made from.
DISTANCE_COLUMNS = (
    "column", "n_seeds", "published_rows", "rows", "distance", "distance_sd",
    "published_from_pool", "from_pool", "from_pool_sd", "between_seeds",
)  # fmt: skip


@dataclass(frozen=True)
class Composition(Compared):
    """A published table of selected rows by source with ours beside it.

    Attributes:
        distances: a row for each column of the table: DISTANCE_COLUMNS, and the matched ones.
        others: our sources that have no row in the table, the largest of the pool first.
    """

    distances: pd.DataFrame = field(default_factory=pd.DataFrame)
    others: tuple[str, ...] = ()

    what: ClassVar[str] = "selections"

    @property
    def rows(self) -> list[str]:
        """The paper's sources, then those that only we have."""
        return [*self.published.rows, *self.others]

    @property
    def caption(self) -> str:
        """Where the numbers come from, and whether the pools are the same."""
        words = [
            f"Paper: {self.published.source}; {self.published.setting}. Ours: {self.ours}. Shares "
            "of the selected rows in percent; ± is the standard deviation over seeds. Empty: no "
            "such figure.",
            NO_EVIDENCE if self.micro else self._pools(),
        ]
        return " ".join(word for word in words if word)

    def _pools(self) -> str:
        """How our pool stands to the paper's."""
        pool = self.cells[self.cells["column"] == self.published.pool]
        if not self.setting or pool.empty:
            return ""
        if self.others:
            return (
                f"Our pool is not the paper's: {len(self.others)} of its sources are not among the "
                "paper's, so that no distance to the paper's selections is given."
            )
        if (pool["published_rows"].fillna(0) == pool["rows"].fillna(0)).all():
            return "Our pool has the paper's rows of every source."
        row = self.distances[self.distances["column"] == self.published.pool].iloc[0]
        return (
            "Our pool has the paper's sources in other numbers: its composition lies "
            f"{row['distance']:.1f} % from the paper's."
        )

    @property
    def remark(self) -> str:
        """What the columns of ``differences`` are."""
        return DISTANCES

    @property
    def belongs(self) -> bool:
        """Whether any of our runs selected by a method of the table other than the reference."""
        own = self.cells[self.cells["ours"].notna() & self.cells["method"].notna()]
        return bool((own["method"] != self.reference).any())

    @property
    def files(self) -> dict[str, pd.DataFrame]:
        """What is written as CSV, by what is added to the table's name."""
        return {"": self.cells, "_distances": self.distances}

    @property
    def heads(self) -> list[str]:
        """Headings of what ``differences`` gives behind row and column."""
        own = ["the paper's from its pool", "ours from our pool", "between our seeds"]
        return own if self.others else ["ours from the paper's", *own]

    def differences(self, *, means_only: bool = True) -> list[tuple[str, ...]]:
        """The distances of every selection that we have, as text: column, "", and ``heads``."""
        found: list[tuple[str, ...]] = []
        for _, row in self.distances[self.distances["n_seeds"].notna()].iterrows():
            texts = [
                number(row["published_from_pool"]), _spread(row, "from_pool"),
                number(row["between_seeds"]),
            ]  # fmt: skip
            apart = [] if self.others else [_spread(row, "distance")]
            found.append((row["column"], "", *apart, *texts))
        return found


def _spread(row: pd.Series, name: str) -> str:
    text = number(row[name])
    return f"{text} ± {row[f'{name}_sd']:.1f}" if pd.notna(row[f"{name}_sd"]) else text


def sources_beside(board: Board, published: paper.Published) -> list[Composition]:
    """The table with ours, one for each model and pool (and budget, unless the table names it)."""
    reference = board.statistics.reference
    names = [key for key in ("model", "pool", "pool_size", "budget") if key not in published.keys]
    groups: dict[tuple[Any, ...], list[Record]] = defaultdict(list)
    for record in board.records:
        own = record.selector_model in ("none", record.model)  # as in the paper
        if record.status == "done" and record.selection.sources and own:
            groups[tuple(getattr(record, name) for name in names)].append(record)
    found = []
    for values, records in sorted(groups.items()):
        setting = dict(zip(names, values, strict=True))
        table = _composition(published, records, setting, reference)
        if table.distances["n_seeds"].notna().any():
            found.append(table)
    return found or [_composition(published, [], {}, reference)]


def _composition(
    published: paper.Published, records: Sequence[Record], setting: dict[str, Any], reference: str
) -> Composition:
    pool = next((r.selection.pool_sources for r in records if r.selection.pool_sources), {})
    row_of = _rows_of(published, {*pool, *(name for r in records for name in r.selection.sources)})
    others = sorted(
        set(row_of.values()) - set(published.rows), key=lambda row: (-pool.get(row, 0), row)
    )
    whole = _by_row([pool], row_of)[0] if pool else None
    theirs = {column: _published(published, column) for column in published.columns}
    cells: list[dict[str, Any]] = []
    distances: list[dict[str, Any]] = []
    for column in published.columns:
        first = next(cell for cell in published.cells if cell.column == column)
        is_pool = column == published.pool
        chosen = [] if is_pool else _chosen(records, first)
        ours = _by_row([record.selection.sources for record in chosen], row_of)
        words = {key: getattr(chosen[0], key) for key in published.keys} if chosen else {}
        base = {"column": column, **words}
        if chosen:
            base["n_seeds"] = len(chosen)
        shown = [whole] if is_pool and whole else ours
        cells += _cells(base, [*published.rows, *others], theirs[column], shown, whole)
        distances.append(
            base | _distances(theirs[column], theirs.get(published.pool), shown, whole,
                              alike=not others, is_pool=is_pool)
        )  # fmt: skip
    keys = sorted(published.keys)
    return Composition(
        published, setting, pd.DataFrame(cells, columns=[*COLUMNS, *keys], dtype=object),
        embedded(str(setting.get("pool", ""))), reference,
        pd.DataFrame(distances, columns=[*DISTANCE_COLUMNS, *keys], dtype=object), tuple(others),
    )  # fmt: skip


def _rows_of(published: paper.Published, sources: Iterable[str]) -> dict[str, str]:
    """By our source, the row of the table that it belongs to; itself if there is none."""
    patterns = {cell.row: cell.value.split("|") for cell in published.cells}
    return {
        source: next(
            (row for row, names in patterns.items() if any(fnmatchcase(source, n) for n in names)),
            source,
        )
        for source in sources
    }


def _by_row(counts: Sequence[Mapping[str, int]], row_of: Mapping[str, str]) -> list[dict[str, int]]:
    found = []
    for one in counts:
        rows: Counter[str] = Counter()
        for source, count in one.items():
            rows[row_of[source]] += count
        found.append(dict(rows))
    return found


def _published(published: paper.Published, column: str) -> dict[str, int]:
    return {
        cell.row: int(cell.published)
        for cell in published.cells
        if cell.column == column and cell.published is not None
    }


def _chosen(records: Sequence[Record], cell: paper.Cell) -> list[Record]:
    """Our selections for a column, one a seed; of several kinds the one that it names first."""
    fit = [
        record
        for record in records
        if all(str(getattr(record, key)) in words for key, words in cell.match.items())
    ]
    if not fit:
        return []
    table = [{key: getattr(record, key) for key in cell.match} for record in fit]
    best = table[nearest(table, cell)]
    seeds: dict[int, Record] = {}
    for record, words in zip(fit, table, strict=True):
        if words == best:  # runs that differ in the training alone selected the same
            seeds.setdefault(record.seed, record)
    return [seeds[seed] for seed in sorted(seeds)]


def _cells(
    base: Mapping[str, Any],
    rows: Sequence[str],
    theirs: Mapping[str, int],
    ours: Sequence[Mapping[str, int]],
    our_pool: Mapping[str, int] | None,
) -> list[dict[str, Any]]:
    known = {*(our_pool or ()), *(row for one in ours for row in one)} if ours else set()
    found = []
    for row in rows:
        line: dict[str, Any] = {**base, "row": row}
        if row in theirs:
            line["published_rows"] = theirs[row]
            line["published"] = 100 * theirs[row] / sum(theirs.values())
        if row in known:
            shares = [100 * one.get(row, 0) / sum(one.values()) for one in ours]
            line["rows"] = statistics.fmean(one.get(row, 0) for one in ours)
            line["ours"] = statistics.fmean(shares)
            line["ours_sd"] = statistics.stdev(shares) if len(shares) > 1 else None
            if row in theirs:
                line["difference"] = line["ours"] - line["published"]
        found.append(line)
    return found


def _distances(
    theirs: Mapping[str, int],
    their_pool: Mapping[str, int] | None,
    ours: Sequence[Mapping[str, int]],
    our_pool: Mapping[str, int] | None,
    *,
    alike: bool,
    is_pool: bool,
) -> dict[str, Any]:
    """How far a column's selections lie from each other and from their pools, in percent."""
    line: dict[str, Any] = {"published_rows": sum(theirs.values())}
    if their_pool and not is_pool:
        line["published_from_pool"] = distance(theirs, their_pool)
    if not ours:
        return line
    line["rows"] = statistics.fmean(sum(one.values()) for one in ours)
    between: dict[str, list[float]] = {}
    if alike:
        between["distance"] = [distance(one, theirs) for one in ours]
    if our_pool and not is_pool:
        between["from_pool"] = [distance(one, our_pool) for one in ours]
    for name, values in between.items():
        line[name] = statistics.fmean(values)
        line[f"{name}_sd"] = statistics.stdev(values) if len(values) > 1 else None
    pairs = [distance(one, other) for one, other in combinations(ours, 2)]
    return line | ({"between_seeds": statistics.fmean(pairs)} if pairs else {})


def distance(one: Mapping[str, int], other: Mapping[str, int]) -> float:
    """The total variation between two compositions (rows by source), in percent.

    Raises:
        ValueError: one of them has no rows.
    """
    totals = sum(one.values()), sum(other.values())
    if not all(totals):
        raise ValueError("a composition of no rows has no shares")
    gaps = (
        abs(one.get(name, 0) / totals[0] - other.get(name, 0) / totals[1])
        for name in {*one, *other}
    )
    return 50 * sum(sorted(gaps))
