"""Ranking and round-robin: equal to the full sort and to the loop as printed, ties included."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from harness.ranking import (
    PairScores,
    RankedLists,
    products,
    round_robin,
    round_robin_streamed,
    sort_rows,
    top_lists,
)


def features(rng: np.random.Generator, rows: int, width: int, ties: bool) -> np.ndarray:
    values = rng.normal(size=(rows, width)).astype(np.float32)
    return np.sign(values) if ties else values


def naive_lists(scores: np.ndarray) -> list[list[int]]:
    """Per list (column) all rows by falling score, equal scores by position."""
    rows = range(len(scores))
    return [
        sorted(rows, key=lambda row: (-scores[row, column], row))
        for column in range(scores.shape[1])
    ]


def naive_round_robin(lists: list[list[int]], n: int) -> list[int]:
    """The published loop: a list's next row; if taken already, the turn is lost."""
    queues, taken = [list(one) for one in lists], []
    while len(taken) < n:
        for queue in queues:
            row = queue.pop(0)
            if row not in taken:
                taken.append(row)
                if len(taken) == n:
                    break
    return taken


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("block", [1, 7, 64, 1000])
@pytest.mark.parametrize("depth", [1, 5, 200])
def test_streamed_lists_equal_the_full_sort(ties: bool, block: int, depth: int) -> None:
    rng = np.random.default_rng(depth)
    pool, queries = features(rng, 200, 6, ties), features(rng, 9, 6, ties)
    groups = np.array([0, 1, 2, 0, 1, 2, 2, 2, 1])
    dots = pool @ queries.T
    scores = np.stack([dots[:, groups == t].max(1) for t in range(3)], axis=1)
    blocks = [pool[start : start + block] for start in range(0, 200, block)]
    pairs = PairScores(200, groups, lambda: products(blocks, queries))
    found = top_lists(pairs.by_task(), depth)
    if ties:  # small whole numbers: products are exact, whatever the order of the sums
        assert found.rows.tolist() == [one[:depth] for one in naive_lists(scores)]
    for column, rows in enumerate(found.rows):
        assert np.allclose(found.scores[column], scores[rows, column], atol=1e-5)
        assert np.all(np.diff(found.scores[column]) <= 0)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("n", [1, 5, 23, 40])
def test_the_closed_form_is_the_published_loop(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 4, size=(40, 5)).astype(np.float32)  # many ties
    lists = naive_lists(scores)
    ranked = RankedLists(np.array(lists), np.array([scores[one, v] for v, one in enumerate(lists)]))
    found = round_robin(ranked, n)
    assert found is not None
    assert found[0].tolist() == naive_round_robin(lists, n)


def test_a_lost_turn_by_hand() -> None:
    # Both lists like row 3 best. The second loses its turn, then both go on.
    lists = RankedLists(np.array([[3, 0, 1], [3, 2, 0]]), np.array([[9.0, 5, 4], [8.0, 7, 1]]))
    found = round_robin(lists, 3)
    assert found is not None
    assert found[0].tolist() == [3, 0, 2]
    assert found[1].tolist() == [9.0, 5.0, 7.0]


def test_lists_that_are_too_short_say_so() -> None:
    assert round_robin(RankedLists(np.array([[0], [0]]), np.ones((2, 1))), 2) is None


@pytest.mark.parametrize("n", [1, 300, 1999, 2000])
def test_streaming_deepens_until_it_is_exact(n: int) -> None:
    rng = np.random.default_rng(n)
    pool = features(rng, 2000, 4, ties=True)
    queries = np.repeat(features(rng, 1, 4, ties=True), 6, axis=0)  # equal lists: the worst case

    def blocks() -> Iterator[np.ndarray]:
        for start in range(0, 2000, 333):
            yield pool[start : start + 333]

    lists = naive_lists(pool @ queries.T)
    pairs = PairScores(2000, np.zeros(6, dtype=int), lambda: products(blocks(), queries))
    rows, _ = round_robin_streamed(pairs.by_query(), n)
    assert rows.tolist() == lists[0][:n]


def test_budgets_are_prefixes() -> None:
    rng = np.random.default_rng(0)
    pool, queries = features(rng, 500, 8, False), features(rng, 12, 8, False)
    lists = PairScores(500, np.arange(12), lambda: [pool @ queries.T]).by_query()
    whole = round_robin_streamed(lists, 500)[0]
    for n in (1, 10, 137):
        part = round_robin_streamed(lists, n)[0]
        assert part.tolist() == whole[:n].tolist()


def test_equal_scores_go_to_the_lower_position_and_nan_to_the_end() -> None:
    assert sort_rows(np.array([1.0, 2, 2, np.nan, 0, 2])).tolist() == [1, 2, 5, 0, 4, 3]
