"""Conversations to text to tokens: the chat template, the label mask, and the spans of a row.

The template is the tokenizer's own, or Tulu's where it has none (paper A.0). A row's text is
rendered once and tokenised once; which tokens belong to the assistant follows from character
offsets, so no boundary depends on how a prefix would have been tokenised alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Message = dict[str, str]
Span = Literal["full", "prompt", "label"]

# Tulu's layout. The end token lies inside the generation markers: it is learnt, and so the model
# learns to stop.
TULU_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}"
    "{{ '<|assistant|>\n' }}{% generation %}{{ message['content'] | trim + eos_token }}"
    "{% endgeneration %}"
    "{% else %}"
    "{{ '<|' + message['role'] + '|>\n' + message['content'] | trim }}"
    "{% endif %}"
    "{% if not loop.last or add_generation_prompt %}{{ '\n' }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)


@dataclass(frozen=True)
class Encoded:
    """Token ids of one row.

    Attributes:
        ids: at most ``max_length`` ids, cut on the right.
        is_label: for each id, whether the loss counts it (assistant content and its end token).
        truncated: whether the row was longer.
    """

    ids: list[int]
    is_label: list[bool]
    truncated: bool


def template_hash(template: str) -> str:
    """First 16 hex digits of the sha256 of a template's text."""
    return hashlib.sha256(template.encode()).hexdigest()[:16]


def render_tulu(messages: Sequence[Message], eos: str, *, generation_prompt: bool = False) -> str:
    """What ``TULU_TEMPLATE`` gives, without Jinja: a tenth of the time over a large pool."""
    turns = [
        f"<|{message['role']}|>\n{message['content'].strip()}"
        f"{eos if message['role'] == 'assistant' else ''}"
        for message in messages
    ]
    return "\n".join([*turns, "<|assistant|>\n"] if generation_prompt else turns)


class TemplateError(ValueError):
    """A chat template that cannot be used, or a conversation that it refuses."""


def check_template(template: str | None) -> None:
    """Whether ``model.chat_template`` may be this, as far as can be said without a tokenizer.

    Raises:
        TemplateError: it is neither None, ``tulu`` nor a text with Jinja's brackets.
    """
    if template not in (None, "tulu") and "{{" not in template and "{%" not in template:
        raise TemplateError(
            f"model.chat_template={template!r} is no template; it is tulu, null (the "
            "tokenizer's own, or Tulu's where it has none), or the text of a Jinja template"
        )


