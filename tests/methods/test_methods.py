"""Each method against values by hand, and the invariants that its authors would check."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from harness.artifacts import Store
from harness.context import Context
from harness.features import Features, FeatureSettings, LoadedModel
from harness.model import ModelConfig
from harness.pool import Pool
from harness.query import Query
from methods import selectors
from methods.balanced import Balanced
from methods.base import RowMethod
from methods.length import Length
from methods.perplexity import MidPerplexity, TopPerplexity
from methods.random import Random
from methods.rds_plus import RDSPlus
from methods.reference import BaseModel, FullPool, NamedSources
from tests.conftest import MakePool, conversation

SIZES = {"a": 40, "b": 3, "c": 20, "d": 1}


@pytest.fixture
def pool(make_pool: MakePool) -> Pool:
    rows = [
        {"id": f"{name}{i}", "dataset": name, "messages": conversation(f"{name} {i}?", f"no {i}")}
        for name, size in SIZES.items()
        for i in range(size)
    ]
    return make_pool(rows)


def context(pool: Pool, store: Store, model: ModelConfig, seed: int = 0, **more: Any) -> Context:
    settings = FeatureSettings(rows_per_range=16, max_length=256)
    features = Features(store, pool, LoadedModel(model), settings, progress=False)
    depth = more.pop("depth", pool.size)
    return Context(pool, more.pop("queries", []), seed, depth, features, **more)


@pytest.fixture
def world_context(pool: Pool, store: Store, micro_model: ModelConfig) -> Any:
    def make(seed: int = 0, **more: Any) -> Context:
        return context(pool, store, micro_model, seed, **more)

    return make


def test_random_is_a_permutation_that_the_seed_decides(world_context: Any) -> None:
    method = Random(name="random")
    one, again, other = (method.order(world_context(seed)).positions.tolist() for seed in (0, 0, 1))
    assert sorted(one) == list(range(sum(SIZES.values())))
    assert one == again != other


@pytest.mark.parametrize("budget", [1, 2, 4, 8, 9, 11, 20, 44, 63, 64])
@pytest.mark.parametrize("seed", [0, 1])
def test_balanced_is_water_filling_at_every_budget(
    world_context: Any, pool: Pool, budget: int, seed: int
) -> None:
    taken = Balanced(name="balanced").order(world_context(seed)).positions[:budget]
    counts = Counter(row.dataset for row in pool.rows(taken))
    level = max(counts.values())
    for name, size in SIZES.items():
        # a source gives the level, one less (an odd row), or all that it has
        assert counts[name] in (min(size, level), min(size, level - 1))


def test_balanced_by_hand(world_context: Any, pool: Pool) -> None:
    taken = Balanced(name="balanced").order(world_context()).positions[:24]
    counts = Counter(row.dataset for row in pool.rows(taken))
    assert counts == {"a": 10, "c": 10, "b": 3, "d": 1}


def test_balanced_redraws_members_with_the_seed(world_context: Any) -> None:
    method = Balanced(name="balanced")
    sets = {frozenset(method.order(world_context(s)).positions[:12].tolist()) for s in range(4)}
    assert len(sets) == 4


def test_length_puts_the_longest_first(make_pool: MakePool, store: Store, micro_model: Any) -> None:
    texts = ["x", "x y z x y z", "x y z", "x " * 800]
    pool = make_pool(
        [{"id": str(i), "messages": conversation("q", text)} for i, text in enumerate(texts)]
    )
    seen = context(pool, store, micro_model)
    found = Length(name="length").order(seen)
    assert pool.ids(found.positions) == ["3", "1", "2", "0"]
    assert found.scores[0] > 800  # counted uncut, beyond max_length
    (cost,) = seen.costs  # counting takes time and tokens, but no model runs
    assert (cost.stage, cost.flops, cost.rows) == ("score", 0, len(found.scores))
    assert cost.tokens == found.scores.sum() and cost.seconds > 0
    assert np.all(np.diff(found.scores) <= 0)


def test_perplexity_is_the_mean_loss_of_all_tokens(
    pool: Pool, store: Store, micro_model: ModelConfig
) -> None:
    import torch

    given = context(pool, store, micro_model)
    scores = TopPerplexity(name="top_ppl").scores(given)
    loaded = LoadedModel(micro_model)
    for position in (0, 17, 63):
        (row,) = loaded.chat.encode([pool.rows([position])[0].messages], 256)
        ids = torch.tensor([row.ids])
        with torch.no_grad():
            mean = loaded.model(ids, labels=ids).loss.item()
        assert scores[position] == pytest.approx(mean, rel=1e-3)


def test_band_by_hand() -> None:
    scores = np.array([5.0, 9, 1, 7, 3, 8, 2, 6, 4, 0])  # falling order: 1 5 3 7 0 8 4 6 2 9
    assert selectors.top(scores).tolist() == [1, 5, 3, 7, 0, 8, 4, 6, 2, 9]
    # int(0.33 * 10) = 3: from the fourth on, then what lies above, nearest first
    assert selectors.band(scores).tolist() == [7, 0, 8, 4, 6, 2, 9, 3, 5, 1]


@pytest.mark.parametrize("pooling", ["weighted_mean", "mean", "eos"])
@pytest.mark.parametrize("span", ["full", "prompt", "label"])
def test_a_planted_row_comes_first_for_its_own_query(
    make_pool: MakePool, store: Store, micro_model: ModelConfig, pooling: Any, span: Any
) -> None:
    rows = [
        {"id": str(i), "messages": conversation(f"What is {i} and {i + 1}?", f"It is {i * 7}.")}
        for i in range(60)
    ]
    pool = make_pool(rows)
    queries = [
        Query("q", "t", "What is 31 and 32?", "It is 217."),
        Query("r", "t", "What is 5 and 6?", "It is 35."),
    ]
    given = context(pool, store, micro_model, queries=queries)
    method = RDSPlus(name="rds_plus", pooling=pooling, span=span)
    found = method.order(given)
    assert pool.ids(found.positions[:2]) == ["31", "5"]
    assert found.scores[:2] == pytest.approx([1, 1], abs=2e-3)  # features are kept in float16
    assert sorted(found.positions.tolist()) == list(range(60))
    stages = [cost.stage for cost in given.costs]
    assert sorted(stages) == ["queries", "score"]
    assert all(cost.flops > 0 for cost in given.costs)


def test_features_are_shared_by_pool_sizes_poolings_and_the_losses_pass(
    pool: Pool, store: Store, micro_model: ModelConfig, make_pool: MakePool
) -> None:
    queries = [Query("q", "t", "a 1?", "no 1")]
    settings = FeatureSettings(rows_per_range=16, max_length=256, with_losses=True)
    loaded = LoadedModel(micro_model)
    features = Features(store, pool, loaded, settings, progress=False)
    RDSPlus(name="r").order(Context(pool, queries, 0, pool.size, features))

    class Unloadable(LoadedModel):
        @property
        def model(self) -> Any:  # type: ignore[override]
            raise AssertionError("the model was run again")

    for size, method in ((64, RDSPlus(name="r", pooling="mean")), (20, TopPerplexity(name="p"))):
        small = Pool(_artifact(pool), size)
        again = Features(store, small, Unloadable(micro_model), settings, progress=False)
        given = Context(small, queries, 0, size, again)
        assert len(method.order(given).positions) == size
        assert all(cost.reused and cost.flops > 0 for cost in given.costs)


def _artifact(pool: Pool) -> Any:
    import json

    from harness.artifacts import MANIFEST, Artifact

    info = json.loads(Path(pool.path / MANIFEST).read_text())["info"]
    return Artifact(pool.path, info, found=True, reused=True)


def test_floors_and_ceilings(world_context: Any, pool: Pool) -> None:
    given = world_context()
    assert BaseModel(name="b").budget(100, 64) == 0
    assert len(BaseModel(name="b").order(given).positions) == 0
    assert FullPool(name="f").budget(10, 64) == 64
    assert FullPool(name="f").order(given).positions.tolist() == list(range(64))
    named = NamedSources(name="n", sources=["b", "d"])
    assert Counter(r.dataset for r in pool.rows(named.order(given).positions)) == {"b": 3, "d": 1}
    with pytest.raises(ValueError, match="zzz; the pool's sources are a, b, c, d"):
        NamedSources(name="n", sources=["zzz"]).order(given)


def test_illegal_choices_are_refused_with_the_legal_ones() -> None:
    with pytest.raises(ValidationError, match="'weighted_mean', 'mean' or 'eos'"):
        RDSPlus(name="r", pooling="max")  # type: ignore[arg-type]
    with pytest.raises(ValidationError, match="did you mean round_robin"):
        RDSPlus(name="r", selector="round_robbin")
    with pytest.raises(ValidationError, match="top, band"):
        TopPerplexity(name="p", selector="round_robin")


def test_a_label_names_what_differs_from_the_defaults() -> None:
    assert RDSPlus(name="rds_plus").label == "rds_plus"
    assert MidPerplexity(name="mid_ppl").label == "mid_ppl"
    assert RDSPlus(name="rds_plus", pooling="eos").label == "rds_plus[pooling=eos]"


def test_a_method_that_leaves_its_part_out_cannot_be_built() -> None:
    class Unfinished(RowMethod):
        pass

    with pytest.raises(TypeError, match="abstract method"):
        Unfinished(name="u")


def test_every_method_is_one_short_file() -> None:
    folder = Path(selectors.__file__).parent
    for path in folder.glob("*.py"):
        assert len(path.read_text().splitlines()) <= 150, path.name
