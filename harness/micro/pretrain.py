r"""Pre-train the micro scale's base model on the plain text of its world.

    python -m harness.micro.pretrain --out harness/micro/model
    python -m harness.micro.pretrain --out harness/micro/model --start harness/micro/model \
        --tokens 3000000 --seed 1 --rate 3e-3

Same machine, same threads: same weights. Writes the model (bf16), its tokenizer and
`pretraining.json` with the loss curve.
"""

import argparse
import json
import math
import os
import platform
import shlex
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import transformers
from tqdm import tqdm
from transformers import (
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from harness.micro.corpus import documents
from harness.micro.muon import Muon
from harness.micro.tokenizer import MAX_LENGTH, train_tokenizer

BLOCK = 256  # tokens of one training sequence
BATCH = 16  # sequences of one step
PEAK_RATE = 7e-3
WARM_UP_STEPS = 60
LOG_EVERY = 50


def main(arguments: list[str] | None = None) -> None:
    """Parse the command line and pre-train."""
    parser = argparse.ArgumentParser(description="Pre-train the micro scale's base model.")
    parser.add_argument("--out", type=Path, required=True, help="folder for the model")
    parser.add_argument("--tokens", type=int, default=9_000_000, help="training tokens")
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--width", type=int, default=128, help="a multiple of 32: of a head")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--start", type=Path, help="go on from this model, on the text of --seed")
    parser.add_argument("--rate", type=float, default=PEAK_RATE, help="peak learning rate")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args(arguments)
    pretrain(options)


def pretrain(options: argparse.Namespace) -> None:
    """Train on fresh text and write everything to `out`."""
    started = time.perf_counter()
    out, seed, start = options.out, options.seed, options.start
    torch.set_num_threads(options.threads)
    torch.manual_seed(seed)
    former = []
    if start:
        tokenizer = PreTrainedTokenizerFast.from_pretrained(start)
        model = LlamaForCausalLM.from_pretrained(start, dtype=torch.float32)
        former = json.loads((start / "pretraining.json").read_text())
    else:
        tokenizer = train_tokenizer(seed)
        model = LlamaForCausalLM(_architecture(tokenizer, options.layers, options.width))
    texts = documents(seed, refrains_first=not start)
    blocks = token_blocks(tokenizer, texts, options.tokens // BLOCK)
    curve = _train(model, blocks, options.rate)
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model.bfloat16().save_pretrained(out)
    tokenizer.save_pretrained(out)
    report = {
        "command": "python -m harness.micro.pretrain " + shlex.join(sys.argv[1:]),
        "parameters": model.num_parameters(),
        "tokens": int(blocks.size),
        "seconds": round(time.perf_counter() - started),
        "threads": options.threads,
        "precision": "bfloat16 mixed" if _fast_bfloat16() else "float32",
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
        "loss": curve,
    }
    (out / "pretraining.json").write_text(json.dumps([*former, report], indent=1) + "\n")


def token_blocks(
    tokenizer: PreTrainedTokenizerFast, texts: Iterator[str], count: int
) -> np.ndarray:
    """Return `count` rows of `BLOCK` tokens.

    Each row starts with the start of a document, and the last document of a row is cut: no text is
    read without what it refers to.
    """
    blocks = np.empty((count, BLOCK), dtype=np.int64)
    for row in tqdm(blocks, desc="text", unit="block", mininterval=5):
        filled = 0
        while filled < BLOCK:
            ids = [*tokenizer(next(texts)).input_ids, tokenizer.eos_token_id]
            part = ids[: BLOCK - filled]
            row[filled : filled + len(part)] = part
            filled += len(part)
    return blocks


def _architecture(tokenizer: PreTrainedTokenizerFast, layers: int, width: int) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=width * 11 // 4,
        num_hidden_layers=layers,
        num_attention_heads=width // 32,
        max_position_embeddings=MAX_LENGTH,
        tie_word_embeddings=True,
        initializer_range=0.06,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def _train(model: LlamaForCausalLM, blocks: np.ndarray, rate: float) -> list[list[float]]:
    """Run one pass over the blocks; return [step, mean loss since the last entry] pairs."""
    optimizers = _optimizers(model)
    steps = len(blocks) // BATCH
    curve, recent = [], []
    progress = tqdm(range(steps), desc="pre-training", unit="step", mininterval=5)
    for step in progress:
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate * _share_of_rate(step, steps)
        batch = torch.from_numpy(blocks[step * BATCH : (step + 1) * BATCH])
        with torch.autocast("cpu", torch.bfloat16, enabled=_fast_bfloat16()):
            loss = model(input_ids=batch, labels=batch, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        recent.append(loss.item())
        if (step + 1) % LOG_EVERY == 0:
            curve.append([step + 1, round(sum(recent) / len(recent), 4)])
            progress.set_postfix(loss=curve[-1][1])
            recent = []
    return curve


def _fast_bfloat16() -> bool:
    """Whether this CPU multiplies in bfloat16; others take a hundred times as long for it."""
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def _optimizers(model: LlamaForCausalLM) -> list[torch.optim.Optimizer]:
    """Muon for the layers' matrices, which needs far fewer tokens; AdamW for all else."""
    matrices = [p for p in model.model.layers.parameters() if p.dim() == 2]
    chosen = {id(p) for p in matrices}
    others = [p for p in model.parameters() if id(p) not in chosen]
    return [
        Muon(matrices),
        torch.optim.AdamW(others, betas=(0.9, 0.95), weight_decay=0.0, fused=True),
    ]


def _share_of_rate(step: int, steps: int) -> float:
    """Linear warm-up, then a cosine down to a hundredth of the peak."""
    if step < WARM_UP_STEPS:
        return (step + 1) / WARM_UP_STEPS
    done = (step - WARM_UP_STEPS) / max(1, steps - WARM_UP_STEPS)
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done))


if __name__ == "__main__":
    main()
