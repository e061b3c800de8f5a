"""What each method's compute goes into: a bar a cell, a colour a stage, both conventions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from harness.board import Board
from harness.board_rows import STAGES
from harness.report.style import LARGEST, empty_figure, largest, rows_label, short

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CAPTION = (
    "FLOPs of selection (warm-up training, pass over the pool, pass over the queries, similarity "
    "products of the ordering) and of fine-tuning at one pool size and budget, cheapest first. "
    "Evaluation is no part of a method's cost."
)
WORDS = {
    "warmup": "warm-up", "score": "pool pass", "queries": "query pass", "order": "ordering",
    "train": "fine-tuning",
}  # fmt: skip
_COLOURS = {
    "warmup": "#CC79A7", "score": "#0072B2", "queries": "#56B4E9", "order": "#117733",
    "train": "#E69F00",
}  # fmt: skip


def cost_data(board: Board) -> pd.DataFrame:
    """FLOPs by cell and stage at the largest pool and budget, means over the runs."""
    from harness.report.pagedata import cell_costs, cell_records

    columns = ["setting", "pool", "pool_size", "budget", "series", "stage", "flops", "flops_paper"]
    setting, chosen = largest(board.leaderboard)
    if chosen.empty:
        return pd.DataFrame(columns=columns)
    chosen = chosen.sort_values("flops_total")
    rows = []
    for (_, row), records in zip(chosen.iterrows(), cell_records(board, chosen), strict=True):
        measured, paper, _ = cell_costs(records)
        for stage in WORDS:
            at = STAGES.index(stage)
            rows.append(
                (setting, *(row[key] for key in LARGEST), row["series"], stage, measured[at],
                 paper[at])
            )  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def draw_costs(data: pd.DataFrame) -> Figure:
    """Two panels of stacked bars: as measured, and in the paper's convention."""
    from matplotlib.figure import Figure

    if data.empty or not (data[["flops", "flops_paper"]].to_numpy(float) > 0).any():
        return empty_figure("No finished run with a cost yet.")
    names = list(dict.fromkeys(data["series"]))
    figure = Figure(figsize=(9.5, 1.7 + 0.34 * max(len(names), 4)), layout="constrained")
    grid = figure.subplots(1, 2, sharey=True)
    for axes, column, title in zip(
        grid, ("flops", "flops_paper"), ("measured", "the paper's convention"), strict=True
    ):
        table = data.pivot_table(index="series", columns="stage", values=column, aggfunc="first")
        table = table.reindex(names).astype(float)
        left = pd.Series(0.0, index=table.index)
        for stage in WORDS:
            if not table[stage].any():
                continue
            axes.barh(
                range(len(names)), table[stage], left=left, height=0.72, label=WORDS[stage],
                color=_COLOURS[stage], edgecolor="white", linewidth=0.8,
            )  # fmt: skip
            left = left + table[stage]
        axes.set_title(title)
        axes.set_xlabel("FLOPs")
        axes.grid(False, axis="y")
        axes.tick_params(axis="y", length=0)
    grid[0].set_yticks(range(len(names)), [short(name) for name in names])
    grid[0].invert_yaxis()
    handles: dict[str, Any] = {}
    for axes in grid:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    figure.legend(list(handles.values()), list(handles), loc="outside lower center", ncols=5)
    first = data.iloc[0]
    figure.suptitle(
        f"{first['setting'] + ': ' if first['setting'] else ''}pool {short(first['pool'], 24)} of "
        f"{rows_label(first['pool_size'])}, budget {first['budget']:,}",
        fontsize=10.5, x=0.01, ha="left",
    )  # fmt: skip
    return figure
