"""How hard the answers of a row are with the prompt before them, and without it.

One function gives both losses over the same answer tokens, which IFD divides (paper A.5). Rows of
several turns, which its authors leave undefined: the answer tokens are those of all assistant
turns. *Conditioned*, each is predicted inside the whole conversation. *Alone*, each turn is a
sequence of its own behind nothing but the assistant's role header (and the begin token, where the
conversation starts with one); the row's mean weighs tokens, not turns, equally.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.chat import Chat, Message, TemplateError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from harness.flops import ModelFlops

HEAD_TOKENS = 2048  # tokens for which logits are held at once
_BENT = ("final_logit_softcapping", "logit_scale", "logits_scaling")  # the head is no plain product


@dataclass(frozen=True)
class AnswerLosses:
    """Sums over each row's answer tokens; all 0 for a row that does not fit the length.

    Attributes:
        conditioned: float64 [rows], nats, with all that precedes in the conversation.
        alone: float64 [rows], nats, behind the role header only.
        tokens: int32 [rows], answer tokens, the same in both; end tokens among them.
        read: int32 [rows], tokens that went through the model, both passes together.
        flops: float64 [rows], of both passes; the head on answer tokens only.
    """

    conditioned: np.ndarray
    alone: np.ndarray
    tokens: np.ndarray
    read: np.ndarray
    flops: np.ndarray


def answer_losses(
    model: PreTrainedModel,
    chat: Chat,
    rows: Sequence[Sequence[Message]],
    *,
    max_length: int,
    max_tokens: int,
    flops: ModelFlops,
    on_batch: Callable[[int, int], None] = lambda rows, tokens: None,
) -> AnswerLosses:
    """Both losses of each row.

    Args:
        max_length: a longer row is left out, since its answer would be cut.
        max_tokens: padded tokens in one batch.
        flops: counts of the model.
        on_batch: called with the rows and real tokens of each finished batch; a row counts once,
            when its conversation has been read.
    """
    header = assistant_header(chat)
    tokens = np.zeros(len(rows), dtype=np.int32)
    sequences: list[tuple[int, bool, list[int], np.ndarray]] = []
    left_out = 0
    for index, row in enumerate(chat.encode(rows, max_length, labels=True)):
        answers = [] if row.truncated else _turns(row.is_label)
        if not answers:
            left_out += 1
            continue
        bos = row.ids[:1] if row.ids[0] == chat.tokenizer.bos_token_id else []
        places = np.concatenate([np.arange(start, stop) for start, stop in answers])
        tokens[index] = len(places)
        sequences.append((index, True, row.ids, places))
        for start, stop in answers:
            before = [*bos, *header]
            places = np.arange(len(before), len(before) + stop - start)
            sequences.append((index, False, before + row.ids[start:stop], places))
    on_batch(left_out, 0)
    sums = np.zeros((2, len(rows)))
    read = np.zeros(len(rows), dtype=np.int32)
    cost = np.zeros(len(rows))
    losses = _losses(
        model,
        [(ids, places) for _, _, ids, places in sequences],
        chat.tokenizer.pad_token_id,
        max_tokens,
        lambda batch, count: on_batch(sum(sequences[i][1] for i in batch), count),
    )
    one = flops.head(1)
    for (index, conditioned, ids, places), loss in zip(sequences, losses, strict=True):
        sums[0 if conditioned else 1, index] += loss
        read[index] += len(ids)
        cost[index] += flops.body(len(ids)) + one * len(places)
    return AnswerLosses(sums[0], sums[1], tokens, read, cost)


def assistant_header(chat: Chat) -> list[int]:
    """Token ids of what the template puts before an assistant's words, alone at a text's start.

    Raises:
        TemplateError: it puts nothing there, so the first word of an answer could not be predicted.
    """
    user = [{"role": "user", "content": "a"}]
    opened = chat.render(user, generation_prompt=True)
    text = opened[len(chat.render(user)) :].lstrip()
    ids: list[int] = chat.tokenizer(text, add_special_tokens=False).input_ids if text else []
    if not ids:
        raise TemplateError("this chat template has no assistant header, so IFD is not defined")
    return ids


def _turns(is_label: list[bool]) -> list[tuple[int, int]]:
    """[start, stop) of each run of answer tokens. The row's first token has nothing before it."""
    turns = []
    for inside, run in groupby(range(1, len(is_label)), key=is_label.__getitem__):
        if inside:
            places = list(run)
            turns.append((places[0], places[-1] + 1))
    return turns


def _losses(
    model: PreTrainedModel,
    sequences: list[tuple[list[int], np.ndarray]],
    pad_id: int,
    max_tokens: int,
    on_batch: Callable[[np.ndarray, int], None],
) -> np.ndarray:
    """Summed loss float64 [sequences] of the tokens at the given places of each sequence.

    Right padding cannot reach real tokens in a causal model, so no mask is needed.
    """
    import torch

    body, head = model.base_model, model.get_output_embeddings()
    config = model.config.get_text_config()
    bent = any(getattr(config, name, None) for name in _BENT)
    lengths = np.array([len(ids) for ids, _ in sequences], dtype=np.int64)
    order = np.argsort(-lengths, kind="stable")
    result = np.zeros(len(sequences))
    start = 0
    with torch.inference_mode():
        while start < len(order):
            longest = int(lengths[order[start]])
            batch = order[start : start + max(1, max_tokens // longest)]
            start += len(batch)
            padded = np.full((len(batch), longest), pad_id, dtype=np.int64)
            for place, index in enumerate(batch):
                padded[place, : lengths[index]] = sequences[index][0]
            ids = torch.from_numpy(padded).to(model.device)
            row = np.concatenate(
                [np.full(len(sequences[i][1]), place) for place, i in enumerate(batch)]
            )
            step = np.concatenate([sequences[i][1] for i in batch])
            if bent:
                states, give = model(input_ids=ids, use_cache=False).logits, torch.nn.Identity()
            else:
                states, give = body(input_ids=ids, use_cache=False).last_hidden_state, head
            result[batch] = _sum(states, give, ids, row, step, len(batch))
            on_batch(batch, int(lengths[batch].sum()))
    return result


def _sum(
    states: Any, head: Any, ids: Any, row: np.ndarray, step: np.ndarray, rows: int
) -> np.ndarray:
    import torch

    total = np.zeros(rows)
    for start in range(0, len(row), HEAD_TOKENS):
        r, s = row[start : start + HEAD_TOKENS], step[start : start + HEAD_TOKENS]
        loss = torch.nn.functional.cross_entropy(
            head(states[r, s - 1]).float(), ids[r, s], reduction="none"
        )
        np.add.at(total, r, loss.double().cpu().numpy())
    return total
