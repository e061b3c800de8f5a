"""An in-memory model as lm-eval sees it: batched, per-row stopping, no hidden defaults.

Imports torch and lm-eval, so import this module only when a model is there. lm-eval's own HFLM is
not used: it stops a batch only when every row has met the same stop string, tokenises each request
several times, lets the checkpoint's generation settings in, and costs seconds to import.
"""

from __future__ import annotations

import inspect
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from lm_eval.api.model import LM
from tqdm import tqdm

from harness.seeds import generator


@dataclass
class Row:
    """One text to continue, and what became of it."""

    ids: list[int]
    max_new: int
    stops: tuple[str, ...] = ()
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    uniforms: np.ndarray | None = None  # one number in [0, 1) per new token, if sampled
    new: list[int] = field(default_factory=list)
    text: str = ""


class ChatLM(LM):
    """A causal model with its tokenizer.

    Args:
        model: a transformers model (or PeftModel); used in its own dtype, in eval mode.
        tokenizer: a fast tokenizer with a chat template.
        batch_size: most rows in a batch.
        batch_tokens: most tokens in a batch, new ones and padding counted.
        max_length: most tokens of a prompt with its continuation; less if the model takes less.
            Longer prompts lose tokens on the left, behind the first (BOS); see ``truncated``.
        seed: of sampled text. A sample depends on seed, task, item and its number, not on its
            batch.
        progress: whether to show a bar.

    Attributes:
        lengths: for each task the (prompt, generated) token counts of its requests, in order.
        truncated: for each task the number of requests whose prompt was cut.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        batch_size: int,
        batch_tokens: int,
        max_length: int,
        seed: int,
        progress: bool,
    ) -> None:
        super().__init__()
        self.model = model
        self.tokenizer = tokenizer
        self.batch_size = batch_size
        self.batch_tokens = batch_tokens
        limit = getattr(model.config, "max_position_embeddings", None) or max_length
        self.max_length = min(max_length, limit)
        self.seed = seed
        self.progress = progress
        self.lengths: dict[str, list[tuple[int, int]]] = defaultdict(list)
        self.truncated: Counter[str] = Counter()
        probe = tokenizer("a").input_ids
        self._adds_bos = tokenizer.bos_token_id is not None and probe[0] == tokenizer.bos_token_id
        # Only a filler under the mask, so any token does.
        self._pad = next(
            i for i in (tokenizer.pad_token_id, tokenizer.eos_token_id, 0) if i is not None
        )
        self._eos = _end_tokens(model, tokenizer)
        accepted = inspect.signature(_base(model).forward).parameters
        self._positions = "position_ids" in accepted
        self._keeps_logits = "logits_to_keep" in accepted

    # What lm-eval asks for.

    @property
    def tokenizer_name(self) -> str:
        """Part of lm-eval's cache keys; its caches are not used."""
        return str(self.tokenizer.name_or_path)

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        """The text up to where the model goes on; an assistant prefix is kept to the byte."""
        prefix = ""
        if not add_generation_prompt:
            *chat_history, last = chat_history
            prefix = last["content"]
        text = self.tokenizer.apply_chat_template(
            chat_history, tokenize=False, add_generation_prompt=True
        )
        return text + prefix

    def loglikelihood(
        self, requests: Sequence[Any], disable_tqdm: bool = False
    ) -> list[tuple[float, bool]]:
        """(log-probability, whether greedy decoding gives it) of each continuation, in fp32.

        Continuations that differ in their last token only share one forward pass, which counts as
        one request in ``lengths``, with all tokens that went in.
        """
        contexts = self._encode([request.args[0] for request in requests])
        wholes = self._encode(["".join(request.args) for request in requests])
        jobs: dict[tuple[int, ...], list[tuple[int, list[int]]]] = defaultdict(list)
        for index, (request, context, whole) in enumerate(
            zip(requests, contexts, wholes, strict=True)
        ):
            start = min(len(context), len(whole) - 1)
            goal = whole[start:]
            fed = self._fit(whole[:-1], 1, request.task_name)
            if tuple(fed) not in jobs:
                self.lengths[request.task_name].append((len(fed), 0))
            jobs[tuple(fed)].append((index, goal))
        answers: list[tuple[float, bool]] = [(0.0, False)] * len(requests)
        order = sorted(jobs, key=len, reverse=True)
        bar = self._bar(len(order), "choices", disable_tqdm)
        for batch in self._batches(order, len):
            longest = max(len(goal) for fed in batch for _, goal in jobs[fed])
            logits = self._score(batch, longest)
            for row, fed in enumerate(batch):
                for index, goal in jobs[fed]:
                    steps = logits[row, longest - len(goal) :]
                    wanted = torch.tensor(goal, device=steps.device)
                    chosen = steps.gather(1, wanted[:, None]).sum().item()
                    answers[index] = (chosen, bool((steps.argmax(1) == wanted).all()))
            bar.update(len(batch))
        bar.close()
        return answers

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """The continuation of each request, without what follows a stop string or the end token.

        Equal requests in a row (lm-eval's ``repeats``) are samples 0, 1, ... of one item.
        """
        encoded = self._encode([request.args[0] for request in requests])
        seen: Counter[tuple[str, int]] = Counter()
        rows = []
        for request, ids in zip(requests, encoded, strict=True):
            settings = request.args[1]
            new = max(1, min(settings["max_gen_toks"], self.max_length // 2))
            row = Row(
                ids=self._fit(ids, new, request.task_name),
                max_new=new,
                stops=tuple(settings.get("until") or ()),
                temperature=settings.get("temperature", 0.0),
                top_p=settings.get("top_p", 1.0),
                top_k=settings.get("top_k", 0),
            )
            if row.temperature > 0:
                key = (request.task_name, request.doc_id)
                name = f"sample:{request.task_name}:{request.doc['id']}:{seen[key]}"
                seen[key] += 1
                row.uniforms = generator(self.seed, name).random(new)
            rows.append(row)
        # Rows that may run equally long go together, the largest batch first.
        order = sorted(rows, key=lambda row: (row.max_new, len(row.ids)), reverse=True)
        bar = self._bar(len(rows), "answers", disable_tqdm)
        for batch in self._batches(order, lambda row: len(row.ids) + row.max_new):
            self._continue(batch)
            bar.update(len(batch))
        bar.close()
        for request, row in zip(requests, rows, strict=True):
            self.lengths[request.task_name].append((len(row.ids), len(row.new)))
        return [row.text for row in rows]

    def loglikelihood_rolling(self, requests: Sequence[Any]) -> list[float]:
        """Not asked for by any benchmark here."""
        raise NotImplementedError("whole-text log-likelihood is not supported")

    # How it is done.

    def _encode(self, texts: list[str]) -> list[list[int]]:
        """Token ids of each text; exactly one BOS where the tokenizer adds one by itself."""
        bos = self.tokenizer.bos_token
        batch = self.tokenizer(texts, add_special_tokens=False, return_attention_mask=False)
        return [
            [self.tokenizer.bos_token_id, *ids]
            if self._adds_bos and not text.startswith(bos)
            else ids
            for text, ids in zip(texts, batch["input_ids"], strict=True)
        ]

    def _fit(self, ids: list[int], new: int, task: str) -> list[int]:
        room = self.max_length - new
        if len(ids) <= room:
            return ids
        self.truncated[task] += 1
        return [ids[0], *ids[len(ids) - room + 1 :]]

    def _batches(self, order: Sequence[Any], size: Any) -> Iterator[list[Any]]:
        batch: list[Any] = []
        longest = 0
        for row in order:
            longest_with = max(longest, size(row))
            full = len(batch) == self.batch_size
            if batch and (full or longest_with * (len(batch) + 1) > self.batch_tokens):
                yield batch
                batch, longest_with = [], size(row)
            batch.append(row)
            longest = longest_with
        if batch:
            yield batch

    def _bar(self, total: int, what: str, disable: bool) -> Any:
        return tqdm(total=total, desc=what, leave=False, disable=disable or not self.progress)

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

    @torch.inference_mode()
    def _score(self, batch: Sequence[Sequence[int]], last: int) -> torch.Tensor:
        """fp32 log-probabilities behind the last tokens of each row, [rows, last, vocabulary]."""
        logits = self._forward(*self._padded(batch), keep=last, use_cache=False).logits[:, -last:]
        return logits.float().log_softmax(-1)

    @torch.inference_mode()
    def _continue(self, batch: list[Row]) -> None:
        """Fill in ``new`` and ``text`` of all rows. Rows that have ended leave the batch."""
        # Samples of one prompt share its pass.
        prompts = {
            ids: number for number, ids in enumerate(dict.fromkeys(tuple(r.ids) for r in batch))
        }
        ids, mask = self._padded(prompts)
        output = self._forward(ids, mask, keep=1, use_cache=True)
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
        if token not in self._eos:
            longest = max((len(stop.encode()) for stop in row.stops), default=0)
            tail = self.tokenizer.decode(row.new[-longest - 2 :]) if row.stops else ""
            stopped = any(stop in tail for stop in row.stops)
            if not stopped and len(row.new) < row.max_new:
                return False
        row.text = self._text(row)
        for stop in row.stops:
            row.text = row.text.partition(stop)[0]
        return True

    def _text(self, row: Row) -> str:
        """The new tokens' text as it follows the prompt; decoded alone it may lose a blank."""
        new = row.new[:-1] if row.new[-1] in self._eos else row.new
        context = row.ids[-4:]
        settings = {"skip_special_tokens": True, "clean_up_tokenization_spaces": False}
        before = self.tokenizer.decode(context, **settings)
        whole = self.tokenizer.decode([*context, *new], **settings)
        if whole.startswith(before):
            return whole[len(before) :]
        return self.tokenizer.decode(new, **settings)


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
