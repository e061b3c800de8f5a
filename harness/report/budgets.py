"""Score against budget: a line a method, a panel a pool size, the band of random behind."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from harness.board import Board
from harness.report.style import (
    FLOOR_COLOUR,
    REFERENCE_COLOUR,
    colours,
    empty_figure,
    intervals,
    panels,
    rows_label,
    short,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CAPTION = (
    "Mean score against the number of rows trained on, for each pool size. The grey band is the "
    "95 % interval of the method that the others are held against (random unless told); dashed "
    "lines are floors and ceilings. Points of one budget stand a little apart, so all are seen."
)
_MARKS = "osD^vP"  # a method's lines for several targets, or of several selector models


def budget_data(board: Board) -> pd.DataFrame:
    """The points of the curves; a floor stands in each panel that it is a reference for."""
    parts = []
    for title, panel in panels(board.leaderboard):
        panel = pd.concat([panel.assign(setting=title), intervals(panel)], axis=1)
        rivals = panel[~panel["floor"].astype(bool)]
        for size in sorted(set(rivals["pool_size"])) or [0]:
            floors = panel[panel["floor"].astype(bool) & panel["pool_size"].isin([size, 0])]
            part = pd.concat([rivals[rivals["pool_size"] == size], floors])
            against = part["method"].eq(board.statistics.reference) & ~part["floor"].astype(bool)
            parts.append(part.assign(panel_pool_size=size, reference=against))
    columns = [
        "setting", "panel_pool_size", "series", "method", "pool", "pool_size", "budget", "target",
        "model", "floor", "reference", "n_seeds", "mean", "low", "high", "error_kind",
    ]  # fmt: skip
    return pd.concat(parts)[columns] if parts else pd.DataFrame(columns=columns)


def draw_budgets(data: pd.DataFrame) -> Figure:
    """A panel for each setting and pool size, at most three in a line."""
    from matplotlib.figure import Figure

    if data.empty:
        return empty_figure("No finished run with a score yet.")
    groups = [group for _, group in data.groupby(["setting", "panel_pool_size"], sort=False)]
    columns = min(3, len(groups))
    lines = math.ceil(len(groups) / columns)
    figure = Figure(figsize=(max(3.9 * columns, 5.5) + 2, 4 * lines), layout="constrained")
    one_setting = data["setting"].nunique() == 1
    grid = figure.subplots(lines, columns, squeeze=False, sharey=one_setting)
    palette = colours(data.loc[~data["floor"].astype(bool), "method"])
    for axes, group in zip(grid.flat, groups, strict=False):
        _panel(axes, group, palette)
        first = group.iloc[0]
        size = first["panel_pool_size"]
        words = [short(first["setting"], 40), f"pool of {rows_label(size)}" if size else ""]
        axes.set_title("\n".join(word for word in words if word))
    for axes in grid[:, 0]:
        axes.set_ylabel("mean score, %")
    for axes in list(grid.flat)[len(groups) :]:
        axes.set_visible(False)
    _legend(figure, data)
    return figure


def _panel(axes: Axes, data: pd.DataFrame, palette: dict[str, str]) -> None:
    rivals = data[~data["floor"].astype(bool)]
    budgets = sorted(set(rivals["budget"]) or {1})
    axes.set_xscale("log", base=2)
    axes.set_xlabel("budget, rows")
    axes.set_xticks(budgets, [f"{budget:,}" for budget in budgets])
    axes.minorticks_off()
    axes.set_xlim(budgets[0] / 1.35, budgets[-1] * 1.35)
    names = sorted(set(rivals["series"]))
    drawn: Counter[str] = Counter()
    for series, shift in zip(names, shifts(budgets, len(names)), strict=True):
        line = rivals[rivals["series"] == series].sort_values("budget")
        method = line["method"].iloc[0]
        colour, mark = palette[method], _MARKS[drawn[method] % len(_MARKS)]
        drawn[method] += 1
        x, y, low, high = (line[name].to_numpy(float) for name in ("budget", "mean", "low", "high"))
        ends, x = x, x * shift
        if line["reference"].all() and (line["error_kind"] != "").all():
            ends = ends if len(ends) > 1 else axes.get_xlim()
            axes.fill_between(ends, low, high, color=REFERENCE_COLOUR, alpha=0.15, lw=0, zorder=1)
        else:
            axes.vlines(x, low, high, colors=colour, lw=1.2)
        axes.plot(x, y, color=colour, marker=mark, ms=5, lw=1.6, mec="white", label=short(series))
    for (series, _), line in data[data["floor"].astype(bool)].groupby(["series", "pool_size"]):
        line = line.sort_values("budget")
        style: dict[str, Any] = {"color": FLOOR_COLOUR, "lw": 1.2, "ls": _dashes(data, series)}
        if set(line["budget"]) & set(budgets):
            axes.plot(line["budget"], line["mean"], marker=".", label=short(series), **style)
        else:
            axes.axhline(line["mean"].iloc[-1], label=short(series), **style)


def shifts(budgets: Sequence[int], lines: int) -> np.ndarray:
    """What each line's budgets are multiplied by in the plot, so that no bar covers another.

    Shape (lines,), around 1: together a sixth of the way to the next budget; a lone budget has
    most of the plot's width for its points.
    """
    steps = np.diff(np.log(budgets))
    width = steps.min() / 6 if len(steps) else 1.5 * math.log(1.35)
    return np.exp(width * (np.arange(lines) - (lines - 1) / 2) / max(lines - 1, 1))


def _dashes(data: pd.DataFrame, series: str) -> tuple[int, tuple[int, ...]]:
    """A dash pattern per floor, since all are grey."""
    patterns = ((5, 3), (1, 2), (8, 2, 1, 2), (3, 1, 1, 1, 1, 1))
    names = sorted(set(data.loc[data["floor"].astype(bool), "series"]))
    return (0, patterns[names.index(series) % len(patterns)])


def _legend(figure: Figure, data: pd.DataFrame) -> None:
    """One entry a name, best first, floors last."""
    order = data.sort_values("mean", ascending=False).sort_values("floor", kind="stable")
    handles: dict[str, Any] = {}
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    names = [name for name in dict.fromkeys(map(short, order["series"])) if name in handles]
    figure.legend([handles[name] for name in names], names, loc="outside right upper")
