"""Selectors: scores in, an ordering out. Deterministic; equal scores go to the lower position.

Row selectors take float [rows] and order all rows. Pair selectors take scores of queries for rows,
block by block, and order as many as are wanted; they never hold rows × queries scores. What they
give for a small number is the beginning of what they give for a larger one. NaN counts as the
lowest score. A selector is named by its word; ``band`` takes a setting: ``band:0.25``.
"""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from harness.ranking import Lists, PairScores, sort_rows
from harness.round_robin import Picks
from harness.round_robin import round_robin as lost_turns
from harness.round_robin import round_robin_strict as no_lost_turns

RowSelector = Callable[[np.ndarray], np.ndarray]
PairSelector = Callable[[PairScores, int], Picks]

# -- one score a row -----------------------------------------------------------------------------


def top(scores: np.ndarray) -> np.ndarray:
    """Highest scores first."""
    return sort_rows(scores)


def band(scores: np.ndarray, start: float = 0.33) -> np.ndarray:
    """The slice of the falling order that begins at ``start``: by default the published script's.

    The paper's mid-PPL takes rows ``int(0.33 N)``, ``int(0.33 N) + 1``, ..., the upper edge of the
    middle third (paper A.4). It does not say what follows when the slice reaches the end of the
    pool; here the rows above the band follow, nearest first.
    """
    if not 0 <= start < 1:
        raise ValueError(f"band starts at a share of the pool from 0 to below 1, not at {start}")
    order = sort_rows(scores)
    first = int(start * len(order))
    return np.concatenate([order[first:], order[:first][::-1]])


# -- a score a query and row ---------------------------------------------------------------------


def round_robin(scores: PairScores, n: int) -> Picks:
    """Over tasks if the target has several, else over its queries: what the paper does (3.1)."""
    return lost_turns(_paper(scores), n)


def round_robin_queries(scores: PairScores, n: int) -> Picks:
    """Each query in turn adds its best row; if that is taken, the turn is lost.

    The paper's Algorithm 1 in the published code's form (``get_top_influences.py``; A.9).
    """
    return lost_turns(scores.by_query(), n)


def round_robin_tasks(scores: PairScores, n: int) -> Picks:
    """Each task in turn adds its best row by the maximum over the task's queries; lost turns.

    The paper's multi-task selection (3.1) in the form of ``get_top_aggregated_influences.py``.
    """
    return lost_turns(scores.by_task(), n)


def round_robin_strict(scores: PairScores, n: int) -> Picks:
    """As ``round_robin``, but nobody loses a turn: each takes its best row that is free.

    What the comment in Algorithm 1 asks for ("must not be chosen again"; A.9).
    """
    return no_lost_turns(_paper(scores), n)


def round_robin_strict_queries(scores: PairScores, n: int) -> Picks:
    """``round_robin_strict`` over queries, also if there are several tasks."""
    return no_lost_turns(scores.by_query(), n)


def round_robin_strict_tasks(scores: PairScores, n: int) -> Picks:
    """``round_robin_strict`` over tasks, also if there is only one."""
    return no_lost_turns(scores.by_task(), n)


def global_max(scores: PairScores, n: int) -> Picks:
    """By the maximum over all queries: ``get_top_optimized.py``, used for Tulu 3's sets (A.9)."""
    return _highest(np.concatenate([block[0] for block in scores.overall().blocks()]), n)


def mean_max(scores: PairScores, n: int) -> Picks:
    """By the mean over tasks of the maximum over a task's queries (paper App. D, Table 7)."""
    means = [block.mean(axis=0, dtype=np.float64) for block in scores.by_task().blocks()]
    return _highest(np.concatenate(means), n)


def _paper(scores: PairScores) -> Lists:
    return scores.by_task() if len(np.unique(scores.tasks)) > 1 else scores.by_query()


def _highest(scores: np.ndarray, n: int) -> Picks:
    rows = sort_rows(scores)[:n]
    return rows, scores[rows]


# -- by name -------------------------------------------------------------------------------------

ROW_SELECTORS: dict[str, RowSelector] = {"top": top, "band": band}
PAIR_SELECTORS: dict[str, PairSelector] = {
    "round_robin": round_robin,
    "round_robin_queries": round_robin_queries,
    "round_robin_tasks": round_robin_tasks,
    "round_robin_strict": round_robin_strict,
    "round_robin_strict_queries": round_robin_strict_queries,
    "round_robin_strict_tasks": round_robin_strict_tasks,
    "global_max": global_max,
    "mean_max": mean_max,
}


def find(text: str, table: Mapping[str, Callable[..., Any]]) -> Callable[..., Any]:
    """The selector that ``text`` names, with its setting if it has one: ``band``, ``band:0.25``.

    Raises:
        ValueError: says what there is, nearest first.
    """
    name, _, setting = text.partition(":")
    if name not in table:
        near = difflib.get_close_matches(name, table, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ValueError(f"no selector {name!r} for this kind of scores: {', '.join(table)}{hint}")
    selector = table[name]
    if ":" not in text:
        return selector
    if "start" not in inspect.signature(selector).parameters:
        raise ValueError(f"{text!r}: {name} has no setting")
    try:
        selector = functools.partial(selector, start=float(setting))
    except ValueError as error:
        raise ValueError(f"{text!r}: {setting!r} is no number") from error
    selector(np.zeros(1))  # refuses a share that there is not, before any work
    return selector
