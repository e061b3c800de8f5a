"""An in-memory model as lm-eval sees it: batched, per-row stopping, no hidden defaults.

Imports torch and lm-eval, so import this module only when a model is there. lm-eval's own HFLM is
not used: it stops a batch only when every row has met the same stop string, tokenises each request
several times, lets the checkpoint's generation settings in, and costs seconds to import.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from lm_eval.api.model import LM
from tqdm import tqdm

from evaluation.decoding import Decoder, Row
from evaluation.prefixes import shared_lengths
from evaluation.vllm import Vllm
from harness.seeds import derive, generator

Ids = tuple[int, ...]

# Shorter beginnings go together in one batch: keeping them apart would cost more in padding.
LONG = 128


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
        share: whether beginnings that prompts share are computed once. Outputs are the same within
            rounding; where a model's cache does not allow it, whole prompts are read.
        vllm: generates text in place of the model; choices stay with the model.

    Attributes:
        lengths: for each task the (prompt, generated) token counts of its requests, in order.
        reads: what of all prompts went through the model; see ``decoding.Decoder``.
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
        share: bool = True,
        vllm: Vllm | None = None,
    ) -> None:
        super().__init__()
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
        self._model = model
        self._vllm = vllm
        self._decoder = Decoder(model, tokenizer)
        self.reads = self._decoder.reads
        self._share = share and self._decoder.prefixes.served

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
        behind = max((len(goal) for goals in jobs.values() for _, goal in goals), default=1)
        shared = self._shared(list(jobs), behind)
        order = sorted(jobs, key=_place(shared), reverse=True)
        bar = self._bar(len(order), "choices", disable_tqdm)
        for batch in self._batches(order, lambda fed: (shared[fed], len(fed) - shared[fed])):
            longest = max(len(goal) for fed in batch for _, goal in jobs[fed])
            logits = self._decoder.score(batch, longest, [shared[fed] for fed in batch])
            for row, fed in enumerate(batch):
                for index, goal in jobs[fed]:
                    steps = logits[row, longest - len(goal) :]
                    wanted = torch.tensor(goal, device=steps.device)
                    chosen = steps.gather(1, wanted[:, None]).sum().item()
                    if chosen != chosen:  # the first choice would win, and look like an answer
                        raise ValueError(
                            f"{requests[index].task_name}: the model's probabilities are NaN; its "
                            "weights or its dtype overflow (a diverged training, or float16)"
                        )
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
                row.seed = derive(self.seed, name)
                row.uniforms = generator(self.seed, name).random(new)
            rows.append(row)
        if rows and self._vllm:
            self._vllm.extend(
                self._model, self.tokenizer, rows, ends=self._decoder.ends,
                max_length=self.max_length, seed=self.seed,
            )  # fmt: skip
            self.reads += [(row.shared, len(row.ids) - row.shared, 1) for row in rows]
        else:
            self._extend(rows, disable_tqdm)
        for request, row in zip(requests, rows, strict=True):
            self.lengths[request.task_name].append((len(row.ids), len(row.new)))
        return [row.text for row in rows]

    def loglikelihood_rolling(self, requests: Sequence[Any]) -> list[float]:
        """Not asked for by any benchmark here."""
        raise NotImplementedError("whole-text log-likelihood is not supported")

    # How it is done.

    def _extend(self, rows: list[Row], disable: bool) -> None:
        """Continue all rows in batches."""
        shared = self._shared([tuple(row.ids) for row in rows], 1)
        for row in rows:
            row.shared = shared[tuple(row.ids)]
        place = _place(shared)
        # Rows that may run equally long go together, the largest batch first.
        order = sorted(rows, key=lambda row: (row.max_new, *place(tuple(row.ids))), reverse=True)
        bar = self._bar(len(rows), "answers", disable)
        for batch in self._batches(
            order, lambda row: (row.shared, len(row.ids) - row.shared + row.max_new)
        ):
            self._decoder.extend(batch)
            bar.update(len(batch))
        bar.close()

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

    def _shared(self, prompts: list[Ids], behind: int) -> dict[Ids, int]:
        """How many first tokens each prompt shares; ``behind`` tokens stay outside at least."""
        if not self._share:
            return dict.fromkeys(prompts, 0)
        return dict(zip(prompts, shared_lengths(prompts, behind), strict=True))

    def _batches(
        self, order: Sequence[Any], size: Callable[[Any], tuple[int, int]]
    ) -> Iterator[list[Any]]:
        """Rows in order; ``size`` gives a row's two parts, which are padded each for itself."""
        batch: list[Any] = []
        widest = (0, 0)
        for row in order:
            first, second = size(row)
            wider = max(widest[0], first), max(widest[1], second)
            full = len(batch) == self.batch_size
            if batch and (full or sum(wider) * (len(batch) + 1) > self.batch_tokens):
                yield batch
                batch, wider = [], (first, second)
            batch.append(row)
            widest = wider
        if batch:
            yield batch

    def _bar(self, total: int, what: str, disable: bool) -> Any:
        return tqdm(total=total, desc=what, leave=False, disable=disable or not self.progress)


def _place(shared: dict[Ids, int]) -> Callable[[Ids], tuple[Any, ...]]:
    """A sort key by which prompts with a long beginning in common are neighbours, then by length.

    Large groups of prompts come last, by their longest.
    """

    def group(ids: Ids) -> Ids:
        return ids[: shared[ids]] if shared[ids] >= LONG else ()

    longest: dict[Ids, int] = defaultdict(int)
    for ids in shared:
        longest[group(ids)] = max(longest[group(ids)], len(ids))
    return lambda ids: (longest[group(ids)], group(ids), len(ids) - shared[ids])
