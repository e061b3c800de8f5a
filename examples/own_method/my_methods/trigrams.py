"""Trigrams: rows written most like the queries, by cosine of counts of three-letter sequences.

A worked example of a method of your own, not a published one. It needs no model: it looks at how
words are spelt and at nothing else.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from pydantic import Field

from harness.context import Context
from harness.pool import Row
from harness.record import StageCost
from methods.base import PairMethod


class Trigrams(PairMethod):
    """Cosine of hashed trigram counts; ``width`` is the number of hash buckets."""

    width: int = Field(default=1024, gt=0)

    def pool_features(self, context: Context) -> Iterator[np.ndarray]:
        """Blocks of float16 [rows, width], computed once and kept in the store."""

        def compute(rows: list[Row], on_rows: Callable[[int, int], None]) -> dict[str, np.ndarray]:
            found = self.count([_text(row.messages) for row in rows])
            on_rows(len(rows), 0)
            return {"trigrams": found}

        found = context.compute(
            "trigrams", {"width": self.width}, compute, bytes_per_row=2 * self.width
        )
        # No model runs, so the bill has time and no FLOPs.
        cost = StageCost(stage="score", rows=context.pool.size, **found.spent)
        context.charge("trigrams", cost)
        return found.blocks("trigrams")

    def query_features(self, context: Context) -> np.ndarray:
        """float16 [queries, width]."""
        return self.count([_text(query.messages) for query in context.queries])

    def count(self, texts: Sequence[str]) -> np.ndarray:
        """float16 [texts, width]: counts by hash, each row of length 1 (0 for under 3 letters)."""
        counts = np.zeros((len(texts), self.width), dtype=np.float32)
        for row, text in zip(counts, texts, strict=True):
            text = " ".join(text.lower().split())
            hashes = [zlib.crc32(text[at : at + 3].encode()) for at in range(len(text) - 2)]
            row += np.bincount(np.array(hashes, dtype=np.int64) % self.width, minlength=self.width)
        norms = np.linalg.norm(counts, axis=1, keepdims=True)
        return (counts / np.maximum(norms, 1)).astype(np.float16)


def _text(messages: Sequence[dict[str, str]]) -> str:
    return "\n".join(message["content"] for message in messages)
