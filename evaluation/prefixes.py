"""Beginnings that prompts share (few-shot examples, headers): found in the token ids, run once.

``shared_lengths`` decides how many first tokens of each prompt are worth sharing, and ``Prefixes``
keeps a model's key and value states of such beginnings and lays them before the rows of a batch.
Imports torch, so import this module only when a model is there.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

# What one more pass costs, in tokens: a beginning that saves less is not shared.
PASS_TOKENS = 256
# Attention that takes a mask with holes: padding stands between a beginning and the rest of a row.
ATTENTION = ("sdpa", "eager")
# Rotations that depend on how long the text is: a beginning alone would be rotated otherwise.
LENGTH_DEPENDENT = ("dynamic", "longrope")

Prefix = tuple[int, ...]


@dataclass
class _Branch:
    """Neighbours in sorted order that agree in their first ``depth`` tokens."""

    depth: int
    left: int
    saved: int = 0  # by the groups below it
    groups: list[tuple[int, int, int]] = field(default_factory=list)  # first, last, tokens


def shared_lengths(prompts: Sequence[Sequence[int]], behind: int = 1) -> list[int]:
    """For each prompt the number of first tokens to share with others; 0 for none.

    Of all ways to put prompts into groups with a common beginning, nested ones excluded, the one
    is taken that saves most tokens when every group's beginning is run once. Equal prompts count
    once, since they share a whole pass.

    Args:
        prompts: token ids.
        behind: how many last tokens of each prompt must stay outside.
    """
    packed = [np.asarray(prompt, dtype=">u4").tobytes() for prompt in prompts]
    # Big-endian bytes sort as the numbers do, and compare at the speed of memcmp.
    ordered = sorted(set(packed))
    rows = [np.frombuffer(text, dtype=">u4") for text in ordered]
    lengths = np.array([len(row) for row in rows])
    open_: list[_Branch] = []

    def close(branch: _Branch, right: int) -> tuple[int, list[tuple[int, int, int]]]:
        tokens = min(branch.depth, int(lengths[branch.left : right + 1].min()) - behind)
        own = (right - branch.left) * tokens - PASS_TOKENS
        if own > branch.saved:
            return own, [(branch.left, right, tokens)]
        return branch.saved, branch.groups

    for right in range(len(rows)):
        last = right == len(rows) - 1
        depth = 0 if last else _common(rows[right], rows[right + 1])
        left = right
        while open_ and open_[-1].depth > depth:
            branch = open_.pop()
            saved, groups = close(branch, right)
            left = branch.left
            if not open_ or open_[-1].depth < depth:
                open_.append(_Branch(depth, left))
            open_[-1].saved += saved
            open_[-1].groups += groups
        if not open_ or open_[-1].depth < depth:
            open_.append(_Branch(depth, left))
    tokens_of = dict.fromkeys(ordered, 0)
    for first, final, tokens in open_[0].groups if open_ else []:
        tokens_of.update(dict.fromkeys(ordered[first : final + 1], tokens))
    return [tokens_of[text] for text in packed]


def _common(one: np.ndarray, other: np.ndarray) -> int:
    """How many first tokens agree."""
    size = min(len(one), len(other))
    differ = one[:size] != other[:size]
    return int(differ.argmax()) if differ.any() else size


class Prefixes:
    """A model's states of shared beginnings, as many as ``tokens`` allows and a batch needs.

    Only models whose states are plain keys and values of every token are served: full attention,
    grouped queries included, and sliding windows that a batch does not outgrow. For all others
    ``before`` says None, and whole prompts must be run.

    Args:
        model: the transformers model.
        run: a pass over (ids, mask), each [1, tokens], that returns the model's output with cache.
        tokens: how many tokens of states may be kept beyond the present batch's.
    """

    def __init__(
        self, model: Any, run: Callable[[torch.Tensor, torch.Tensor], Any], tokens: int
    ) -> None:
        self._model = model
        self._run = run
        self._tokens = tokens
        self._states: OrderedDict[Prefix, list[tuple[torch.Tensor, torch.Tensor]]] = OrderedDict()
        self.served = _supported(model)
        self._window = _window(model) if self.served else None
        self.served = self._window is not None

    def before(self, prefixes: Sequence[Prefix], room: int) -> tuple[Any, torch.Tensor] | None:
        """A cache with each row's beginning, padded on the left, and its mask [rows, longest].

        Args:
            prefixes: the beginning of each row; () for none.
            room: most tokens that will follow in a row, padding counted.
        """
        longest = max(map(len, prefixes), default=0)
        if self._window is None or not longest or longest + room >= self._window:
            return None
        wanted = list(dict.fromkeys(prefix for prefix in prefixes if prefix))
        self._forget(wanted)
        for prefix in wanted:
            if prefix not in self._states and not self._compute(prefix):
                return None
            self._states.move_to_end(prefix)
        mask = torch.zeros((len(prefixes), longest), dtype=torch.long)
        for index, prefix in enumerate(prefixes):
            mask[index, longest - len(prefix) :] = 1
        from transformers import DynamicCache

        cache = DynamicCache(config=self._model.config)
        for layer in range(len(self._states[wanted[0]])):
            cache.update(*self._stacked(prefixes, layer, longest), layer)
        return cache, mask.to(self._model.device)

    def refuse(self) -> None:
        """Serve no beginning from now on."""
        self.served, self._window = False, None

    def _stacked(
        self, prefixes: Sequence[Prefix], layer: int, longest: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and values of one layer, [rows, heads, longest, width]."""
        if len(set(prefixes)) == 1:  # the usual case: nothing to pad, and no copy yet
            keys, values = self._states[prefixes[0]][layer]
            return keys.expand(len(prefixes), -1, -1, -1), values.expand(len(prefixes), -1, -1, -1)
        some = next(iter(prefix for prefix in prefixes if prefix))
        found = []
        for part in (0, 1):
            like = self._states[some][layer][part]
            heads, width = like.shape[1], like.shape[3]
            block = like.new_zeros((len(prefixes), heads, longest, width))
            for index, prefix in enumerate(prefixes):
                if prefix:
                    block[index, :, longest - len(prefix) :] = self._states[prefix][layer][part][0]
            found.append(block)
        return found[0], found[1]

    def _compute(self, prefix: Prefix) -> bool:
        """Run one beginning; False, for good, if the model's cache is of another kind."""
        from transformers import DynamicCache

        ids = torch.tensor([prefix], device=self._model.device)
        output = self._run(ids, torch.ones_like(ids))
        cache = getattr(output, "past_key_values", None)
        layers: list[Any] = cache.layers if type(cache) is DynamicCache else []
        if not _plain(layers) or not all(layer.is_initialized for layer in layers):
            self.refuse()
            return False
        self._states[prefix] = [(layer.keys, layer.values) for layer in layers]
        return True

    def _forget(self, wanted: Sequence[Prefix]) -> None:
        """Drop what was used longest ago until the rest is within the limit."""
        others = [prefix for prefix in self._states if prefix not in wanted]
        kept = sum(map(len, others))
        for prefix in others:
            if kept <= self._tokens:
                return
            kept -= len(prefix)
            del self._states[prefix]


def _supported(model: Any) -> bool:
    """What the configuration tells; the kind of cache shows with the first beginning."""
    config = getattr(model, "config", None)
    rope = str(getattr(config, "rope_parameters", None) or "")
    return getattr(config, "_attn_implementation", None) in ATTENTION and not any(
        f"'{kind}'" in rope for kind in LENGTH_DEPENDENT
    )


def _window(model: Any) -> float | None:
    """The shortest sliding window of the model's layers; None if a layer keeps other states."""
    from transformers import DynamicCache

    layers: list[Any] = DynamicCache(config=model.config).layers
    if not _plain(layers):
        return None
    return min((layer.sliding_window for layer in layers if layer.is_sliding), default=math.inf)


def _plain(layers: Sequence[Any]) -> bool:
    """Whether all keep keys and values by token, and nothing else."""
    from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

    kinds = (DynamicLayer, DynamicSlidingWindowLayer)
    return bool(layers) and all(type(layer) in kinds for layer in layers)
