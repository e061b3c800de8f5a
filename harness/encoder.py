"""One forward pass over token rows that serves every pooling and the per-token losses.

Rows are sorted by length and put into right-padded batches under a token budget. In a causal model
right padding cannot reach the real tokens, so no attention mask is needed; pooling runs in fp32
over real tokens only, and the language-model head is computed only where losses are asked for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

POOLINGS = ("weighted_mean", "mean", "eos")
HEAD_TOKENS = 2048  # tokens for which logits are held at once


@dataclass
class Encoding:
    """What a pass over ``n`` rows yields.

    Attributes:
        poolings: per pooling float32 [n, width], L2-normalised (RDS+, paper G.2: last hidden state
            after the final norm, weights i / sum(1..L) over the real tokens, BOS included).
        loss_sum: float64 [n], summed negative log-likelihood in nats of tokens 2..L; None if the
            losses were not asked for.
        lengths: int32 [n], real tokens.
        seconds_body, seconds_head: wall time of the two parts of the pass.
    """

    poolings: dict[str, np.ndarray]
    loss_sum: np.ndarray | None
    lengths: np.ndarray
    seconds_body: float
    seconds_head: float


def batches(lengths: Sequence[int] | np.ndarray, max_tokens: int) -> Iterator[np.ndarray]:
    """Positions of the rows, by falling length, in batches of at most ``max_tokens`` padded tokens.

    A row longer than ``max_tokens`` is a batch of its own.
    """
    order = np.argsort(-np.asarray(lengths, dtype=np.int64), kind="stable")
    start = 0
    while start < len(order):
        rows = max(1, max_tokens // max(1, int(lengths[order[start]])))
        yield order[start : start + rows]
        start += rows


def encode(
    model: PreTrainedModel,
    rows: Sequence[Sequence[int]],
    *,
    losses: bool,
    max_tokens: int,
    pad_id: int,
    on_batch: Callable[[int, int], None] = lambda rows, tokens: None,
) -> Encoding:
    """Run ``model`` once over ``rows`` of token ids.

    Args:
        losses: also compute the language-model head and the per-token losses.
        max_tokens: padded tokens in one batch.
        on_batch: called with the rows and real tokens of each finished batch.
    """
    import torch

    count = len(rows)
    lengths = np.array([len(row) for row in rows], dtype=np.int32)
    if count and lengths.min() == 0:
        raise ValueError("a row without tokens cannot be encoded")
    body, head = model.base_model, model.get_output_embeddings()
    width = model.config.get_text_config().hidden_size
    pooled = {name: np.empty((count, width), dtype=np.float32) for name in POOLINGS}
    loss_sum = np.zeros(count, dtype=np.float64) if losses else None
    clock = _Clock(model.device)
    seconds_head = 0.0
    with torch.inference_mode():
        for positions in batches(lengths, max_tokens):
            batch_lengths = torch.from_numpy(lengths[positions].astype(np.int64))
            ids = _pad([rows[i] for i in positions], pad_id).to(model.device)
            hidden = body(input_ids=ids, use_cache=False).last_hidden_state
            for name, values in pool(hidden, batch_lengths.to(model.device)).items():
                pooled[name][positions] = values.cpu().numpy()
            if loss_sum is not None:
                start = clock.now()
                loss_sum[positions] = _loss(hidden, ids, batch_lengths, head)
                seconds_head += clock.now() - start
            on_batch(len(positions), int(batch_lengths.sum()))
    return Encoding(pooled, loss_sum, lengths, clock.total() - seconds_head, seconds_head)


def pool(hidden: torch.Tensor, lengths: torch.Tensor) -> dict[str, torch.Tensor]:
    """All poolings of right-padded hidden states, float32 and L2-normalised.

    Args:
        hidden: [batch, padded length, width].
        lengths: int64 [batch] real tokens.
    """
    import torch

    hidden = hidden.float()
    place = torch.arange(1, hidden.shape[1] + 1, device=hidden.device, dtype=torch.float32)
    real = (place[None, :] <= lengths[:, None]).float()
    weights = place[None, :] * real
    last = hidden[torch.arange(len(hidden), device=hidden.device), lengths - 1]
    pooled = {
        "weighted_mean": torch.bmm((weights / weights.sum(1, keepdim=True))[:, None], hidden)[:, 0],
        "mean": torch.bmm((real / lengths[:, None])[:, None], hidden)[:, 0],
        "eos": last,
    }
    return {name: torch.nn.functional.normalize(value, dim=-1) for name, value in pooled.items()}


def _loss(
    hidden: torch.Tensor, ids: torch.Tensor, lengths: torch.Tensor, head: torch.nn.Module
) -> np.ndarray:
    """Summed next-token losses of each row, float64 [batch]; padding never reaches the head."""
    import torch

    device = hidden.device
    steps = torch.arange(ids.shape[1] - 1, device=device)
    row, step = torch.nonzero(steps[None, :] + 1 < lengths.to(device)[:, None], as_tuple=True)
    total = torch.zeros(len(ids), dtype=torch.float64, device=device)
    for start in range(0, len(row), HEAD_TOKENS):
        piece = slice(start, start + HEAD_TOKENS)
        logits = head(hidden[row[piece], step[piece]]).float()
        loss = torch.nn.functional.cross_entropy(
            logits, ids[row[piece], step[piece] + 1], reduction="none"
        )
        total.index_add_(0, row[piece], loss.double())
    return total.cpu().numpy()


def _pad(rows: list[Sequence[int]], pad_id: int) -> torch.Tensor:
    import torch

    padded = np.full((len(rows), max(map(len, rows))), pad_id, dtype=np.int64)
    for index, row in enumerate(rows):
        padded[index, : len(row)] = row
    return torch.from_numpy(padded)


class _Clock:
    """Wall time that waits for the device, so that parts of a pass can be told apart."""

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        self._start = self.now()

    def now(self) -> float:
        if self._cuda:
            import torch

            torch.cuda.synchronize()
        return time.perf_counter()

    def total(self) -> float:
        return self.now() - self._start
