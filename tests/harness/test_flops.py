"""FLOP counts against closed forms, against torch's own counter and against the paper's figures."""

from __future__ import annotations

import copy
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest

from harness.flops import (
    Polynomial,
    UncountedOperation,
    encoder_flops,
    fit,
    model_flops,
    paper_forward,
    paper_train,
)

LORA = {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "k_proj", "v_proj", "o_proj"]}


def llama(**changes):
    from transformers import LlamaConfig

    small = {
        "vocab_size": 96,
        "hidden_size": 32,
        "intermediate_size": 72,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 256,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
    }
    return LlamaConfig(**{**small, **changes})


def real_model(config):
    """A model with weights on the CPU; eager, since torch does not count CPU's fused attention."""
    import torch
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(copy.deepcopy(config), attn_implementation="eager")


def counted(action) -> int:
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        action()
    return counter.get_total_flops()


def step(model, length: int) -> int:
    """What torch counts for one training step on real weights, by its own path."""
    import torch

    ids = torch.arange(2, 2 + length)[None] % 90
    mask = torch.ones_like(ids)
    return counted(lambda: model(input_ids=ids, attention_mask=mask, labels=ids).loss.backward())


def test_polynomial_sums_exactly():
    polynomial = Polynomial(3, 5, 7)
    assert polynomial(10) == 357
    assert polynomial([1, 10]) == 15 + 357
    assert polynomial(np.array([], dtype=np.int64)) == 0
    # 6 million rows of 2,048 tokens on an 8B model: beyond int64 before rounding.
    huge = Polynomial(524_288, 15_009_316_864, 0)
    assert huge(np.full(6_000_000, 2048)) == float(6_000_000 * int(huge(2048)))
    with pytest.raises(ValueError, match="negative"):
        polynomial([-1])
    with pytest.raises(ValueError, match="whole numbers"):
        polynomial([1.5])


