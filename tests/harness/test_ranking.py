"""Ranking and round-robin: equal to the full sort and to the loops as printed, ties included."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from harness import ranking, round_robin
from harness.ranking import (
    Lists,
    PairScores,
    best_entries,
    best_of,
    pack,
    products,
    rows_of,
    scores_of,
    sort_rows,
)

NAN, INF = float("nan"), float("inf")


def pairs(scores: np.ndarray, block: int = 1000, tasks: np.ndarray | None = None) -> PairScores:
    """Given scores [rows, Q], in blocks."""
    starts = range(0, len(scores), block)
    tasks = np.zeros(scores.shape[1], dtype=int) if tasks is None else tasks
    return PairScores(len(scores), tasks, lambda: [scores[i : i + block] for i in starts])


def tied(rng: np.random.Generator, rows: int, lists: int, levels: int = 4) -> np.ndarray:
    """Scores with many ties, below zero too."""
    return rng.integers(-2, levels - 2, size=(rows, lists)).astype(np.float32)


def naive_lists(scores: np.ndarray) -> list[list[int]]:
    """Per list (column) all rows by falling score, NaN last, equal scores by position."""
    place = np.where(np.isnan(scores), INF, -scores).tolist()
    unknown = np.isnan(scores).tolist()
    return [
        sorted(range(len(scores)), key=lambda row: (unknown[row][v], place[row][v], row))
        for v in range(scores.shape[1])
    ]


def naive_lost_turns(scores: np.ndarray, n: int) -> list[int]:
    """The published loop: a list's next row; if it is taken already, the turn is lost."""
    queues, taken = naive_lists(scores), dict[int, None]()
    for rank in range(len(scores)):
        for queue in queues:
            taken[queue[rank]] = None
            if len(taken) == n:
                return list(taken)
    return list(taken)


def naive_strict(scores: np.ndarray, n: int) -> list[int]:
    """Each list takes its best row that nobody has taken."""
    queues, taken = naive_lists(scores), dict[int, None]()
    while len(taken) < min(n, len(scores)):
        for queue in queues:
            free = next((row for row in queue if row not in taken), None)
            if free is not None and len(taken) < n:
                taken[free] = None
    return list(taken)


FORMS = [
    pytest.param(round_robin.round_robin, naive_lost_turns, id="lost turns"),
    pytest.param(round_robin.round_robin_strict, naive_strict, id="strict"),
]


# -- lists ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", [1, 7, 64, 1000])
@pytest.mark.parametrize("depth", [1, 5, 40, 199, 200])
def test_streamed_lists_equal_the_full_sort(block: int, depth: int) -> None:
    rng = np.random.default_rng(depth)
    scores = tied(rng, 200, 70)  # more lists than are searched at once
    scores[rng.random(scores.shape) < 0.1] = NAN
    scores[rng.random(scores.shape) < 0.1] = -INF
    scores[:, 3], scores[:, 4], scores[:, 5] = NAN, -INF, 0.0
    scores[::2, 5] = -0.0  # the same number as 0.0
    entries = best_entries(pairs(scores, block).by_query(), depth)
    expected = np.array(naive_lists(scores))[:, :depth]
    assert rows_of(entries).tolist() == expected.tolist()
    np.testing.assert_array_equal(scores_of(entries), np.take_along_axis(scores.T, expected, 1))


def test_the_next_entries_of_lists_and_rows_that_do_not_count() -> None:
    rng = np.random.default_rng(0)
    scores = tied(rng, 300, 5)
    scores[rng.random(scores.shape) < 0.2] = NAN
    lists = pairs(scores, 33).by_query()
    whole = best_entries(lists, 300)
    for seen in (1, 17, 100, 290):
        after = whole[:, seen - 1]
        assert np.array_equal(best_entries(lists, 10, after=after), whole[:, seen : seen + 10])
    taken = rng.random(300) < 0.5
    free = [[row for row in one if not taken[row]] for one in naive_lists(scores)]
    depth = len(free[0])
    assert rows_of(best_entries(lists, depth, taken=taken)).tolist() == free


