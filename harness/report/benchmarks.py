"""Each benchmark by itself: score per method with its standard error."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pandas as pd

from harness.board import Board
from harness.report.style import (
    FLOOR_COLOUR,
    colours,
    empty_figure,
    intervals,
    panels,
    rows_label,
    short,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CAPTION = (
    "Score on each benchmark at the pool size and budget named above, best mean first. Bars: "
    "95 % interval from the test items; of the mean, from items and seeds. Hollow: not told from "
    "the reference method. Diamonds: floors and ceilings."
)


def benchmark_data(board: Board) -> pd.DataFrame:
    """Scores by benchmark of one pool size and budget, with the floors that belong to it."""
    columns = ["setting", "pool", "pool_size", "budget", "series", "method", "floor", "mean",
               "benchmark", "score", "low", "high", "error_kind",
               "tied"]  # fmt: skip
    found = panels(board.leaderboard)
    if not found:
        return pd.DataFrame(columns=columns)
    setting, panel = found[0]  # the first by name; every panel's scores are in leaderboard.csv
    floor = panel["floor"].astype(bool)
    rivals = panel[~floor]
    if len(rivals):
        cell = rivals.sort_values(["pool_size", "budget", "pool"]).iloc[-1]
        same = (
            rivals[["pool", "pool_size", "budget"]] == cell[["pool", "pool_size", "budget"]]
        ).all(axis=1)
        fits = panel["pool_size"].isin([cell["pool_size"], 0])
        fits &= panel["budget"].isin([cell["budget"], 0]) | (panel["budget"] == panel["pool_size"])
        panel = pd.concat([rivals[same], panel[floor & fits]])
    parts = []
    for name in [*(n for n in board.benchmarks if n in panel and panel[n].notna().any()), "mean"]:
        tie = panel["tie" if name == "mean" else f"{name}_tie"]
        named = panel.assign(setting=setting, benchmark=name, score=panel[name], tied=tie)
        parts.append(pd.concat([named, intervals(panel, name)], axis=1))
    return pd.concat(parts)[columns]


def draw_benchmarks(data: pd.DataFrame) -> Figure:
    """A grid of small panels with the methods in one order."""
    from matplotlib.figure import Figure

    if data.empty:
        return empty_figure("No finished run with a score yet.")
    names = list(dict.fromkeys(data["benchmark"]))
    order = data[data["benchmark"] == "mean"].sort_values("mean")["series"]
    height = {series: at for at, series in enumerate(dict.fromkeys(order))}
    columns = min(4, len(names))
    lines = math.ceil(len(names) / columns)
    size = (2.3 * columns + 1.8, lines * (1.0 + 0.24 * max(len(height), 3)) + 0.3)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(lines, columns, squeeze=False, sharey=True)
    palette = colours(data.loc[~data["floor"].astype(bool), "method"])
    for axes, name in zip(grid.flat, names, strict=False):
        rows = data[data["benchmark"] == name].dropna(subset="score")
        inks = [
            FLOOR_COLOUR if f else palette[m]
            for f, m in zip(rows["floor"], rows["method"], strict=True)
        ]
        ties = [bool(tie) if pd.notna(tie) else False for tie in rows["tied"]]
        fills = ["white" if tie else ink for tie, ink in zip(ties, inks, strict=True)]
        x, at = rows["score"], rows["series"].map(height)
        axes.hlines(at, rows["low"], rows["high"], colors=inks, lw=1.3, zorder=3)
        floor = rows["floor"].astype(bool).to_numpy()
        for marker, some in (("o", ~floor), ("D", floor)):
            axes.scatter(
                x[some], at[some], s=26, marker=marker, zorder=4,
                c=[fill for fill, here in zip(fills, some, strict=True) if here],
                edgecolors=[ink for ink, here in zip(inks, some, strict=True) if here],
            )  # fmt: skip
        for score in rows.loc[rows["floor"].astype(bool) & (rows["budget"] == 0), "score"]:
            axes.axvline(score, color=FLOOR_COLOUR, lw=1, ls=(0, (5, 3)), zorder=1)
        axes.set_title(short(name, 20))
        axes.set_xlim(*_limits(data[data["benchmark"] == name]))
        axes.tick_params(axis="y", length=0)
    grid[0][0].set_yticks(list(height.values()), [short(series, 26) for series in height])
    grid[0][0].set_ylim(-0.6, len(height) - 0.4)
    for axes in list(grid.flat)[len(names) :]:
        axes.set_visible(False)
    figure.supxlabel("score, %", fontsize=9.5)
    rivals = data[~data["floor"].astype(bool)]
    if len(rivals):
        cell = rivals.iloc[0]
        figure.suptitle(
            f"{cell['setting'] + ': ' if cell['setting'] else ''}pool {short(cell['pool'], 24)} of "
            f"{rows_label(cell['pool_size'])}, budget {cell['budget']:,}",
            fontsize=10.5, x=0.01, ha="left",
        )  # fmt: skip
    return figure


def _limits(data: pd.DataFrame) -> tuple[float, float]:
    """Room for the bars, and never a range so small that noise looks like a difference."""
    low = float(data["low"].min())
    high = float(data["high"].max())
    room = max(0.06 * (high - low), (10 - (high - low)) / 2, 0.5)
    return low - room, high + room
