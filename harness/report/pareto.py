"""Score against compute: a point a cell, the frontier as a step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from harness.board import Board
from harness.report.labels import place
from harness.report.style import (
    FLOOR_COLOUR,
    colours,
    empty_figure,
    intervals,
    log_ticks,
    markers,
    panels,
    rows_label,
    short,
    spread,
)
from harness.statistics.frontier import FRONTIERS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CAPTION = (
    "Mean score of the benchmarks against the measured FLOPs of selection and fine-tuning "
    "together. A line joins a method's pool sizes at one budget; a larger marker is a larger pool. "
    "Nothing lies above and to the left of the step. Bars: 95 % interval, from the test items and, "
    "where there are several, the seeds. How likely a point is on the step, by "
    "measured FLOPs and by the paper's, in total and to select alone, is in the data."
)

_PANEL_HEIGHT = 5.6  # inches


def pareto_data(board: Board) -> pd.DataFrame:
    """The points of the plot; ``on_frontier`` is judged within a panel, among rivals."""
    parts = []
    for title, panel in panels(board.leaderboard):
        part = pd.concat([panel.assign(panel=title), intervals(panel)], axis=1)
        rivals = part[_drawn(part)]
        part["on_frontier"] = part.index.isin(frontier(rivals))
        parts.append(part)
    columns = [
        "panel", "series", "method", "pool", "pool_size", "budget", "target", "model",
        "selector_model", "recipe", "suite", "judge", "floor", "n_seeds", "flops_select",
        "flops_train", "flops_total", "mean", "low", "high", "error_kind", "on_frontier",
        "flops_paper", "flops_paper_select", *FRONTIERS,
    ]  # fmt: skip
    return pd.concat(parts)[columns] if parts else pd.DataFrame(columns=columns)


def frontier(rows: pd.DataFrame) -> list[int]:
    """Index labels of the rows that no other matches in cost and beats in score, by cost."""
    best, kept = -np.inf, []
    for index, row in rows.sort_values(["flops_total", "mean"], ascending=[True, False]).iterrows():
        if row["mean"] > best:
            best = row["mean"]
            kept.append(index)
    return kept


def draw_pareto(data: pd.DataFrame) -> Figure:
    """One panel under another."""
    from matplotlib.figure import Figure

    groups = [group for _, group in data.groupby("panel", sort=False)]
    if not groups:
        return empty_figure("No finished run with a score yet.")
    figure = Figure(figsize=(9, _PANEL_HEIGHT * len(groups)), layout="constrained")
    palette = colours(data.loc[~data["floor"].astype(bool), "method"])
    shapes = markers(data.loc[_drawn(data), "budget"])
    every = figure.subplots(len(groups), 1, squeeze=False)[:, 0]
    for axes, group in zip(every, groups, strict=True):
        _panel(axes, group.reset_index(drop=True), palette, shapes)
    _legend(figure, shapes, data)
    return figure


def _drawn(data: pd.DataFrame) -> pd.Series:
    """Rivals with a cost: a logarithmic axis has no place for zero."""
    return ~data["floor"].astype(bool) & (data["flops_total"].astype(float) > 0)


def _panel(axes: Axes, data: pd.DataFrame, palette: dict[str, str], shapes: dict[int, str]) -> None:
    points, lines = data[_drawn(data)], _floor_lines(data)
    sizes = _sizes(points)
    axes.set_xscale("log")
    axes.set_xlabel("measured FLOPs, selection + fine-tuning")
    axes.set_ylabel("mean score, %")
    if data["panel"].iloc[0]:
        axes.set_title(short(data["panel"].iloc[0], 90))
    _limits(axes, points, lines)
    drawn: list[np.ndarray] = []

    edge = points[points["on_frontier"]].sort_values("flops_total")
    if len(edge):
        x = [*edge["flops_total"], axes.get_xlim()[1]]
        y = [*edge["mean"], edge["mean"].iloc[-1]]
        axes.step(x, y, where="post", color="#b0b0b0", lw=5, alpha=0.45, zorder=1)
        drawn.append(np.column_stack([np.repeat(x, 2)[1:], np.repeat(y, 2)[:-1]]))
    for (_, budget), line in points.groupby(["series", "budget"], sort=True):
        line = line.sort_values(["pool_size", "flops_total"])
        colour = palette[line["method"].iloc[0]]
        xs, ys = line["flops_total"].to_numpy(float), line["mean"].to_numpy(float)
        lows, highs = line["low"].to_numpy(float), line["high"].to_numpy(float)
        axes.plot(xs, ys, color=colour, lw=1.4, alpha=0.8, zorder=3)
        axes.vlines(xs, lows, highs, colors=colour, lw=1.2, zorder=4)
        areas = [sizes[size] ** 2 for size in line["pool_size"]]
        axes.scatter(xs, ys, s=areas, c=colour, marker=shapes[budget], edgecolors="white", zorder=5)
        drawn.append(np.column_stack([xs, ys]))
        for x, y, low, high in zip(xs, ys, lows, highs, strict=True):
            drawn += [np.array([[x, y]]), np.array([[x, low], [x, high]])]
    for height in lines.values():
        axes.axhline(height, color=FLOOR_COLOUR, lw=1.1, ls=(0, (5, 3)), zorder=2)
        drawn.append(np.array([[x, height] for x in axes.get_xlim()]))

    _name_floors(axes, lines)
    ends = points.sort_values(["budget", "pool_size"]).groupby("series").tail(1).sort_values("mean")
    place(
        axes,
        list(zip(ends["flops_total"].astype(float), ends["mean"].astype(float), strict=True)),
        [short(series) for series in ends["series"]],
        [palette[method] for method in ends["method"]],
        drawn,
    )


def _sizes(points: pd.DataFrame) -> dict[int, float]:
    """Marker size in points for each pool size, from small to large."""
    sizes = sorted(set(points["pool_size"]))
    step = min(2.5, 7.0 / max(len(sizes) - 1, 1))
    return {size: 5.0 + step * at for at, size in enumerate(sizes)}


def _floor_lines(data: pd.DataFrame) -> dict[str, float]:
    """Label and height of the dashed lines: a floor's largest budget, for each pool size."""
    floors = data[data["floor"].astype(bool)].sort_values("budget")
    lines = {}
    for (series, size), cells in floors.groupby(["series", "pool_size"], sort=True):
        alone = floors.loc[floors["series"] == series, "pool_size"].nunique() == 1
        row = cells.iloc[-1]
        label = short(series, 22) + ("" if alone else f", {rows_label(size)}")
        lines[f"{label}\n{row['mean']:.1f}"] = float(row["mean"])
    return lines


