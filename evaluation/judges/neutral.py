"""Texts that a judge reads, made unable to speak to it outside their own quotation.

A judge's prompt holds what a model wrote. Text that is a marker of a chat format would end the
judge's message and open another (alpaca-eval itself splits prompts at ChatML's markers; a server's
tokenizer turns its own markers into control tokens). A blank is put into each marker: it stays
readable, no tokenizer takes it for one, and what is left can form no new one.
"""

from __future__ import annotations

import re

from evaluation.judges import SEPARATOR

# <|im_start|>, <|eot_id|>, <|user|> and the like; DeepSeek writes them with full-width bars.
_BARS = re.compile(r"<(?=[|｜][^<>\s]{1,40}[|｜]>)")
# Of formats without bars: Llama 2 and Mistral, Gemma, and the names of T5's and others' tokens.
_SQUARE = re.compile(
    r"\[(?=/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS)\])", re.IGNORECASE
)
_ANGLE = re.compile(
    r"<(?=/?(?:s|bos|eos|pad|unk|sep|cls|start_of_turn|end_of_turn|extra_id_\d+)>)", re.IGNORECASE
)
_DOUBLE = re.compile(r"<<(?=/?SYS>>)", re.IGNORECASE)
# What alpaca-eval's template would fill in.
_PLACEHOLDER = re.compile(r"\{(?=(?:instruction|input|output_1|output_2)\})")


def neutralise(text: str) -> str:
    """The text with a blank in every chat marker and placeholder, and no ``SEPARATOR``.

    Lone surrogates, which a byte-level model can write and no request can carry, become "?".
    """
    text = text.replace(SEPARATOR, " ").encode("utf-8", "replace").decode("utf-8")
    text = _DOUBLE.sub("< <", text)
    for pattern in (_BARS, _SQUARE, _ANGLE, _PLACEHOLDER):
        text = pattern.sub(lambda found: found.group() + " ", text)
    return text
