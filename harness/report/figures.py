"""All figures of a report: data, picture, files and the words below."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from harness.board import Board
from harness.report import benchmarks, budgets, costs, pareto, scores, sources
from harness.report.selected import Selections
from harness.report.style import SETTINGS, save

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing


@dataclass(frozen=True)
class Figure:
    """A figure of every report. The page draws the same by itself, from ``pagedata``."""

    name: str
    title: str
    caption: str
    data: Callable[[Board, Selections], pd.DataFrame]
    draw: Callable[[pd.DataFrame], Drawing]


FIGURES = (
    Figure(
        "pareto", "Score against compute", pareto.CAPTION,
        lambda board, _: pareto.pareto_data(board), pareto.draw_pareto,
    ),
    Figure(
        "budgets", "Score against budget", budgets.CAPTION,
        lambda board, _: budgets.budget_data(board), budgets.draw_budgets,
    ),
    Figure(
        "benchmarks", "Each benchmark by itself", benchmarks.CAPTION,
        lambda board, _: benchmarks.benchmark_data(board), benchmarks.draw_benchmarks,
    ),
    Figure(
        "sources", "What was selected", sources.CAPTION,
        lambda board, _: sources.source_data(board), sources.draw_sources,
    ),
    Figure(
        "scores", "Scores of what was selected", scores.CAPTION,
        scores.score_data, scores.draw_scores,
    ),
    Figure(
        "costs", "Where the compute goes", costs.CAPTION,
        lambda board, _: costs.cost_data(board), costs.draw_costs,
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Picture:
    """A written figure. ``paths`` has keys such as ``pareto_png``."""

    name: str
    title: str
    caption: str
    paths: dict[str, Path]


def write_figures(
    board: Board, folder: Path, selections: Selections | None = None
) -> list[Picture]:
    """Draw every figure of ``board`` into ``folder`` as PNG, SVG and CSV."""
    import matplotlib

    selections = selections or Selections(())
    pictures = []
    with matplotlib.rc_context(SETTINGS), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        for figure in FIGURES:
            table = figure.data(board, selections)
            paths = save(figure.draw(table), table, folder, figure.name)
            pictures.append(Picture(figure.name, figure.title, figure.caption, paths))
    return pictures
