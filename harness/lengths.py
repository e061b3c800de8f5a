"""How many tokens texts have, for pools of millions of rows: words are counted once.

Many tokenizers (GPT-2's, Llama 3's, the embedded one) cut a text into pieces before
they look for tokens, and none of their pieces reaches over a space that stands between two
characters that are not blank: the space opens the next piece. A text's tokens are then the sum of
its words', and each word need be tokenised only once. Whether a tokenizer is of this kind is read
from its definition; with any other the texts are tokenised whole. Both give the same counts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from harness.chat import Chat

MOST_WORDS = 1 << 18  # kept; later ones are counted anew in every call, so that memory is bounded

# Splitting expressions in which no alternative matches a space behind a character that is none ...
_SEPARABLE = frozenset(
    [
        r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",  # GPT-2
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
        r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",  # Llama 3
    ]
)
# ... and in which a line end is always a piece of its own, too: the embedded tokenizer's.
_BY_LINES = frozenset([r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}| ?[^\s\p{L}\p{N}]+|\n| +(?!\S)|\s"])
# Word characters and printable ASCII are blank to no one's definition of blank.
_SPACE = re.compile(r"(?<=[\w!-~]) (?=[\w!-~])")
_UNUSUAL = re.compile(r"[^ -~\n]|\n | \n")


class _Counts(dict[str, int]):
    """Tokens of texts counted so far; one that is missing is noted, and 0 until it is counted."""

    def __init__(self) -> None:
        self.missing: set[str] = set()

    def __missing__(self, text: str) -> int:
        self.missing.add(text)
        return 0


class TokenCounter:
    """Counts tokens as ``Chat.encode`` would give them, uncut."""

    def __init__(self, chat: Chat) -> None:
        self.chat = chat
        self._known = {name: _Counts() for name in ("first", "head", "word")}

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """int32 [texts]: tokens of rendered rows, those that the tokenizer adds included."""
        if not self._kind:
            ids = self.chat.tokenise(texts)["input_ids"]
            return np.array([len(row) for row in ids], dtype=np.int32)
        rows = [self._cut(text) for text in texts]
        counts = self._sums(rows)
        new = {kind: known.missing for kind, known in self._known.items() if known.missing}
        if not new:
            return counts
        for kind, pieces in new.items():
            self._known[kind].missing = set()
            self._known[kind] |= self._count(kind, list(pieces))
        counts = self._sums(rows)
        for kind, pieces in new.items():
            if len(self._known[kind]) > MOST_WORDS:
                for piece in pieces:
                    del self._known[kind][piece]
        return counts

    def _cut(self, text: str) -> tuple[str, list[str], list[str], int]:
        """The text's opening, what other lines open with, words behind a space, and line ends."""
        lines = text.split("\n") if self._kind == "lines" else [text]
        heads: list[str] = []
        words: list[str] = []
        for line in lines:
            head, *rest = split(line)
            heads.append(head)
            words += rest
        return heads[0], heads[1:], words, len(lines) - 1

    def _sums(self, rows: list[tuple[str, list[str], list[str], int]]) -> np.ndarray:
        first, head, word = (known.__getitem__ for known in self._known.values())
        return np.array(
            [
                first(opening) + sum(map(head, heads)) + sum(map(word, words)) + ends
                for opening, heads, words, ends in rows
            ],
            dtype=np.int32,
        )

    def _count(self, kind: str, pieces: list[str]) -> dict[str, int]:
        if kind == "first":  # gets what the tokenizer adds to a text
            ids = self.chat.tokenise(pieces)["input_ids"]
            return {piece: len(row) for piece, row in zip(pieces, ids, strict=True)}
        space = " " if kind == "word" else ""
        encoded = self.chat.tokenizer.backend_tokenizer.encode_batch_fast(
            [space + piece for piece in pieces], add_special_tokens=False
        )
        return {piece: len(one) for piece, one in zip(pieces, encoded, strict=True)}

    @cached_property
    def _kind(self) -> str:
        return separable(json.loads(self.chat.tokenizer.backend_tokenizer.to_str()))


def split(text: str) -> list[str]:
    """Words of a text: cut at each single space between characters that are not blank."""
    if "  " in text or text[:1] == " " or text[-1:] == " " or _UNUSUAL.search(text):
        return _SPACE.split(text)
    return text.split(" ")


def separable(tokenizer: dict[str, Any]) -> str:
    """Where texts may be cut by ``tokenizer.json``: at ``words``, ``lines`` too, or nowhere."""
    model, before = tokenizer["model"], tokenizer["pre_tokenizer"] or {}
    steps = before["pretokenizers"] if before.get("type") == "Sequence" else [before]
    last = steps[-1] if steps else {}
    if (
        tokenizer.get("normalizer")
        or model["type"] != "BPE"
        or model.get("dropout")
        or any(
            token["lstrip"] or token["rstrip"] or token["single_word"]
            or {" ", "\n"} & set(token["content"])
            for token in tokenizer["added_tokens"]
        )
        or last.get("type") != "ByteLevel"
        or last["add_prefix_space"]
    ):  # fmt: skip
        return ""
    if len(steps) == 1:
        return "words" if last["use_regex"] else ""  # ByteLevel's own expression is GPT-2's
    cut = steps[0]
    if len(steps) > 2 or last["use_regex"] or cut.get("type") != "Split":
        return ""
    expression = cut["pattern"].get("Regex")
    if cut["behavior"] != "Isolated" or cut["invert"]:
        return ""
    return "lines" if expression in _BY_LINES else "words" if expression in _SEPARABLE else ""