def test_fit_refuses_what_is_not_quadratic():
    assert fit(lambda length: 2 * length**2 + 3 * length + 4) == Polynomial(2, 3, 4)
    with pytest.raises(ValueError, match="not quadratic"):
        fit(lambda length: length**3)
    with pytest.raises(ValueError, match="whole coefficients"):
        fit(lambda length: length * (length - 1) // 2)


@pytest.mark.parametrize(
    ("changes", "b_macs", "parameters"),
    [
        (
            {"vocab_size": 32_000, "intermediate_size": 11_008, "num_key_value_heads": 32},
            6_607_077_376,
            6_738_415_616,
        ),
        (
            {"vocab_size": 128_256, "intermediate_size": 14_336, "num_key_value_heads": 8},
            7_504_658_432,
            8_030_261_248,
        ),
    ],
    ids=["Llama-2-7B", "Llama-3.1-8B"],
)
def test_llama_closed_form(changes, b_macs, parameters):
    """b is the size of all linear layers, a is 2 × layers × heads × head size (in MACs)."""
    shape = {"hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32}
    flops = model_flops(llama(**shape, **changes))
    head = 4096 * changes["vocab_size"]
    assert flops.parameters == parameters
    assert flops.head == Polynomial(0, 2 * head, 0)
    assert flops.body == Polynomial(2 * 262_144, 2 * (b_macs - head), 0)
    assert flops.forward(2048) == 2 * (262_144 * 2048**2 + b_macs * 2048)
    assert flops.forward(2048, head=False) == flops.forward(2048) - 2 * head * 2048


def test_two_ways_to_attend_cost_the_same():
    from harness.flops.counting import _trace, build_on_meta

    config = llama()
    assert _trace(build_on_meta(config, "sdpa"), 57) == _trace(build_on_meta(config, "eager"), 57)


def test_forward_against_the_other_counter():
    import torch

    config = llama()
    flops, model = model_flops(config), real_model(config)
    lengths = [1, 7, 64, 200]

    def forward():
        with torch.no_grad():
            for length in lengths:
                model(input_ids=torch.ones((1, length), dtype=torch.long))

    assert flops.forward(lengths) == counted(forward)


SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 90}
OTHERS = {
    "GPT2Config": {"n_embd": 32, "n_layer": 2, "n_head": 4, "vocab_size": 90},
    "OPTConfig": {**SIZES, "ffn_dim": 64, "word_embed_proj_dim": 16},
    "Qwen3Config": {**SIZES, "intermediate_size": 64, "head_dim": 16, "num_key_value_heads": 2},
    "GemmaConfig": {**SIZES, "intermediate_size": 64, "head_dim": 8, "num_key_value_heads": 1},
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_architectures_against_the_other_counter(name):
    import torch
    import transformers

    config = getattr(transformers, name)(
        **OTHERS[name], pad_token_id=0, bos_token_id=0, eos_token_id=0
    )
    model = real_model(config)
    ids = torch.ones((1, 77), dtype=torch.long)
    with torch.no_grad():
        expected = counted(lambda: model(input_ids=ids, use_cache=False))
    assert model_flops(config).forward(77) == expected


def test_bert_closed_form():
    from transformers import BertConfig

    layers, d, inner = 3, 32, 80
    config = BertConfig(
        vocab_size=90, hidden_size=d, num_hidden_layers=layers, num_attention_heads=4,
        intermediate_size=inner,
    )  # fmt: skip
    flops = encoder_flops(config, dense=[(d, 7)])
    linear = layers * (4 * d * d + 2 * d * inner)
    once = d * 7  # the dense layer behind the pooling; BERT's own pooler is read by no one
    assert flops.body == Polynomial(2 * layers * 2 * d, 2 * linear, 2 * once)
    assert flops.forward([5, 40]) == flops.forward(5) + flops.forward(40)


def test_t5_encoder_closed_form():
    from transformers import T5Config, T5EncoderModel

    layers, d, heads, size, inner = 2, 24, 3, 16, 50
    config = T5Config(
        vocab_size=90, d_model=d, num_layers=layers, num_heads=heads, d_kv=size, d_ff=inner
    )
    flops = encoder_flops(config, dense=[(d, d)])
    linear = layers * (4 * d * heads * size + 2 * d * inner)
    assert flops.body == Polynomial(2 * layers * 2 * heads * size, 2 * linear, 2 * d * d)
    weights = sum(p.numel() for p in T5EncoderModel(config).parameters())
    assert flops.parameters == weights + d * d


def test_training_all_weights_is_three_forward_passes():
    config = llama()
    model = real_model(config)
    for length in (5, 90):
        assert model_flops(config).train(length) == step(model, length)
    assert model_flops(config).train([5, 90]) == 3 * model_flops(config).forward([5, 90])


def test_training_with_lora_against_a_real_peft_model():
    from peft import LoraConfig, get_peft_model

    config = llama()
    model = get_peft_model(real_model(config), LoraConfig(task_type="CAUSAL_LM", **LORA))
    flops = model_flops(config)
    assert flops.train([5, 90], lora=LORA) == step(model, 5) + step(model, 90)
    assert flops.train(90, lora=LORA) < 3 * flops.forward(90)


@pytest.mark.parametrize("lora", [None, LORA], ids=["full", "lora"])
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_gradient_checkpointing_against_a_real_model(lora):
    from peft import LoraConfig, get_peft_model

    config = llama()
    model = real_model(config)
    if lora:
        model = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **lora))
    model.train()
    model.gradient_checkpointing_enable({"use_reentrant": False})
    flops = model_flops(config)
    cost = flops.train(90, lora=lora, gradient_checkpointing=True)
    assert cost == step(model, 90)
    assert cost > flops.train(90, lora=lora)


