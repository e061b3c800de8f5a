"""The benchmarks of the pass: what they count, and that the GPU's runs where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from harness.encoder import encode
from harness.flops import model_flops
from tests.benchmarks import encode as bench
from tests.benchmarks import gpu


@pytest.fixture(autouse=True)
def no_real_pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WINNOW_SHARED_DATA", str(tmp_path))


def test_without_a_gpu_it_says_that_it_has_not_run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu.rows() == []
    assert "NOT RUN" in capsys.readouterr().out


def test_the_gpus_benchmark_runs_at_a_small_shape() -> None:
    found = gpu.rows(small=True)
    assert [row.unit.split()[0] for row in found] == ["samples/s", "of"] * 2
    assert all(row.ours > 0 for row in found) and all(row.met is None for row in found)
    assert all("log-normal" in row.name for row in found[::2])


def test_the_shape_is_llama_31_8b() -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    with torch.device("meta"):
        model = LlamaForCausalLM(LlamaConfig(**gpu.SHAPE))
    assert sum(values.numel() for values in model.parameters()) == 8_030_261_248


def test_flops_are_the_ledgers_less_the_half_above_the_diagonal() -> None:
    model = bench.model()
    counted = model_flops(model.config)
    for length in (1, 100, 700):
        # the ledger counts the whole square of attention, 4 x layers x width a pair of tokens
        above = 4 * 6 * 384 * length * (length - 1) / 2
        assert bench.flops(model, [[5] * length]) == counted.body([length]) - above
        whole = bench.flops(model, [[5] * length], head=True)
        assert whole == counted.forward([length]) - above


def test_the_loop_and_the_pass_mean_the_same() -> None:
    torch.manual_seed(0)
    ids, source = bench.token_rows(5, longest=40)
    assert source == "log-normal lengths" and len(ids) == 5
    model = bench.model()
    loop = bench.research_loop(model, ids, losses=False)
    with bench.timed() as parts:
        found = encode(model, ids, losses=True, pad_id=0)
    for mine, theirs in zip(found.poolings["weighted_mean"], loop, strict=True):
        assert mine @ theirs > 0.999999
    assert min(parts.poolings, parts.one_pooling, parts.head, parts.product) > 0
