"""Running a causal model on batches: choices scored, texts continued row by row.

Imports torch, so import this module only when a model is there.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from evaluation.prefixes import Prefixes

# Tokens of states of shared beginnings that may be kept between batches.
KEPT_TOKENS = 8192


@dataclass
class Row:
    """One text to continue, and what became of it.

    ``shared`` is the number of first tokens whose states are computed once, for other rows too.
    """

    ids: list[int]
    max_new: int
    shared: int = 0
    stops: tuple[str, ...] = ()
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    uniforms: np.ndarray | None = None  # one number in [0, 1) per new token, if sampled
    seed: int | None = None  # the same for an engine that draws its own
    new: list[int] = field(default_factory=list)
    text: str = ""


class Decoder:
    """A model with its tokenizer, used greedily or by each row's own random numbers.

    Nothing of the checkpoint's generation settings counts but the end tokens that they name.

    Attributes:
        reads: what of prompts has gone through the model, a row of three numbers a sequence: tokens
            before it whose states were there, its own tokens, and for how many of these the head
            ran. Beginnings and prompts that are shared stand here once each time they are run;
            padding does not.
    """

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.reads: list[tuple[int, int, int]] = []
        # Only a filler under the mask, so any token does.
        self._pad = next(
            i for i in (tokenizer.pad_token_id, tokenizer.eos_token_id, 0) if i is not None
        )
        self.ends = _end_tokens(model, tokenizer)
        accepted = inspect.signature(_base(model).forward).parameters
        self._positions = "position_ids" in accepted
        self._keeps_logits = "logits_to_keep" in accepted
        self.prefixes = Prefixes(_base(model), self._states, KEPT_TOKENS)
        if not self._positions:
            self.prefixes.refuse()

    @torch.inference_mode()
    def _states(self, ids: torch.Tensor, mask: torch.Tensor) -> Any:
        self._note(0, ids.shape[1], 1)
        return self._forward(ids, mask, keep=1, use_cache=True)

    def _note(self, known: int, tokens: int, keep: int) -> None:
        answers = min(keep, tokens) if self._keeps_logits else tokens
        self.reads.append((known, tokens, answers))

    def _padded(self, rows: Iterable[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Left-padded ids and mask, each [rows, longest]."""
        rows = list(rows)
        width = max(len(ids) for ids in rows)
        ids = torch.full((len(rows), width), self._pad)
        mask = torch.zeros((len(rows), width), dtype=torch.long)
        for index, row in enumerate(rows):
            ids[index, width - len(row) :] = torch.tensor(row)
            mask[index, width - len(row) :] = 1
        return ids.to(self.model.device), mask.to(self.model.device)

    def _forward(self, ids: torch.Tensor, mask: torch.Tensor, keep: int, **kwargs: Any) -> Any:
        if self._positions:
            positions = (mask.cumsum(1) - 1).clamp(min=0)
            kwargs["position_ids"] = positions[:, -ids.shape[1] :]
        if self._keeps_logits:
            kwargs["logits_to_keep"] = keep
        return self.model(input_ids=ids, attention_mask=mask, **kwargs)

    def _read(
        self, rows: Sequence[tuple[Sequence[int], int]], keep: int, room: int, use_cache: bool
    ) -> tuple[Any, torch.Tensor]:
        """A pass over (ids, shared) rows, shared beginnings from their states; output and mask.

        ``room`` is how many tokens will be generated behind.
        """
        behind = max(len(ids) - shared for ids, shared in rows)
        before = self.prefixes.before([tuple(ids[:shared]) for ids, shared in rows], behind + room)
        for prompt, shared in rows:
            known = 0 if before is None else shared
            self._note(known, len(prompt) - known, keep)
        if before is None:
            ids, mask = self._padded([ids for ids, _ in rows])
            return self._forward(ids, mask, keep, use_cache=use_cache), mask
        cache, mask = before
        ids, rest = self._padded([ids[shared:] for ids, shared in rows])
        # Padding between a beginning and the rest is masked, and positions count real tokens only.
        mask = torch.cat([mask, rest], dim=1)
        return self._forward(ids, mask, keep, past_key_values=cache, use_cache=True), mask

    @torch.inference_mode()
    def score(
        self, batch: Sequence[Sequence[int]], last: int, shared: Sequence[int] | None = None
    ) -> torch.Tensor:
        """fp32 log-probabilities behind the last tokens of each row, [rows, last, vocabulary].

        Args:
            batch: token ids.
            last: how many last tokens.
            shared: as in ``Row``; at least ``last`` tokens stay outside.
        """
        rows = list(zip(batch, shared or [0] * len(batch), strict=True))
        output, _ = self._read(rows, last, 0, use_cache=False)
        return output.logits[:, -last:].float().log_softmax(-1)

    @torch.inference_mode()
    def extend(self, batch: list[Row]) -> None:
        """Fill in ``new`` and ``text`` of all rows. Rows that have ended leave the batch."""
        # Samples of one prompt share its pass.
        shared = {tuple(row.ids): row.shared for row in batch}
        prompts = {ids: number for number, ids in enumerate(shared)}
        room = max(row.max_new for row in batch)
        output, mask = self._read(list(shared.items()), 1, room, use_cache=True)
        cache, logits = output.past_key_values, output.logits[:, -1]
        if len(prompts) < len(batch):
            rows = torch.tensor([prompts[tuple(row.ids)] for row in batch], device=mask.device)
            cache.batch_select_indices(rows)
            mask, logits = mask[rows], logits[rows]
        alive: list[Row | None] = list(batch)
        while True:
            tokens = choose(logits.float(), alive)
            going = [
                index
                for index, (row, token) in enumerate(zip(alive, tokens.tolist(), strict=True))
                if row is not None and not self._ends(row, token)
            ]
            if not going:
                return
            # Copying the cache costs about as much as a step, so a few idle rows are let be.
            if len(going) <= 0.75 * len(alive):
                keep = torch.tensor(going, device=mask.device)
                cache.batch_select_indices(keep)
                mask, tokens = mask[keep], tokens[keep]
                alive = [alive[index] for index in going]
            else:
                lively = set(going)
                alive = [row if index in lively else None for index, row in enumerate(alive)]
            mask = torch.cat([mask, mask.new_ones(len(alive), 1)], dim=1)
            output = self._forward(
                tokens[:, None], mask, keep=1, past_key_values=cache, use_cache=True
            )
            logits = output.logits[:, -1]

    def _ends(self, row: Row, token: int) -> bool:
        """Take a token in; say whether it was the row's last, and set ``text`` then."""
        row.new.append(token)
        if token not in self.ends:
            longest = max((len(stop.encode()) for stop in row.stops), default=0)
            tail = self.tokenizer.decode(row.new[-longest - 2 :]) if row.stops else ""
            stopped = any(stop in tail for stop in row.stops)
            if not stopped and len(row.new) < row.max_new:
                return False
        row.text = written(row, self.tokenizer, self.ends)
        return True


