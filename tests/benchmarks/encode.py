"""The pass over a pool against the loop of research code, on all cores.

A Llama of 16.9M random parameters reads rows of the real pool's lengths. The loop takes one row a
step in float32, computes the whole language-model head and keeps the hidden states of all layers.
Ours and the loop take turns on the same rows, and the median of the turns counts, so that other
work on the machine falls on both.
"""

from __future__ import annotations

import gzip
import json
import os
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from harness import encoder
from harness.encoder import computes_natively, encode
from tests.benchmarks.frame import Row, seconds

ROWS, LONGEST, VOCABULARY = 2000, 2048, 8192
TURNS, SHARE = 3, 6  # a turn is over every sixth row; the loop takes every third of those
LOOP_SHARE = 3
FASTER, ALIKE, MORE = 6.0, 0.9999, 1.05  # what is asked for


def rows() -> list[Row]:
    """Hidden states, hidden states with losses, what each extra costs, and what bounds it."""
    import torch

    ids, source = token_rows()
    exact = model()
    dtype = torch.bfloat16 if computes_natively("cpu", torch.bfloat16) else torch.float32
    ours = exact if dtype == torch.float32 else model().to(dtype)
    with all_cores():
        turns = [_turn(exact, ours, ids[start::SHARE]) for start in range(TURNS)]
    return _report(turns, f"{source}, {str(dtype).removeprefix('torch.')}")


@dataclass
class Turn:
    """What was measured over the same rows: tokens a second, and seconds.

    Attributes:
        loop, ours: tokens a second of (hidden states, hidden states and losses).
        cosine: the lowest of ours with the loop's, of all rows that both took.
        rate: FLOP/s of the layers' own matrix products, without anything between them.
        share, loop_share: of that rate, reached by the pass for hidden states and by the loop.
        bound: how much faster than the loop the two passes would be at the whole rate.
        three, one: seconds of the pass with all poolings, and with the weighted mean alone.
        losses, product: seconds of the pass with losses, and if they were the head's product alone.
    """

    loop: tuple[float, float]
    ours: tuple[float, float]
    cosine: float
    rate: float
    share: float
    loop_share: float
    bound: tuple[float, float]
    three: float
    one: float
    losses: float
    product: float


def _turn(exact: Any, ours: Any, ids: list[list[int]]) -> Turn:
    few = ids[::LOOP_SHARE]
    tokens, few_tokens = sum(map(len, ids)), sum(map(len, few))
    rate = matrix_rate(ours)
    reference: list[np.ndarray] = []
    loop = (
        few_tokens / seconds(lambda: reference.extend(research_loop(exact, few, losses=False))),
        few_tokens / seconds(lambda: research_loop(exact, few, losses=True)),
    )
    with timed() as hidden:
        start = time.perf_counter()
        found = encode(ours, ids, losses=False, pad_id=0)
        three = time.perf_counter() - start - hidden.aside
    with timed() as both:
        start = time.perf_counter()
        encode(ours, ids, losses=True, pad_id=0)
        losses = time.perf_counter() - start - both.aside
    cosine = (np.stack(reference) * found.poolings["weighted_mean"][::LOOP_SHARE]).sum(1).min()
    speed = (tokens / three, tokens / losses)
    flops_each = flops(ours, ids) / tokens
    return Turn(
        loop=loop,
        ours=speed,
        cosine=float(cosine),
        rate=rate,
        share=speed[0] * flops_each / rate,
        loop_share=loop[0] * flops(ours, few, head=True) / few_tokens / matrix_rate(exact),
        bound=(
            rate / flops_each / loop[0],
            rate / (flops(ours, ids, head=True) / tokens) / loop[1],
        ),
        three=three,
        one=three - hidden.poolings + hidden.one_pooling,
        losses=losses,
        product=losses - both.head + both.product,
    )


