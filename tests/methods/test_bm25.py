"""BM25 against the formula worked out by hand and against the library's own scores."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from harness.artifacts import Store
from harness.context import Context
from harness.features import Features, FeatureSettings, LoadedModel
from harness.model import ModelConfig
from harness.pool import Pool
from harness.query import Query
from methods import bm25
from methods.bm25 import BM25
from tests.conftest import MakePool, conversation

WORDS = ["Apple", "banana,", "date-palm", "élan", "fig's", "the", "GRAPE", "12", "x\nmelon", "Ωm"]


def context(pool: Pool, store: Store, model: ModelConfig, queries: list[Query]) -> Context:
    settings = FeatureSettings(rows_per_range=16)
    features = Features(store, pool, LoadedModel(model), settings, progress=False)
    return Context(pool, queries, 0, pool.size, features)


def scores(given: Context, **settings: Any) -> np.ndarray:
    return np.concatenate(list(BM25(name="bm25", **settings).pair_scores(given)))


def rows(count: int) -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(WORDS, rng.integers(1, 40))) for _ in range(2 * count)]
    return [
        {"id": str(i), "messages": conversation(texts[2 * i], texts[2 * i + 1])}
        for i in range(count)
    ]


QUERIES = [
    Query("0", "t", "Apple banana", "fig's fig, the"),
    Query("1", "t", "melon date", "GRAPE grape", prefix="ΩMEGA:"),
    Query("2", "u", "nothing of", "the pool"),
]


def test_by_hand(make_pool: MakePool, store: Store, micro_model: ModelConfig) -> None:
    texts = [("red cat", "Cat!"), ("the blue dog", "sits down there now"), ("red bird", "sings")]
    pool = make_pool(
        [{"id": str(i), "messages": conversation(*text)} for i, text in enumerate(texts)]
    )
    place = {row_id: i for i, row_id in enumerate(pool.ids(range(3)))}
    found = scores(context(pool, store, micro_model, [Query("q", "t", "A cat", "red cat")]))[:, 0]
    # "the" and "there" are stop words, "a" has one character: 3, 5 and 3 terms are left
    mean = (3 + 5 + 3) / 3
    one_of_three, two_of_three = math.log(1 + 2.5 / 1.5), math.log(1 + 1.5 / 2.5)
    norm = 1.5 * (0.25 + 0.75 * 3 / mean)
    cat, red = one_of_three * 2 / (2 + norm), two_of_three / (1 + norm)
    assert found[place["0"]] == pytest.approx(2 * cat + red, rel=1e-6)  # the query has cat twice
    assert found[place["2"]] == pytest.approx(red, rel=1e-6)
    assert found[place["1"]] == 0


@pytest.mark.parametrize("settings", [{}, {"k1": 0.9, "b": 0.4}])
def test_the_library_gives_the_same(
    make_pool: MakePool, store: Store, micro_model: ModelConfig, settings: dict[str, float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    import bm25s

    monkeypatch.setattr(bm25, "MOST_WORDS", 3)  # most words are forgotten again
    pool = make_pool(rows(50), size=41)  # the last range is used in part
    found = scores(context(pool, store, micro_model, QUERIES), **settings)

    def text(messages: list[dict[str, str]]) -> str:
        return "\n".join(message["content"] for message in messages)

    def tokens(texts: list[str]) -> Any:
        return bm25s.tokenize(texts, return_ids=False, show_progress=False)

    library = bm25s.BM25(**settings)
    library.index(tokens([text(row.messages) for row in pool.rows(range(41))]), show_progress=False)
    for number, words in enumerate(tokens([text(query.messages) for query in QUERIES])):
        expected = library.get_scores(words) if number < 2 else np.zeros(41)
        np.testing.assert_allclose(found[:, number], expected, rtol=1e-5, atol=1e-6)
    assert found.dtype == np.float32


def test_equal_scores_go_to_the_lower_position_and_nothing_is_counted_twice(
    make_pool: MakePool, store: Store, micro_model: ModelConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    some = rows(30)
    pool = make_pool([*some, *({**row, "id": f"copy of {row['id']}"} for row in some)])
    given = context(pool, store, micro_model, QUERIES[:1])
    found = BM25(name="bm25").order(given).positions
    expected = np.argsort(-scores(given)[:, 0], kind="stable")
    assert found.tolist() == expected.tolist()
    (cost,) = given.costs
    assert (cost.stage, cost.flops, cost.rows, cost.reused) == ("score", 0, 60, False)
    monkeypatch.setattr(
        "harness.ranges.save", lambda *_: pytest.fail("the terms were counted again")
    )
    again = Features(store, pool, LoadedModel(micro_model), given.features.settings, progress=False)
    other = Context(pool, QUERIES[1:], 0, 60, again)
    assert len(BM25(name="bm25").order(other).positions) == 60
    assert other.costs[0].reused


def test_a_planted_row_comes_first_for_its_own_query(
    make_pool: MakePool, store: Store, micro_model: ModelConfig
) -> None:
    queries = [
        Query("0", "t", "Which river flows through Vienna?", "The Danube."),
        Query("1", "t", "How many legs has a spider?", "Eight legs."),
    ]
    planted = [{"id": f"planted {q.id}", "messages": q.messages} for q in queries]
    pool = make_pool([*rows(40), *planted])
    found = BM25(name="bm25").order(context(pool, store, micro_model, queries))
    assert pool.ids(found.positions[:2]) == ["planted 0", "planted 1"]


def test_queries_without_a_term_are_refused(
    make_pool: MakePool, store: Store, micro_model: ModelConfig
) -> None:
    given = context(make_pool(rows(2)), store, micro_model, [Query("q", "t", "?", "a")])
    with pytest.raises(ValueError, match="no query has a term"):
        scores(given)
