"""Bars of what the paper's methods selected and ours, by source: for pools of the same sources."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from harness.report.compared_scores import Compared
from harness.report.compared_sources import Composition
from harness.report.sources import draw_stacked
from harness.report.style import SETTINGS, save

CAPTION = (
    "Share of each source among the selected rows, the paper's above ours, and of the pools that "
    "they were selected from. All seeds together; the figures stand in the table below."
)


def bars(table: Composition) -> pd.DataFrame:
    """A row a bar and source: ``bar, source, share``; of the pool and the columns that we have."""
    here = table.cells[table.cells["ours"].notna()]
    kept = dict.fromkeys([table.published.pool, *here["column"]])
    rows = [
        (f"{column}, {side}", cell["row"], share / 100)
        for column in kept
        for side, name in (("paper", "published"), ("ours", "ours"))
        for _, cell in table.cells[table.cells["column"] == column].iterrows()
        if pd.notna(share := cell[name])
    ]
    return pd.DataFrame(rows, columns=["bar", "source", "share"])


def drawn(tables: Sequence[Compared]) -> dict[str, Composition]:
    """By the figure's name, the tables that have bars: of unlike sources there is nothing to see.

    Of several settings of ours for a table, the first.
    """
    found: dict[str, Composition] = {}
    for table in tables:
        if isinstance(table, Composition) and table.setting and not table.others:
            found.setdefault(f"composition_{table.published.name}", table)
    return found


# As harness.report.figures has them; the page draws the same by itself (published.js).
def figures(tables: Sequence[Compared]) -> list[dict[str, str]]:
    """Name, title and caption of each."""
    return [
        {
            "name": name,
            "title": f"{table.published.title}: the paper's and ours",
            "caption": CAPTION,
        }
        for name, table in drawn(tables).items()
    ]


def page_bars(tables: Sequence[Compared]) -> dict[str, dict[str, Any]]:
    """For the page's charts, by name: ``sources``, and ``bars`` as [label, shares in percent]."""
    found = {}
    for name, table in drawn(tables).items():
        wide = _wide(bars(table))
        rows = zip(wide.index, (100 * wide).round(3).to_numpy().tolist(), strict=True)
        found[name] = {"sources": list(wide.columns), "bars": [list(row) for row in rows]}
    return found


def _wide(data: pd.DataFrame) -> pd.DataFrame:
    table = data.pivot_table(index="bar", columns="source", values="share", aggfunc="sum")
    return table.reindex(list(dict.fromkeys(data["bar"]))).fillna(0.0)


def write_compositions(tables: Sequence[Compared], folder: Path) -> dict[str, Path]:
    """Draw each as PNG, SVG and CSV into ``folder``."""
    import matplotlib

    paths: dict[str, Path] = {}
    with matplotlib.rc_context(SETTINGS):
        for name, table in drawn(tables).items():
            data = bars(table)
            paths |= save(draw_stacked(data, table.published.title, pairs=True), data, folder, name)
    return paths