def _report(turns: list[Turn], what: str) -> list[Row]:
    def median(value: Any) -> float:
        return statistics.median(value(turn) for turn in turns)

    used = f"{TURNS * ROWS // SHARE} of {ROWS:,}"
    rate = median(lambda t: t.rate) / 1e9
    found = []
    for index, name in enumerate(("hidden states", "hidden states and losses")):
        ratio = median(lambda t, i=index: t.ours[i] / t.loop[i])
        bound = (
            f"bound by matrix products: at their full rate of {rate:,.0f} GFLOP/s it would be "
            f"{median(lambda t, i=index: t.bound[i]):.1f} times the loop"
        )
        found.append(
            Row(
                f"encode: {name}, {used} rows ({what})",
                median(lambda t, i=index: t.ours[i]),
                median(lambda t, i=index: t.loop[i]),
                ratio,
                "tokens/s",
                f"{FASTER:.0f} times the research loop; {bound}",
                ratio >= FASTER,
            )
        )
    cosine = min(turn.cosine for turn in turns)
    target = f"at least {ALIKE}"
    name = "encode: lowest cosine of a row to the float32 loop"
    found.append(Row(name, cosine, None, None, "cosine", target, cosine >= ALIKE))
    share, loop_share = median(lambda t: t.share), median(lambda t: t.loop_share)
    found.append(
        Row(
            "encode: share of the cores' measured matrix rate",
            share,
            loop_share,
            share / loop_share,
            "share; baseline: the loop, of its own type's rate",
            "none; the rest is attention's softmax, norms, rotation, activation",
            None,
        )
    )
    for name, with_it, without in (
        ("mean and eos poolings beside the weighted mean", "three", "one"),
        ("losses beyond the head's own product", "losses", "product"),
    ):
        ratio = median(lambda t, a=with_it, b=without: getattr(t, a) / getattr(t, b))
        found.append(
            Row(
                f"encode: {name}",
                median(lambda t, a=with_it: getattr(t, a)),
                median(lambda t, b=without: getattr(t, b)),
                ratio,
                "s a turn",
                "under 5 % more time",
                ratio < MORE,
            )
        )
    return found


# -- the loop of research code -------------------------------------------------------------------


def research_loop(model: Any, ids: list[list[int]], *, losses: bool) -> list[np.ndarray]:
    """One row a step, the whole head, the hidden states of all layers; RDS+ as published."""
    import torch

    embeddings = []
    with torch.inference_mode():
        for row in ids:
            line = torch.tensor([row])
            found = model(line, output_hidden_states=True, labels=line if losses else None)
            hidden = found.hidden_states[-1][0]
            weights = torch.arange(1, len(row) + 1, dtype=torch.float32)
            embedding = (weights[:, None] * hidden).sum(0) / weights.sum()
            embeddings.append((embedding / embedding.norm()).numpy())
    return embeddings


# -- measuring -----------------------------------------------------------------------------------


@dataclass
class Parts:
    """Seconds of a pass: its poolings, the weighted mean alone, its head, the head's product alone.

    ``aside`` is what taking the two alone cost; it belongs to no pass.
    """

    poolings: float = 0.0
    one_pooling: float = 0.0
    head: float = 0.0
    product: float = 0.0
    aside: float = 0.0
    _kept: dict[str, Any] = field(default_factory=dict)


@contextmanager
def timed() -> Iterator[Parts]:
    """Within, every batch's extras are timed, and beside them what they are compared with."""
    parts = Parts()
    own_pool, own_loss = encoder.pool, encoder._loss

    def all_poolings(hidden: Any, lengths: Any) -> Any:
        start = time.perf_counter()
        found = own_pool(hidden, lengths)
        middle = time.perf_counter()
        weighted_mean(hidden, lengths)
        end = time.perf_counter()
        parts.poolings += middle - start
        parts.one_pooling += end - middle
        parts.aside += end - middle
        return found

    def loss(hidden: Any, flat: Any, lengths: Any, head: Any) -> Any:
        start = time.perf_counter()
        found = own_loss(hidden, flat, lengths, head)
        middle = time.perf_counter()
        for piece in hidden[: len(flat) - len(lengths)].split(encoder.CPU_HEAD_TOKENS):
            head._product(piece)
        end = time.perf_counter()
        parts.head += middle - start
        parts.product += end - middle
        parts.aside += end - middle
        return found

    encoder.pool, encoder._loss = all_poolings, loss  # type: ignore[assignment]
    try:
        yield parts
    finally:
        encoder.pool, encoder._loss = own_pool, own_loss


