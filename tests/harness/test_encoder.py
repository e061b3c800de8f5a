"""The pass over a pool: weights by hand, the same in every batch, losses as the model's own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    BloomConfig,
    BloomForCausalLM,
    CohereConfig,
    CohereForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    GraniteConfig,
    GraniteForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from harness import encoder, packing
from harness.encoder import Encoding, batches, encode, pool, pooling_weights

SHAPE: dict[str, Any] = {
    "vocab_size": 50, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 3,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64,
    # Weights that are not small: attention must matter, or mixing rows up would not show.
    "initializer_range": 0.5, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
GPT2: dict[str, Any] = {
    "vocab_size": 50, "n_embd": 16, "n_layer": 3, "n_head": 2, "n_positions": 64,
    "initializer_range": 0.5, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
BLOOM: dict[str, Any] = {
    "vocab_size": 50, "hidden_size": 16, "n_layer": 3, "n_head": 2, "initializer_range": 0.5,
    "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
PACKED = ("llama", "mistral", "window", "qwen2", "mixed", "gpt2")
PADDED = ("bloom", "gemma2")  # ALiBi; soft-capped attention, which transformers runs eagerly


@cache
def tiny(kind: str = "llama") -> Any:
    torch.manual_seed(0)
    build: dict[str, Any] = {
        "llama": lambda: LlamaForCausalLM(LlamaConfig(**SHAPE)),
        "mistral": lambda: MistralForCausalLM(MistralConfig(**SHAPE, sliding_window=None)),
        "window": lambda: MistralForCausalLM(MistralConfig(**SHAPE, sliding_window=4)),
        "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**SHAPE)),
        "mixed": lambda: Qwen2ForCausalLM(  # the upper layers have a window
            Qwen2Config(**SHAPE, use_sliding_window=True, sliding_window=4, max_window_layers=1)
        ),
        "gpt2": lambda: GPT2LMHeadModel(GPT2Config(**GPT2)),
        "bloom": lambda: BloomForCausalLM(BloomConfig(**BLOOM)),
        "gemma2": lambda: Gemma2ForCausalLM(Gemma2Config(**SHAPE, head_dim=8, sliding_window=4)),
        "cohere": lambda: CohereForCausalLM(CohereConfig(**SHAPE)),
        "granite": lambda: GraniteForCausalLM(GraniteConfig(**SHAPE, logits_scaling=4.0)),
    }
    model = build[kind]().eval()
    with torch.no_grad():  # biases are made as zeros; Qwen2's and GPT-2's must count
        for name, values in model.named_parameters():
            if name.endswith("bias"):
                values.normal_(0, 0.5)
    return model


def some_rows() -> list[list[int]]:
    rng = np.random.default_rng(1)
    return [rng.integers(3, 50, size=n).tolist() for n in (3, 17, 1, 9, 9, 30, 2, 1)]


def by_transformers(model: Any, row: list[int], layer: int = -1) -> tuple[Any, Any]:
    """Hidden states [tokens, width] and logits of one row alone."""
    with torch.no_grad():
        found = model(torch.tensor([row]), output_hidden_states=True)
    return found.hidden_states[layer][0].float(), found.logits[0].float()


def reference(model: Any, rows: list[list[int]], layer: int = -1) -> Encoding:
    """Each row alone, by transformers, every quantity by its definition."""
    pooled: dict[str, list[Any]] = {"weighted_mean": [], "mean": [], "eos": []}
    losses = []
    for row in rows:
        hidden, logits = by_transformers(model, row, layer)
        place = torch.arange(1, len(row) + 1).float()
        pooled["weighted_mean"].append((place[:, None] * hidden).sum(0) / place.sum())
        pooled["mean"].append(hidden.mean(0))
        pooled["eos"].append(hidden[-1])
        log_p = logits.log_softmax(-1)
        losses.append(-sum(float(log_p[i, row[i + 1]]) for i in range(len(row) - 1)))
    unit = {
        name: torch.nn.functional.normalize(torch.stack(values), dim=-1).numpy()
        for name, values in pooled.items()
    }
    return Encoding(unit, np.array(losses), np.array([len(row) for row in rows]), 0.0, 0.0)


@contextmanager
def forced_to_pad(model: Any) -> Iterator[None]:
    before = packing._PACKS.get(model)
    packing._PACKS[model] = False
    try:
        yield
    finally:
        if before is None:
            del packing._PACKS[model]
        else:
            packing._PACKS[model] = before


def same(found: Encoding, expected: Encoding) -> None:
    for name, values in expected.poolings.items():
        assert np.abs(found.poolings[name] - values).max() < 1e-5, name
    assert found.loss_sum is not None and expected.loss_sum is not None
    assert np.allclose(found.loss_sum, expected.loss_sum, rtol=1e-5, atol=1e-4)


def test_weighted_mean_by_hand() -> None:
    hidden = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [3.0, 4.0]])
    pooled = pool(hidden, torch.tensor([3, 1]))
    # weights 1/6, 2/6, 3/6: (1/6, 5/6), normalised; a row of one token is that token
    assert np.allclose(pooled["weighted_mean"][0].numpy(), np.array([1, 5]) / np.sqrt(26))
    assert np.allclose(pooled["mean"][0].numpy(), np.array([1, 2]) / np.sqrt(5))
    assert np.allclose(pooled["eos"][0].numpy(), [0, 1])
    for values in pooled.values():
        assert np.allclose(values[1].numpy(), [0.6, 0.8])


def test_weights_of_a_row_sum_to_one_and_lie_on_its_tokens() -> None:
    lengths = torch.tensor([2048, 1, 7, 7, 300])
    weights = pooling_weights(lengths)
    assert torch.allclose(weights.sum(-1), torch.ones(2, 5), atol=1e-6)
    ends = lengths.cumsum(0)
    for row, (end, length) in enumerate(zip(ends, lengths, strict=True)):
        assert weights[:, row, : end - length].eq(0).all() and weights[:, row, end:].eq(0).all()
        assert weights[:, row, end - length : end].gt(0).all()
    assert weights[0, 2, 2049:2056].tolist() == pytest.approx([i / 28 for i in range(1, 8)])


def test_more_rows_than_one_product_pools() -> None:
    rows = [[3 + i % 40] * (1 + i % 3) for i in range(3 * encoder.POOLED_ROWS + 1)]
    found = encode(tiny(), rows, losses=True, max_tokens=1000, pad_id=0)
    same(found, reference(tiny(), rows))


@pytest.mark.parametrize("kind", PACKED)
def test_packed_padded_and_alone_are_the_same(kind: str) -> None:
    model, rows = tiny(kind), some_rows()
    expected = reference(model, rows)
    for max_tokens in (1, 20, 64, 1000):
        same(encode(model, rows, losses=True, max_tokens=max_tokens, pad_id=0), expected)
        with forced_to_pad(model):
            same(encode(model, rows, losses=True, max_tokens=max_tokens, pad_id=49), expected)
    assert packing._PACKS[model], "this architecture should be packed"
    assert model.config._attn_implementation == "sdpa"  # given back as it was


@pytest.mark.parametrize("kind", PADDED)
def test_what_cannot_be_packed_is_padded(kind: str) -> None:
    model, rows = tiny(kind), some_rows()
    before = model.config._attn_implementation
    same(encode(model, rows, losses=True, max_tokens=40, pad_id=0), reference(model, rows))
    assert not packing._PACKS[model] and model.config._attn_implementation == before


def test_a_model_that_mixes_rows_outside_attention_fails_the_probe() -> None:
    model = LlamaForCausalLM(LlamaConfig(**SHAPE)).eval()
    inner = model.model.layers[1].mlp.forward  # a layer that looks one token back, as Mamba's does
    model.model.layers[1].mlp.forward = lambda x: inner(x + x.roll(1, dims=1))
    with torch.no_grad():
        expected = [model.model(torch.tensor([r])).last_hidden_state[0, -1] for r in some_rows()]
    found = encode(model, some_rows(), losses=False, max_tokens=1, pad_id=0)
    assert not packing._PACKS[model]
    unit = torch.nn.functional.normalize(torch.stack(expected), dim=-1).numpy()
    assert np.allclose(found.poolings["eos"], unit, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("mixer", "it mixes tokens by chunked_attention"),
        ("code", "its code is not transformers' own"),
        ("window", "its sliding window is not told to the attention function"),
        ("eager", "its attention is eager"),
        ("bidirectional", "its attention is not causal"),
    ],
)
def test_doubtful_architectures_are_not_packed(
    change: str, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    kind = type("Remote", (LlamaForCausalLM,), {}) if change == "code" else LlamaForCausalLM
    model: Any = kind(LlamaConfig(**SHAPE)).eval()
    if change == "mixer":
        model.config.layer_types = ["chunked_attention"] * 3
    elif change == "window":  # Llama tells attention of none: it could only be in the mask
        model.config.sliding_window = 4
    elif change == "eager":
        model.set_attn_implementation("eager")
    elif change == "bidirectional":
        for layer in model.model.layers:
            layer.self_attn.is_causal = False
    with caplog.at_level("INFO", logger="harness.packing"):
        assert not packing._try(model)
    assert reason in caplog.text


def test_the_model_is_given_back_after_an_error() -> None:
    model = tiny()
    with pytest.raises(RuntimeError, match="stop"), packing.packing(model) as packed:
        assert packed and model.config._attn_implementation == packing.NAME
        raise RuntimeError("stop")
    assert model.config._attn_implementation == "sdpa"


@pytest.mark.parametrize("kind", ["llama", "mixed", "gpt2", "bloom"])
def test_a_layer_is_the_entry_of_hidden_states_and_layers_above_do_not_run(kind: str) -> None:
    model, rows = tiny(kind), some_rows()
    stack = encoder._stack(model)
    encode(model, rows, losses=False, pad_id=0)  # the probe, which runs all layers, is over
    ran: list[int] = []
    handles = [
        layer.register_forward_hook(lambda *_, index=index: ran.append(index))
        for index, layer in enumerate(stack)
    ]
    for layer in range(3):
        expected = reference(model, rows, layer)
        ran.clear()
        found = encode(model, rows, losses=False, max_tokens=30, pad_id=0, layer=layer)
        for name, values in expected.poolings.items():
            assert np.abs(found.poolings[name] - values).max() < 1e-5, (layer, name)
        assert found.loss_sum is None
        assert set(ran) == set(range(layer))
    for handle in handles:
        handle.remove()


def test_losses_of_a_lower_layer_are_refused() -> None:
    with pytest.raises(ValueError, match="losses need the last layer"):
        encode(tiny(), some_rows(), losses=True, max_tokens=64, pad_id=0, layer=1)


@pytest.mark.parametrize("kind", ["llama", "gemma2", "cohere", "granite"])
def test_losses_equal_the_models_own(kind: str) -> None:
    """Gemma caps its logits, Cohere and Granite scale them, behind the head's product."""
    rows = [row for row in some_rows() if len(row) > 1]
    found = encode(tiny(kind), rows, losses=True, max_tokens=64, pad_id=0)
    assert found.loss_sum is not None
    for row, loss in zip(rows, found.loss_sum, strict=True):
        ids = torch.tensor([row])
        with torch.no_grad():
            mean = tiny(kind)(ids, labels=ids).loss.item()
        assert loss == pytest.approx(mean * (len(row) - 1), rel=1e-4)