@pytest.mark.parametrize("depth", [1, 30, 99, 100, 200])
def test_the_best_of_a_list_that_is_held(depth: int) -> None:
    rng = np.random.default_rng(1)
    for scores in (tied(rng, 100, 1)[:, 0], np.full(100, NAN, np.float32)):
        scores[rng.random(100) < 0.4] = NAN
        found = rows_of(best_of(scores, depth))
        assert found.tolist() == sort_rows(scores)[:depth].tolist()


def test_entries_hold_every_float_and_sort_by_it() -> None:
    values = np.array([INF, 3e38, 1.5, 1e-45, 0.0, -1e-45, -2, -3e38, -INF, NAN], np.float32)
    entries = pack(values, np.arange(len(values)))
    assert np.all(np.diff(entries.astype(object)) > 0)
    np.testing.assert_array_equal(scores_of(entries), values)
    assert rows_of(pack(np.float32([1.0]), np.array([2**32 - 2]))).tolist() == [2**32 - 2]


def test_equal_scores_go_to_the_lower_position_and_nan_to_the_end() -> None:
    assert sort_rows(np.array([1.0, 2, 2, np.nan, 0, 2])).tolist() == [1, 2, 5, 0, 4, 3]


def test_a_task_is_the_maximum_of_its_queries_wherever_they_stand() -> None:
    scores = np.float32([[1, 5, 2, 9], [4, 3, NAN, 8], [-1, NAN, -2, 0]])
    for block in (1, 3):
        by_task = pairs(scores, block, np.array([0, 1, 0, 1])).by_task()
        found = np.concatenate(list(by_task.blocks()), axis=1)
        assert found.tolist() == [[2, 4, -1], [9, 8, 0]]  # NaN is below all numbers
    with pytest.raises(ValueError, match=r"numbered 0 \.\. T-1"):
        pairs(scores, tasks=np.array([0, 2, 2, 0])).by_task()


def test_scores_of_a_wrong_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="2 pool rows instead of 3"):
        list(PairScores(3, np.zeros(4), lambda: [np.zeros((2, 4))]).by_query().blocks())
    with pytest.raises(ValueError, match=r"\(3, 5\) instead of \[rows, 4\]"):
        list(PairScores(3, np.zeros(4), lambda: [np.zeros((3, 5))]).by_query().blocks())


# -- products ------------------------------------------------------------------------------------


def test_scores_and_ties_do_not_depend_on_the_ranges() -> None:
    rng = np.random.default_rng(0)
    rows = 2 * ranking.BLOCK_ROWS + 77
    pool = rng.normal(size=(rows, 33)).astype(np.float16)
    pool[rng.integers(0, rows, 500)] = pool[5]  # equal rows everywhere: their scores are to be tied
    queries = rng.normal(size=(21, 33)).astype(np.float16)

    def scores(size: int, upto: int = rows) -> np.ndarray:
        parts = (pool[start : min(upto, start + size)] for start in range(0, upto, size))
        return np.concatenate(list(products(parts, queries)))

    whole = scores(rows)
    copies = np.flatnonzero((pool == pool[5]).all(1))
    assert len(copies) > 400
    assert np.all(whole[copies] == whole[5])
    np.testing.assert_allclose(whole, pool.astype(float) @ queries.T.astype(float), atol=1e-4)
    for size in (1, 7, 1000, ranking.BLOCK_ROWS, ranking.BLOCK_ROWS + 1):
        assert np.array_equal(scores(size), whole)
    assert np.array_equal(scores(1000, 100), whole[:100])  # nor on the size of the pool


def test_products_leave_what_they_read_alone() -> None:
    frozen = np.eye(3, dtype=np.float16)
    frozen.flags.writeable = False
    first, second = list(products(iter([frozen] * 2 * ranking.BLOCK_ROWS), np.eye(3)))[:2]
    assert np.array_equal(first[:3], np.eye(3))  # a block that was given out stays as it was
    assert not np.shares_memory(first, second)


