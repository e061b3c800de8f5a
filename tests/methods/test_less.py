"""LESS: its scores against the definition written out, its invariants, its costs, its stops."""

from __future__ import annotations

import dataclasses
import shutil
from collections import namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from harness import gradient_features as gradients
from harness import ranges
from harness.artifacts import Store
from harness.context import Context
from harness.features import Features, FeatureSettings, LoadedModel
from harness.flops import model_flops, paper_train
from harness.gradients import label
from harness.model import ModelConfig
from harness.pool import Pool, PoolConfig, prepare
from harness.projection import TILE, Projection
from harness.query import Query
from harness.ranges import NoRoom
from harness.training import Lora, Recipe
from methods.less import LESS
from methods.rds_plus import RDSPlus
from tests.conftest import conversation

RANGE, LENGTH, DIM = 8, 64, 256
WORDS = ["red", "blue", "green", "seven", "tree", "house", "river", "stone", "cloud", "bread"]
LORA = Lora(r=4, lora_alpha=16, lora_dropout=0.1)
WARMUP = Recipe(
    name="w", epochs=3, batch_size=4, micro_batch_size=4, learning_rate=5e-3, max_length=LENGTH,
    precision="fp32", lora=LORA,
)  # fmt: skip
UNLABELLED = 5  # a row of which the answer is cut away
QUERIES = [
    Query(id="0", task="a", prompt="Which colour is tree 3?", label="green river"),
    Query(id="1", task="a", prompt="Say bread", label="bread"),
    Query(id="2", task="b", prompt="What is 2 + 2?", label="4"),
]
PLANTED = {7: 0, 13: 2}  # pool position: the query that stands there


def less(**more: Any) -> LESS:
    settings = {"warmup": WARMUP, "fraction": 0.5, "checkpoints": 3, "dim": DIM}
    return LESS(**{"name": "less", **settings, **more})


