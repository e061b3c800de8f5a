"""The paper's figures with our points: score against FLOPs by its convention, or rows selected.

Hollow marks are the paper's, filled ones ours. Ours stand in the same axes, but for those of the
embedded scale, which is no evidence and lies decades away: they have axes of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from harness.report.compared_scores import Compared
from harness.report.labels import place
from harness.report.style import SETTINGS, colours, empty_figure, log_ticks, save, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAME = "published"
TITLE = "Beside the paper's figures"
CAPTION = (
    "Hollow marks are the paper's, filled ones ours with their 95 % intervals; a line joins what "
    "the paper's does. FLOPs are by the paper's convention on both sides: 2N a token to select and "
    "6N to train, 2,048 tokens a row. Figures 3 and 4 were read off the published plots to about "
    "0.1. Runs of the embedded scale have axes of their own and are no evidence for or against the "
    "paper's."
)
AXES = {"flops": "FLOPs of selection and fine-tuning, paper's convention", "rows": "rows selected"}
COLUMNS = ("figure", "axis", "side", "micro", "table", "setting", "line", "method", "x", "score",
           "low", "high")  # fmt: skip


def points(tables: Sequence[Compared]) -> pd.DataFrame:
    """A row a point, COLUMNS: ``side`` is paper or ours, ``x`` FLOPs or rows as ``axis`` says.

    ``method`` is ours where a run of ours stands beside the paper's line, else empty.
    """
    found = []
    seen = set()
    for table in tables:
        published = table.published
        if published.pool:  # what was selected has no place in a plot of scores
            continue
        methods = _methods(table)
        base = {"figure": published.figure, "table": published.name, "micro": table.micro}
        for axis in AXES:
            for _, cell in table.cells[table.cells[f"published_{axis}"].notna()].iterrows():
                line = cell[published.lines]
                own = base | {"axis": axis, "line": line, "method": methods.get(line, "")}
                place = (published.name, axis, cell["row"], cell["column"])
                if place not in seen:
                    seen.add(place)
                    theirs = {"x": cell[f"published_{axis}"], "score": cell["published"]}
                    found.append(own | theirs | {"side": "paper", "setting": published.source})
                if pd.notna(cell["ours"]):
                    ours = {"x": cell[axis], "score": cell["ours"], "low": cell["ours_low"],
                            "high": cell["ours_high"]}  # fmt: skip
                    found.append(own | ours | {"side": "ours", "setting": table.ours})
    return pd.DataFrame(found, columns=COLUMNS)


# As harness.report.figures has them; the page draws the same by itself (published.js).
def figure(tables: Sequence[Compared]) -> list[dict[str, str]]:
    """Name, title and caption, if there is anything to draw."""
    drawn = not points([table for table in tables if table.setting]).empty
    return [{"name": NAME, "title": TITLE, "caption": CAPTION}] if drawn else []


def _methods(table: Compared) -> dict[str, str]:
    """By line of the figure, the first of our methods that stands in it."""
    own = table.cells[table.cells["ours"].notna()]
    return dict(zip(own[table.published.lines][::-1], own["method"][::-1], strict=True))


def page_points(tables: Sequence[Compared]) -> list[dict[str, Any]]:
    """The points for the page's chart: those of tables that we have a run of; ``None`` for gaps."""
    data = points([table for table in tables if table.setting])
    palette = colours(data["line"])
    rows = data.astype(object).where(data.notna(), None).to_dict("records")
    return [
        {str(key): value for key, value in row.items()} | {"colour": palette[row["line"]]}
        for row in rows
    ]


def write_published(tables: Sequence[Compared], folder: Path) -> dict[str, Path]:
    """Draw ``published.png``, ``.svg`` and ``.csv`` into ``folder``; nothing without points."""
    import matplotlib

    data = points([table for table in tables if table.setting])
    if data.empty:
        return {}
    with matplotlib.rc_context(SETTINGS):
        return save(draw(data), data, folder, NAME)


