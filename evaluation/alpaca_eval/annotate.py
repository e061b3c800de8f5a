"""Win rates through alpaca-eval, with its traps closed."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stderr
from dataclasses import dataclass, field
from typing import Any

from evaluation.base import Grading, Item
from evaluation.judges import Judge
from evaluation.judges.neutral import neutralise


@dataclass
class Verdicts:
    """What a judge said of answers.

    Attributes:
        preferences: per item, 0 lost, 0.5 tie, 1 won; NaN where there is no usable verdict.
        board: alpaca-eval's own figures: win_rate, standard_error, n_wins, n_wins_base, n_draws,
            n_total, discrete_win_rate.
        notes: of the judge, and ``unparsable`` where a verdict is missing.
    """

    preferences: list[float]
    board: dict[str, float]
    notes: dict[str, Any] = field(default_factory=dict)


def verdicts(items: Sequence[Item], outputs: Sequence[str], how: Grading, judge: Judge) -> Verdicts:
    """The judge's preference for each output over ``item.target``.

    An answer without a usable verdict (an unreadable reply, or a refused question) is left out of
    the rate, as on AlpacaEval's boards; there may be ``judge.max_unparsable`` of them.

    Raises:
        RuntimeError: more answers than that have no verdict.
    """
    notes: dict[str, Any] = {"judge": judge.identity()}
    rows = [
        {
            "instruction": neutralise(item.prompt),
            "output_1": neutralise(str(item.target)),
            "output_2": neutralise(text),
            "place": place,
        }
        for place, (item, text) in enumerate(zip(items, outputs, strict=True))
    ]
    with quiet(how.progress):
        import pandas as pd
        from alpaca_eval.annotators import PairwiseAnnotator
        from alpaca_eval.metrics import get_winrate

        how.folder.mkdir(parents=True, exist_ok=True)
        arguments = judge.arguments(how.folder)
        told = arguments.pop("notes", {})
        # Verdicts are kept by ourselves: its cache knows neither the endpoint nor the model. All
        # questions come in one piece, so that their price is known before the first.
        annotator = PairwiseAnnotator(caching_path=None, **arguments)
        found = annotator(pd.DataFrame(rows), chunksize=None)
        by_place = {row["place"]: _number(row.get("preference")) for row in found}
        preferences = [by_place.get(place, float("nan")) for place in range(len(rows))]
        missing = [item.id for item, p in zip(items, preferences, strict=True) if p != p]
        if len(missing) > judge.max_unparsable * len(items) or len(missing) == len(items):
            raise RuntimeError(
                f"judge {judge.name}: no usable verdict on {len(missing)} of {len(items)} answers "
                f"(items {', '.join(missing[:5])}), and judge.max_unparsable is "
                f"{judge.max_unparsable:g} of them{_example(told)}"
            )
        board = get_winrate([{"preference": preference} for preference in preferences])
    notes |= told
    if missing:
        notes["unparsable"] = {"answers": len(missing), "items": missing[:100], "rule": "left out"}
    return Verdicts(
        [preference - 1 for preference in preferences],
        {key: value.item() if hasattr(value, "item") else value for key, value in board.items()},
        notes,
    )


def _number(value: Any) -> float:
    """A preference from 1 to 2; 0 was a tie once."""
    if value is None or isinstance(value, str):
        return float("nan")
    return float(value) or 1.5


def _example(told: dict[str, Any]) -> str:
    """What the judge said instead of a verdict."""
    for kind in ("unreadable", "refused"):
        if kind in told:
            return f"; {kind}: {told[kind]['e.g.']!r}"
    return ""


@contextmanager
def quiet(progress: bool) -> Iterator[None]:
    """alpaca-eval sets the root logger to INFO when imported, and chats through it while it works.

    Its progress bars go to the standard error stream whatever one asks for.
    """
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]

    def of_others(record: logging.LogRecord) -> bool:
        return record.name != "root"  # a logger's filter sees only what was said to itself

    root.addFilter(of_others)
    try:
        bar = nullcontext() if progress else redirect_stderr(io.StringIO())
        with warnings.catch_warnings(), bar:
            warnings.simplefilter("ignore")
            yield
    finally:
        root.removeFilter(of_others)
        root.setLevel(level)
        root.handlers[:] = handlers
