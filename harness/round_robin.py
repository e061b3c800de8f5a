"""Round-robin over ranked lists, in the published code's form and in the strict form; both exact.

Each list in turn offers its best row. The two forms differ in what happens when another list has
taken that row already: in the published code the turn is lost; in the strict form the list goes on
to its best row that is still free (how Algorithm 1's comment reads; paper A.9). Both read lists no
deeper than they must, so that memory and time do not grow with rows × queries.
"""

from __future__ import annotations

import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from harness.ranking import Lists, best_entries, best_of, rows_of, scores_of

Picks = tuple[np.ndarray, np.ndarray]  # int64 [n] rows in the order taken, float32 [n] their scores

MAX_ENTRIES = 1 << 25  # of all lists, held at a time: 16 bytes each, half a GiB
WHOLE_BYTES = 2 << 30  # of scores, when lists are needed to their ends


def round_robin(lists: Lists, n: int) -> Picks:
    """``n`` distinct rows (all, if there are fewer); a turn whose row is taken is lost.

    In closed form a row's place is decided by its key, the smallest of ``rank · V + list`` over the
    V lists, ranks from 0; the ``n`` smallest keys are taken (paper A.9). A row outside the best K
    of every list has a key of at least K · V and every row inside one a smaller key, so lists that
    hold ``n`` distinct rows decide them all. If they do not, the next 3 K of each list are read
    (only those: a row that has a key keeps it), and so on. Where much of the pool is wanted, or
    the lists are so alike that this does not end soon, they are read whole, some at a time.
    """
    n = min(n, lists.rows)
    if n <= 0:
        return np.empty(0, np.int64), np.empty(0, np.float32)
    places = _Places(lists.rows)
    seen, depth, after = 0, _depth(n, lists.count), None
    while n <= lists.rows // 4 and depth * lists.count <= MAX_ENTRIES:
        if seen + depth > lists.rows // 8:
            break
        entries = best_entries(lists, min(depth, lists.rows - seen), after=after)
        for one, ranked in enumerate(entries):
            places.offer(ranked, seen * lists.count + one, lists.count)
        if places.count() >= n:
            return places.first(n)
        seen, depth, after = seen + depth, 3 * (seen + depth), entries[:, -1].copy()
    _place_whole(lists, places, n)
    return places.first(n)


def _depth(n: int, lists: int) -> int:
    """How deep to look first: some times what lists without a row in common would need."""
    return max(4 * -(-n // lists), 256)


class _Places:
    """The smallest key of every row so far, and the score that came with it."""

    def __init__(self, rows: int) -> None:
        self.none = np.iinfo(np.int64).max
        self.keys = np.full(rows, self.none)
        self.scores = np.full(rows, np.nan, dtype=np.float32)

    def offer(self, entries: np.ndarray, key: int, step: int) -> None:
        """Ranked entries of one list: the first has ``key``, each further one ``step`` more."""
        rows = rows_of(entries)
        keys = key + step * np.arange(len(rows))
        better = keys < self.keys[rows]
        self.keys[rows[better]] = keys[better]
        self.scores[rows[better]] = scores_of(entries[better])

    def count(self) -> int:
        """Rows that have a key."""
        return int(np.count_nonzero(self.keys != self.none))

    def limit(self, n: int) -> int:
        """The ``n``-th smallest key; only a smaller one can still change the first ``n``."""
        return int(np.partition(self.keys, n - 1)[n - 1])

    def first(self, n: int) -> Picks:
        rows = np.argpartition(self.keys, n - 1)[:n]
        rows = rows[np.argsort(self.keys[rows])]
        return rows, self.scores[rows]


def _place_whole(lists: Lists, places: _Places, n: int) -> None:
    """Offer every list, as deep as it can matter. Memory: ``WHOLE_BYTES`` or one list."""
    at_once = max(1, WHOLE_BYTES // (4 * lists.rows))
    threads = min(8, int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1))
    limit = places.none
    for low in range(0, lists.count, at_once):
        held = np.empty((min(at_once, lists.count - low), lists.rows), dtype=np.float32)
        start = 0
        for scores in lists.blocks():
            held[:, start : start + scores.shape[1]] = scores[low : low + len(held)]
            start += scores.shape[1]
        with ThreadPoolExecutor(threads) as pool:  # numpy sorts without holding the interpreter
            ahead: deque[tuple[int, Future[np.ndarray]]] = deque()
            for one, scores in enumerate(held, low):
                # A rank from (limit - one) / V on gives a key that is not below the limit.
                depth = min(lists.rows, max(1, -(-(limit - one) // lists.count)))
                ahead.append((one, pool.submit(best_of, scores, depth)))
                if len(ahead) > threads:
                    done, ranked = ahead.popleft()
                    places.offer(ranked.result(), done, lists.count)
                    if done % 8 == 0:  # an older limit is only a higher one
                        limit = places.limit(n)
            for done, ranked in ahead:
                places.offer(ranked.result(), done, lists.count)


def round_robin_strict(lists: Lists, n: int) -> Picks:
    """``n`` distinct rows (all, if there are fewer); each list takes its best row that is free.

    Lists are read as deep as is likely enough. When one of them is used up, the scores are read
    again without the rows that are taken, and the turns go on where they stopped.
    """
    n = min(n, lists.rows)
    taken = np.zeros(lists.rows, dtype=bool)
    picked = np.empty(n, dtype=np.uint64)
    count, turn = 0, 0
    while count < n:
        most = max(1, MAX_ENTRIES // lists.count)
        depth = min(lists.rows - count, _depth(n - count, lists.count), most)
        entries = best_entries(lists, depth, taken=taken if count else None)
        count, turn = _take_turns(entries, taken, picked, count, turn)
    return rows_of(picked), scores_of(picked)


def _take_turns(
    entries: np.ndarray, taken: np.ndarray, picked: np.ndarray, count: int, turn: int
) -> tuple[int, int]:
    """Turns until all are picked or the list whose turn it is has no free row left."""
    ranked = [rows.data for rows in rows_of(entries)]
    free = ~taken
    state = free.data
    at = [0] * len(ranked)
    depth = entries.shape[1]
    while count < len(picked):
        rows, rank = ranked[turn], at[turn]
        while rank < depth and not state[rows[rank]]:
            rank += 1
        if rank == depth:
            break
        state[rows[rank]] = False
        picked[count] = entries[turn, rank]
        count, at[turn] = count + 1, rank + 1
        turn = (turn + 1) % len(ranked)
    np.logical_not(free, out=taken)
    return count, turn
