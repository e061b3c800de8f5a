"""BM25: lexical match of pool rows with the queries, the baseline that needs no model.

A row's score for a query is the sum over the query's terms (each as often as it occurs there) of

    ln(1 + (N - df + 0.5) / (df + 0.5)) * tf / (tf + k1 * (1 - b + b * length / mean length))

over N rows in use: Okapi BM25 in Lucene's form, bm25s' default, which is never negative. Terms are
bm25s': lower-cased runs of two and more word characters, without its English stop words, unstemmed.
A row is the text of all its turns, a query that of prompt and answer, neither with role markers.
Scripts without spaces give a term a clause. Long queries score higher, which counts where the
maximum over a task's queries is taken.

bm25s holds its whole index in memory. Here the terms of each range of rows are stored once, and two
passes over them (document frequencies, then scores of a block) give the same scores for any pool.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from harness.context import Context
from harness.pool import Row
from harness.ranges import load
from harness.record import StageCost
from methods.base import PairMethod

MOST_WORDS = 1 << 18  # kept with their terms, so that memory is bounded


class BM25(PairMethod):
    """k1 says how soon a term's repetition stops to count, b how much long rows are marked down."""

    k1: float = Field(default=1.5, ge=0)
    b: float = Field(default=0.75, ge=0, le=1)

    terms: ClassVar[dict[str, Any]] = {"version": 1, "pattern": r"(?u)\b\w\w+\b", "stop": "english"}

    def pair_scores(self, context: Context) -> Iterator[np.ndarray]:
        """Blocks of float32 [rows, queries]."""
        from scipy.sparse import csr_array

        rows = context.pool.size
        feature = context.compute("terms", self.terms, _counter(), bytes_per_row=700)
        vocabulary, weights = self._queries(context)
        frequency, tokens = np.zeros(len(vocabulary), dtype=np.int64), 0
        for _, columns, _, lengths in _blocks(feature, vocabulary):
            frequency += np.bincount(columns, minlength=len(vocabulary))
            tokens += int(lengths.sum())
        idf = np.log1p((rows - frequency + 0.5) / (frequency + 0.5)).astype(np.float32)
        weights *= idf[:, None]
        mean = max(tokens / rows, 1.0)
        context.charge("terms", StageCost(stage="score", rows=rows, tokens=tokens, **feature.spent))
        for offsets, columns, counts, lengths in _blocks(feature, vocabulary):
            norm = self.k1 * (1 - self.b + self.b * lengths / mean)
            tf = counts / (counts + np.repeat(norm, np.diff(offsets)))
            shape = (len(lengths), len(vocabulary))
            yield csr_array((tf.astype(np.float32), columns, offsets), shape=shape) @ weights

    def _queries(self, context: Context) -> tuple[np.ndarray, np.ndarray]:
        """Sorted uint64 [terms] of all queries, and how often each occurs in each: [terms, Q]."""
        rows = [Row(query.id, query.task, query.messages) for query in context.queries]
        found = _counter()(rows, lambda rows, tokens: None)
        total = int(found["distinct"].sum())
        if not total:
            raise ValueError("bm25: no query has a term: two word characters, no stop word")
        terms, counts = found["terms"].ravel()[:total], found["counts"].ravel()[:total]
        vocabulary, place = np.unique(terms, return_inverse=True)
        weights = np.zeros((len(vocabulary), len(rows)), dtype=np.float32)
        weights[place, np.repeat(np.arange(len(rows)), found["distinct"])] = counts
        return vocabulary, weights


def _counter() -> Callable[..., dict[str, np.ndarray]]:
    """Counts the terms of rows.

    Gives ``lengths`` and ``distinct``, int32 [rows], and ``terms`` (uint64 hashes) and ``counts``
    (uint32) of the rows one after the other, filled up to [rows, k] so that they can be stored.
    """
    from bm25s import tokenize

    words: dict[str, list[int]] = {}

    def terms_of(new: list[str]) -> dict[str, list[int]]:
        found = tokenize(new, return_ids=False, show_progress=False)
        return {w: [_hash(term) for term in terms] for w, terms in zip(new, found, strict=True)}

    def compute(rows: list[Row], on_rows: Callable[[int, int], None]) -> dict[str, np.ndarray]:
        # No term reaches over a blank, so each word between blanks need be looked at only once.
        texts = [Counter("\n".join(m["content"] for m in r.messages).lower().split()) for r in rows]
        new = terms_of(list(set().union(*texts) - words.keys()))
        words.update(new)
        counted = [_sum(text, words) for text in texts]
        if len(words) > MOST_WORDS:
            for word in new:
                del words[word]
        terms = np.array([term for one in counted for term in one], dtype=np.uint64)
        counts = np.array([n for one in counted for n in one.values()], dtype=np.uint32)
        lengths = np.array([sum(one.values()) for one in counted], dtype=np.int32)
        on_rows(len(rows), int(lengths.sum()))
        return {
            "lengths": lengths,
            "distinct": np.array([len(one) for one in counted], dtype=np.int32),
            "terms": np.resize(terms, (len(rows), -(-len(terms) // len(rows)))),
            "counts": np.resize(counts, (len(rows), -(-len(terms) // len(rows)))),
        }

    return compute


def _sum(text: Counter[str], words: dict[str, list[int]]) -> dict[int, int]:
    found: dict[int, int] = {}
    for word, count in text.items():
        for term in words[word]:
            found[term] = found.get(term, 0) + count
    return found


def _hash(term: str) -> int:
    return int.from_bytes(hashlib.blake2b(term.encode(), digest_size=8).digest(), "little")


def _blocks(feature: Any, vocabulary: np.ndarray) -> Iterator[tuple[np.ndarray, ...]]:
    """Of each range's rows in use: offsets [rows + 1] into columns and counts, and lengths."""
    for rows, artifact in feature.parts:
        used = min(len(rows), feature.pool.size - rows.start)
        distinct = load(artifact, "distinct")[:used]
        terms = load(artifact, "terms").ravel()[: distinct.sum()]
        columns = np.minimum(np.searchsorted(vocabulary, terms), len(vocabulary) - 1)
        known = vocabulary[columns] == terms
        before = np.concatenate([[0], np.cumsum(known)])
        offsets = before[np.concatenate([[0], np.cumsum(distinct)])]
        counts = load(artifact, "counts").ravel()[: len(terms)][known]
        yield offsets, columns[known], counts, load(artifact, "lengths")[:used]
