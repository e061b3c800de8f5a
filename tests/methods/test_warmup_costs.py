"""What a method's own training is charged, against torch's counter around the real Trainer.

Row by row nothing is padded, and the two agree to the last FLOP: the embedding is a look-up, and
neither loss, clipping nor AdamW multiplies matrices. In larger batches the counter sees padding,
which the ledger never charges.
"""

from __future__ import annotations

from typing import Any

import pytest

from harness import training
from harness.artifacts import Store
from harness.context import Context
from harness.features import Features, FeatureSettings, LoadedModel
from harness.model import ModelConfig
from harness.pool import Pool
from harness.query import Query
from harness.record import StageCost
from harness.training import Lora, Recipe
from methods.base import Method
from methods.ifd import IFD
from methods.less import LESS
from tests.conftest import MakePool, conversation

WORDS = ["river", "stone", "cloud", "apple", "seven", "green"]
LENGTH = 48
LORA = Lora(r=4, lora_alpha=16, lora_dropout=0.1)


@pytest.fixture
def pool(make_pool: MakePool) -> Pool:
    """Rows of 10 to about 60 tokens: some are cut, one has its answer cut away."""
    rows = [
        {
            "id": f"{i:02}",
            "messages": conversation(f"Say {WORDS[i % 6]} {i}", f"{WORDS[i % 5]} " * (1 + 2 * i)),
        }
        for i in range(16)
    ]
    rows.append({"id": "long", "messages": conversation("word " * 100, "never seen")})
    return make_pool(rows)


def recipe(micro_batch_size: int, **more: Any) -> Recipe:
    return Recipe(
        name="w", batch_size=4, micro_batch_size=micro_batch_size, learning_rate=1e-3,
        max_length=LENGTH, precision="fp32", **more,
    )  # fmt: skip


def bill(
    method: Method, pool: Pool, store: Store, model: ModelConfig, monkeypatch: pytest.MonkeyPatch
) -> tuple[StageCost, int]:
    """The entry of the warm-up after an ``order``, and what torch counted in its Trainer."""
    from torch.utils.flop_counter import FlopCounterMode

    counts: list[int] = []
    plain = training.ordered_trainer

    def counting(*args: Any, **more: Any) -> Any:
        trainer = plain(*args, **more)
        train = trainer.train

        def counted(**options: Any) -> None:
            with FlopCounterMode(display=False) as counter:
                train(**options)
            counts.append(counter.get_total_flops())

        trainer.train = counted
        return trainer

    monkeypatch.setattr(training, "ordered_trainer", counting)
    # Not sdpa: torch does not count the CPU's fused attention.
    eager = model.model_copy(update={"attention": "eager"})
    settings = FeatureSettings(rows_per_range=32, max_length=LENGTH)
    features = Features(store, pool, LoadedModel(eager), settings, progress=False)
    queries = [Query("0", "a", "Say river 1", "river"), Query("1", "b", "Say 2", "two")]
    context = Context(pool, queries, 0, pool.size, features)
    method.order(context)
    (warmup,) = (cost for cost in context.costs if cost.stage == "warmup")
    (count,) = counts
    return warmup, count


@pytest.mark.parametrize("micro_batch_size", [1, 4])
@pytest.mark.parametrize("lora", [None, LORA], ids=["full", "lora"])
def test_ifds_pre_experience(
    lora: Lora | None, micro_batch_size: int, pool: Pool, store: Store, micro_model: ModelConfig,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    method = IFD(
        name="ifd", clusters=3, per_cluster=4, recipe=recipe(micro_batch_size, epochs=1, lora=lora)
    )
    cost, counted = bill(method, pool, store, micro_model, monkeypatch)
    _agree(cost.flops, counted, micro_batch_size)


@pytest.mark.parametrize("micro_batch_size", [1, 4])
def test_lesss_warm_up(
    micro_batch_size: int, pool: Pool, store: Store, micro_model: ModelConfig,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Three epochs on 11 rows, so that the last step of an epoch has fewer than the others."""
    warmup = recipe(micro_batch_size, epochs=3, lora=LORA)
    method = LESS(name="less", warmup=warmup, fraction=0.65, checkpoints=1, dim=64)
    cost, counted = bill(method, pool, store, micro_model, monkeypatch)
    assert cost.rows == 11
    _agree(cost.flops, counted, micro_batch_size)


def _agree(charged: float, counted: int, micro_batch_size: int) -> None:
    if micro_batch_size == 1:
        assert charged == counted
    else:
        assert charged < counted < 2 * charged