def draw(data: pd.DataFrame) -> Figure:
    """A line of axes for each figure and kind of x axis."""
    from matplotlib.figure import Figure

    groups = [group for _, group in data.groupby(["figure", "axis"], sort=False)]
    if not groups:
        return empty_figure("None of the paper's figures has a run of ours.")
    wide = 2 if data["micro"].any() else 1
    figure = Figure(figsize=(6.2 * wide + 1, 5 * len(groups)), layout="constrained")
    grid = figure.subplots(len(groups), wide, squeeze=False)
    palette = colours(data["line"])
    for line, group in zip(grid, groups, strict=True):
        apart = bool(group["micro"].any())
        theirs = group[(group["side"] == "paper") | ~group["micro"].astype(bool)]
        _axes(line[0], theirs, palette, "the paper's" if apart else "")
        if apart:
            ours = group[(group["side"] == "ours") & group["micro"].astype(bool)]
            _axes(line[1], ours, palette, "ours, embedded scale: no evidence")
        elif wide > 1:
            line[1].set_visible(False)
    return figure


def _axes(axes: Axes, data: pd.DataFrame, palette: dict[str, str], words: str) -> None:
    title = data["figure"].iloc[0] if len(data) else ""
    axes.set_title("\n".join(part for part in (short(title, 60), words) if part))
    axes.set_ylabel("mean score, %")
    data = data[data["x"].astype(float) > 0]
    if data.empty:
        axes.text(0.5, 0.5, "no run yet", transform=axes.transAxes, ha="center")
        return
    axes.set_xscale("log")
    axes.set_xlabel(AXES[data["axis"].iloc[0]])
    x, score = data["x"].astype(float), data["score"].astype(float)
    low = data["low"].astype(float).fillna(score).min()
    high = data["high"].astype(float).fillna(score).max()
    room = max(0.1 * (high - low), 1.0)
    axes.set_ylim(low - room, high + room)
    room = max(0.14 * np.log10(x.max() / x.min()), 0.2)
    axes.set_xlim(x.min() / 10**room, x.max() * 10**room)
    log_ticks(axes)
    drawn: list[np.ndarray] = []
    ends: dict[str, tuple[float, float]] = {}
    for (line, side, _), part in data.groupby(["line", "side", "setting"], sort=False):
        drawn.append(_line(axes, part.sort_values("x"), palette[str(line)], side == "ours"))
        # Lines that meet in the whole pool are named before they do.
        ends.setdefault(str(line), tuple(drawn[-1][-2 if len(part) > 2 else -1]))
    if data["side"].nunique() > 1:
        for side, face in (("paper", "white"), ("ours", "#606060")):
            axes.scatter([], [], s=42, facecolors=face, edgecolors="#606060", label=side)
        axes.legend(loc="lower right")
    place(axes, list(ends.values()), [short(name) for name in ends],
          [palette[name] for name in ends], drawn)  # fmt: skip


def _line(axes: Axes, part: pd.DataFrame, colour: str, ours: bool) -> np.ndarray:
    """Draw one line's points; returns them, [n, 2]."""
    xs, ys = part["x"].to_numpy(float), part["score"].to_numpy(float)
    look: dict[str, Any] = {"color": colour, "lw": 1.3, "alpha": 0.8}
    axes.plot(xs, ys, ls="-" if ours else (0, (4, 3)), zorder=3, **look)
    if ours:
        low, high = (part[end].astype(float).to_numpy() for end in ("low", "high"))
        axes.vlines(xs, np.where(np.isnan(low), ys, low), np.where(np.isnan(high), ys, high),
                    colors=colour, lw=1.2)  # fmt: skip
    face = colour if ours else "white"
    axes.scatter(xs, ys, s=42, facecolors=face, edgecolors=colour, linewidths=1.5, zorder=5)
    return np.column_stack([xs, ys])
