"""Scores of the selected rows: a histogram a method."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from harness.board import Board
from harness.report.selected import Selections, histogram
from harness.report.style import LARGEST, colours, empty_figure, largest, rows_label, short

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CAPTION = (
    "How the scores of the selected rows are spread, each method on its own scale, all seeds "
    "together. Round-robin methods show the score by which each row was placed; methods without "
    "scores (random, balanced) have no panel."
)


def score_data(board: Board, selections: Selections) -> pd.DataFrame:
    """Bins by cell at the largest pool and budget: ``low, high, rows`` of each."""
    from harness.report.pagedata import cell_records

    columns = ["setting", "pool", "pool_size", "budget", "series", "method", "low", "high", "rows"]
    setting, chosen = largest(board.leaderboard)
    if chosen.empty:
        return pd.DataFrame(columns=columns)
    rows = []
    for (_, row), records in zip(chosen.iterrows(), cell_records(board, chosen), strict=True):
        values = selections.scores(records)
        if values is None or not len(values):
            continue
        low, high, counts = histogram(values)
        edges = np.linspace(low, high, len(counts) + 1)
        for at, count in enumerate(counts):
            rows.append(
                (setting, *(row[key] for key in LARGEST), row["series"], row["method"],
                 float(edges[at]), float(edges[at + 1]), count)
            )  # fmt: skip
    data = pd.DataFrame(rows, columns=columns)
    data.attrs["methods"] = chosen.attrs["methods"]
    return data


def draw_scores(data: pd.DataFrame) -> Figure:
    """Small panels, at most four in a line."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    if data.empty:
        return empty_figure("No scores of selected rows lie beside these records.")
    names = list(dict.fromkeys(data["series"]))
    columns = min(4, len(names))
    lines = math.ceil(len(names) / columns)
    figure = Figure(figsize=(2.5 * columns + 0.8, 1.7 * lines + 0.6), layout="constrained")
    grid = figure.subplots(lines, columns, squeeze=False)
    palette = colours(data.attrs.get("methods", data["method"]))
    for axes, name in zip(grid.flat, names, strict=False):
        part = data[data["series"] == name]
        width = part["high"] - part["low"]
        axes.bar(
            part["low"], part["rows"], width=width, align="edge",
            color=palette[part["method"].iloc[0]], edgecolor="white", linewidth=0.4,
        )  # fmt: skip
        axes.set_title(short(name, 26))
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    for axes in grid[:, 0]:
        axes.set_ylabel("rows")
    for axes in list(grid.flat)[len(names) :]:
        axes.set_visible(False)
    figure.supxlabel("score", fontsize=9.5)
    first = data.iloc[0]
    figure.suptitle(
        f"{first['setting'] + ': ' if first['setting'] else ''}pool {short(first['pool'], 24)} of "
        f"{rows_label(first['pool_size'])}, budget {first['budget']:,}",
        fontsize=10.5, x=0.01, ha="left",
    )  # fmt: skip
    return figure