World = namedtuple("World", "store pool")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A pool of 20 rows in three ranges; the store with the warm-up is shared by the tests."""
    import json

    folder = tmp_path_factory.mktemp("less")
    rows = []
    for i in range(20):
        words = [WORDS[(i * k + k) % 10] for k in range(1, 3 + i % 5)]
        rows.append(conversation(f"Which colour is {words[0]} {i}?", " ".join(words)))
    store = Store(folder / "store")

    def write() -> Pool:
        text = [json.dumps({"id": f"{i}", "messages": m}) + "\n" for i, m in enumerate(rows)]
        (folder / "rows.jsonl").write_text("".join(text), encoding="utf-8")
        config = PoolConfig(name="less", path=str(folder / "rows.jsonl"))
        return prepare(config, store, progress=False)

    order = [int(row.id) for row in write().rows(range(20))]
    rows[order[UNLABELLED]] = conversation("word " * 200, "cut away")
    for position, query in PLANTED.items():
        rows[order[position]] = QUERIES[query].messages
    return World(store, write())


def context(world: World, model: ModelConfig, store: Store | None = None) -> Context:
    settings = FeatureSettings(rows_per_range=RANGE, max_length=LENGTH)
    features = Features(
        store or world.store, world.pool, LoadedModel(model), settings, progress=False
    )
    return Context(world.pool, list(QUERIES), 0, world.pool.size, features)


def scores(method: LESS, given: Context) -> np.ndarray:
    return np.concatenate(list(method.pair_scores(given)))


def copy_of(world: World, path: Path) -> Store:
    """A store with the warm-up in it and nothing else."""
    shutil.copytree(world.store.root / "warmup", path / "warmup")
    return Store(path)


def warm(world: World, model: ModelConfig) -> Any:
    given = context(world, model)
    drawn = np.sort(given.rng("less warm-up").choice(20, 10, replace=False))
    return given.warm_up(drawn, WARMUP, name="less", keep_epochs=True)


def plain_gradient(model: Any, chat: Any, messages: Any) -> torch.Tensor | None:
    """One row a step through the model with its adapter attached, as research code has it."""
    row = chat.encode([messages], LENGTH, labels=True)[0]
    labels = [t if inside else -100 for t, inside in zip(row.ids, row.is_label, strict=True)]
    if all(label == -100 for label in labels[1:]):
        return None
    model.zero_grad()
    model(input_ids=torch.tensor([row.ids]), labels=torch.tensor([labels])).loss.backward()
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.requires_grad])


def test_scores_are_the_definition_written_out(world: World, micro_model: ModelConfig) -> None:
    done = warm(world, micro_model)
    chat = micro_model.load_chat()
    pool_rows = [row.messages for row in world.pool.rows(range(20))]
    rates = [epoch.learning_rate for epoch in done.epochs]
    assert rates[0] > rates[1] > rates[2] > 0  # a linear schedule
    per_checkpoint = []
    for epoch in range(3):
        model = done.load(epoch)
        for name, parameter in model.named_parameters():
            parameter.requires_grad_("lora_" in name)
        names = [name for name, p in model.named_parameters() if p.requires_grad]
        first, second = (
            torch.cat([part[n].flatten() for n in names]) for part in done.moments(epoch)
        )
        size = len(first)
        signs = torch.cat(
            [Projection(DIM).signs(t).float() for t in range(-(-size // TILE))], dim=1
        )[:, :size]

        def project(vector: torch.Tensor | None, signs: torch.Tensor = signs) -> torch.Tensor:
            if vector is None:
                return torch.zeros(DIM)
            return torch.nn.functional.normalize(signs @ vector, dim=0)

        def adam(
            g: torch.Tensor | None, m: torch.Tensor = first, v: torch.Tensor = second
        ) -> torch.Tensor | None:
            if g is None:
                return None
            return (0.9 * m + 0.1 * g) / torch.sqrt(0.999 * v + 0.001 * g * g + 1e-8)

        # the features do not degenerate: the warm-up has moved B, so A has gradients too
        one = plain_gradient(model, chat, pool_rows[0])
        assert one is not None
        places = np.cumsum([0] + [p.numel() for p in model.parameters() if p.requires_grad])
        for name, low, high in zip(names, places, places[1:], strict=False):
            assert one[low:high].abs().max() > 0, name
        train = torch.stack([project(adam(plain_gradient(model, chat, m))) for m in pool_rows])
        query = torch.stack([project(plain_gradient(model, chat, q.messages)) for q in QUERIES])
        per_checkpoint.append((train @ query.T).numpy())

    def weighted(count: int) -> np.ndarray:
        weights = np.array(rates[:count]) / sum(rates[:count])
        return sum(w * s for w, s in zip(weights, per_checkpoint, strict=False))

    for count in (3, 2, 1):  # the first checkpoints, their weights scaled to sum 1
        found = scores(less(checkpoints=count), context(world, micro_model))
        assert found.shape == (20, 3)
        assert np.allclose(found, weighted(count), atol=2e-3)  # stored as float16
        assert (found[UNLABELLED] == 0).all()
    assert not np.allclose(weighted(3), weighted(1), atol=2e-2)

    # LESS's own: the mean cosine of a task's queries stands for each of them
    found = scores(less(query_mean=True), context(world, micro_model))
    mean = weighted(3)[:, :2].mean(axis=1)
    wanted = np.stack([mean, mean, weighted(3)[:, 2]], axis=1)
    assert np.allclose(found, wanted, atol=2e-3)
    best = less(query_mean=True, selector="global_max").order(context(world, micro_model))
    assert np.allclose(best.scores, np.sort(wanted.max(axis=1))[::-1], atol=2e-3)


def test_a_query_in_the_pool_comes_first_for_itself_when_adam_has_no_past(
    world: World, micro_model: ModelConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With equal second moments and no first ones Adam's direction is the gradient's own."""
    warm(world, micro_model)
    from harness.warmup import WarmUp

    own = WarmUp.moments

    def flat(self: WarmUp, epoch: int = -1) -> Any:
        first, second = own(self, epoch)
        return (
            {name: torch.zeros_like(value) for name, value in first.items()},
            {name: torch.full_like(value, 1e4) for name, value in second.items()},
        )

    monkeypatch.setattr(WarmUp, "moments", flat)
    found = scores(less(), context(world, micro_model, copy_of(world, tmp_path)))
    for position, query in PLANTED.items():
        assert found[position, query] == pytest.approx(1, abs=1e-3)
        assert found[:, query].argmax() == position


