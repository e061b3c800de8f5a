"""FLOP counts of published architectures against closed forms; few layers stand for many."""

from __future__ import annotations

import copy

import pytest

from harness.flops import Polynomial, encoder_flops, fit, model_flops

# width, inner width, layers, heads, key-value heads, head size, vocabulary; parameters as published
DECODERS = {
    "Llama-2-7B": ("LlamaConfig", 4096, 11008, 32, 32, 32, 128, 32_000, 6_738_415_616),
    "Llama-2-13B": ("LlamaConfig", 5120, 13824, 40, 40, 40, 128, 32_000, 13_015_864_320),
    "Llama-2-70B": ("LlamaConfig", 8192, 28672, 80, 64, 8, 128, 32_000, 68_976_648_192),
    "Llama-3.1-8B": ("LlamaConfig", 4096, 14336, 32, 32, 8, 128, 128_256, 8_030_261_248),
    "Qwen2.5-1.5B": ("Qwen2Config", 1536, 8960, 28, 12, 2, 128, 151_936, 1_543_714_304),
    "Qwen2.5-7B": ("Qwen2Config", 3584, 18944, 28, 28, 4, 128, 152_064, 7_615_616_512),
    "OLMo-2-7B": ("Olmo2Config", 4096, 11008, 32, 32, 32, 128, 100_352, 7_298_617_344),
    "OLMo-2-13B": ("Olmo2Config", 5120, 13824, 40, 40, 40, 128, 100_352, 13_716_198_400),
    "Mistral-7B": ("MistralConfig", 4096, 14336, 32, 32, 8, 128, 32_000, 7_241_732_096),
}
TIED = ("Qwen2.5-1.5B",)


def decoder(name: str, **changes):
    import transformers

    kind, width, inner, layers, heads, groups, _, words, _ = DECODERS[name]
    shape = {
        "hidden_size": width,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": groups,
        "vocab_size": words,
        "tie_word_embeddings": name in TIED,
        "max_position_embeddings": 4096,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
    }
    return getattr(transformers, kind)(**{**shape, **changes})


@pytest.mark.parametrize("name", DECODERS)
def test_decoders_at_their_published_shapes(name):
    """Every product once: q and o, k and v, the gated inner layer, the head; and Q·K, P·V."""
    _, width, inner, layers, heads, groups, size, words, parameters = DECODERS[name]
    flops = model_flops(decoder(name))
    attention = 2 * width * heads * size + 2 * width * groups * size
    linear = layers * (attention + 3 * width * inner)
    assert flops.body == Polynomial(2 * layers * 2 * heads * size, 2 * linear, 0)
    assert flops.head == Polynomial(0, 2 * width * words, 0)
    assert flops.parameters == parameters


def test_encoders_at_their_published_shapes():
    from transformers import BertConfig, T5Config

    t5 = T5Config(vocab_size=32_128, d_model=768, num_layers=12, num_heads=12, d_kv=64, d_ff=3072)
    gtr = encoder_flops(t5, dense=[(768, 768)])  # GTR-T5-base
    linear = 12 * (4 * 768 * 768 + 2 * 768 * 3072)
    assert gtr.body == Polynomial(2 * 12 * 2 * 768, 2 * linear, 2 * 768 * 768)
    assert gtr.parameters == 109_628_544 + 768 * 768  # the paper's "110e6"
    bert = encoder_flops(BertConfig())
    assert bert.body == Polynomial(2 * 12 * 2 * 768, 2 * linear, 0)
    assert bert.parameters == 109_482_240


SMALL = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 90,
}


