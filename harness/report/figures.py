"""All figures of a report: data, picture, files and the words below."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

from harness.board import Board
from harness.report import benchmarks, budgets, pareto, sources
from harness.report.style import SETTINGS, save

_FIGURES = (
    ("pareto", "Score against compute", pareto.pareto_data, pareto.draw_pareto, pareto.CAPTION),
    ("budgets", "Score against budget", budgets.budget_data, budgets.draw_budgets, budgets.CAPTION),
    ("sources", "What was selected", sources.source_data, sources.draw_sources, sources.CAPTION),
    (
        "benchmarks",
        "Each benchmark by itself",
        benchmarks.benchmark_data,
        benchmarks.draw_benchmarks,
        benchmarks.CAPTION,
    ),
)


@dataclass(frozen=True)
class Picture:
    """A written figure. ``paths`` has keys such as ``pareto_png``."""

    name: str
    title: str
    caption: str
    paths: dict[str, Path]


def write_figures(board: Board, folder: Path) -> list[Picture]:
    """Draw every figure of ``board`` into ``folder`` as PNG, SVG and CSV."""
    import matplotlib

    pictures = []
    with matplotlib.rc_context(SETTINGS), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        for name, title, data, draw, caption in _FIGURES:
            table = data(board)
            paths = save(draw(table), table, folder, name)
            pictures.append(Picture(name, title, caption, paths))
    return pictures
