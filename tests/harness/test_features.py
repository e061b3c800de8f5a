"""Features in the store: what names them, which layer they read, and what a pass is charged."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from harness import encoder
from harness.artifacts import Store
from harness.context import Context
from harness.features import Features, FeatureSettings, LoadedModel
from harness.flops import model_flops
from harness.model import ModelConfig
from harness.pool import Pool
from harness.query import Query
from harness.ranges import NoRoom
from methods.rds_plus import RDSPlus
from tests.conftest import MakePool, conversation

ROWS, RANGE = 40, 16
QUERIES = [Query("q0", "t", "how many apples?", "three"), Query("q1", "t", "who?", "the cook")]


@pytest.fixture
def pool(make_pool: MakePool) -> Pool:
    return make_pool(
        [
            {"id": str(i), "messages": conversation(f"question {i}?", "word " * (1 + i % 7))}
            for i in range(ROWS)
        ]
    )


@pytest.fixture
def make(pool: Pool, store: Store, micro_model: ModelConfig) -> Any:
    def context(**settings: Any) -> Context:
        given = {"rows_per_range": RANGE, "max_length": 64, **settings}
        features = Features(
            store, pool, LoadedModel(micro_model), FeatureSettings(**given), progress=False
        )
        return Context(pool, QUERIES, 0, pool.size, features)

    return context


def layers_of(context: Context) -> int:
    return int(context.features.model.config.load_config().num_hidden_layers)


def by_transformers(context: Context, layer: int) -> np.ndarray:
    """Weighted means of ``hidden_states[layer]``, each row alone."""
    import torch

    loaded = context.features.model
    found = []
    for row in context.pool.rows(range(ROWS)):
        (encoded,) = loaded.chat.encode([row.messages], 64)
        with torch.no_grad():
            states = loaded.model(torch.tensor([encoded.ids]), output_hidden_states=True)
        hidden = states.hidden_states[layer][0]
        place = torch.arange(1, len(hidden) + 1).float()
        mean = (place[:, None] * hidden).sum(0)
        found.append((mean / mean.norm()).numpy())
    return np.stack(found)


def test_what_was_stored_before_layers_were_a_choice_keeps_its_name(make: Any, pool: Pool) -> None:
    context = make()
    names = context.features._names("full", -1, pool.ranges(RANGE)[0])
    assert set(names["hidden"]) == {
        "version", "kind", "model", "max_length", "span", "pool", "rows",
    }  # fmt: skip
    lower = context.features._names("full", 2, pool.ranges(RANGE)[0])
    assert lower["hidden"] == {**names["hidden"], "layer": 2}
    default, chosen = RDSPlus(name="rds_plus"), RDSPlus(name="rds_plus", layer=2)
    assert "layer" not in default.identity() and chosen.identity()["layer"] == 2
    assert default.label == "rds_plus" and chosen.label == "rds_plus[layer=2]"


def test_the_layer_of_a_method_is_the_one_that_is_read(make: Any) -> None:
    context = make()
    last = layers_of(context)
    for layer, entry in ((-1, last), (0, 0), (1, 1), (last - 1, last - 1)):
        method = RDSPlus(name="rds_plus", layer=layer)
        found = np.concatenate(list(method.pool_features(context)))
        assert found.dtype == np.float16
        assert np.allclose(found, by_transformers(context, entry), atol=2e-3), layer
        assert method.query_features(context).shape == (2, found.shape[1])


@pytest.mark.parametrize("side", ["pool", "queries"])
def test_a_layer_that_the_model_lacks_is_refused_before_it_is_loaded(side: str, make: Any) -> None:
    context = make()
    layers = layers_of(context)
    method = RDSPlus(name="rds_plus", layer=layers)
    read = method.pool_features if side == "pool" else method.query_features
    with pytest.raises(ValueError, match=rf"method.layer={layers}.* 0 to {layers - 1}"):
        read(context)
    assert "model" not in vars(context.features.model)
    with pytest.raises(ValidationError, match="layer"):
        RDSPlus(name="rds_plus", layer=-2)


def test_a_lower_layer_is_charged_for_the_layers_that_ran(make: Any) -> None:
    context = make()
    layers = layers_of(context)
    for layer in (-1, 0, 1, layers - 1):
        list(context.pool_poolings("weighted_mean", "full", layer))
        context.query_poolings("weighted_mean", "full", layer)
    whole, none, one, most = (cost for cost in context.costs if cost.stage == "score")
    assert none.flops == 0
    assert one.flops * (layers - 1) == most.flops
    assert one.flops * layers == whole.flops
    counted = model_flops(context.features.model.config.load_config())
    lengths = context.features.pass_over("hidden", "full").array("lengths")
    assert whole.flops == counted.body(lengths)
    assert none.flops_paper < one.flops_paper < whole.flops_paper
    queries = [cost.flops for cost in context.costs if cost.stage == "queries"]
    assert queries[1] == 0 and queries[2] * layers == queries[0]
    # The last layer's cost is not the bill of another one: reading again adds nothing.
    list(context.pool_poolings("eos", "full", 1))
    assert len(context.costs) == 8


def test_a_pass_of_a_lower_layer_writes_no_losses(make: Any, store: Store) -> None:
    context = make(with_losses=True)
    list(context.pool_poolings("mean", "full", 1))
    assert not (store.root / "losses").is_dir()
    list(context.pool_poolings("mean", "full"))
    assert len(list((store.root / "losses").glob("*/*.safetensors"))) == 3


def test_losses_and_poolings_come_from_one_pass(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    context = make()
    context.pool_losses()
    monkeypatch.setattr(encoder, "encode", lambda *_, **__: pytest.fail("a second pass"))
    for pooling in encoder.POOLINGS:
        assert sum(map(len, context.pool_poolings(pooling, "full"))) == ROWS


def test_the_batch_does_not_name_a_feature(make: Any, store: Store) -> None:
    one = np.concatenate(list(make(max_tokens=None).pool_poolings("mean", "full")))
    count = len(list((store.root / "hidden").iterdir()))
    again = make(max_tokens=16)
    found = again.features.pass_over("hidden", "full")
    assert found.reused and len(list((store.root / "hidden").iterdir())) == count
    assert np.array_equal(one, found.array("mean"))


def test_no_room_is_said_before_the_pass(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil

    context = make()
    width = context.features.model.config.load_config().hidden_size
    need = ROWS * (2 * width * len(encoder.POOLINGS) + 16)
    usage = shutil.disk_usage(".")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=need - 1))
    with pytest.raises(NoRoom, match=f"over {ROWS} rows"):
        list(context.pool_poolings("mean", "full", 1))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=need))
    list(context.pool_poolings("mean", "full", 1))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=0))
    list(make().pool_poolings("eos", "full", 1))  # all there: nothing to write
    with pytest.raises(NoRoom):  # another layer is another feature
        list(make().pool_poolings("eos", "full", 2))


def test_tokens_in_a_batch_are_chosen_by_the_device() -> None:
    assert FeatureSettings().max_tokens is None
    assert encoder.default_max_tokens("cpu") == 1024 < encoder.default_max_tokens("cuda")
    with pytest.raises(ValidationError):
        FeatureSettings(max_tokens=0)
