"""The selectors by hand, and what holds for all of them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from pydantic import ValidationError

from harness.ranking import PairScores
from methods import selectors
from methods.base import PairMethod, RowMethod
from methods.selectors import PAIR_SELECTORS, ROW_SELECTORS, find


def pairs(scores: np.ndarray, tasks: list[int]) -> PairScores:
    return PairScores(len(scores), np.array(tasks), lambda: np.array_split(scores, 3))


HAND = np.float32(
    [  # queries 0 and 1 are of task 0, query 2 of task 1
        [0.9, 0.1, 0.3],
        [0.8, 0.2, 0.2],
        [0.7, 0.3, 0.1],
        [0.1, 0.9, 0.7],
        [0.2, 0.1, 0.8],
    ]
)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # 0, 3, 4 | query 0: 1, query 1: 2 (equal 0.2 of row 1 stands behind 0.3 of row 2)
        ("round_robin_queries", [0, 3, 4, 1, 2]),
        # best of task 0: 0 (0.9), 3 (0.9), 1, 2, 4; of task 1: 4, 3, 0, 1, 2
        # 0, 4 | 3, (3 is lost) | 1, (0 is lost) | 2
        ("round_robin_tasks", [0, 4, 3, 1, 2]),
        ("round_robin", [0, 4, 3, 1, 2]),
        # nobody loses: 0, 4, 3, then task 1 takes 1 (0.2) before 2 (0.1)
        ("round_robin_strict", [0, 4, 3, 1, 2]),
        ("round_robin_strict_tasks", [0, 4, 3, 1, 2]),
        ("round_robin_strict_queries", [0, 3, 4, 1, 2]),
        # maxima 0.9 0.8 0.7 0.9 0.8
        ("global_max", [0, 3, 1, 4, 2]),
        # twice the means: 0.9 + 0.3, 0.8 + 0.2, 0.7 + 0.1, 0.9 + 0.7, 0.2 + 0.8
        ("mean_max", [3, 0, 1, 4, 2]),
    ],
)
def test_pair_selectors_by_hand(name: str, expected: list[int]) -> None:
    rows, _ = PAIR_SELECTORS[name](pairs(HAND, [0, 0, 1]), 5)
    assert rows.tolist() == expected


def test_the_score_of_a_pick_is_the_one_it_was_placed_by() -> None:
    given = pairs(HAND, [0, 0, 1])
    assert selectors.global_max(given, 3)[1] == pytest.approx([0.9, 0.9, 0.8])
    assert selectors.mean_max(given, 2)[1] == pytest.approx([0.8, 0.6])
    assert selectors.round_robin(given, 3)[1] == pytest.approx([0.9, 0.8, 0.9])


def test_round_robin_is_over_queries_if_there_is_one_task() -> None:
    one = pairs(HAND, [0, 0, 0])
    for name in ("round_robin", "round_robin_strict"):
        rows, _ = PAIR_SELECTORS[name](one, 5)
        assert rows.tolist() == PAIR_SELECTORS[f"{name}_queries"](one, 5)[0].tolist()
    assert selectors.round_robin_tasks(one, 5)[0].tolist() == [0, 3, 1, 4, 2]  # as global max


@pytest.mark.parametrize("name", PAIR_SELECTORS)
@pytest.mark.parametrize("queries", [1, 4, 40])
@pytest.mark.parametrize("ties", [True, False])
def test_budgets_are_prefixes(name: str, queries: int, ties: bool) -> None:
    rng = np.random.default_rng(queries)
    scores = rng.normal(size=(3000, queries)).astype(np.float32)
    scores = scores.round() if ties else scores
    given = pairs(scores, [q % 3 for q in range(queries)] if queries > 3 else [0] * queries)
    whole, placed_by = PAIR_SELECTORS[name](given, 3000)
    assert sorted(whole.tolist()) == list(range(3000))
    for n in (0, 1, 10, 700, 751, 2999):
        rows, by = PAIR_SELECTORS[name](given, n)
        assert rows.tolist() == whole[:n].tolist()
        assert by.tolist() == placed_by[:n].tolist()


@pytest.mark.parametrize("name", PAIR_SELECTORS)
def test_pair_selectors_have_one_rule_for_ties_copies_and_nan(name: str) -> None:
    scores = np.zeros((6, 3), dtype=np.float32)
    scores[4] = -1
    scores[2] = np.nan
    for tasks in ([0, 0, 0], [0, 1, 1]):
        rows, _ = PAIR_SELECTORS[name](pairs(scores, tasks), 6)
        assert rows.tolist() == [0, 1, 3, 5, 4, 2]


@pytest.mark.parametrize("name", ROW_SELECTORS)
def test_row_selectors_order_all_rows(name: str) -> None:
    scores = np.random.default_rng(0).integers(0, 5, 100).astype(float)
    assert sorted(ROW_SELECTORS[name](scores).tolist()) == list(range(100))


def test_a_band_begins_where_it_is_told() -> None:
    scores = np.arange(10.0)[::-1]  # the falling order is 0 .. 9
    assert find("band", ROW_SELECTORS)(scores).tolist() == [3, 4, 5, 6, 7, 8, 9, 2, 1, 0]
    assert find("band:0.5", ROW_SELECTORS)(scores).tolist() == [5, 6, 7, 8, 9, 4, 3, 2, 1, 0]
    assert find("band:0", ROW_SELECTORS)(scores).tolist() == list(range(10))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("bnad", "did you mean band"),
        ("round_robin", "top, band"),
        ("top:0.5", "top has no setting"),
        ("band:half", "'half' is no number"),
        ("band:", "'' is no number"),
        ("band:1", "from 0 to below 1, not at 1.0"),
        ("band:-0.1", "not at -0.1"),
        ("band:nan", "not at nan"),
    ],
)
def test_a_wrong_selector_is_refused_when_the_method_is_built(text: str, message: str) -> None:
    class Ones(RowMethod):
        def scores(self, context: object) -> np.ndarray:
            return np.ones(3)

    with pytest.raises(ValidationError, match=message):
        Ones(name="o", selector=text)


def test_a_pair_method_gives_features_or_scores() -> None:
    class Given(PairMethod):
        def pair_scores(self, context: object) -> Iterator[np.ndarray]:
            yield np.eye(3, dtype=np.float32)

    class Half(PairMethod):
        def pool_features(self, context: object) -> Iterator[np.ndarray]:
            yield np.eye(3, dtype=np.float32)

    assert Given(name="g").selector == "round_robin"
    with pytest.raises(TypeError, match="query_features"):
        Half(name="h")
