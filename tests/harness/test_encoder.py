"""The pass over a pool: weights by hand, the same in every batch, losses as the model's own."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from harness.encoder import batches, encode, pool


@cache
def tiny() -> Any:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=50, hidden_size=16, intermediate_size=32, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


def some_rows() -> list[list[int]]:
    rng = np.random.default_rng(1)
    return [rng.integers(1, 50, size=n).tolist() for n in (3, 17, 1, 9, 9, 30, 2)]


def test_weighted_mean_by_hand() -> None:
    hidden = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [9.0, 9.0]]])
    pooled = pool(hidden, torch.tensor([3]))
    # weights 1/6, 2/6, 3/6: (1/6, 5/6), normalised
    expected = np.array([1, 5]) / np.sqrt(26)
    assert np.allclose(pooled["weighted_mean"].numpy(), expected)
    assert np.allclose(pooled["mean"].numpy(), np.array([1, 2]) / np.sqrt(5))
    assert np.allclose(pooled["eos"].numpy(), [0, 1])


def test_results_do_not_depend_on_the_batch() -> None:
    rows = some_rows()
    alone = [encode(tiny(), [row], losses=True, max_tokens=1, pad_id=0) for row in rows]
    for max_tokens in (1, 20, 64, 1000):
        together = encode(tiny(), rows, losses=True, max_tokens=max_tokens, pad_id=49)
        for index, one in enumerate(alone):
            for name, values in one.poolings.items():
                assert np.allclose(together.poolings[name][index], values[0], atol=1e-5)
            assert together.loss_sum is not None and one.loss_sum is not None
            assert together.loss_sum[index] == pytest.approx(one.loss_sum[0], abs=1e-4)


def test_poolings_are_those_of_the_last_hidden_state_after_the_norm() -> None:
    row = some_rows()[1]
    with torch.no_grad():
        hidden = tiny()(torch.tensor([row]), output_hidden_states=True).hidden_states[-1][0]
    weights = torch.arange(1, len(row) + 1).float()
    expected = (weights[:, None] * hidden).sum(0) / weights.sum()
    expected = (expected / expected.norm()).numpy()
    found = encode(tiny(), [row], losses=False, max_tokens=100, pad_id=0)
    assert np.allclose(found.poolings["weighted_mean"][0], expected, atol=1e-6)
    assert found.loss_sum is None


def test_losses_equal_the_models_own() -> None:
    rows = [row for row in some_rows() if len(row) > 1]
    found = encode(tiny(), rows, losses=True, max_tokens=64, pad_id=0)
    assert found.loss_sum is not None
    for row, loss in zip(rows, found.loss_sum, strict=True):
        ids = torch.tensor([row])
        with torch.no_grad():
            mean = tiny()(ids, labels=ids).loss.item()
        assert loss == pytest.approx(mean * (len(row) - 1), rel=1e-4)


def test_a_row_of_one_token_predicts_nothing() -> None:
    found = encode(tiny(), [[5], [5, 6]], losses=True, max_tokens=64, pad_id=0)
    assert found.loss_sum is not None and found.loss_sum[0] == 0.0 < found.loss_sum[1]


def test_batches_keep_to_the_budget_and_cover_every_row_once() -> None:
    lengths = [5, 100, 7, 7, 30, 1, 1, 2]
    found = list(batches(lengths, 32))
    assert sorted(np.concatenate(found).tolist()) == list(range(len(lengths)))
    for positions in found:
        padded = len(positions) * max(lengths[i] for i in positions)
        assert padded <= 32 or len(positions) == 1
