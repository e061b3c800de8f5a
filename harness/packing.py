"""Rows end to end in one line of tokens, so that a causal model computes no padding.

Linear layers, norms and rotations work token by token: they see all rows of a batch as one sequence
[1, tokens] whose positions start anew with every row. Attention alone must keep the rows apart. It
goes through transformers' attention interface: ours hands every run of equally long rows to the
``sdpa`` function that the model would have used, without a mask.

A model is packed only if it takes part in that interface, every layer does its mixing there (a
state-space or convolution layer would leak from row to row), and a probe of three short rows gives
what the same rows give padded. All others get padded batches, which need no mask either: in a
causal model right padding cannot reach the real tokens.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    import numpy as np
    import torch
    from transformers import PreTrainedModel

log = logging.getLogger(__name__)

NAME = "winnow_packed"  # in transformers' registry of attention functions
_MIXERS = {"full_attention", "sliding_attention"}
_PROBE = (5, 5, 3)


@dataclass
class _Line:
    """The rows that attention is to keep apart, and what it was asked for on the way.

    Attributes:
        runs: (rows, length) of each run of equally long rows, in the order of the tokens.
        calls: how often attention was computed.
        windowed: whether a call named a sliding window.
    """

    runs: list[tuple[int, int]]
    calls: int = 0
    windowed: bool = False


_LINE: ContextVar[_Line] = ContextVar("line")
_PACKS: WeakKeyDictionary[Any, bool] = WeakKeyDictionary()


class _Unpackable(RuntimeError):
    """A model that cannot be packed; the message says why."""


def runs_of(lengths: Sequence[int] | np.ndarray) -> list[tuple[int, int]]:
    """(rows, length) of each run of neighbours that are equally long."""
    runs: list[tuple[int, int]] = []
    for length in map(int, lengths):
        if runs and runs[-1][1] == length:
            runs[-1] = (runs[-1][0] + 1, length)
        else:
            runs.append((1, length))
    return runs


@contextmanager
def packing(model: PreTrainedModel) -> Iterator[bool]:
    """Within, ``model`` takes lines (see ``line``) if it can; gives whether it does.

    The model is given back as it was.
    """
    before = model.config._attn_implementation
    if model not in _PACKS:
        _PACKS[model] = _try(model)
    if not _PACKS[model]:
        yield False
        return
    model.set_attn_implementation(NAME)
    try:
        yield True
    finally:
        model.set_attn_implementation(before)


@contextmanager
def line(lengths: Sequence[int] | np.ndarray) -> Iterator[_Line]:
    """Within, a forward pass of a packed model is over rows of these lengths, end to end."""
    current = _Line(runs_of(lengths))
    token = _LINE.set(current)
    try:
        yield current
    finally:
        _LINE.reset(token)


def positions(lengths: Sequence[int] | np.ndarray) -> torch.Tensor:
    """int64 [tokens]: the place of each token in its row, from 0."""
    import torch

    return torch.cat([torch.arange(int(length)) for length in lengths])


def _attention(
    module: Any, query: Any, key: Any, value: Any, attention_mask: Any, **kwargs: Any
) -> tuple[torch.Tensor, None]:
    """Attention within each row of the line; the form is transformers'.

    Args:
        query, key, value: [1, heads, tokens, head width].

    Returns:
        [1, tokens, heads, head width].
    """
    import torch
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    current = _LINE.get()
    if attention_mask is not None or kwargs.get("position_bias") is not None:
        raise _Unpackable("it brings a mask or bias of its own")
    causal = kwargs.get("is_causal")
    if not (getattr(module, "is_causal", True) if causal is None else causal):
        raise _Unpackable("its attention is not causal")
    window = kwargs.get("sliding_window")
    current.calls += 1
    current.windowed |= window is not None
    within = ALL_ATTENTION_FUNCTIONS["sdpa"]
    found, start = [], 0
    for rows, length in current.runs:
        stop = start + rows * length
        q, k, v = (
            states[0, :, start:stop].unflatten(1, (rows, length)).transpose(0, 1)
            for states in (query, key, value)
        )
        mask = _window(length, window, query.device) if window and length > window else None
        out, _ = within(module, q, k, v, mask, **kwargs)
        found.append(out.flatten(0, 1))
        start = stop
    return torch.cat(found)[None], None


def _window(length: int, window: int, device: torch.device) -> torch.Tensor:
    """Boolean [1, 1, length, length]: a token sees itself and the ``window`` - 1 before it."""
    import torch

    place = torch.arange(length, device=device)
    back = place[:, None] - place[None, :]
    return ((back >= 0) & (back < window))[None, None]


def _try(model: PreTrainedModel) -> bool:
    """Whether ``model`` can be packed: by what it declares, and by a probe."""
    try:
        _check_declared(model)
        _check_probe(model)
    except Exception as reason:  # whatever a foreign model raises, padded batches remain
        log.info("%s: padded batches, not packed: %s", type(model).__name__, reason)
        return False
    return True


def _check_declared(model: PreTrainedModel) -> None:
    config = model.config.get_text_config()
    if model.config._attn_implementation != "sdpa":
        raise _Unpackable(f"its attention is {model.config._attn_implementation}")
    if type(model).__module__.partition(".")[0] != "transformers":
        raise _Unpackable("its code is not transformers' own")
    if not getattr(model.base_model, "_supports_attention_backend", False):
        raise _Unpackable("it does not take part in the attention interface")
    mixers = set(getattr(config, "layer_types", None) or ())
    if mixers - _MIXERS or getattr(config, "attention_chunk_size", None):
        raise _Unpackable(f"it mixes tokens by {', '.join(sorted(mixers)) or 'chunks'}")


def _check_probe(model: PreTrainedModel) -> None:
    """Three short rows in one line and padded: the same hidden states, or an error."""
    import torch
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, _attention)
    config = model.config.get_text_config()
    before = model.config._attn_implementation
    ids = torch.arange(1, max(_PROBE) + 1, device=model.device) % config.vocab_size
    padded = torch.stack([ids.roll(shift) for shift in range(len(_PROBE))])
    flat = torch.cat([row[:length] for row, length in zip(padded, _PROBE, strict=True)])
    with torch.inference_mode():
        expected = model.base_model(input_ids=padded, use_cache=False).last_hidden_state
        expected = torch.cat([row[:n] for row, n in zip(expected, _PROBE, strict=True)]).float()
        model.set_attn_implementation(NAME)
        try:
            with line(_PROBE) as seen:
                found = model.base_model(
                    input_ids=flat[None],
                    position_ids=positions(_PROBE)[None].to(model.device),
                    use_cache=False,
                ).last_hidden_state[0]
        finally:
            model.set_attn_implementation(before)
    if seen.calls != config.num_hidden_layers:
        raise _Unpackable(f"{seen.calls} of {config.num_hidden_layers} layers attend")
    uses_window = getattr(config, "use_sliding_window", True)
    if getattr(config, "sliding_window", None) and uses_window and not seen.windowed:
        raise _Unpackable("its sliding window is not told to the attention function")
    within = 1e-4 if found.dtype == torch.float32 else 3e-2
    if not (found.float() - expected).abs().max() <= within * expected.abs().max():
        raise _Unpackable("a probe gave other hidden states than padded rows do")