def _name_floors(axes: Axes, lines: dict[str, float]) -> None:
    """Labels of the dashed lines in the right margin, kept apart."""
    low, high = axes.get_ylim()
    inches = 0.8 * _PANEL_HEIGHT
    height = (high - low) * 0.36 / inches  # two lines of text
    positions = spread(list(lines.values()), height, low, high)
    for label, position in zip(lines, positions, strict=True):
        axes.annotate(
            label, (1, lines[label]), (1.015, position), xycoords=axes.get_yaxis_transform(),
            textcoords=axes.get_yaxis_transform(), color=FLOOR_COLOUR, fontsize=8.5, va="center",
            annotation_clip=False, arrowprops={"arrowstyle": "-", "color": FLOOR_COLOUR, "lw": 0.6},
        )  # fmt: skip


def _limits(axes: Axes, points: pd.DataFrame, lines: dict[str, float]) -> None:
    heights = [*points["high"], *points["low"], *lines.values()]
    low, high = (min(heights), max(heights)) if heights else (0.0, 100.0)
    room = max(0.09 * (high - low), 1.0)
    axes.set_ylim(low - room, high + room)
    costs = points["flops_total"].astype(float)
    left, right = (costs.min(), costs.max()) if len(costs) else (1e12, 1e13)
    room = max(0.14 * np.log10(right / left), 0.3)
    axes.set_xlim(left / 10**room, right * 10**room)
    log_ticks(axes)


def _legend(figure: Figure, shapes: dict[int, str], data: pd.DataFrame) -> None:
    from matplotlib.lines import Line2D

    grey = "#606060"
    handles = [
        Line2D([], [], marker=shape, ls="", color=grey, ms=6.5, label=f"budget {budget:,}")
        for budget, shape in shapes.items()
    ]
    sizes = _sizes(data[_drawn(data)])
    named = list(sizes) if len(sizes) <= 4 else [min(sizes), max(sizes)]
    if len(sizes) > 1:
        handles += [
            Line2D(
                [], [], marker="o", ls="", color=grey, ms=sizes[size], mfc="none",
                label=f"pool of {size:,}",
            )
            for size in named
        ]  # fmt: skip
    if data["on_frontier"].any():
        handles.append(Line2D([], [], color="#b0b0b0", lw=5, alpha=0.45, label="Pareto frontier"))
    if handles:
        figure.legend(handles=handles, loc="outside lower center", ncols=min(5, len(handles)))
