"""Recorded verdicts replayed through our path, against AlpacaEval's published boards.

``annotations_gpt4`` and ``annotations_weighted_gpt4_turbo`` hold what AlpacaEval's two judges said
of models that are on its boards. The same benchmark, judge=recorded, win rate and standard error
that score a model here must give the figures that are printed there.
"""

from __future__ import annotations

import csv
import importlib.util
import math
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evaluation.alpaca_eval import AlpacaEval, AlpacaEval2
from evaluation.alpaca_eval.length_control import PLACES, Judged, length_controlled
from evaluation.base import Grades, Grading, Item
from evaluation.judges.recorded import RecordedJudge, read_annotations
from evaluation.source import DataError, Source
from evaluation.statistics import mean_and_error

# Boards print doubles whole; the last of 16 or 17 digits depends on the order of summing up.
RELATIVE = 1e-15

_PLAIN = (
    "win_rate", "standard_error", "n_wins", "n_wins_base", "n_draws", "n_total",
    "discrete_win_rate", "avg_length",
)  # fmt: skip
_CONTROLLED = ("length_controlled_winrate", "lc_standard_error")


@dataclass(frozen=True)
class _Board:
    """One board.

    Attributes:
        name: of the board and of its judge.
        folder: of the recorded verdicts.
        benchmark: that the verdicts belong to.
        packaged: folder of the table in alpaca-eval's package.
        uncontrolled: why its length-controlled column cannot be compared at all.
    """

    name: str
    folder: str
    benchmark: AlpacaEval
    packaged: str
    uncontrolled: str = ""


_BOARDS = (
    _Board(
        "alpaca_eval_gpt4", "annotations_gpt4", AlpacaEval(n_queries=0), "data_AlpacaEval",
        "how AlpacaEval 1's length-controlled column was fitted is not published; its inputs, "
        "df_gamed.csv among them, are not here",
    ),
    _Board(
        "weighted_alpaca_eval_gpt4_turbo", "annotations_weighted_gpt4_turbo",
        AlpacaEval2(n_queries=0), "data_AlpacaEval_2",
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Replayed:
    """One figure of one model on one board.

    ``missing`` says why there is nothing to compare: ``ours`` is None, or ``published`` NaN.
    """

    board: str
    model: str
    metric: str
    ours: float | None
    published: float
    missing: str = ""

    @property
    def ok(self) -> bool:
        """Equal to the 15 digits that a double holds, or not comparable for a stated reason."""
        if self.missing:
            return True
        return self.ours is not None and math.isclose(
            self.ours, self.published, rel_tol=RELATIVE, abs_tol=0
        )


def replay(source: Source) -> list[Replayed]:
    """All figures of all recorded models.

    A board is read from the folder and from alpaca-eval's package; where both print the same, it
    is compared once.

    Raises:
        DataError: no verdicts are there, or a file is damaged.
    """
    if source.folder is None:
        raise DataError("recorded verdicts are read from a folder; give one with suite.data=DIR")
    folder = source.folder / "alpaca_eval"
    found: list[Replayed] = []
    for board in _BOARDS:
        paths = sorted((folder / board.folder).glob("*.jsonl.gz"))
        for path in paths:
            model = path.name.removesuffix(".jsonl.gz")
            ours = _figures(board, path, source)
            rows = {name: table.get(model) for name, table in _published(board, folder).items()}
            first = next(iter(rows.values()), None)
            for name, row in rows.items():
                if row is not first and row == first:
                    continue
                found += _compare(name, model, ours, row)
    if not found:
        names = ", ".join(f"alpaca_eval/{board.folder}" for board in _BOARDS)
        raise DataError(f"suite.data: no recorded verdicts ({names}) in {source.folder}")
    return found


def _published(board: _Board, folder: Path) -> dict[str, dict[str, dict[str, str]]]:
    """The board's rows by model, as text, by where they are printed."""
    file = f"{board.name}_leaderboard.csv"
    places = {board.name: folder / file}
    package = importlib.util.find_spec("alpaca_eval")
    if package is not None and package.origin:
        packaged = Path(package.origin).parent / "leaderboards" / board.packaged / file
        places[f"{board.name} (in alpaca-eval)"] = packaged
    tables = {}
    for name, path in places.items():
        if path.is_file():
            with path.open(encoding="utf-8", newline="") as stream:
                tables[name] = {row[""]: row for row in csv.DictReader(stream)}
    return tables


def _compare(
    name: str, model: str, ours: dict[str, float | str], row: dict[str, str] | None
) -> Iterator[Replayed]:
    if row is None:
        rate, why = ours["win_rate"], "the board has no row of this model"
        assert isinstance(rate, float)
        yield Replayed(name, model, "win_rate", rate, math.nan, why)
        return
    for metric, text in row.items():
        if not text or metric not in (*_PLAIN, *_CONTROLLED):
            continue
        value = ours[metric]
        if isinstance(value, str):
            yield Replayed(name, model, metric, None, float(text), value)
        else:
            yield Replayed(name, model, metric, value, float(text))


def _figures(board: _Board, path: Path, source: Source) -> dict[str, float | str]:
    """Our figures by the board's names; text says why there is none."""
    rows = read_annotations(path)
    items = [
        Item(
            id=str(row["index"]),
            prompt=row["instruction"],
            target=row["output_1"],
            text=row["instruction"],
        )
        for row in rows
    ]
    answers = [row["output_2"] for row in rows]
    judge = RecordedJudge(annotations=str(path))
    with tempfile.TemporaryDirectory() as folder:
        how = Grading(judge, Path(folder), source=source)
        grades = board.benchmark.grade(items, [[answer] for answer in answers], how)
    values = [value for value in grades.values if value == value]
    rate, error = mean_and_error(values, ["" for _ in values], "items")
    figures: dict[str, float | str] = {
        **{name: grades.notes["alpaca_eval"][name] for name in _PLAIN if name != "avg_length"},
        "win_rate": rate,
        "standard_error": 0.0 if error is None else error,
        "avg_length": _length(rows, path.name.removesuffix(".jsonl.gz")),
    }
    return figures | _controlled(board, rows, grades)


def _length(rows: list[dict[str, Any]], model: str) -> float | str:
    """Mean characters of an answer, as boards print it."""
    judged = rows[0]["generator_2"]
    if judged != model:  # the board prints one model's verdicts under another's name
        return f"these verdicts are on answers of {judged}, the printed length is {model}'s own"
    if len(rows) < PLACES:
        return f"the printed length is over {PLACES} answers, and {len(rows)} were judged"
    return int(sum(len(row["output_2"]) for row in rows) / len(rows))


def _controlled(
    board: _Board, rows: list[dict[str, Any]], grades: Grades
) -> dict[str, float | str]:
    if rows[0]["generator_1"] == rows[0]["generator_2"]:  # one half by definition, from no file
        judged = [
            Judged(row["index"], value, row["output_1"], row["output_2"])
            for row, value in zip(rows, grades.values, strict=True)
        ]
        halves = length_controlled(judged, Path(), same_generator=True)
        rate, error = mean_and_error(halves, ["" for _ in halves], "items")
        return dict(zip(_CONTROLLED, (rate, 0.0 if error is None else error), strict=True))
    found = grades.notes["length_controlled"]
    if board.uncontrolled:
        return dict.fromkeys(_CONTROLLED, board.uncontrolled)
    if "missing" in found:
        return dict.fromkeys(_CONTROLLED, str(found["missing"]))
    return dict(zip(_CONTROLLED, (found["win_rate"], found["standard_error"]), strict=True))
