"""Ranking: the best rows of every list, streamed, exact, with one rule for ties.

Everywhere: higher scores first, equal scores (−0 and 0 are equal) by lower pool position, NaN after
all numbers. Nothing of size rows × queries is held; memory is a block of scores and twice the
entries that are asked for.

An entry is a score and a row packed into one whole number that sorts by exactly that rule, so
selection and sorting are numpy's fast ones on plain numbers and still exact to the last tie.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

# Rows of a product. Fixed, so that a score's last bit depends on nothing but the two features.
BLOCK_ROWS = 8192
LISTS_AT_ONCE = 64  # lists × BLOCK_ROWS scores are searched at a time: what stays in a core's cache


@dataclass(frozen=True)
class Lists:
    """Scores of pool rows in V lists, one a query or task, made whenever they are read.

    Attributes:
        rows: pool rows N, below 2^32 - 1.
        count: lists V.
        blocks: gives float32 [V, at most BLOCK_ROWS] of consecutive pool rows, 0 to N-1.
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
        blocks: gives float32 [rows, Q] of consecutive pool rows, 0 to N-1; always the same.
    """

    rows: int
    tasks: np.ndarray
    blocks: Callable[[], Iterable[np.ndarray]]

    def by_query(self) -> Lists:
        """A list a query."""
        return Lists(self.rows, len(self.tasks), self._blocks)

    def by_task(self) -> Lists:
        """A list a task: S'[t, d], the maximum over the task's queries (paper 3.1)."""
        return self._maxima(np.asarray(self.tasks))

    def overall(self) -> Lists:
        """One list: the maximum over all queries."""
        return self._maxima(np.zeros(len(self.tasks), dtype=np.int64))

    def _maxima(self, groups: np.ndarray) -> Lists:
        """A list a group: the maximum over its queries, in which NaN is below all numbers."""
        order = np.argsort(groups, kind="stable")
        bounds = np.searchsorted(groups[order], np.arange(int(groups.max()) + 2))
        members = [order[low:high] for low, high in itertools.pairwise(bounds)]
        if not all(map(len, members)):
            raise ValueError("tasks are to be numbered 0 .. T-1, each with a query")
        # Queries that stand together are read where they are, others are gathered first.
        at = [
            slice(one[0], one[-1] + 1) if one[-1] - one[0] == len(one) - 1 else one
            for one in members
        ]

        def blocks() -> Iterator[np.ndarray]:
            for scores in self._blocks():
                yield np.stack([np.fmax.reduce(scores[one], axis=0) for one in at])

        return Lists(self.rows, len(members), blocks)

    def _blocks(self) -> Iterator[np.ndarray]:
        """float32 [Q, rows]; checks that what comes in has the promised shape."""
        done = 0
        for block in self.blocks():
            if block.ndim != 2 or block.shape[1] != len(self.tasks):
                raise ValueError(
                    f"scores of shape {block.shape} instead of [rows, {len(self.tasks)}]"
                )
            for start in range(0, len(block), BLOCK_ROWS):
                yield _transposed(block[start : start + BLOCK_ROWS])
            done += len(block)
        if done != self.rows:
            raise ValueError(f"scores of {done:,} pool rows instead of {self.rows:,}")


def _transposed(block: np.ndarray, tile: int = 256) -> np.ndarray:
    """float32 [Q, rows], contiguous; in tiles, which takes half the time of one copy."""
    turned = block.T
    if turned.dtype == np.float32 and turned.flags.c_contiguous:
        return turned
    result = np.empty(turned.shape, dtype=np.float32)
    for start in range(0, turned.shape[1], tile):
        result[:, start : start + tile] = turned[:, start : start + tile]
    return result


_products: ContextVar[list[int] | None] = ContextVar("products", default=None)


@contextmanager
def counted_products() -> Iterator[list[int]]:
    """FLOPs of all ``products`` made within, block by block: two a row, query and dimension."""
    counts: list[int] = []
    token = _products.set(counts)
    try:
        yield counts
    finally:
        _products.reset(token)


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

    def scores() -> np.ndarray:
        counts = _products.get()
        if counts is not None:
            counts.append(2 * filled * weights.numel())
        return torch.mm(weights, buffer.T, out=_room(len(weights))).numpy().T[:filled]

    for part in features:
        values = torch.from_numpy(part if part.flags.writeable else part.copy())
        start = 0
        while start < len(values):
            taken = values[start : start + BLOCK_ROWS - filled]
            buffer[filled : filled + len(taken)] = taken  # becomes float32
            start, filled = start + len(taken), filled + len(taken)
            if filled == BLOCK_ROWS:
                yield scores()
                filled = 0
    if filled:
        buffer[filled:] = 0
        yield scores()


def _room(lists: int) -> torch.Tensor:
    """float32 [lists, BLOCK_ROWS] to fill, at a multiple of 64 bytes as torch's own.

    From numpy, because torch's are laid out such that a freed one does not serve the next: the
    process then grows by a block a block.
    """
    import torch

    plain = np.empty(lists * BLOCK_ROWS + 16, dtype=np.float32)
    first = -plain.ctypes.data % 64 // 4
    return torch.from_numpy(plain[first : first + lists * BLOCK_ROWS]).view(lists, BLOCK_ROWS)


def sort_rows(scores: np.ndarray, *, descending: bool = True) -> np.ndarray:
    """Pool positions by score; equal scores (and NaN, last) by position. ``scores`` is [rows]."""
    values = np.asarray(scores)
    key = -values if descending else values
    return np.argsort(key, kind="stable")  # NaN sorts last in either direction


# -- entries -------------------------------------------------------------------------------------


def pack(scores: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """uint64: entries that sort by falling score, then rising row, NaN last."""
    bits = (scores + np.float32(0)).view(np.uint32)  # −0 becomes 0
    # As whole numbers, negative floats rise as they fall; the bits of the others are turned round.
    # In place, step by step: with temporaries this would take as long as the sorting.
    turn = bits.view(np.int32) >> 31
    np.invert(turn, out=turn)
    turn &= 0x7FFFFFFF
    bits ^= turn.view(np.uint32)
    unknown = np.isnan(scores)
    if unknown.any():
        bits[unknown] = 0xFFFFFFFF
    entries = bits.astype(np.uint64)
    entries <<= np.uint64(32)
    entries |= rows.astype(np.uint64)
    return entries


def rows_of(entries: np.ndarray) -> np.ndarray:
    """int64: the entries' pool positions."""
    return (entries & np.uint64(0xFFFFFFFF)).view(np.int64)


