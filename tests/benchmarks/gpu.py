"""The pass over a pool at Llama-3.1-8B's shape on a GPU: random weights, bf16, real lengths.

    python -m tests.benchmarks gpu

It needs a CUDA device with some 40 GB. Without one it says so and reports nothing.
"""

from __future__ import annotations

import time
from typing import Any

from harness.encoder import encode
from tests.benchmarks.encode import flops, matrix_rate, token_rows
from tests.benchmarks.frame import Row

ROWS, SMALL_ROWS = 2000, 6
SHARE = 0.6
# fmt: off
SHAPE: dict[str, Any] = {
    "vocab_size": 128_256, "hidden_size": 4096, "intermediate_size": 14_336,
    "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8,
    "max_position_embeddings": 8192, "rope_theta": 500_000.0, "tie_word_embeddings": False,
}
SMALL: dict[str, Any] = {
    **SHAPE, "vocab_size": 8192, "hidden_size": 64, "intermediate_size": 224,
    "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
}
# fmt: on


def rows(*, small: bool = False) -> list[Row]:
    """Samples a second and the share of the device's matrix rate.

    ``small``: the same on a CPU with a tiny shape and few short rows, so that this code is run
    where there is no GPU; its figures say nothing.
    """
    import torch

    if not small and not torch.cuda.is_available():
        print("gpu: NOT RUN: torch sees no CUDA device here, so there is no figure for a GPU")
        return []
    device = "cpu" if small else "cuda"
    name = "small shape on a CPU" if small else torch.cuda.get_device_name()
    model = build(SMALL if small else SHAPE, device)
    ids, source = token_rows(SMALL_ROWS if small else ROWS, 64 if small else 2048)
    encode(model, ids[:SMALL_ROWS], losses=True, pad_id=0)  # kernels are chosen and loaded
    rate = matrix_rate(model)
    found = []
    for losses, what in ((False, "hidden states"), (True, "hidden states and losses")):
        start = time.perf_counter()
        encode(model, ids, losses=losses, pad_id=0)
        took = time.perf_counter() - start
        share = flops(model, ids, head=losses) / took / rate
        found += [
            Row(
                f"gpu: {what}, 8B shape, bf16 ({name}; {source})",
                len(ids) / took,
                None,
                None,
                "samples/s",
                "none; the published indexer does about 15 on one H100",
                None,
            ),
            Row(
                f"gpu: {what}: share of the measured matrix rate",
                share,
                None,
                None,
                f"of {rate / 1e12:,.3g} TFLOP/s",
                f"above {SHARE:.0%}",
                None if small else share > SHARE,
            ),
        ]
    return found


def build(shape: dict[str, Any], device: str) -> Any:
    """A Llama of random bf16 weights, made on the device."""
    import torch
    from transformers import AutoModelForCausalLM, LlamaConfig

    with torch.device(device):
        model = AutoModelForCausalLM.from_config(LlamaConfig(**shape), dtype=torch.bfloat16)
    return model.eval()
