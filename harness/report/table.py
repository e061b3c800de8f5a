"""The board in the terminal: readable at 100 columns, in a log file and without colour."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.board import Board, spending
from harness.board_rows import BENCHMARKS
from harness.report.compared import compare
from harness.report.compared_scores import Compared
from harness.report.style import short
from harness.statistics.contest import CONTEST

_HEADS = {"mmlu": "MMLU", "gsm8k": "GSM8k", "bbh": "BBH", "tydiqa": "TyDi", "codex": "Codex",
          "squad": "SQuAD", "alpaca_eval": "Alpaca"}  # fmt: skip
_WIDTH = 100  # where there is no terminal to ask
_FOLDERS = ("plots", "compared", "tables")
_BESIDE = 3  # columns of a published table that fit beside ours; more stand above each other
_FAILURES = 8  # as many are named; all are in runs.csv


def print_board(
    board: Board,
    written: Mapping[str, Path],
    console: Console | None = None,
    compare_with: Iterable[str] = (),
) -> None:
    """Print leaderboard, published tables, failures, what was spent and what was written.

    Args:
        board: from records.
        written: paths by name, as ``build_report`` gives them; plots are named by their folder.
        console: standard output unless told.
        compare_with: published tables to lay beside, besides those that the records name.
    """
    if console is None:
        console = Console(highlight=False)
        if not console.is_terminal:
            console.width = _WIDTH
    plain = "utf" not in (console.encoding or "").lower()
    # Names come from records and are never read as markup: everything is a Text.
    for title, rows in contests(board.leaderboard):
        console.print()
        console.print(_text(title, plain, "bold"))
        console.print(_table(board, rows, plain))
        if rows["difference"].notna().any():
            console.print(_chances(board, rows, plain))
    for table in compare(board, compare_with):
        _print_compared(table, plain, console)
    if board.leaderboard["difference"].notna().any():
        console.print(_text(_grey(board), plain, "dim"))
    for row in board.statistics.decisions:
        console.print(_text(decision_text(row), plain))
    for warning in [*board.warnings, *board.statistics.notes]:
        console.print(_text(f"note: {warning}", plain, "yellow"))
    _print_failures(board, plain, console)
    done = int((board.runs["status"] == "done").sum())
    total = spending(board.records).loc["total"]
    line = f"{done} of {len(board.runs)} runs done"
    if total["flops"]:
        line += (
            f"; {flops(total['flops'])} FLOPs at full price, {flops(total['flops_spent'])} spent"
        )
    console.print(_text(line, plain))
    shown = {name: path for name, path in written.items() if path.parent.name not in _FOLDERS}
    folders = {path.parent for path in written.values() if path.parent.name in _FOLDERS}
    for path in [*shown.values(), *sorted(folders)]:
        console.print(_text(f"  {path}", plain), soft_wrap=True)


def _print_compared(compared: Compared, plain: bool, console: Console) -> None:
    """Columns in which we have something, the paper's figure and ours beside each other."""
    published = compared.published
    if not compared.setting:
        console.print(_text(f"note: {published.source}: {compared.ours}", plain, "yellow"))
        return
    filled = compared.cells[compared.cells["ours"].notna()]
    columns = [name for name in published.columns if name in set(filled["column"])]
    console.print()
    console.print(_text(f"{published.title} ({published.source})", plain, "bold"))
    table = Table(
        box=box.ASCII2 if plain else box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False
    )
    table.add_column("", max_width=36, overflow="fold")
    stacked = len(columns) > _BESIDE
    for name in columns:
        head = short(name, 14)
        table.add_column(_text(head if stacked else f"{head}: paper", plain), justify="right")
        if not stacked:
            table.add_column("ours", justify="right", no_wrap=True)
    for row in compared.rows:
        pairs = [compared.pair(row, name) for name in columns]
        label = compared.label("row", row)
        if not stacked:
            words = f"{row} ({label})" if label else row
            flat = [text for both in pairs for text in both]
            table.add_row(*(_text(text, plain) for text in (words, *flat)))
            continue
        table.add_row(*(_text(text, plain) for text in (row, *(theirs for theirs, _ in pairs))))
        if any(ours for _, ours in pairs):
            texts = [ours.partition(" ")[0] for _, ours in pairs]  # intervals stand below
            table.add_row(*(_text(text, plain, "bold") for text in (f"  ours: {label}", *texts)))
    console.print(table)
    apart = Table(
        box=box.ASCII2 if plain else box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False
    )
    apart.add_column(compared.what, max_width=36, overflow="fold")
    for head in compared.heads:
        apart.add_column(_text(short(head, 30).replace("−", "-"), plain), justify="right")
    found = compared.differences()
    several = len({column for _, column, *_ in found}) > 1
    for row, column, *figures in found:
        name = f"{row}, {column}" if several else row
        apart.add_row(*(_text(text, plain) for text in (name, *figures)))
    if apart.row_count:
        console.print(apart)
    console.print(_text(f"{compared.caption} {compared.remark}", plain, "dim"))


