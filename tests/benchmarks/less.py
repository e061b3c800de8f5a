"""LESS' gradient features against the loop of research code, in CPU seconds of one thread.

A Llama of 16.9M random parameters with a LoRA adapter on q, k, v and o reads rows of the real
pool's lengths; the last 60 % of a row are its label. The loop takes one row a step in float32: the
whole language-model head, ``loss.backward()``, the gradients put together, Adam's direction. It
projects 16 rows at a time, each time with a sign matrix made anew in blocks of 128 columns, as
TRAK's projector for CPUs does. Ours and the loop take turns; the loop takes a part of the rows,
spread evenly over the lengths, and both count by token. CPU seconds, because other work on the
machine stretches wall time, but it slows caches for both alike.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.gradients import AdamDirection, Labelled, LoraGradients, project_gradients
from harness.projection import Projection
from tests.benchmarks.encode import model, token_rows
from tests.benchmarks.frame import Row

ROWS, LONGEST, LOOP_ROWS, TURNS = 256, 1024, 32, 2
AT_ONCE, COLUMNS = 16, 128  # rows of one projection in the loop, columns of one block of signs
RANK, DIM = 8, 8192
FASTER, ALIKE, SHARE = 2.0, 0.999, 0.15  # what is asked for


def rows() -> list[Row]:
    """Features, what they agree with, the projection's share, and gradients alone."""
    return measure(RANK, ROWS, LOOP_ROWS, TURNS)


@dataclass(frozen=True)
class Turn:
    """CPU milliseconds a token: of the loop and ours, gradients and projections."""

    loop_gradients: float
    loop_projection: float
    gradients: float
    projection: float


def measure(rank: int, count: int, loop_count: int, turns: int) -> list[Row]:
    """The same for any rank; a large one takes minutes."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        ids, source = token_rows(ROWS * 4, LONGEST)
        ids = sorted((row for row in ids if len(row) > 4), key=len)
        ids = ids[:: max(1, len(ids) // count)][:count]
        labelled = [Labelled.of(row, [t >= 0.4 * len(row) for t in range(len(row))]) for row in ids]
        few = np.linspace(0, count - 1, loop_count).astype(int)
        plain, fast = adapted(rank), LoraGradients(adapted(rank))
        # moments as a warm-up might leave them: of some of the rows' own gradients
        some = gradient_loop(plain, [ids[i] for i in few[::4]])
        direction = AdamDirection(some.mean(0), some.square().mean(0))
        projection = Projection(DIM)
        found: list[Turn] = []
        for _ in range(turns):
            start = time.process_time()
            vectors = gradient_loop(plain, [ids[i] for i in few])
            direction(vectors)
            middle = time.process_time()
            research_projection(vectors)
            end = time.process_time()
            clocked = _Clocked(DIM)
            features = project_gradients(fast, labelled, clocked, direction)
            whole = time.process_time() - end
            part = sum(len(ids[i]) for i in few) / 1000
            every = sum(map(len, ids)) / 1000
            found.append(
                Turn(
                    (middle - start) / part,
                    (end - middle) / part,
                    (whole - clocked.seconds) / every,
                    clocked.seconds / every,
                )
            )
        exact = torch.nn.functional.normalize(projection.multiplied(vectors), dim=1)
        cosine = float((exact * torch.from_numpy(features[few])).sum(1).min())
        tokens = statistics.mean(map(len, ids))
        return _report(found, cosine, tokens, f"rank {rank}, {fast.size:,} weights, {source}")
    finally:
        torch.set_num_threads(threads)


def _report(turns: list[Turn], cosine: float, tokens: float, what: str) -> list[Row]:
    def median(value: Any) -> float:
        return statistics.median(value(turn) for turn in turns)

    ours = median(lambda t: t.gradients + t.projection) * tokens
    loop = median(lambda t: t.loop_gradients + t.loop_projection) * tokens
    ratio = median(lambda t: (t.loop_gradients + t.loop_projection) / (t.gradients + t.projection))
    share = median(lambda t: t.projection / (t.gradients + t.projection))
    alone = [median(lambda t: t.gradients) * tokens, median(lambda t: t.loop_gradients) * tokens]
    signs = [median(lambda t: t.projection) * tokens, median(lambda t: t.loop_projection) * tokens]
    unit = "CPU ms a row"
    return [
        Row(f"LESS features ({what})", ours, loop, ratio, unit, f">= {FASTER:g} x",
            ratio >= FASTER),
        Row("... lowest cosine with the loop's", cosine, None, None, "", f">= {ALIKE}",
            cosine >= ALIKE),
        Row("... projection's share", share, None, None, "of the whole", f"< {SHARE}",
            share < SHARE),
        Row("... gradients alone", *alone, median(lambda t: t.loop_gradients / t.gradients), unit,
            "no target", None),
        Row(f"... projection to {DIM:,} alone", *signs,
            median(lambda t: t.loop_projection / t.projection), unit, "no target", None),
    ]  # fmt: skip


def adapted(rank: int) -> Any:
    """The model with an adapter whose B is not zero."""
    import torch
    from peft import LoraConfig, get_peft_model

    lora = LoraConfig(
        task_type="CAUSAL_LM", r=rank, lora_alpha=4 * rank, lora_dropout=0.1,
        target_modules=["q_proj", "k_proj", "v_proj", "o_proj"],
    )  # fmt: skip
    torch.manual_seed(0)
    found: Any = get_peft_model(model(), lora).eval()
    for name, parameter in found.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.02)
    return found


def gradient_loop(adapted: Any, ids: list[list[int]]) -> Any:
    """float32 [rows, size]: one row a step."""
    import torch

    weights = [parameter for parameter in adapted.parameters() if parameter.requires_grad]
    vectors = []
    for row in ids:
        labels = [token if t >= 0.4 * len(row) else -100 for t, token in enumerate(row)]
        adapted(
            input_ids=torch.tensor([row]), labels=torch.tensor([labels]), use_cache=False
        ).loss.backward()
        vectors.append(torch.cat([weight.grad.reshape(-1) for weight in weights]))
        adapted.zero_grad(set_to_none=True)
    return torch.stack(vectors)


def research_projection(vectors: Any) -> Any:
    """float32 [rows, DIM], a sign matrix made anew for every ``AT_ONCE`` rows."""
    import torch

    generator = torch.Generator()
    done = []
    for some in vectors.split(AT_ONCE):
        projected = torch.empty((len(some), DIM))
        for start in range(0, DIM, COLUMNS):
            signs = torch.empty((vectors.shape[1], COLUMNS))
            signs.bernoulli_(generator=generator.manual_seed(start)).mul_(2).sub_(1)
            projected[:, start : start + COLUMNS] = some @ signs
        done.append(projected / DIM**0.5)
    return torch.cat(done)


class _Clocked(Projection):
    """Counts the CPU seconds of its work."""

    seconds = 0.0

    def __call__(self, rows: Any) -> Any:
        start = time.process_time()
        projected = super().__call__(rows)
        object.__setattr__(self, "seconds", self.seconds + time.process_time() - start)
        return projected
