"""The selectors by hand, and what holds for all of them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from harness.ranking import PairScores
from methods import selectors
from methods.base import PairMethod


def test_round_robin_is_over_tasks_if_there_are_several() -> None:
    pool = np.array([[1.0, 0.0], [0.9, 0.1], [0.8, 0.2], [0.0, 1.0], [0.1, 0.5]])
    queries = np.array([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]])

    def pairs(tasks: list[int]) -> PairScores:
        return PairScores(5, np.array(tasks), lambda: [pool @ queries.T])

    assert selectors.round_robin(pairs([0, 0, 1]), 4)[0].tolist() == [0, 3, 1, 4]
    # over queries: 0, (0 lost), 3, then 1, (1 lost), 4
    assert selectors.round_robin(pairs([0, 0, 0]), 4)[0].tolist() == [0, 3, 1, 4]
    by_query = selectors.round_robin_queries(pairs([0, 0, 1]), 5)[0].tolist()
    assert by_query == [0, 3, 1, 4, 2]


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
