"""One forward pass over token rows that serves every pooling and the per-token losses.

Rows are sorted by length and put into batches under a token budget: end to end without padding
where the model allows it (``packing``), else padded on the right. Pooling runs in fp32 over real
tokens only, the language-model head is computed only where losses are asked for, and of the hidden
states only those of the layer that is read are kept.
"""

from __future__ import annotations

import logging
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.packing import line, packing, positions

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

log = logging.getLogger(__name__)

POOLINGS = ("weighted_mean", "mean", "eos")
LAST = -1  # as a layer: the last hidden state, after the final norm
CPU_TOKENS, DEVICE_TOKENS = 1024, 32_768  # in one batch; on a CPU its states should stay in cache
CPU_HEAD_TOKENS, DEVICE_HEAD_TOKENS = 256, 2048  # for which logits are held at once
POOLED_ROWS = 32  # rows that are pooled by one product


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


def batches(
    lengths: Sequence[int] | np.ndarray,
    max_tokens: int,
    *,
    packed: bool = False,
    most_rows: int | None = None,
) -> Iterator[np.ndarray]:
    """Positions of the rows, by falling length, in batches of at most ``max_tokens`` tokens.

    ``packed``: padding does not count, for there is none. A row longer than ``max_tokens`` is a
    batch of its own. ``most_rows``: no batch has more.
    """
    lengths = np.asarray(lengths, dtype=np.int64)
    order = np.argsort(-lengths, kind="stable")
    ends = np.cumsum(lengths[order])
    start = 0
    while start < len(order):
        if packed:
            room = max_tokens + (ends[start - 1] if start else 0)
            rows = int(np.searchsorted(ends, room, side="right")) - start
        else:
            rows = max_tokens // max(1, int(lengths[order[start]]))
        rows = min(max(1, rows), most_rows or len(order))
        yield order[start : start + rows]
        start += rows


def default_max_tokens(device: str) -> int:
    """Tokens in one batch where the user named no number."""
    return CPU_TOKENS if device == "cpu" else DEVICE_TOKENS


def computes_natively(device: str, dtype: torch.dtype) -> bool:
    """Whether the processor has instructions for products of this type.

    Without them a CPU converts every operand: bfloat16 was 9 times slower than float32 on one with
    AVX2 alone, and 4 times faster on one with AVX512-BF16.
    """
    import torch

    if device != "cpu" or dtype == torch.float32 or platform.machine() not in ("x86_64", "AMD64"):
        return True
    names = ["_is_amx_fp16_supported"]
    if dtype == torch.bfloat16:
        names = ["_is_avx512_bf16_supported", "_is_amx_tile_supported"]
    return any(getattr(torch.cpu, name, bool)() for name in names)