def test_logits_that_are_changed_in_an_unknown_way_are_refused() -> None:
    class Odd(LlamaForCausalLM):
        def forward(self, *args: Any, **kwargs: Any) -> Any:
            found = super().forward(*args, **kwargs)
            found.logits = found.logits * 3
            return found

    odd = Odd(LlamaConfig(**SHAPE)).eval()
    encode(odd, [[5, 6]], losses=False, max_tokens=64, pad_id=0)
    with pytest.raises(ValueError, match="Odd changes its logits"):
        encode(odd, [[5, 6]], losses=True, max_tokens=64, pad_id=0)


def test_a_row_of_one_token_predicts_nothing() -> None:
    found = encode(tiny(), [[5], [5, 6]], losses=True, max_tokens=64, pad_id=0)
    assert found.loss_sum is not None and found.loss_sum[0] == 0.0 < found.loss_sum[1]


def test_long_losses_go_through_the_head_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder, "CPU_HEAD_TOKENS", 7)
    same(encode(tiny(), some_rows(), losses=True, pad_id=0), reference(tiny(), some_rows()))


def test_bfloat16_points_where_float32_does() -> None:
    torch.manual_seed(0)
    config = LlamaConfig(**{**SHAPE, "hidden_size": 64, "initializer_range": 0.02})
    model = LlamaForCausalLM(config).eval()
    exact = encode(model, some_rows(), losses=False, pad_id=0)
    half = encode(model.to(torch.bfloat16), some_rows(), losses=False, pad_id=0)
    for name, values in exact.poolings.items():
        assert half.poolings[name].dtype == np.float32
        assert (values * half.poolings[name]).sum(1).min() > 0.9999, name


