"""Selectors: scores in, an ordering out. Pure functions, deterministic, ties to the lower position.

Row selectors take float [rows]. Pair selectors take the scores of queries for rows, block by block,
and how many positions are wanted; they never hold rows × queries scores.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from harness.ranking import PairScores, round_robin_streamed, sort_rows

BAND_START = 0.33  # where mid-PPL's slice begins (paper A.4; the published script's figure)

RowSelector = Callable[[np.ndarray], np.ndarray]
PairSelector = Callable[[PairScores, int], tuple[np.ndarray, np.ndarray]]


def top(scores: np.ndarray) -> np.ndarray:
    """Highest scores first."""
    return sort_rows(scores)


def band(scores: np.ndarray) -> np.ndarray:
    """The slice of the falling order that begins at 33 %: the upper edge of the middle third.

    The paper's mid-PPL takes rows ``int(0.33 N)``, ``int(0.33 N) + 1``, ... It does not say what
    follows when the slice reaches the end of the pool; here the rows above the band follow, nearest
    first.
    """
    order = sort_rows(scores)
    start = int(BAND_START * len(order))
    return np.concatenate([order[start:], order[:start][::-1]])


def round_robin_queries(scores: PairScores, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Each query in turn adds its best row (paper 3.1, Algorithm 1; the published code's form)."""
    return round_robin_streamed(scores.by_query(), n)


def round_robin_tasks(scores: PairScores, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Each task in turn adds its best row by the maximum over the task's queries (paper 3.1)."""
    return round_robin_streamed(scores.by_task(), n)


def round_robin(scores: PairScores, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Over tasks if the target has several, else over its queries: what the paper does."""
    over = round_robin_tasks if len(np.unique(scores.tasks)) > 1 else round_robin_queries
    return over(scores, n)


ROW_SELECTORS: dict[str, RowSelector] = {"top": top, "band": band}
PAIR_SELECTORS: dict[str, PairSelector] = {
    "round_robin": round_robin,
    "round_robin_queries": round_robin_queries,
    "round_robin_tasks": round_robin_tasks,
}


def check_name(name: str, table: Mapping[str, Any]) -> str:
    """``name`` if it is in ``table``; else a ValueError that says what is, nearest first."""
    if name in table:
        return name
    near = difflib.get_close_matches(name, table, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise ValueError(f"no selector {name!r} for this kind of scores: {', '.join(table)}{hint}")
