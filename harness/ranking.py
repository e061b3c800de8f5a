"""Ranking: the best rows of every list, streamed, exact, with one rule for ties.

Everywhere: higher scores first, equal scores by lower pool position. Nothing of size rows × queries
is ever held; memory is a block of scores and the candidates of each list.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

# Blocks of features: float [rows, width], in pool order.
Blocks = Callable[[], Iterable[np.ndarray]]


@dataclass(frozen=True)
class RankedLists:
    """The best rows of ``V`` lists.

    Attributes:
        rows: int64 [V, depth], pool positions, best first.
        scores: float32 [V, depth].
    """

    rows: np.ndarray
    scores: np.ndarray


def sort_rows(scores: np.ndarray, *, descending: bool = True) -> np.ndarray:
    """Pool positions by score; equal scores (and NaN, last) by position. ``scores`` is [rows]."""
    values = np.asarray(scores)
    key = -values if descending else values
    return np.argsort(key, kind="stable")  # NaN sorts last in either direction


def top_lists(
    blocks: Iterable[np.ndarray], queries: np.ndarray, groups: np.ndarray, depth: int
) -> RankedLists:
    """The ``depth`` best rows of every list, by the best dot product with the list's queries.

    Args:
        blocks: features of consecutive pool rows, float [rows, width]; normalised, so that the
            product is the cosine.
        queries: float [Q, width].
        groups: int [Q], the list of each query, 0 .. V-1. With a list a query this ranks by query;
            with a list a task it ranks by S'[t, d] = max over the task's queries (paper 3.1).
        depth: entries a list; at most the number of rows.
    """
    import torch

    count = int(groups.max()) + 1
    order = np.argsort(groups, kind="stable")
    bounds = np.searchsorted(groups[order], np.arange(count))
    weights = torch.from_numpy(np.ascontiguousarray(queries[order], dtype=np.float32)).T
    best = _Candidates(count, depth)
    start = 0
    for block in blocks:
        features = torch.from_numpy(np.ascontiguousarray(block)).float()
        scores = (features @ weights).numpy()
        if count < len(order):
            scores = np.maximum.reduceat(scores, bounds, axis=1)
        best.add(scores, start)
        start += len(block)
    return best.finish()


class _Candidates:
    """Rows that may still be among the ``depth`` best of their list.

    A row joins if it beats its list's current ``depth``-th score. Rows come in pool order, so a row
    that only equals that score loses the tie and stays out.
    """

    def __init__(self, lists: int, depth: int) -> None:
        self.lists, self.depth = lists, depth
        self.threshold = np.full(lists, -np.inf, dtype=np.float32)
        self.list_of = np.empty(0, dtype=np.int32)
        self.rows = np.empty(0, dtype=np.int64)
        self.scores = np.empty(0, dtype=np.float32)
        self._new: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self._new_count = 0

    def add(self, scores: np.ndarray, start: int) -> None:
        """Take in scores [rows, lists] of the pool rows from ``start`` on."""
        row, column = np.nonzero(scores > self.threshold)
        self._new.append((column.astype(np.int32), row + start, scores[row, column]))
        self._new_count += len(row)
        if self._new_count > self.lists * self.depth:
            self._compress()

    def _compress(self) -> None:
        parts = [(self.list_of, self.rows, self.scores), *self._new]
        list_of, rows, scores = (np.concatenate(column) for column in zip(*parts, strict=True))
        order = np.lexsort((rows, -scores, list_of))
        list_of = list_of[order]
        first = np.searchsorted(list_of, np.arange(self.lists))
        keep = np.arange(len(order)) - first[list_of] < self.depth
        self.list_of = list_of[keep]
        self.rows, self.scores = rows[order][keep], scores[order][keep]
        self._new, self._new_count = [], 0
        first = np.searchsorted(self.list_of, np.arange(self.lists + 1))
        full = np.diff(first) == self.depth
        self.threshold[full] = self.scores[first[1:][full] - 1]

    def finish(self) -> RankedLists:
        self._compress()
        shape = (self.lists, len(self.rows) // self.lists)
        return RankedLists(self.rows.reshape(shape), self.scores.reshape(shape))


def round_robin(lists: RankedLists, n: int) -> tuple[np.ndarray, np.ndarray] | None:
    """``n`` distinct rows by round-robin over ranked lists, as the paper's code does it.

    Each list in turn offers its next row; a row that was taken already is dropped and the turn is
    lost (paper A.9). In closed form a row's place is decided by the smallest of
    ``rank_in_list * V + list`` over the lists; the ``n`` smallest are taken.

    Returns:
        int64 [n] pool positions in the order taken and float32 [n] the scores with which they were
        taken; None if the lists are not deep enough to know them (they hold fewer than ``n``
        distinct rows).
    """
    rows = lists.rows.T.ravel()  # entry k is rank k // V in list k % V: k is the closed form's key
    _, first = np.unique(rows, return_index=True)
    if len(first) < n:
        return None
    taken = np.sort(first)[:n]
    return rows[taken], lists.scores.T.ravel()[taken]


def round_robin_streamed(
    blocks: Blocks, queries: np.ndarray, groups: np.ndarray, n: int, rows: int
) -> tuple[np.ndarray, np.ndarray]:
    """``round_robin`` over lists that are only as deep as needed; exact.

    A row outside all lists of depth K has a key of at least K·V and every row inside a smaller one,
    so lists with ``n`` distinct rows decide the first ``n``. Otherwise the pool is scanned again
    with twice the depth.
    """
    count = int(groups.max()) + 1
    depth = min(rows, max(4 * -(-n // count), 256))
    while True:
        found = round_robin(top_lists(blocks(), queries, groups, depth), n)
        if found is not None:
            return found
        depth = min(rows, 2 * depth)