def test_a_type_that_the_processor_lacks_is_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(encoder.platform, "machine", lambda: "x86_64")
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.setattr(torch.cpu, name, lambda: False)
    assert not encoder.computes_natively("cpu", torch.bfloat16)
    assert encoder.computes_natively("cpu", torch.float32)
    assert encoder.computes_natively("cuda", torch.bfloat16)
    half = LlamaForCausalLM(LlamaConfig(**SHAPE)).eval().to(torch.bfloat16)
    encode(half, [[5, 6]], losses=False, pad_id=0)
    assert "model.dtype=float32 is faster" in caplog.text
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    assert encoder.computes_natively("cpu", torch.bfloat16)


@pytest.mark.parametrize("packed", [True, False])
def test_batches_keep_to_the_budget_and_cover_every_row_once(packed: bool) -> None:
    lengths = [5, 100, 7, 7, 30, 1, 1, 2]
    found = list(batches(lengths, 32, packed=packed))
    assert sorted(np.concatenate(found).tolist()) == list(range(len(lengths)))
    for places in found:
        own = [lengths[i] for i in places]
        assert own == sorted(own, reverse=True)
        tokens = sum(own) if packed else len(own) * max(own)
        assert tokens <= 32 or len(places) == 1
    # by falling length: 100, 30, 7, 7, 5, 2, 1, 1; padded, four rows of 7 fit
    assert [len(places) for places in found] == ([1, 1, 6] if packed else [1, 1, 4, 2])


def test_rows_without_tokens_are_refused() -> None:
    with pytest.raises(ValueError, match="without tokens"):
        encode(tiny(), [[5], []], losses=False, pad_id=0)
