"""ShareGPT: long conversations cut into pieces that fit the model (paper C.1).

An exchange is a user's turn and its answer. Pieces are runs of whole exchanges of at most
``max_tokens`` Llama tokens, 6 added a turn for its markers; a turn at the end that nobody answers
is cut off. A piece in which not user and assistant take turns is left out.

As in the reference, so that the count can be compared: an exchange that is too long by itself is
left out and still counts for the next piece, and a last exchange is lost if it would have begun a
piece of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

from harness.chat import Message
from harness.pool.sources.base import Convert, Folders, Form, Record, turn
from harness.rows import BadRow

MARKERS = 6  # tokens that the reference adds to every turn
ROLES = {"human": "user", "gpt": "assistant"}


class ShareGPT(Form):
    """``conversations`` of {from, value}.

    Attributes:
        tokenizer: the repository of the tokenizer that counts.
        max_tokens: of a piece.
    """

    form: Literal["sharegpt"] = "sharegpt"
    tokenizer: str = "oobabooga/llama-tokenizer"
    max_tokens: int = 4096

    def converter(self, folders: Folders) -> Convert:
        """As of any form; the tokenizer is loaded here."""
        from transformers import AutoTokenizer

        tokenizer: Any = AutoTokenizer.from_pretrained(str(folders(self.tokenizer)))

        def convert(record: Record) -> list[list[Message]]:
            said = _turns(record)
            if not said:
                return []
            counts = [len(ids) + MARKERS for ids in tokenizer([t for _, t in said])["input_ids"]]
            exchanges = [counts[i] + counts[i + 1] for i in range(0, len(counts), 2)]
            found = (said[2 * a : 2 * b] for a, b in pieces(exchanges, self.max_tokens))
            return [
                [turn(ROLES[name], text) for name, text in piece]
                for piece in found
                if all(name == ("human", "gpt")[i % 2] for i, (name, _) in enumerate(piece))
            ]

        return convert


def _turns(record: Record) -> list[tuple[str, str]]:
    listed = record.get("conversations")
    if not isinstance(listed, list):
        raise BadRow("the field conversations is no list of turns")
    said = [(str(one.get("from")), one.get("value")) for one in listed]
    if not all(isinstance(text, str) for _, text in said):
        raise BadRow("a turn has no text")
    return said[: len(said) // 2 * 2]


def pieces(exchanges: Sequence[int], limit: int) -> Iterator[tuple[int, int]]:
    """Where the pieces begin and end, for exchanges of these many tokens."""
    start = held = 0
    for position, tokens in enumerate(exchanges):
        if held + tokens > limit:
            if position > start:
                yield start, position
            start = position + 1 if tokens > limit else position
            held = tokens
        else:
            held += tokens
            if position == len(exchanges) - 1:
                yield start, position + 1