def encode(
    model: PreTrainedModel,
    rows: Sequence[Sequence[int]],
    *,
    losses: bool,
    max_tokens: int | None = None,
    pad_id: int,
    layer: int = LAST,
    on_batch: Callable[[int, int], None] = lambda rows, tokens: None,
) -> Encoding:
    """Run ``model`` once over ``rows`` of token ids.

    Args:
        losses: also compute the language-model head and the per-token losses.
        max_tokens: tokens in one batch; ``default_max_tokens`` if None.
        layer: whose hidden states are pooled: ``LAST``, or k for what layer k reads (0: the
            embeddings), which is ``hidden_states[k]`` in transformers. Layers above do not run.
        on_batch: called with the rows and real tokens of each finished batch.
    """
    import torch

    if losses and layer != LAST:
        raise ValueError("losses need the last layer")
    count = len(rows)
    lengths = np.array([len(row) for row in rows], dtype=np.int32)
    if count and lengths.min() == 0:
        raise ValueError("a row without tokens cannot be encoded")
    if not computes_natively(model.device.type, model.dtype):
        log.warning(
            "this CPU has no instructions for %s: model.dtype=float32 is faster", model.dtype
        )
    body = model.base_model if layer == LAST else _Below(model, layer)
    head = _Head(model) if losses else None
    max_tokens = max_tokens or default_max_tokens(model.device.type)
    width = model.config.get_text_config().hidden_size
    pooled = {name: np.empty((count, width), dtype=np.float32) for name in POOLINGS}
    loss_sum = np.zeros(count, dtype=np.float64) if losses else None
    clock = _Clock(model.device)
    seconds_head = 0.0
    with torch.inference_mode(), packing(model) as packed:
        for places in batches(lengths, max_tokens, packed=packed):
            batch = [rows[place] for place in places]
            flat = torch.from_numpy(np.concatenate(batch).astype(np.int64)).to(model.device)
            here = torch.from_numpy(lengths[places].astype(np.int64)).to(model.device)
            if packed:
                hidden = _packed(body, flat, lengths[places])
            else:
                hidden = _padded(body, batch, here, pad_id)
            for name, values in pool(hidden, here).items():
                pooled[name][places] = values.cpu().numpy()
            if head is not None and loss_sum is not None:
                start = clock.now()
                loss_sum[places] = _loss(hidden, flat, here, head)
                seconds_head += clock.now() - start
            on_batch(len(places), len(flat))
    return Encoding(pooled, loss_sum, lengths, clock.total() - seconds_head, seconds_head)


def pool(hidden: torch.Tensor, lengths: torch.Tensor) -> dict[str, torch.Tensor]:
    """All poolings of each row's hidden states, float32 [rows, width] and L2-normalised.

    Args:
        hidden: [tokens, width], the rows end to end.
        lengths: int64 [rows] real tokens.
    """
    import torch

    normalize = torch.nn.functional.normalize
    ends = lengths.cumsum(0)
    bounds = [0, *ends.tolist()]
    means = []
    for first in range(0, len(lengths), POOLED_ROWS):
        some = lengths[first : first + POOLED_ROWS]
        start, stop = bounds[first], bounds[first + len(some)]
        weights = pooling_weights(some)
        means.append((weights.flatten(0, 1) @ hidden[start:stop].float()).unflatten(0, (2, -1)))
    weighted, mean = torch.cat(means, dim=1)
    return {
        "weighted_mean": normalize(weighted, dim=-1),
        "mean": normalize(mean, dim=-1),
        "eos": normalize(hidden[ends - 1].float(), dim=-1),
    }


def pooling_weights(lengths: torch.Tensor) -> torch.Tensor:
    """float32 [2, rows, tokens]: what each token counts in a row's weighted and in its plain mean.

    A row's weights sum to 1, and tokens of other rows count nothing.
    """
    import torch

    row = torch.repeat_interleave(lengths)
    token = torch.arange(len(row), device=lengths.device)
    length = lengths[row]
    place = token - (lengths.cumsum(0) - lengths)[row] + 1
    weights = torch.zeros((2, len(lengths), len(row)), device=lengths.device)
    weights[0, row, token] = (2.0 * place) / (length * (length + 1))
    weights[1, row, token] = 1.0 / length
    return weights


def _packed(body: Any, flat: torch.Tensor, lengths: np.ndarray) -> torch.Tensor:
    """Hidden states [tokens, width] of the rows end to end."""
    with line(lengths):
        found: torch.Tensor = body(
            input_ids=flat[None],
            position_ids=positions(lengths)[None].to(flat.device),
            use_cache=False,
        ).last_hidden_state
    return found[0]


def _padded(
    body: Any, rows: list[Sequence[int]], lengths: torch.Tensor, pad_id: int
) -> torch.Tensor:
    """Hidden states [tokens, width] of the rows end to end, computed in a padded batch."""
    import torch

    ids = np.full((len(rows), max(map(len, rows))), pad_id, dtype=np.int64)
    for index, row in enumerate(rows):
        ids[index, : len(row)] = row
    found = body(input_ids=torch.from_numpy(ids).to(lengths.device), use_cache=False)
    hidden: torch.Tensor = found.last_hidden_state
    place = torch.arange(ids.shape[1], device=lengths.device)
    return hidden[place[None, :] < lengths[:, None]]


