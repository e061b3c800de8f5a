"""Ranking: the best rows of every list, streamed, exact, with one rule for ties.

Everywhere: higher scores first, equal scores by lower pool position. Nothing of size rows × queries
is ever held; memory is a block of scores and the candidates of each list.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

BLOCK_ROWS = 8192  # of one product; fixed, so that a score's last bit depends on nothing else


@dataclass(frozen=True)
class Lists:
    """Scores of pool rows, one list a query or task, made block by block whenever they are read.

    Attributes:
        rows: pool rows N.
        count: lists V.
        blocks: gives float32 [V, rows] of consecutive pool rows, from row 0 to row N-1.
    """

    rows: int
    count: int
    blocks: Callable[[], Iterator[np.ndarray]]


@dataclass(frozen=True)
class PairScores:
    """Scores of queries for pool rows, made block by block whenever they are read.

    Attributes:
        rows: pool rows N.
        tasks: int [Q], the task of each query, 0 .. T-1.
        blocks: gives float [rows, Q] of consecutive pool rows, from row 0 to row N-1.
    """

    rows: int
    tasks: np.ndarray
    blocks: Callable[[], Iterable[np.ndarray]]

    def by_query(self) -> Lists:
        """A list a query."""
        return self._lists(np.arange(len(self.tasks)))

    def by_task(self) -> Lists:
        """A list a task: S'[t, d], the maximum over the task's queries (paper 3.1)."""
        return self._lists(self.tasks)

    def _lists(self, groups: np.ndarray) -> Lists:
        order = np.argsort(groups, kind="stable")
        count = int(groups.max()) + 1
        bounds = np.searchsorted(groups[order], np.arange(count))
        in_order = bool(np.all(order == np.arange(len(order))))

        def blocks() -> Iterator[np.ndarray]:
            done = 0
            for block in self.blocks():
                scores = np.ascontiguousarray(np.asarray(block, dtype=np.float32).T)
                if scores.shape[0] != len(groups):
                    raise ValueError(f"scores of {len(scores)} queries instead of {len(groups)}")
                done += scores.shape[1]
                if count < len(groups):
                    ordered = scores if in_order else scores[order]
                    scores = np.fmax.reduceat(ordered, bounds, axis=0)  # NaN is below all numbers
                yield scores
            if done != self.rows:
                raise ValueError(f"scores of {done:,} pool rows instead of {self.rows:,}")

        return Lists(self.rows, count, blocks)


def products(features: Iterable[np.ndarray], queries: np.ndarray) -> Iterator[np.ndarray]:
    """Scores as float32 dot products: blocks [rows, Q], in pool order.

    Every product has one shape, whatever the shape of the blocks that come in (the last is filled
    up with zeros): the sums, their last bit and with it the ties are then the same for every range
    size, pool size and number of jobs.

    Args:
        features: float [rows, width] blocks of consecutive pool rows.
        queries: float [Q, width].
    """
    import torch

    weights = torch.from_numpy(np.array(queries, dtype=np.float32))
    buffer = torch.zeros(BLOCK_ROWS, weights.shape[1])
    filled = 0
    for part in features:
        values = torch.from_numpy(part if part.flags.writeable else part.copy())
        start = 0
        while start < len(values):
            taken = values[start : start + BLOCK_ROWS - filled]
            buffer[filled : filled + len(taken)] = taken  # converts to float32
            start, filled = start + len(taken), filled + len(taken)
            if filled == BLOCK_ROWS:
                yield (weights @ buffer.T).numpy().T
                filled = 0
    if filled:
        buffer[filled:] = 0
        yield (weights @ buffer.T).numpy().T[:filled]


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


def top_lists(lists: Lists, depth: int) -> RankedLists:
    """The ``depth`` best rows of every list (at most the number of rows)."""
    best = _Candidates(lists.count, depth)
    start = 0
    for block in lists.blocks():
        best.add(block.T, start)
        start += block.shape[1]
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


def round_robin_streamed(lists: Lists, n: int) -> tuple[np.ndarray, np.ndarray]:
    """``round_robin`` over lists that are only as deep as needed; exact.

    A row outside all lists of depth K has a key of at least K·V and every row inside a smaller one,
    so lists with ``n`` distinct rows decide the first ``n``. Otherwise the pool is scanned again
    with twice the depth.
    """
    depth = min(lists.rows, max(4 * -(-n // lists.count), 256))
    while True:
        found = round_robin(top_lists(lists, depth), n)
        if found is not None:
            return found
        depth = min(lists.rows, 2 * depth)