def contests(leaderboard: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Title and rows of each contest: its rivals, best first, then the floors that belong to it.

    The parts of a ``single_task`` row are left to ``leaderboard.csv``.
    """
    leaderboard = leaderboard[leaderboard["part_of"] == ""]
    floor = leaderboard["floor"].astype(bool)
    rivals, floors = leaderboard[~floor], leaderboard[floor]
    base = ["suite", "judge", "model"]
    varying = [name for name in (*base, "recipe", "pool") if rivals[name].nunique() > 1]
    found = []
    for key, rows in rivals.groupby(list(CONTEST), sort=True):
        cell = dict(zip(CONTEST, key, strict=True))
        fits = (floors[base] == pd.Series({name: cell[name] for name in base})).all(axis=1)
        fits &= floors["pool"].isin([cell["pool"], "none"]) & floors["recipe"].isin(
            [cell["recipe"], "none"]
        )
        own = floors["pool_size"].eq(cell["pool_size"]) & (
            floors["budget"].eq(cell["budget"]) | floors["budget"].eq(floors["pool_size"])
        )
        below = floors[fits & (own | floors["budget"].eq(0))].sort_values(
            ["mean", "method"], ascending=[False, True], na_position="last"
        )
        words = [f"{name} {cell[name]}" for name in varying]
        words += [f"pool size {cell['pool_size']:,}", f"budget {cell['budget']:,}"]
        found.append((", ".join(words), pd.concat([rows, below])))
    if rivals.empty and len(floors):
        found.append(("floors", floors))
    return found


def _table(board: Board, rows: pd.DataFrame, plain: bool) -> Table:
    table = Table(
        box=box.ASCII2 if plain else box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False
    )
    table.add_column("method", max_width=26, overflow="fold")
    benchmarks = [
        name for name in board.benchmarks if name in BENCHMARKS or rows[name].notna().any()
    ]
    for name in benchmarks:
        table.add_column(_HEADS.get(name, short(name, 8)), justify="right", no_wrap=True)
    table.add_column("mean", justify="right", no_wrap=True)
    table.add_column("FLOPs", justify="right", no_wrap=True)
    named = namer(rows)
    for _, row in rows.iterrows():
        name = named(row)
        if row["floor"]:
            name += " (floor)"
        if row["scored"] != "suite":
            name += f" ({row['scored']} only)"
        if row["n_failed"]:
            name += f" ({row['n_failed']} failed)"
        style = "dim" if row["floor"] else "bold" if row["rank"] == 1 else ""
        cells = [_text(name, plain, style)]
        for head in benchmarks:
            cells.append(_text(_number(row[head]), plain, "dim" if is_tie(row, head) else style))
        mean_style = "dim" if is_tie(row, "mean") else style
        cells += [_text(mean_text(row), plain, mean_style), _text(flops(row["flops_total"]), plain)]
        table.add_row(*cells)
    return table


def namer(rows: pd.DataFrame) -> Callable[[pd.Series], str]:
    """Gives a row's method with those of its choices that differ within the table."""
    targets = rows.loc[~rows["target"].isin(["any", "none"]), "target"].nunique()
    selectors = rows.loc[rows["selector_model"] != "none", "selector_model"].nunique()

    def named(row: pd.Series) -> str:
        name = short(row["method"], 48)
        if selectors > 1 and row["selector_model"] != "none":
            name += f" by {row['selector_model']}"
        if targets > 1 and row["target"] not in ("any", "none", row["scored"]):
            name += f" > {row['target']}"
        return name

    return named


def is_tie(row: pd.Series, name: str) -> bool:
    """Whether a score (a benchmark's column, or the mean) cannot be told from the reference's."""
    value = row["tie"] if name == "mean" else row[f"{name}_tie"]
    return value is True or (not isinstance(value, bool) and pd.notna(value) and bool(value))


def _chances(board: Board, rows: pd.DataFrame, plain: bool) -> Table:
    """What is chance and what is not, a row a method."""
    table = Table(
        box=box.ASCII2 if plain else box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False
    )
    table.add_column("method", max_width=26, overflow="fold")
    heads = (f"- {short(board.statistics.reference, 14)}", "95 % interval", "p (Holm)", "sees",
             "rank", "avg rank", "frontier")  # fmt: skip
    for head in heads:
        table.add_column(_text(head, plain), justify="right", no_wrap=True)
    named = namer(rows)
    for _, row in rows.iterrows():
        if pd.isna(row["difference"]) and pd.isna(row["mean_rank"]):
            continue
        span = "-"
        if pd.notna(row["difference_low"]):
            span = f"{signed(row['difference_low'])} to {signed(row['difference_high'])}"
        places = "-"
        if pd.notna(row["rank_low"]):
            low, high = int(row["rank_low"]), int(row["rank_high"])
            places = f"{low}" if low == high else f"{low} to {high}"
        chance = row["frontier_probability"]
        cells = [
            named(row) + (" (floor)" if row["floor"] else ""),
            signed(row["difference"]), span, p_text(row["p_holm"]),
            _number(row["minimum_detectable"]), places, _number(row["mean_rank"]),
            "-" if pd.isna(chance) else f"{100 * chance:.0f} %",
        ]  # fmt: skip
        style = "dim" if is_tie(row, "mean") else ""
        table.add_row(*(_text(cell, plain, style) for cell in cells))
    return table


def _grey(board: Board) -> str:
    return (
        f"dim: not told from {board.statistics.reference} (Holm-corrected p at least 0.05); ±: "
        "standard deviation over seeds; intervals: paired on items, seeds included where there are "
        "several; sees: difference found in 80 % of cases; rank: 95 % of the bootstrap; avg rank: "
        "over the benchmarks; "
        "frontier: share of it in which nothing cheaper (measured, in total) is as good"
    )


def decision_text(row: Mapping[str, Any]) -> str:
    """How far a small setting ranks methods as the large one does, in words."""
    axis = "pool size" if row["by"] == "pool_size" else "budget"
    other, word = ("budget", "budget") if axis == "pool size" else ("pool_size", "pool size")
    text = (
        f"{axis} {row['small']:,} orders {100 * row['accuracy']:.0f} % of {row['pairs']} pairs of "
        f"methods as {row['large']:,} does (95 %: {100 * row['low']:.0f} to "
        f"{100 * row['high']:.0f}), at {word} {row[f'at_{other}']:,}"
    )
    if row["decided"]:
        share = f"{100 * row['accuracy_decided']:.0f} %"
        text += f"; {share} of the {row['decided']} that the large one tells apart"
    return text


def signed(value: Any) -> str:
    """``+1.2`` or ``-0.3``; a dash where there is none."""
    return "-" if value is None or pd.isna(value) else f"{value:+.1f}"


def p_text(value: Any) -> str:
    """A p-value to two digits, small ones as a bound."""
    if value is None or pd.isna(value):
        return "-"
    return "<0.001" if value < 0.001 else f"{value:.3f}" if value < 0.1 else f"{value:.2f}"


def mean_text(row: pd.Series) -> str:
    """``27.5 ± 1.2``: the spread of seeds, where there are several."""
    spread = f" ± {row['mean_sd']:.1f}" if pd.notna(row["mean_sd"]) else ""
    return _number(row["mean"]) + spread


def flops(value: Any) -> str:
    """``1.2e13``; a dash where nothing was spent or measured."""
    if value is None or pd.isna(value) or not value:
        return "-"
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def _number(value: Any) -> str:
    return "-" if value is None or pd.isna(value) else f"{value:.1f}"


def _print_failures(board: Board, plain: bool, console: Console) -> None:
    failures = board.failures
    for _, row in failures.head(_FAILURES).iterrows():
        text = f"{row['status']}: {row['run_id']}: {short(row['error'], 300)}"
        console.print(_text(text, plain, "red"))
    if len(failures) > _FAILURES:
        console.print(
            _text(f"... and {len(failures) - _FAILURES} more, see runs.csv", plain, "red")
        )


def _text(words: str, plain: bool, style: str = "") -> Text:
    """Control characters never reach the terminal; without UTF-8, ASCII stands in."""
    words = "".join(c if c.isprintable() else " " for c in words)
    if plain:
        words = words.replace("±", "+-").replace("−", "-").replace("…", "...").replace("·", "/")
        words = words.encode("ascii", "replace").decode()
    return Text(words, style=style)