@pytest.mark.parametrize("name", ["Llama-2-7B", "Qwen2.5-7B", "OLMo-2-7B"])
@pytest.mark.parametrize("recipe", ["forward", "full", "lora", "checkpointing"])
def test_few_layers_stand_for_many(name, recipe):
    """Seven layers counted one by one, which the harness extrapolates from three."""
    from harness.flops.counting import _trace, build_on_meta
    from harness.flops.layers import FEW, equal_layers
    from harness.flops.training import count_step

    config = decoder(name, **SMALL, num_hidden_layers=7)
    flops = model_flops(config)
    lora = {"r": 4, "target_modules": ["q_proj", "o_proj"]} if recipe == "lora" else None
    if recipe == "forward":
        model = build_on_meta(config)
        assert flops.body == fit(lambda length: _trace(model, length)[0])
        assert flops.head == fit(lambda length: _trace(model, length)[1])
    else:
        model = build_on_meta(config, "eager").train()
        if lora:
            from peft import LoraConfig, get_peft_model

            model = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **lora))
        if recipe == "checkpointing":
            model.gradient_checkpointing_enable({"use_reentrant": False})
        whole = fit(lambda length: count_step(model, length))
        options = {"lora": lora, "gradient_checkpointing": recipe == "checkpointing"}
        assert flops.train([11, 50], **options) == whole([11, 50])
    assert equal_layers(build_on_meta(config)) is not None and FEW < 7


def test_few_layers_stand_for_many_in_gradients(monkeypatch):
    from harness.flops import gradients

    config = decoder("Llama-2-7B", **SMALL, num_hidden_layers=7)
    few = gradients.count_gradients(config, LORA)
    seen = []
    monkeypatch.setattr(gradients, "fit_deep", lambda model, count: seen.append(1) or fit(count))
    assert gradients.count_gradients(config, LORA) == few and seen


def test_a_model_of_unlike_layers_is_counted_whole():
    import torch

    from harness.flops.layers import equal_layers

    class Model(torch.nn.Module):
        config = decoder("Llama-2-7B", **SMALL, num_hidden_layers=5)

        def __init__(self, widths):
            super().__init__()
            self.layers = torch.nn.ModuleList(torch.nn.Linear(4, 4, bias=w) for w in widths)

    assert equal_layers(Model([False] * 5))[1:] == ("layers", 5)
    assert equal_layers(Model([True, False, False, False, False])) is not None  # T5's first block
    assert equal_layers(Model([False] * 4 + [True])) is None


LORA = {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "k_proj", "v_proj", "o_proj"]}


@pytest.mark.parametrize("modules", [LORA["target_modules"], ["o_proj"], ["down_proj"]])
def test_less_gradients_against_the_real_module(modules):
    """What torch counts while the harness computes gradients of real weights, row after row."""
    import numpy as np
    import torch
    from peft import LoraConfig, get_peft_model
    from torch.utils.flop_counter import FlopCounterMode
    from transformers import AutoModelForCausalLM

    from harness.gradients import Labelled, LoraGradients, project_gradients
    from harness.projection import Projection

    lora = {**LORA, "target_modules": modules}
    config = decoder("Llama-2-7B", **SMALL, num_hidden_layers=5)
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(copy.deepcopy(config), attn_implementation="eager")
    adapted = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **lora))
    gradients = LoraGradients(adapted)
    labels = [[False] * 3 + [True] * 4 + [False] * 2, [False, True], [False] * 5, [True] * 40]
    rows = [Labelled.of(list(range(2, 2 + len(row))), row) for row in labels]
    counted = model_flops(config).gradients(lora)
    assert counted.size == gradients.size
    signs = Projection(64, 0)
    with FlopCounterMode(display=False) as counter:
        project_gradients(gradients, rows, signs, max_tokens=1)  # a row a batch: no padding
    held = torch.zeros((3, gradients.size))
    with FlopCounterMode(display=False) as tabled:
        signs(held)  # sums by tables, which a CPU does with fewer products than are charged
    with FlopCounterMode(display=False) as product:
        signs.multiplied(held)
    read, places = [len(row.ids) for row in rows], [len(row.places) for row in rows]
    assert (read, places) == ([6, 1, 0, 39], [4, 1, 0, 39])
    expected = counted(np.array(read), np.array(places))
    assert counter.get_total_flops() - tabled.get_total_flops() == expected
    assert product.get_total_flops() == counted.projected(3, 64)
    lone = model_flops(config).train([9, 2, 40], lora=lora)
    assert counted(read, places) < lone  # the cut behind the last label, and no unused product