class Chat:
    """A tokenizer with its chat template.

    Args:
        tokenizer: a fast tokenizer; its template is replaced if ``template`` is given.
        template: ``None`` (the tokenizer's own, else Tulu's), ``"tulu"``, or a Jinja template.

    Raises:
        TemplateError: the tokenizer is a slow one, or ``template`` is neither of these.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, template: str | None = None) -> None:
        if not tokenizer.is_fast:
            raise TemplateError(
                f"{tokenizer.name_or_path}: character offsets need a fast tokenizer; "
                "convert it with AutoTokenizer.from_pretrained(..., use_fast=True)"
            )
        check_template(template)
        if template == "tulu" or (template is None and not tokenizer.chat_template):
            tokenizer.chat_template = TULU_TEMPLATE
        elif template is not None:
            tokenizer.chat_template = template
        self.tokenizer = tokenizer
        self.eos: str = str(tokenizer.eos_token or "")
        probe = tokenizer("a").input_ids
        self._adds_eos = len(probe) > 1 and probe[-1] == tokenizer.eos_token_id

    @property
    def template_hash(self) -> str:
        """First 16 hex digits of the sha256 of the template's text."""
        return template_hash(str(self.tokenizer.chat_template))

    def render(self, messages: Sequence[Message], *, generation_prompt: bool = False) -> str:
        """The text of a conversation; ``generation_prompt`` opens an assistant turn at its end."""
        if self.tokenizer.chat_template == TULU_TEMPLATE:
            return render_tulu(messages, self.eos, generation_prompt=generation_prompt)
        try:
            text = self.tokenizer.apply_chat_template(
                list(messages), tokenize=False, add_generation_prompt=generation_prompt
            )
        except Exception as error:  # Jinja's and the template's own errors
            raise TemplateError(f"the chat template refused a conversation: {error}") from error
        return str(text)

    def text(self, messages: Sequence[Message], span: Span = "full") -> str:
        """The text of a row, or of its prompt or label alone (paper B.1).

        ``prompt``: all up to the first user turn, then the end token. ``label``: the first
        assistant turn with its role header. Both are cut out of the rendered whole, so they work
        with templates that refuse partial conversations.
        """
        if span == "full":
            return self.render(messages).rstrip()
        if span == "prompt" and all(message["role"] != "assistant" for message in messages):
            return self.render(messages).rstrip() + self.eos
        first = _first_assistant(messages)
        prompt = self.render(messages[:first]) if first else ""
        if span == "prompt":
            return prompt.rstrip() + self.eos
        return self.render(messages[: first + 1])[len(prompt) :].strip()

    def label_ranges(self, messages: Sequence[Message]) -> list[tuple[int, int]]:
        """Character ranges [start, stop) of the assistant turns in ``render(messages)``.

        A range opens behind the role header and ends behind the end token.
        """
        whole = self.render(messages)
        ranges = []
        for index, message in enumerate(messages):
            if message["role"] != "assistant":
                continue
            before = self.render(messages[:index], generation_prompt=True) if index else ""
            after = self.render(messages[: index + 1]).rstrip()
            if not (whole.startswith(before) and whole.startswith(after)):
                raise TemplateError(
                    "the chat template renders earlier turns differently once later ones follow, "
                    "so the label mask cannot be placed; set model.chat_template=tulu or give a "
                    "template that only appends"
                )
            ranges.append((len(before), len(after)))
        return ranges

    def encode(
        self,
        rows: Sequence[Sequence[Message]],
        max_length: int,
        *,
        span: Span = "full",
        labels: bool = False,
    ) -> list[Encoded]:
        """Tokenise rows, one BOS each where the tokenizer has one, cut on the right.

        ``labels=False`` leaves ``is_label`` empty and costs less.
        """
        texts = [self.text(row, span) for row in rows]
        batch = self.tokenise(texts, offsets=labels)
        encoded = []
        for index, row in enumerate(rows):
            ids = batch["input_ids"][index]
            is_label: list[bool] = []
            if labels:
                offsets = batch["offset_mapping"][index]
                is_label = _inside(offsets, self.label_ranges(row))[:max_length]
            encoded.append(Encoded(ids[:max_length], is_label, len(ids) > max_length))
        return encoded

    def tokenise(self, texts: Sequence[str], *, offsets: bool = False) -> dict[str, Any]:
        """``input_ids`` of rendered texts, uncut; with ``offsets`` also ``offset_mapping``."""
        bos = self.tokenizer.bos_token
        own_bos = bool(bos) and bool(texts) and texts[0].startswith(str(bos))
        batch = self.tokenizer(
            list(texts),
            add_special_tokens=not own_bos,
            return_attention_mask=False,
            return_token_type_ids=False,
            return_offsets_mapping=offsets,
        )
        if self._adds_eos and not own_bos:  # the text ends in the end token already
            for key in ("input_ids", "offset_mapping")[: 1 + offsets]:
                batch[key] = [values[:-1] for values in batch[key]]
        return batch


def _first_assistant(messages: Sequence[Message]) -> int:
    for index, message in enumerate(messages):
        if message["role"] == "assistant":
            return index
    raise TemplateError("a conversation without an assistant turn has no label")


def _inside(offsets: list[tuple[int, int]], ranges: list[tuple[int, int]]) -> list[bool]:
    """For each token, whether its characters reach into one of the (sorted) ranges."""
    result, current = [], 0
    for start, stop in offsets:
        while current < len(ranges) and ranges[current][1] <= start:
            current += 1
        low = ranges[current][0] if current < len(ranges) else None
        result.append(low is not None and stop > low and stop > start)
    return result