def written(row: Row, tokenizer: Any, ends: set[int]) -> str:
    """The text of a row's new tokens, up to its first stop string.

    As it follows the prompt; decoded alone it may lose a blank.
    """
    new = row.new[:-1] if row.new and row.new[-1] in ends else row.new
    context = row.ids[-4:]
    settings = {"skip_special_tokens": True, "clean_up_tokenization_spaces": False}
    before = tokenizer.decode(context, **settings)
    text = tokenizer.decode([*context, *new], **settings)
    follows = text.startswith(before)
    text = text[len(before) :] if follows else tokenizer.decode(new, **settings)
    for stop in row.stops:
        text = text.partition(stop)[0]
    return text


def choose(logits: torch.Tensor, rows: Sequence[Row | None]) -> torch.Tensor:
    """The next token of each row, [rows]: the likeliest, or drawn by the row's uniform number.

    Args:
        logits: [rows, vocabulary], fp32.
        rows: the settings of each; ``None`` for a row that has ended.
    """
    tokens = logits.argmax(-1)
    drawn = [i for i, row in enumerate(rows) if row is not None and row.uniforms is not None]
    if not drawn:
        return tokens
    chosen = [row for row in (rows[i] for i in drawn) if row is not None]

    def column(values: list[float]) -> torch.Tensor:
        return torch.tensor(values, device=logits.device)[:, None]

    scaled = logits[drawn] / column([row.temperature for row in chosen])
    probabilities, order = scaled.softmax(-1).sort(descending=True, stable=True)
    before = probabilities.cumsum(-1) - probabilities
    # A token is in the nucleus if the mass before it is short of top_p; the first always is.
    outside = before >= column([row.top_p for row in chosen])
    ranks = torch.arange(probabilities.shape[1], device=logits.device)
    outside |= ranks >= column([row.top_k or probabilities.shape[1] for row in chosen])
    outside[:, 0] = False
    mass = probabilities.masked_fill(outside, 0).cumsum(-1)
    uniforms = column([float(row.uniforms[len(row.new)]) for row in chosen])  # type: ignore
    place = torch.searchsorted(mass, uniforms * mass[:, -1:], right=True)
    place = place.clamp(max=(~outside).sum(-1, keepdim=True) - 1)
    tokens[drawn] = order.gather(1, place)[:, 0]
    return tokens


def _base(model: Any) -> Any:
    """The transformers model inside a PeftModel, or the model itself."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def _end_tokens(model: Any, tokenizer: Any) -> set[int]:
    """The tokenizer's end token, and those that the checkpoint's generation settings name."""
    settings = getattr(model, "generation_config", None)
    named = getattr(settings, "eos_token_id", None)
    named = named if isinstance(named, list) else [named]
    return {token for token in [tokenizer.eos_token_id, *named] if token is not None}
