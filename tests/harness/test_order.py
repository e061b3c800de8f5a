"""Putting rows in order is charged once, by one place, for every method alike."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import numpy as np
import pytest

from harness import attempts, ordering
from harness.artifacts import Store
from harness.context import Context
from harness.features import FeatureSettings
from harness.model import ModelConfig
from harness.pool import Pool
from harness.query import Query
from harness.ranking import products
from harness.record import SELECTION_STAGES, Stage, StageCost
from harness.report import costs
from methods.balanced import Balanced
from methods.base import Method, Ordering, PairMethod
from methods.bm25 import BM25
from methods.length import Length
from methods.perplexity import TopPerplexity
from methods.random import Random
from methods.rds_plus import RDSPlus
from tests.conftest import MakePool, conversation

QUERIES = [
    Query("0", "a", "Which river is long?", "The Nile."),
    Query("1", "a", "Which river is short?", "The Reprua."),
    Query("2", "b", "Count to two", "one two"),
]
WIDTH = 128  # of the embedded model


@pytest.fixture
def pool(make_pool: MakePool) -> Pool:
    return make_pool(
        [
            {
                "id": f"{i:02}",
                "messages": conversation(f"Which river {i}?", f"The {i} " * (1 + i % 4)),
            }
            for i in range(1, 41)
        ]
    )


def order(
    method: Method, store: Store, pool: Pool, model: ModelConfig, owner: str = "one"
) -> list[StageCost]:
    """The costs of the ordering of ``method``, as the run ``owner`` has them in its ledger."""
    settings: Any = SimpleNamespace(
        method=method,
        selector=model,
        features=FeatureSettings(max_length=96),
        seed=0,
        progress=False,
        suite=None,
        target=SimpleNamespace(queries=lambda suite: QUERIES),
    )
    return ordering.order(settings, Store(store.root, owner), pool, pool.size).costs


METHODS = {
    "random": (Random(name="random"), []),
    "balanced": (Balanced(name="balanced"), []),
    "length": (Length(name="length"), ["score"]),
    "bm25": (BM25(name="bm25"), ["score"]),
    "top_ppl": (TopPerplexity(name="top_ppl"), ["score"]),
    "rds_plus": (RDSPlus(name="rds_plus"), ["score", "queries"]),
}


@pytest.mark.parametrize("name", METHODS)
def test_every_method_is_charged_once(
    name: str, pool: Pool, store: Store, micro_model: ModelConfig
) -> None:
    method, before = METHODS[name]
    costs = order(method, store, pool, micro_model)
    assert sorted(cost.stage for cost in costs) == sorted([*before, "order"])
    (cost,) = (cost for cost in costs if cost.stage == "order")
    assert (cost.rows, cost.tokens, cost.flops_paper, cost.attempts) == (40, 0, 0, 1)
    assert cost.flops == (2 * 40 * len(QUERIES) * WIDTH if name == "rds_plus" else 0)
    assert cost.seconds > 0 and cost.peak_memory_mb > 10 and cost.peak_host_mb > 10
    assert not cost.reused


def test_an_ordering_that_is_found_costs_its_full_price(
    pool: Pool, store: Store, micro_model: ModelConfig
) -> None:
    made = order(RDSPlus(name="rds_plus"), store, pool, micro_model)
    own = order(RDSPlus(name="rds_plus"), store, pool, micro_model)
    other = order(RDSPlus(name="rds_plus"), store, pool, micro_model, owner="other")
    assert own == made  # a run that was killed finds what it paid for
    assert other == [cost.model_copy(update={"reused": True}) for cost in made]


class Own(PairMethod):
    """Somebody's: products of its own features, read as often as its ``order`` likes."""

    readings: int = 1

    def pool_features(self, context: Context) -> Any:
        rows = np.arange(context.pool.size, dtype=np.float32)
        yield from np.array_split(np.stack([rows, -rows, rows * 2], axis=1), 7)

    def query_features(self, context: Context) -> np.ndarray:
        return np.ones((len(context.queries), 3), dtype=np.float32)

    def order(self, context: Context) -> Ordering:
        for _ in range(self.readings):
            scores = np.concatenate([block[:, 0] for block in self.pair_scores(context)])
        positions = np.argsort(-scores, kind="stable")
        return Ordering(positions, scores[positions])


@pytest.mark.parametrize("readings", [1, 3])
def test_the_products_of_a_method_from_outside_are_counted_where_they_are_made(
    readings: int, pool: Pool, store: Store, micro_model: ModelConfig
) -> None:
    list(products([np.ones((5, 3), np.float32)], np.ones((2, 3))))  # before: nobody's
    (cost,) = order(Own(name="own", readings=readings), store, pool, micro_model)
    assert (cost.stage, cost.flops) == ("order", readings * 2 * 40 * 3 * 3)


class Time:
    """A clock that goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def time(self) -> float:
        return self.now

    perf_counter = time


class Slow(Method):
    """Seven seconds of its own around an artifact of a hundred."""

    number: int

    def order(self, context: Context) -> Ordering:
        attempts.time.now += 3  # type: ignore[attr-defined]
        context.features.store.require("thing", {}, self.build)
        attempts.time.now += 4  # type: ignore[attr-defined]
        return Ordering(np.arange(context.pool.size), np.zeros(context.pool.size))

    def build(self, part: Path) -> None:
        attempts.time.now += 100  # type: ignore[attr-defined]


def test_what_is_made_or_found_inside_is_not_charged_again(
    pool: Pool, store: Store, micro_model: ModelConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempts, "time", Time())
    (made,) = order(Slow(name="slow", number=1), store, pool, micro_model)
    assert made.seconds == 7
    read = Store._read

    def slow_read(self: Store, folder: Path) -> Any:
        attempts.time.now += 50  # type: ignore[attr-defined]
        return read(self, folder)

    # Reading and checking it is no ranking either, and its hundred seconds were not spent now.
    monkeypatch.setattr(Store, "_read", slow_read)
    (found,) = order(Slow(name="slow", number=2), store, pool, micro_model)
    assert found.seconds == 7


def test_the_page_and_the_plots_know_every_stage() -> None:
    """Each has its word, colour and pattern, and the same ones in both."""
    folder = Path(costs.__file__).parent
    script = "".join((folder / name).read_text() for name in ("page.js", "charts.js"))

    def table(name: str) -> dict[str, str]:
        (body,) = re.findall(rf"const {name} = {{(.*?)}};", script)
        return dict(re.findall(r'(\w+): "(.*?)"', body))

    words, colours, shapes = (table(f"STAGE_{name}") for name in ("WORDS", "COLOURS", "SHAPES"))
    assert set(words) == set(colours) == set(shapes) == set(get_args(Stage))
    assert len(set(words.values())) == len(set(colours.values())) == len(words)
    assert {**words, **costs.WORDS} == words and {**colours, **costs._COLOURS} == colours
    (selection,) = re.findall(r"const SELECTION = (\[.*?\]);", script)
    assert tuple(json.loads(selection)) == SELECTION_STAGES
