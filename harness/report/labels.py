"""Labels beside points that overlap neither each other nor what is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SIDES = [(1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (1, -1), (-1, 1), (-1, -1)]
_DISTANCES = (9, 16, 26, 40, 58, 80)  # points


def place(
    axes: Axes,
    anchors: Sequence[tuple[float, float]],
    texts: Sequence[str],
    colours: Sequence[str],
    drawn: Sequence[np.ndarray],
) -> None:
    """Write each text near its anchor, where it covers least.

    Args:
        axes: with final limits.
        anchors: points in data coordinates.
        texts: one label each.
        colours: one each.
        drawn: poly-lines of shape (n, 2) in data coordinates that labels should keep off; a marker
            is a line of one point.
    """
    figure: Any = axes.figure
    figure.draw_without_rendering()
    scale = figure.dpi / 72
    obstacles = _sample([axes.transData.transform(line) for line in drawn])
    frame = axes.get_window_extent()
    taken: list[tuple[float, float, float, float]] = []
    for (x, y), text, colour in zip(anchors, texts, colours, strict=True):
        label = axes.annotate(
            text, (x, y), (0, 0), textcoords="offset points", color=colour, fontsize=9,
            fontweight="bold", zorder=6, va="center", ha="center",
        )  # fmt: skip
        box = label.get_window_extent()
        width, height = box.width + 2 * scale, box.height + 2 * scale
        centre = axes.transData.transform((x, y))
        best: tuple[float, Any] = (np.inf, None)
        for distance in _DISTANCES:
            for dx, dy in _SIDES:
                at = centre + scale * distance * np.array([dx, dy])
                at = at + np.array([dx * width, dy * height]) / 2
                area = (
                    at[0] - width / 2,
                    at[1] - height / 2,
                    at[0] + width / 2,
                    at[1] + height / 2,
                )
                cost = _cost(area, taken, obstacles, frame) + distance / 20
                if cost < best[0]:
                    best = (cost, (at, area, distance))
        at, area, distance = best[1]
        taken.append(area)
        label.set_position(tuple((at - centre) / scale))
        if distance > _DISTANCES[1]:
            axes.annotate(
                "", (x, y), tuple((at - centre) / scale), textcoords="offset points", zorder=2,
                arrowprops={"arrowstyle": "-", "color": colour, "lw": 0.7, "alpha": 0.6,
                            "shrinkA": height / scale / 2, "shrinkB": 4},
            )  # fmt: skip


def _cost(
    area: tuple[float, float, float, float],
    taken: Sequence[tuple[float, float, float, float]],
    obstacles: np.ndarray,
    frame: Any,
) -> float:
    """How bad a place is: leaving the axes, then other labels, then covered drawing."""
    x0, y0, x1, y1 = area
    outside = x0 < frame.x0 or x1 > frame.x1 or y0 < frame.y0 or y1 > frame.y1
    clash = sum(x0 < b[2] and b[0] < x1 and y0 < b[3] and b[1] < y1 for b in taken)
    covered = 0
    if len(obstacles):
        inside_x = (obstacles[:, 0] > x0 - 3) & (obstacles[:, 0] < x1 + 3)
        covered = int((inside_x & (obstacles[:, 1] > y0 - 3) & (obstacles[:, 1] < y1 + 3)).sum())
    return 1000.0 * outside + 300.0 * clash + covered


def _sample(lines: Sequence[np.ndarray], step: float = 5.0) -> np.ndarray:
    """Points at most ``step`` pixels apart along poly-lines; single points count ten times."""
    points = [np.empty((0, 2))]
    for line in lines:
        if len(line) == 1:
            points.append(np.repeat(line, 10, axis=0))
        for start, end in pairwise(line):
            count = max(2, int(np.hypot(*(end - start)) / step) + 1)
            points.append(np.linspace(start, end, count))
    return np.concatenate(points)
