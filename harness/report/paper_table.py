"""The board as the paper prints it: methods × benchmarks and their average, Markdown and LaTeX."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from harness.board import Board
from harness.board_rows import BENCHMARKS
from harness.files import write_atomic
from harness.report.table import contests, is_tie, namer, signed

_HEADS = {"mmlu": "MMLU", "gsm8k": "GSM8k", "bbh": "BBH", "tydiqa": "TydiQA", "codex": "Codex",
          "squad": "Squad", "alpaca_eval": "AlpacaEval"}  # fmt: skip
TIE = "≈"
_NOTHING = "No finished run with a score yet."
_TEX = {"\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#",
        "%": r"\%", "_": r"\_", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
        "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", "±": r"$\pm$",
        TIE: r"$\approx$", "−": "$-$", "…": r"\ldots{}", '"': r"\textquotedbl{}"}  # fmt: skip


def write_tables(board: Board, folder: Path) -> dict[str, Path]:
    """Write ``leaderboard.md`` and ``leaderboard.tex``: a table a contest. Return their paths."""
    paths = {"table_md": folder / "leaderboard.md", "table_tex": folder / "leaderboard.tex"}
    write_atomic(paths["table_md"], markdown(board))
    write_atomic(paths["table_tex"], latex(board))
    return paths


def markdown(board: Board) -> str:
    """Bold is the best of a column; ≈ marks what cannot be told from the reference."""
    parts = []
    for title, rows in contests(board.leaderboard):
        shown = _shown(board, rows)
        head = ["Method", *(_head(name) for name in shown), "Average"]
        if _against(rows):
            head.append(f"− {board.statistics.reference}")
        lines = [f"## {_plain(title)}", "", _row(head), "|---" + "|---:" * (len(head) - 1) + "|"]
        best, named = _best(rows, shown), namer(rows)
        for _, row in rows.iterrows():
            cells = [_escaped(named(row) + _floor(row))]
            for name in [*shown, "mean"]:
                text = _score(row, name)
                text = f"**{text}**" if row.name in best[name] else text
                cells.append(f"{text} {TIE}" if is_tie(row, name) else text)
            if _against(rows):
                cells.append(_difference(row))
            lines.append(_row(cells))
        parts.append("\n".join([*lines, "", *caption(board, rows, f"marked {TIE}"), ""]))
    return "\n".join(parts) or f"{_NOTHING}\n"


def latex(board: Board) -> str:
    """Tables for booktabs and xcolor: bold is the best, gray cannot be told from the reference."""
    parts = []
    for title, rows in contests(board.leaderboard):
        shown = _shown(board, rows)
        head = ["Method", *(_head(name) for name in shown), "Average"]
        if _against(rows):
            head.append(f"− {board.statistics.reference}")
        best, named = _best(rows, shown), namer(rows)
        lines = [r"\begin{table}", r"\centering\small", r"\setlength{\tabcolsep}{4pt}",
                 rf"\begin{{tabular}}{{l{'r' * (len(head) - 1)}}}", r"\toprule",
                 " & ".join(map(_tex, head)) + r" \\", r"\midrule"]  # fmt: skip
        floors = False
        for _, row in rows.iterrows():
            if row["floor"] and not floors and not rows.iloc[0]["floor"]:
                lines.append(r"\midrule")
            floors = bool(row["floor"])
            cells = [_tex(named(row) + _floor(row))]
            for name in [*shown, "mean"]:
                text = _tex(_score(row, name))
                text = rf"\textbf{{{text}}}" if row.name in best[name] else text
                cells.append(rf"\textcolor{{gray}}{{{text}}}" if is_tie(row, name) else text)
            if _against(rows):
                text = _tex(_difference(row))
                cells.append(rf"\textcolor{{gray}}{{{text}}}" if is_tie(row, "mean") else text)
            lines.append(" & ".join(cells) + r" \\")
        words = " ".join([f"{title}.", *caption(board, rows, "in gray")])
        lines += [r"\bottomrule", r"\end{tabular}", rf"\caption{{{_tex(words)}}}", r"\end{table}"]
        parts.append("\n".join(lines))
    needs = "% needs \\usepackage{booktabs,xcolor,textcomp}"
    return "\n\n".join([needs, *(parts or [f"% {_NOTHING}"]), ""])


def caption(board: Board, rows: pd.DataFrame, mark: str) -> list[str]:
    """What the figures of a contest are, in sentences; ``mark`` is how ties look."""
    words = ["Scores in percent, means over seeds."]
    if _against(rows):
        sees = rows["minimum_detectable"].dropna()
        words.append(
            f"What is {mark} cannot be told from {board.statistics.reference} (p at least 0.05, "
            "Holm-corrected over the methods of its column); behind the average the difference "
            "with its 95 % interval, paired on items. Smallest average difference that is found in "
            f"80 % of cases: {sees.min():.1f} to {sees.max():.1f} points."
        )
        kinds = sorted(set(rows["noise"].dropna()) - {""})
        words.append(f"Intervals know of: {'; '.join(kinds)}." if kinds else "")
    else:
        words.append(f"No run of {board.statistics.reference} here to hold the others against.")
    return [sentence for sentence in words if sentence]


def _shown(board: Board, rows: pd.DataFrame) -> list[str]:
    return [name for name in board.benchmarks if name in BENCHMARKS or rows[name].notna().any()]


def _against(rows: pd.DataFrame) -> bool:
    return bool(rows["difference"].notna().any())


def _best(rows: pd.DataFrame, names: Sequence[str]) -> dict[str, set[Any]]:
    """By column, the rows of the rivals with its highest score."""
    rivals = rows[~rows["floor"].astype(bool)]
    found: dict[str, set[Any]] = {}
    for name in [*names, "mean"]:
        values = rivals[name].astype(float).round(1)
        found[name] = set(rivals.index[values == values.max()]) if len(rivals) > 1 else set()
    return found


def _floor(row: pd.Series) -> str:
    return " (floor)" if row["floor"] else ""


def _score(row: pd.Series, name: str) -> str:
    return "" if pd.isna(row[name]) else f"{row[name]:.1f}"


def _difference(row: pd.Series) -> str:
    if pd.isna(row["difference"]):
        return ""
    text = signed(row["difference"])
    if pd.notna(row["difference_low"]):
        text += f" [{signed(row['difference_low'])}, {signed(row['difference_high'])}]"
    return text


def _head(name: str) -> str:
    return _HEADS.get(name, name)


def _plain(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)


def _escaped(text: str) -> str:
    """Text that is neither markup nor HTML in Markdown."""
    for mark in "\\`*_[]|<>":
        text = text.replace(mark, f"\\{mark}")
    return _plain(text)


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _tex(text: str) -> str:
    return "".join(_TEX.get(c, c) for c in _plain(text))