def test_generation_with_a_cache_against_a_real_model():
    import torch

    config = llama()
    flops, model = model_flops(config), real_model(config).eval()
    for prompt, new in ((9, 1), (9, 6), (40, 12)):
        ids = torch.full((1, prompt), 3)
        mask = torch.ones_like(ids)
        expected = counted(
            lambda ids=ids, mask=mask, new=new: model.generate(
                input_ids=ids,
                attention_mask=mask,
                max_new_tokens=new,
                min_new_tokens=new,
                do_sample=False,
            )
        )
        assert flops.generate(prompt, new) == expected
    together = flops.generate([9, 40], [6, 12])
    assert together == flops.generate(9, 6) + flops.generate(40, 12)
    assert flops.generate(9, 0) == flops.generate(9, 1)
    assert flops.generate(9, 6) == flops.read(0, 9, 1) + flops.write(9, 6)
    # Nine tokens in two passes: the second attends to the first, and the head runs once more.
    split = flops.read([0, 5], [5, 4], [1, 1])
    assert split == flops.generate(9, 1) + flops.head(1) - flops.body.a * 5 * 4
    with pytest.raises(ValueError, match="2 prompts but 1"):
        flops.generate([1, 2], [3])


def test_the_configuration_is_left_alone():
    config = llama()
    before = config.to_json_string(use_diff=False), config._attn_implementation
    flops = model_flops(config)
    flops.train(20, lora=LORA, gradient_checkpointing=True)
    assert (config.to_json_string(use_diff=False), config._attn_implementation) == before
    assert model_flops(llama()) is flops
    assert model_flops(llama(num_hidden_layers=1)) is not flops


def test_unknown_products_are_refused():
    from harness.flops.counting import check_unsupported, count_macs

    check_unsupported(Counter({"aten::silu": 3}))
    with pytest.raises(UncountedOperation, match="left out of the count: aten::_grouped_mm"):
        check_unsupported(Counter({"aten::_grouped_mm": 1, "aten::silu": 3}))
    with pytest.raises(UncountedOperation, match="unknown cost: aten::fft_fft"):
        check_unsupported(Counter({"aten::fft_fft": 1}))

    import torch

    class Sneaky(torch.nn.Module):
        def forward(self, x):
            return torch.baddbmm(x, x, x)

    with pytest.raises(UncountedOperation, match="aten::baddbmm"):
        count_macs(Sneaky(), (torch.zeros((2, 3, 3), device="meta"),))


def test_layer_norm_is_left_out():
    import torch

    from harness.flops.counting import count_macs

    module = torch.nn.Sequential(torch.nn.Linear(7, 11, device="meta"), torch.nn.LayerNorm(11))
    module = module.to("meta")
    assert count_macs(module, (torch.zeros((3, 7), device="meta"),))[""] == 3 * 7 * 11


# Figure 1 as drawn by the paper's code (N = 8e9, 10k selected, 2 epochs): method, pool rows, FLOPs.
FIGURE_1 = [
    ("random", 0, "1.966e+18"),
    ("gtr", 200_000, "2.056e+18"),
    ("gtr", 5_800_000, "4.579e+18"),
    ("rds_plus", 200_000, "8.520e+18"),
    ("rds_plus", 5_800_000, "1.920e+20"),
    ("ifd", 200_000, "1.517e+19"),
    ("ifd", 5_800_000, "1.987e+20"),
    ("less", 200_000, "6.291e+19"),
]


def figure_1(method: str, rows: int) -> float:
    n, selected = 8e9, 10_000
    train = paper_train(n, selected, 2)
    return {
        "random": train,
        "gtr": paper_forward(110e6, rows) + train,
        "rds_plus": paper_forward(n, rows) + train,
        "ifd": paper_forward(n, 200_000)
        + paper_train(n, 1_000, 1)
        + paper_forward(n, rows)
        + train,
        "less": paper_train(n, rows, 3) + 2 * train,
    }[method]


@pytest.mark.parametrize(("method", "rows", "expected"), FIGURE_1)
def test_the_papers_figure_1(method, rows, expected):
    assert f"{figure_1(method, rows):.3e}" == expected


def test_importing_costs_no_torch():
    code = (
        "import sys, harness.flops as _; "
        "sys.exit(bool({'torch', 'fvcore', 'transformers'} & {*sys.modules}))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
