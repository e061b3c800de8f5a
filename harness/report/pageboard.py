"""The board as the page writes it: headings, and text and look of every cell of the table.

The table stands in the page as HTML, so that it is there without a script; the script sorts and
filters it by the numbers of ``pagedata``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from harness.board import Board
from harness.report.table import contests, flops, is_tie, p_text, signed


@dataclass(frozen=True)
class Head:
    """A column. ``key`` says to the script what to sort by; ``group`` which switch hides it."""

    key: str
    words: str
    group: str = ""
    title: str = ""


@dataclass(frozen=True)
class Row:
    """``cell`` is its place in the page's data; ``texts`` are (text, addition, class) by column."""

    cell: int
    look: str
    name: str
    notes: str
    texts: list[tuple[str, str, str]]


def heads(board: Board, benchmarks: list[str]) -> list[Head]:
    """The columns after the method's."""
    versus = f"− {board.statistics.reference}"
    return [
        Head("mean", "mean", "", "mean of the benchmarks, %; ± standard deviation over seeds"),
        Head("mean_low", "95 % interval", "chance", "of the mean, from items and seeds"),
        Head("difference", versus, "chance", "difference of means, paired on the test items"),
        Head("difference_low", "its interval", "chance", "95 % interval of the difference"),
        Head("p_holm", "p", "chance", "two-sided, corrected after Holm within the setting"),
        Head("rank", "rank", "chance", "95 % of the bootstrap draws"),
        Head("frontier_probability", "frontier", "chance",
             "share of bootstrap draws in which nothing cheaper is as good (measured FLOPs, "
             "selection + fine-tuning)"),
        Head("cost:total", "FLOPs", "", "measured, selection and fine-tuning"),
        *(Head(f"b:{name}", name, "benchmarks") for name in benchmarks),
        Head("cost:select", "to select", "costs", "measured FLOPs of the selection"),
        Head("cost:train", "to train", "costs", "measured FLOPs of the fine-tuning"),
        Head("cost:paper", "paper's", "costs", "FLOPs in the paper's convention"),
        Head("n_seeds", "seeds", "setting"),
        Head("pool_size", "pool size", "setting"),
        Head("budget", "budget", "setting"),
        Head("target", "target", "setting"),
        Head("selector_model", "selector model", "setting"),
    ]  # fmt: skip


def board_groups(board: Board, benchmarks: list[str]) -> list[tuple[str, list[Row]]]:
    """Title and rows of each contest, in the order of ``pagedata``'s groups."""
    table = board.leaderboard[board.leaderboard["part_of"] == ""]
    place = {index: at for at, index in enumerate(table.index)}
    several = {name: _several(table, name) for name in ("selector_model", "target")}
    made: dict[Any, Row] = {}  # a floor stands under several contests
    groups = []
    for title, rows in contests(board.leaderboard):
        for index, row in zip(rows.index, rows.to_dict("records"), strict=True):
            if index not in made:
                made[index] = _row(place[index], row, benchmarks, several)
        groups.append((title, [made[index] for index in rows.index]))
    return groups


def _row(
    place: int, row: Mapping[Any, Any], benchmarks: list[str], several: Mapping[str, bool]
) -> Row:
    look = "floor" if row["floor"] else "best" if row["rank"] == 1 else ""
    notes = ["floor"] if row["floor"] else []
    notes += [f"{row['scored']} only"] if row["scored"] != "suite" else []
    if several["selector_model"] and row["selector_model"] != "none":
        notes.append(f"by {row['selector_model']}")
    if several["target"] and row["target"] not in ("any", "none"):
        notes.append(f"for {row['target']}")
    tie = "tie" if is_tie(_series(row), "mean") else ""
    spread = f"± {row['mean_sd']:.1f}" if pd.notna(row["mean_sd"]) else ""
    low, high = row["rank_low"], row["rank_high"]
    places = "" if pd.isna(low) else f"{low:.0f}" if low == high else f"{low:.0f}–{high:.0f}"
    chance = row["frontier_probability"]
    failed = f"({row['n_failed']} failed)" if row["n_failed"] else ""
    texts = [
        (_score(row["mean"]), spread, tie),
        (_span(row["mean_low"], row["mean_high"]), "", f"soft {tie}"),
        (_signed(row["difference"]), "", tie),
        (_span(row["difference_low"], row["difference_high"], sign=True), "", f"soft {tie}"),
        (_blank(p_text(row["p_holm"])), "", tie),
        (places, "", "top" if row["tied_with_best"] is True else ""),
        ("" if pd.isna(chance) else f"{100 * chance:.0f} %", "", "" if chance >= 0.005 else "soft"),
        (flops(row["flops_total"]), "", ""),
        *(
            (_score(row[name]), "", "tie" if is_tie(_series(row), name) else "")
            for name in benchmarks
        ),
        *((flops(row[f"flops_{name}"]), "", "") for name in ("select", "train", "paper")),
        (str(row["n_seeds"]), failed, "failed" if failed else ""),
        (_whole(row["pool_size"]), "", ""),
        (_whole(row["budget"]), "", ""),
        (row["target"], "", "text"),
        (row["selector_model"], "", "text"),
    ]
    return Row(place, look, str(row["method"]), ", ".join(notes), texts)


def _series(row: Mapping[Any, Any]) -> Any:
    return row  # is_tie reads two columns, of a mapping as of a Series


def _several(table: pd.DataFrame, name: str) -> bool:
    """Whether rows have to say which ``name`` they have."""
    return bool(table.loc[~table[name].isin(["any", "none"]), name].nunique() > 1)


def _score(value: Any) -> str:
    return "" if value is None or pd.isna(value) else f"{value:.1f}"


def _signed(value: Any) -> str:
    return _blank(signed(value).replace("-", "−") if pd.notna(value) else "")


def _span(low: Any, high: Any, *, sign: bool = False) -> str:
    if low is None or pd.isna(low) or pd.isna(high):
        return ""
    if sign:
        return f"{low:+.1f} to {high:+.1f}".replace("-", "−")
    return f"{low:.1f} to {high:.1f}"


def _whole(value: Any) -> str:
    return "" if value is None or pd.isna(value) else f"{int(value):,}"


def _blank(text: str) -> str:
    return "" if text == "-" else text