class _Reached(Exception):
    """Stops a forward pass below the layer whose input was wanted."""


class _Below:
    """The model's body up to ``layer``; gives what that layer reads as ``last_hidden_state``."""

    last_hidden_state: torch.Tensor

    def __init__(self, model: PreTrainedModel, layer: int) -> None:
        self._body = model.base_model
        self._layer = _stack(model)[layer]

    def __call__(self, **inputs: Any) -> _Below:
        handle = self._layer.register_forward_pre_hook(self._take, with_kwargs=True)
        try:
            self._body(**inputs)
        except _Reached:
            return self
        finally:
            handle.remove()
        raise RuntimeError("a forward pass went by the layer that was asked for")

    def _take(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.last_hidden_state = args[0] if args else kwargs["hidden_states"]
        raise _Reached


def _stack(model: PreTrainedModel) -> Any:
    """The model's list of layers."""
    import torch

    layers = model.config.get_text_config().num_hidden_layers
    for module in model.base_model.modules():  # from the outside in
        if isinstance(module, torch.nn.ModuleList) and len(module) == layers:
            return module
    raise ValueError(
        f"{type(model).__name__} shows no list of its {layers} layers; only method.layer=-1 works"
    )


class _Head:
    """Logits from last hidden states, with what some architectures do to them behind the product.

    Raises:
        ValueError: the model's own logits are others.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        config = model.config.get_text_config()
        self._product = model.get_output_embeddings()
        self._scale = float(getattr(config, "logit_scale", None) or 1.0)  # Cohere
        self._scale /= float(getattr(config, "logits_scaling", None) or 1.0)  # Granite
        self._cap = getattr(config, "final_logit_softcapping", None)  # Gemma
        self._check(model)

    def __call__(self, hidden: torch.Tensor) -> torch.Tensor:
        """float32 [tokens, vocabulary] of [tokens, width]."""
        logits: torch.Tensor = self._product(hidden).float()
        if self._scale != 1.0:
            logits = logits * self._scale
        if self._cap:
            logits = (logits / self._cap).tanh() * self._cap
        return logits

    def _check(self, model: PreTrainedModel) -> None:
        import torch

        with torch.inference_mode():
            ids = torch.zeros((1, 2), dtype=torch.long, device=model.device)
            own = model(input_ids=ids, use_cache=False).logits[0].float()
            hidden = model.base_model(input_ids=ids, use_cache=False).last_hidden_state[0]
            difference = (self(hidden) - own).abs().max()
        if not difference <= 1e-2 * own.abs().max():
            raise ValueError(
                f"{type(model).__name__} changes its logits in a way that is not known here, so "
                "its losses cannot be had from one pass"
            )


def _loss(
    hidden: torch.Tensor, flat: torch.Tensor, lengths: torch.Tensor, head: _Head
) -> np.ndarray:
    """Summed next-token losses of each row, float64 [rows]; a row's last token predicts nothing."""
    import torch

    predicts = torch.ones(len(flat), dtype=torch.bool, device=flat.device)
    predicts[lengths.cumsum(0) - 1] = False
    token = torch.nonzero(predicts)[:, 0]
    row = torch.repeat_interleave(lengths - 1)
    total = torch.zeros(len(lengths), dtype=torch.float64, device=flat.device)
    step = CPU_HEAD_TOKENS if flat.device.type == "cpu" else DEVICE_HEAD_TOKENS
    for start in range(0, len(token), step):
        some = token[start : start + step]
        loss = torch.nn.functional.cross_entropy(
            head(hidden[some]), flat[some + 1], reduction="none"
        )
        total.index_add_(0, row[start : start + step], loss.double())
    return total.cpu().numpy()


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
