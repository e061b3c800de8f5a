"""What was selected: the share of each source among the selected rows."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pandas as pd

from harness.board import Board
from harness.record import Record
from harness.report.style import OTHER_COLOUR, PALETTE, empty_figure, rows_label, short

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CAPTION = (
    "Share of each source among the selected rows, all seeds together, at the pool size and the "
    "largest budget named above the bars. The first bar is the pool itself."
)
POOL = "(the pool itself)"
OTHER = "other sources"
MOST = 14  # sources with a colour of their own
# Lighter ones for the sources after the tenth; the last is that of OTHER.
COLOURS = (*PALETTE, "#7fb7d8", "#eaae80", "#80ceb9", "#e5bbd3", OTHER_COLOUR)


def source_data(board: Board) -> pd.DataFrame:
    """Rows by bar and source, the pool's bar first and then by score; one pool size and budget."""
    columns = ["bar", "pool", "pool_size", "budget", "source", "rows", "share"]
    records = [r for r in board.records if r.status == "done" and r.selection.sources]
    rivals = [record for record in records if not record.floor]
    if not rivals:
        return pd.DataFrame(columns=columns)
    # The largest pool, then the largest budget; of several pools the first by name.
    chosen = max(rivals, key=lambda r: (r.pool_size, r.budget, [-ord(c) for c in r.pool]))
    cell = (chosen.pool, chosen.pool_size, chosen.budget)
    bars: dict[str, Counter[str]] = {POOL: Counter(chosen.selection.pool_sources)}
    means: dict[str, list[float]] = {}
    same = [r for r in records if (r.pool, r.pool_size, r.budget) == cell]
    parts = _parts(board, cell)
    named = {record.run_id: parts.get(record.target, record.target) for record in same}
    targets = set(named.values()) - {"any", "none"}
    for record in same:
        bar = _bar(record, named[record.run_id], len(targets) > 1)
        bars.setdefault(bar, Counter()).update(record.selection.sources)
        means.setdefault(bar, []).append(record.mean or 0.0)
    order = sorted(means, key=lambda bar: (-sum(means[bar]) / len(means[bar]), bar))
    rows = [
        (bar, *cell, source, count, count / total)
        for bar in [POOL, *order]
        if (total := sum(bars[bar].values()))
        for source, count in sorted(bars[bar].items())
    ]
    return pd.DataFrame(rows, columns=columns)


def _parts(board: Board, cell: tuple[str, int, int]) -> dict[str, str]:
    """The targets that a row of the board sums up, and its own: their selections share a bar."""
    table = board.leaderboard
    same = (table[["pool", "pool_size", "budget"]] == list(cell)).all(axis=1)
    rows = table[same & (table["part_of"] != "")]
    return dict(zip(rows["target"], rows["part_of"], strict=True))


def _bar(record: Record, target: str, name_target: bool) -> str:
    if name_target and target not in ("any", "none"):
        return f"{record.method} · {target}"
    return record.method


def draw_sources(data: pd.DataFrame) -> Figure:
    """The bars of ``source_data``."""
    if data.empty:
        return empty_figure("No finished run says which sources it selected.")
    first = data.iloc[0]
    return draw_stacked(
        data,
        f"pool {short(first['pool'], 24)} of {rows_label(first['pool_size'])}, "
        f"budget {first['budget']:,}",
    )


def draw_stacked(data: pd.DataFrame, title: str, *, pairs: bool = False) -> Figure:
    """Stacked horizontal bars of ``bar, source, share``, a share in words where it has room.

    There is a gap below the first bar; or with ``pairs`` below every second.
    """
    from matplotlib.figure import Figure

    table = data.pivot_table(index="bar", columns="source", values="share", aggfunc="sum")
    table = table.reindex(list(dict.fromkeys(data["bar"]))).fillna(0.0)
    kept = sorted(table.columns, key=lambda name: (-table[name].max(), name))[:MOST]
    stacked = table[sorted(kept)].copy()
    if rest := [name for name in table.columns if name not in kept]:
        stacked[OTHER] = table[rest].sum(axis=1)
    figure = Figure(figsize=(9.5, 1.6 + 0.42 * max(len(stacked), 4)), layout="constrained")
    axes = figure.subplots()
    left = pd.Series(0.0, index=stacked.index)
    positions = [at + 0.35 * (at // 2 if pairs else min(at, 1)) for at in range(len(stacked))]
    for at, name in enumerate(stacked.columns):
        colour = OTHER_COLOUR if name == OTHER else COLOURS[at]
        share = 100 * stacked[name]
        axes.barh(
            positions, share, left=left, height=0.78, color=colour, edgecolor="white",
            linewidth=0.8, label=short(name, 24),
        )  # fmt: skip
        for position, width, start in zip(positions, share, left, strict=True):
            if width >= 5:
                axes.text(
                    start + width / 2, position, f"{width:.0f}", ha="center", va="center",
                    fontsize=8, color=_ink(colour),
                )  # fmt: skip
        left = left + share
    axes.set_yticks(positions, [short(name) for name in stacked.index])
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.set_xlabel("share of rows, %")
    axes.grid(False, axis="y")
    axes.tick_params(axis="y", length=0)
    axes.set_title(title)
    figure.legend(loc="outside right upper", fontsize=8.5, title="source", alignment="left")
    return figure


def _ink(colour: str) -> str:
    """Black or white, whichever is readable on ``colour``."""
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else "white"