def scores_of(entries: np.ndarray) -> np.ndarray:
    """float32: the entries' scores."""
    falling = (entries >> np.uint64(32)).astype(np.uint32)
    bits = np.where(falling >> 31, falling, falling ^ np.uint32(0x7FFFFFFF))
    return bits.view(np.float32)


def best_of(scores: np.ndarray, depth: int) -> np.ndarray:
    """uint64 [depth]: the best entries of one list that is held whole, float32 [rows]."""
    if depth >= len(scores):
        return np.sort(pack(scores, np.arange(len(scores))))
    falling = -scores
    last = np.partition(falling, depth - 1)[depth - 1]  # NaN counts as the highest: last here
    rows = np.flatnonzero(~(falling > last))
    return np.sort(pack(scores[rows], rows))[:depth]


def best_entries(
    lists: Lists, depth: int, *, after: np.ndarray | None = None, taken: np.ndarray | None = None
) -> np.ndarray:
    """The ``depth`` best rows of every list: one reading of the scores.

    Args:
        depth: at most the number of rows that count.
        after: uint64 [V]; only entries behind these count: the next ``depth`` of each list.
        taken: bool [N]; rows that do not count.

    Returns:
        uint64 [V, depth] entries, best first.
    """
    best = _Best(lists.count, depth, lists.rows, after)
    start = 0
    for scores in lists.blocks():
        count = scores.shape[1]
        if taken is None:
            best.add(scores, start)
        else:
            free = np.flatnonzero(~taken[start : start + count])
            best.add(scores if len(free) == count else scores[:, free], start, free)
        start += count
    return best.finish()


class _Best:
    """Entries that may still be among the ``depth`` best of their list.

    A row joins if its score beats the list's ``depth``-th so far. Rows come in pool order, so one
    that only equals that score loses the tie and stays out. A list that overflows is cut back.
    """

    def __init__(self, lists: int, depth: int, rows: int, after: np.ndarray | None) -> None:
        self.depth = depth
        self.after = after
        self.buffer = np.empty((lists, min(2 * depth, max(rows, depth))), dtype=np.uint64)
        self.fill = np.zeros(lists, dtype=np.int64)
        # NaN: nothing is known to be too low yet, everything joins.
        self.bar = np.full((lists, 1), np.nan, dtype=np.float32)

    def add(self, scores: np.ndarray, start: int, rows: np.ndarray | None = None) -> None:
        """Scores [V, rows] of the rows from ``start`` on, or of rows ``start + rows``."""
        width = scores.shape[1]
        if not width:
            return
        for low in range(0, len(scores), LISTS_AT_ONCE):
            part = scores[low : low + LISTS_AT_ONCE]
            joins = ~(part <= self.bar[low : low + LISTS_AT_ONCE])
            if self.after is not None:
                above = scores_of(self.after[low : low + LISTS_AT_ONCE])[:, None]
                joins &= ~(part > above)
            found = np.flatnonzero(joins)
            if not len(found):
                continue
            column = found % width
            entries = pack(part.ravel()[found], start + (column if rows is None else rows[column]))
            bounds = np.searchsorted(found, np.arange(len(part) + 1) * width)
            for one in np.flatnonzero(np.diff(bounds)):
                self._join(low + int(one), entries[bounds[one] : bounds[one + 1]])

    def _join(self, one: int, entries: np.ndarray) -> None:
        if self.after is not None:
            entries = entries[entries > self.after[one]]
        fill = self.fill[one]
        if fill + len(entries) > self.buffer.shape[1]:
            entries = np.concatenate([self.buffer[one, :fill], entries])
            entries = np.partition(entries, self.depth - 1)[: self.depth]
            self.bar[one] = scores_of(entries[-1:])
            fill = 0
        self.fill[one] = fill + len(entries)
        self.buffer[one, fill : self.fill[one]] = entries

    def finish(self) -> np.ndarray:
        """uint64 [V, depth]."""
        result = np.empty((len(self.buffer), self.depth), dtype=np.uint64)
        for one, fill in enumerate(self.fill):
            entries = self.buffer[one, :fill]
            if fill > self.depth:
                entries = np.partition(entries, self.depth - 1)[: self.depth]
            result[one] = np.sort(entries)
        return result