def test_costs_are_charged_by_formula(world: World, micro_model: ModelConfig) -> None:
    given = context(world, micro_model)
    less(checkpoints=2).order(given)
    flops = model_flops(micro_model.load_config())
    every = label([r.messages for r in world.pool.rows(range(20))], micro_model.load_chat(), 64)
    seen = [row for i, row in enumerate(every) if i != UNLABELLED]
    lengths = [row.length for row in seen]
    read, labels = ([len(getattr(row, part)) for row in seen] for part in ("ids", "places"))
    size = 6 * 4 * 4 * (128 + 128)  # layers, adapted layers each, rank, in and out
    measured = flops.gradients(LORA.model_dump())(read, labels) + 2 * size * DIM * 19
    costs = given.costs
    assert sorted(c.stage for c in costs) == ["queries", "queries", "score", "score", "warmup"]
    for cost in costs:
        if cost.stage == "score":
            assert cost.flops == pytest.approx(measured)
            assert cost.flops_paper == pytest.approx(paper_train(flops.parameters, 20, 1))
            assert (cost.rows, cost.tokens) == (20, sum(lengths))
        if cost.stage == "queries":
            assert cost.flops > 0 and cost.flops_paper == 0 and cost.rows == 3


def test_a_stopped_pass_goes_on_and_gives_the_same(
    world: World, micro_model: ModelConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = scores(less(), context(world, micro_model))
    store = copy_of(world, tmp_path)
    calls, own = [0], gradients.project_gradients

    def stops(*args: Any, **more: Any) -> np.ndarray:
        calls[0] += 1
        if calls[0] == 7:  # queries and three ranges an epoch: the second range of the second
            raise KeyboardInterrupt
        return own(*args, **more)

    monkeypatch.setattr(gradients, "project_gradients", stops)
    with pytest.raises(KeyboardInterrupt):
        scores(less(), context(world, micro_model, store))
    resumed = scores(less(), context(world, micro_model, store))
    assert calls[0] == 7 + 6  # four parts of the first epoch and two of the second were kept
    assert np.array_equal(resumed, whole)


def test_disk_for_all_checkpoints_is_asked_before_the_first_is_computed(
    world: World, micro_model: ModelConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warm(world, micro_model)
    store = copy_of(world, tmp_path)
    one = 20 * (2 * DIM + 4)  # a checkpoint: float16 and a length a row
    room = namedtuple("room", "total used free")(0, 0, 2 * one)
    monkeypatch.setattr(ranges.shutil, "disk_usage", lambda path: room)
    monkeypatch.setattr(gradients, "project_gradients", None)  # must not be reached
    with pytest.raises(NoRoom, match="gradients over 60 rows"):
        scores(less(), context(world, micro_model, store))
    assert not (store.root / "gradients").exists()


def test_published_settings_are_the_defaults() -> None:
    method = LESS(name="less")
    assert method.warmup.lora == Lora(
        r=128, lora_alpha=512, lora_dropout=0.1,
        target_modules=["q_proj", "k_proj", "v_proj", "o_proj"],
    )  # fmt: skip
    warmup = method.warmup
    assert (warmup.epochs, warmup.learning_rate, warmup.batch_size) == (4, 2e-5, 128)
    assert (warmup.schedule, warmup.warmup_ratio, warmup.weight_decay) == ("linear", 0.03, 0)
    assert (method.fraction, method.dim, method.checkpoints) == (0.05, 8192, None)
    assert method.label == "less"
    assert less(name="less", selector="mean_max", checkpoints=3).label == (
        "less[selector=mean_max,checkpoints=3]"
    )


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"checkpoints": 4}, "checkpoints=4, but method.warmup.epochs=3"),
        ({"warmup": WARMUP.model_copy(update={"lora": None})}, "needs lora"),
        ({"warmup": WARMUP.model_copy(update={"epochs": 3.5})}, "whole number of epochs"),
        ({"dim": 100}, "multiple of 64"),
        ({"selector": "top"}, "no selector 'top'"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        less(**settings)


def test_queries_without_answers_are_refused_before_the_warm_up(
    world: World, micro_model: ModelConfig
) -> None:
    bare = [*QUERIES, Query(id="w", task="wild", prompt="Tell me", label="")]
    given = dataclasses.replace(context(world, micro_model), queries=bare)
    with pytest.raises(ValueError, match=r"1 of 4 have none \(query w"):
        less().order(given)
    assert not given.costs
    labels = RDSPlus(name="rds_plus", span="label")
    with pytest.raises(ValueError, match="reads the queries' answers"):
        labels.order(given)
    assert len(RDSPlus(name="rds_plus").order(given).positions) == world.pool.size
