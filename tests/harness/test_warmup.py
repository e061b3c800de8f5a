"""Warm-up trainings: what an epoch leaves, the schedule by hand, a kill that changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import TrainerCallback

from harness import training
from harness.artifacts import Store
from harness.context import Context
from harness.features import Features, FeatureSettings, LoadedModel
from harness.flops import model_flops, paper_train
from harness.model import ModelConfig
from harness.pool import Pool
from harness.seeds import derive
from harness.training import Lora, Recipe
from harness.warmup import WarmUp
from tests.conftest import MakePool, conversation

TINY_LORA = Lora(r=2, lora_alpha=4, lora_dropout=0.1)


@pytest.fixture
def pool(make_pool: MakePool) -> Pool:
    rows = [
        {"id": f"{i:02}", "messages": conversation(f"Say {i}", f"{i} and " * (1 + i % 3))}
        for i in range(14)
    ]
    return make_pool(rows)


def recipe(**more: Any) -> Recipe:
    plain = {
        "name": "w", "epochs": 2, "batch_size": 4, "micro_batch_size": 2, "learning_rate": 1e-3,
        "warmup_ratio": 0.3, "max_length": 64, "precision": "fp32", "lora": TINY_LORA,
    }  # fmt: skip
    return Recipe(**{**plain, **more})


def context(pool: Pool, store: Store, model: ModelConfig, seed: int = 0) -> Context:
    features = Features(store, pool, LoadedModel(model), FeatureSettings(), progress=False)
    return Context(pool, [], seed, pool.size, features)


def files(warm: WarmUp) -> dict[str, bytes]:
    return {
        str(path.relative_to(warm.path)): path.read_bytes()
        for path in sorted((warm.path / "epochs").rglob("*"))
        if path.is_file()
    }


POSITIONS = [13, 2, 5, 7, 11, 0, 1, 3, 4, 6]  # 10 rows, 4 a step: 3 steps an epoch, 6 in all


def test_an_epoch_leaves_weights_moments_and_its_mean_learning_rate(
    pool: Pool, store: Store, micro_model: ModelConfig
) -> None:
    given = context(pool, store, micro_model)
    warm = given.warm_up(POSITIONS, recipe(), name="w", keep_epochs=True)
    # Linear: 0.3 of 6 steps are 2 steps up (0, 1/2), then down over 4 (1, 3/4, 1/2, 1/4).
    assert [epoch.step for epoch in warm.epochs] == [3, 6]
    assert [epoch.learning_rate for epoch in warm.epochs] == pytest.approx(
        [1e-3 * (0 + 0.5 + 1) / 3, 1e-3 * (0.75 + 0.5 + 0.25) / 3]
    )
    first, second = warm.moments(0), warm.moments()
    model = warm.load()
    assert not model.training and not any(p.requires_grad for p in model.parameters())
    shapes = {name: p.shape for name, p in model.named_parameters() if "lora_" in name}
    for moments in (*first, *second):
        assert {name: value.shape for name, value in moments.items()} == shapes
    assert all((value >= 0).all() for value in second[1].values())
    for name, parameter in warm.load(0).named_parameters():
        if "lora_B" in name:  # it starts at zero, so it tells that the epochs differ
            assert not torch.equal(parameter, model.get_parameter(name)), name
    assert not list(warm.path.rglob("*.bin")) and not list(warm.path.rglob("*.pt"))
    assert not (warm.path / "checkpoints").exists()
    with pytest.raises(IndexError, match="kept 2"):
        warm.load(2)


def test_the_moments_are_those_of_a_plain_adam(
    pool: Pool, store: Store, micro_model: ModelConfig
) -> None:
    """One row a step in a known order is replayed: gradients clipped at 1, betas 0.9, 0.999."""
    plain = recipe(
        batch_size=1, micro_batch_size=1, epochs=1, lora=Lora(r=2, lora_alpha=4, lora_dropout=0.0)
    )
    position = 5
    warm = context(pool, store, micro_model).warm_up(
        [position] * 3, plain, name="w", keep_epochs=True
    )
    features, _ = training.label_rows(
        [row.messages for row in pool.rows([position])], micro_model.load_chat(), 64
    )
    import transformers

    transformers.set_seed(derive(0, "warmup"))
    model = training._with_lora(micro_model.load(dtype="float32"), plain.lora)
    parameters = {n: p for n, p in model.named_parameters() if p.requires_grad}
    # 0.3 of 3 steps is one step up: 0, then 1, then 1/2
    optimiser = torch.optim.AdamW(parameters.values(), lr=0.0, weight_decay=0.0)
    for rate in (0.0, 1e-3, 0.5e-3):
        optimiser.param_groups[0]["lr"] = rate
        ids, labels = (torch.tensor([features[0][key]]) for key in ("input_ids", "labels"))
        model(input_ids=ids, labels=labels).loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters.values(), 1.0)
        optimiser.step()
        optimiser.zero_grad()
    for moment, found in zip(("exp_avg", "exp_avg_sq"), warm.moments(), strict=True):
        for name, parameter in parameters.items():
            torch.testing.assert_close(
                found[name], optimiser.state[parameter][moment], rtol=1e-3, atol=1e-8
            )
    trained = warm.load()
    for name, parameter in parameters.items():
        torch.testing.assert_close(
            trained.get_parameter(name), parameter.data, rtol=1e-4, atol=1e-7
        )


class Killed(RuntimeError):
    pass


@pytest.mark.parametrize("step", [2, 3, 5])  # mid-epoch, just at an epoch's end, in the second
@pytest.mark.parametrize("saved", [True, False])  # killed after that step's checkpoint, or before
def test_a_killed_warm_up_goes_on_and_leaves_the_same_epochs(
    pool: Pool,
    store: Store,
    micro_model: ModelConfig,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    step: int,
    saved: bool,
) -> None:
    class SaveAndDie(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step == step and not saved:
                raise Killed
            control.should_save = True

        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step == step:
                raise Killed

    def warm(store: Store) -> WarmUp:
        given = context(pool, store, micro_model)
        return given.warm_up(POSITIONS, recipe(), name="w", keep_epochs=True)

    other = Store(tmp_path / "whole")
    whole = warm(other)
    with monkeypatch.context() as patch:
        patch.setattr(training, "checkpoint_by_the_clock", lambda minutes: SaveAndDie())
        with pytest.raises(Killed):
            warm(store)
    assert list((store.root / "warmup").glob("*.part/checkpoints/checkpoint-*"))
    assert files(warm(store)) == files(whole)


def test_without_epochs_only_the_final_weights_stay(
    pool: Pool, store: Store, micro_model: ModelConfig
) -> None:
    given = context(pool, store, micro_model)
    bare = given.warm_up(POSITIONS, recipe(lora=None, epochs=1), name="w")
    assert bare.epochs == [] and sorted(p.name for p in bare.path.iterdir()) == [
        "manifest.json", "weights",
    ]  # fmt: skip
    saved = load_file(bare.path / "weights" / "model.safetensors")
    state = bare.load().state_dict()
    assert saved and all(torch.equal(value, state[name]) for name, value in saved.items())
    with pytest.raises(IndexError, match="keep_epochs"):
        bare.moments()


def test_a_partial_last_epoch_is_kept_too(
    pool: Pool, store: Store, micro_model: ModelConfig
) -> None:
    given = context(pool, store, micro_model)
    warm = given.warm_up(POSITIONS, recipe(epochs=1.5), name="w", keep_epochs=True)
    assert [epoch.step for epoch in warm.epochs] == [3, 5]
    warm.load()


def test_the_bill_and_what_is_shared(pool: Pool, store: Store, micro_model: ModelConfig) -> None:
    given = context(pool, store, micro_model)
    used = recipe(lora=None)
    warm = given.warm_up(POSITIONS, used, name="w")
    flops = model_flops(micro_model.load_config())
    rows = [row.messages for row in pool.rows(POSITIONS)]
    lengths = [len(row.ids) for row in micro_model.load_chat().encode(rows, 64)]
    (cost,) = given.costs
    assert (cost.stage, cost.rows, cost.tokens) == ("warmup", 10, 2 * sum(lengths))
    assert cost.flops == pytest.approx(2 * 3 * flops.forward(lengths))
    assert cost.flops_paper == paper_train(flops.parameters, 10, 2)
    assert not cost.reused and cost.seconds > 0

    again = context(pool, Store(store.root), micro_model)
    named = used.model_copy(update={"name": "other", "checkpoint_minutes": 1.0})
    assert again.warm_up(POSITIONS, named, name="w").path == warm.path
    (found,) = again.costs
    assert found.reused and found.flops == cost.flops
    others = [
        context(pool, store, micro_model, seed=1).warm_up(POSITIONS, used, name="w"),
        given.warm_up(POSITIONS[::-1], used, name="w"),
        given.warm_up(POSITIONS, used.model_copy(update={"learning_rate": 1e-4}), name="w"),
    ]
    assert len({warm.path, *(other.path for other in others)}) == 4
    with pytest.raises(ValueError, match="no rows"):
        given.warm_up([], used, name="w")


def test_an_optimiser_without_moments_is_refused(
    pool: Pool, store: Store, micro_model: ModelConfig
) -> None:
    given = context(pool, store, micro_model)
    sgd = recipe(trainer={"optim": "sgd"})
    with pytest.raises(ValueError, match=r"recipe\.trainer\.optim"):
        given.warm_up(POSITIONS, sgd, name="w", keep_epochs=True)