def weighted_mean(hidden: Any, lengths: Any) -> Any:
    """The pass's pooling if it gave the weighted mean alone."""
    import torch

    found, start = [], 0
    for length in lengths.tolist():
        weights = torch.arange(1, length + 1, dtype=torch.float32)
        found.append((weights / weights.sum()) @ hidden[start : start + length].float())
        start += length
    return torch.nn.functional.normalize(torch.stack(found), dim=-1)


def layer_products(model: Any) -> list[Any]:
    """The linear layers of the body."""
    import torch

    return [part for part in model.base_model.modules() if isinstance(part, torch.nn.Linear)]


def matrix_rate(model: Any) -> float:
    """FLOP/s of the body's linear layers alone, one after the other, at a batch's tokens."""
    import torch

    parts = layer_products(model)
    tokens = encoder.default_max_tokens(model.device.type)
    inputs = {
        width: torch.randn(tokens, width, dtype=model.dtype, device=model.device)
        for width in {part.in_features for part in parts}
    }

    def work() -> None:
        with torch.inference_mode():
            for part in parts:
                part(inputs[part.in_features])
        if model.device.type == "cuda":
            torch.cuda.synchronize()

    work()
    count = sum(2 * tokens * part.weight.numel() for part in parts)
    return count / seconds(work, repeats=5)


def flops(model: Any, ids: list[list[int]], *, head: bool = False) -> float:
    """Of the products that a pass needs: attention's half below the diagonal, no padding."""
    config = model.config
    lengths = np.array([len(row) for row in ids], dtype=np.float64)
    weights = sum(part.weight.numel() for part in layer_products(model))
    if head:
        weights += model.get_output_embeddings().weight.numel()
    width = config.num_attention_heads * getattr(config, "head_dim", 0)
    pairs = (lengths * (lengths + 1) / 2).sum()
    return float(2 * weights * lengths.sum() + 4 * config.num_hidden_layers * width * pairs)


@contextmanager
def all_cores() -> Iterator[None]:
    """Within, torch computes on every core, whatever the environment says."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(os.cpu_count() or 1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


# -- model and rows ------------------------------------------------------------------------------


def model() -> Any:
    """A Llama of 16.9M random parameters: 6 layers, width 384, vocabulary 8,192."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=384, intermediate_size=1024, num_hidden_layers=6,
        num_attention_heads=6, num_key_value_heads=6, max_position_embeddings=LONGEST,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


def token_rows(count: int = ROWS, longest: int = LONGEST) -> tuple[list[list[int]], str]:
    """``count`` rows of token ids, and where their lengths come from.

    From the real pool where it lies beside the project: every so many rows of it, by byte-level BPE
    with a vocabulary of 8,192 that these rows train. Else log-normal lengths (median 150, sigma
    0.8, at most 1,024).
    """
    rng = np.random.default_rng(0)
    texts = _real_texts(count)
    if texts is None:
        lengths = np.clip(rng.lognormal(np.log(150), 0.8, count), 1, min(1024, longest))
        ids = [rng.integers(3, VOCABULARY, int(length)).tolist() for length in lengths]
        return ids, "log-normal lengths"
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # type: ignore[assignment]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(texts, trainer)
    ids = [found.ids[:longest] for found in tokenizer.encode_batch(texts)]
    return [ids[i] for i in rng.permutation(len(ids))], "the real pool's lengths"


def _real_texts(count: int) -> list[str] | None:
    named = os.environ.get("WINNOW_SHARED_DATA")
    beside = Path(__file__).parents[2] / ".." / "shared" / "data"
    files = sorted((Path(named) if named else beside).glob("pool/*.jsonl.gz"))
    lines: list[str] = []
    for file in files:
        with gzip.open(file, "rt", encoding="utf-8") as opened:
            lines.extend(opened)
    if len(lines) < count:
        return None
    picked = np.linspace(0, len(lines) - 1, count).astype(int)
    conversations = [json.loads(lines[i])["messages"] for i in picked]
    return [
        "\n".join(f"<|{turn['role']}|>\n{turn['content']}" for turn in turns)
        for turns in conversations
    ]