# -- round-robin ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("form", "naive"), FORMS)
@pytest.mark.parametrize("rows", [1, 2, 7, 60])
@pytest.mark.parametrize("lists", [1, 2, 5, 90])
@pytest.mark.parametrize("levels", [1, 3, 1000])
def test_round_robin_is_the_naive_loop(
    form: Callable[..., round_robin.Picks],
    naive: Callable[..., list[int]],
    rows: int,
    lists: int,
    levels: int,
) -> None:
    rng = np.random.default_rng(rows * lists + levels)
    scores = tied(rng, rows, lists, levels)
    scores[rng.random(scores.shape) < 0.05] = NAN
    given = pairs(scores, 13).by_query()
    whole = naive(scores, rows)
    assert sorted(whole) == list(range(rows))
    for n in {1, 2, rows // 5, rows // 2, rows - 1, rows} - {0}:
        assert form(given, n)[0].tolist() == whole[:n]
    assert form(given, rows + 5)[0].tolist() == whole  # there are no more
    assert form(given, 0)[0].tolist() == []


@pytest.mark.parametrize(("form", "naive"), FORMS)
@pytest.mark.parametrize("alike", [0.0, 0.9, 1.0])
def test_round_robin_over_a_pool_that_is_read_in_parts(
    form: Callable[..., round_robin.Picks],
    naive: Callable[..., list[int]],
    alike: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Several readings: of the lists' next entries, without the taken rows, of some lists whole."""
    monkeypatch.setattr(round_robin, "_depth", lambda n, lists: max(2, n // lists // 2))
    monkeypatch.setattr(round_robin, "MAX_ENTRIES", 400)
    monkeypatch.setattr(round_robin, "WHOLE_BYTES", 4 * 600 * 3)  # three lists at a time
    rng = np.random.default_rng(3)
    scores = alike * rng.normal(size=(600, 1)) + (1 - alike) * rng.normal(size=(600, 8))
    scores = scores.round(1).astype(np.float32)  # ties
    whole = naive(scores, 600)
    readings = []

    def blocks() -> Iterator[np.ndarray]:
        readings.append(1)
        yield from np.array_split(scores.T, 7, axis=1)

    for n in (3, 10, 100, 149, 151, 400, 600):
        found = form(Lists(600, 8, blocks), n)
        assert found[0].tolist() == whole[:n]
    assert len(readings) > 12


def test_a_lost_turn_by_hand() -> None:
    # Both lists like row 3 best. The second loses its turn, then both go on.
    scores = np.float32([[5, 1], [4, 0], [3, 7], [9, 8]])
    found = round_robin.round_robin(pairs(scores).by_query(), 3)
    assert found[0].tolist() == [3, 0, 2]
    assert found[1].tolist() == [9.0, 5.0, 7.0]


def test_no_lost_turn_by_hand() -> None:
    # The second list's best is gone, so it takes its next at once, and row 0 goes to the first.
    scores = np.float32([[5, 1], [4, 0], [3, 7], [9, 8]])
    found = round_robin.round_robin_strict(pairs(scores).by_query(), 4)
    assert found[0].tolist() == [3, 2, 0, 1]
    assert found[1].tolist() == [9.0, 7.0, 5.0, 0.0]


def test_turns_go_on_where_the_lists_were_used_up() -> None:
    # Three equal lists: turns 0, 1, 2, 0, ... whichever depth is read at a time.
    scores = np.repeat(np.arange(10, dtype=np.float32)[::-1, None], 3, axis=1) + np.float32(
        [0, 0.25, 0.5]
    )
    found = round_robin.round_robin_strict(pairs(scores).by_query(), 10)
    assert found[0].tolist() == list(range(10))
    turns = (found[1] % 1).tolist()
    assert turns == [0, 0.25, 0.5, 0, 0.25, 0.5, 0, 0.25, 0.5, 0]


@pytest.mark.parametrize("form", [round_robin.round_robin, round_robin.round_robin_strict])
def test_memory_does_not_hold_rows_by_queries(form: Callable[..., round_robin.Picks]) -> None:
    rows, queries = 60_000, 300  # 72 MB of scores
    tasks = np.arange(queries) % 7

    def blocks() -> Iterator[np.ndarray]:
        rng = np.random.default_rng(0)
        for start in range(0, rows, 1000):
            yield rng.random((min(1000, rows - start), queries), dtype=np.float32)

    given = PairScores(rows, tasks, blocks)
    for lists in (given.by_query(), given.by_task()):
        tracemalloc.start()
        assert len(set(form(lists, 1000)[0].tolist())) == 1000
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 20e6
