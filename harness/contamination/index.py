"""Finds benchmark texts in conversations: equal turns, texts held whole, shares of n-grams.

Only the benchmarks' side is held in memory: a number a known word, a 64-bit hash an n-gram, and
which texts hold it. Conversations stream through in blocks. All n-grams of a block are hashed at
once by numpy, one multiplication and one addition a word and length, and only those that pass a
table of bits are looked up. N-grams with the same hash would be taken for one: with 10^10 words of
a pool against 10^7 n-grams, the chance of one such case is below one in a hundred.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from harness.component import Component
from harness.contamination.texts import Text
from harness.contamination.words import words

Rule = Literal["exact", "whole", "ngram"]
RULES: tuple[Rule, ...] = ("exact", "whole", "ngram")
_BASE = 0x9E3779B97F4A7C15  # odd, so that no word's place in an n-gram is lost
_SLOTS = 8  # at least, in the table that n-grams must pass, for each n-gram that is looked for
_Found = tuple[int, int, int, float, int]  # row, text, rule, share, turn


class Detector(Component):
    """What counts as a benchmark text in a row: the first of these rules that holds.

    * ``exact``: a turn is the text (of at least ``min_words`` words).
    * ``whole``: a turn holds all n-grams of the text; a text shorter than ``ngram`` words is one
      n-gram, and must have ``min_chars`` characters (blanks between words included).
    * ``ngram``: the row's turns hold ``threshold`` of the distinct n-grams of a text of at least
      ``ngram`` words. 13 words is what GPT-3's filter took (Brown et al. 2020, appendix C).

    Words are as in ``words.words``: case, punctuation and white space do not count.
    """

    version: ClassVar[int] = 1  # of what is found: raise it when the same texts give other rows

    ngram: int = Field(13, ge=2)
    threshold: float = Field(0.8, gt=0, le=1)
    min_words: int = Field(4, ge=1)
    min_chars: int = Field(30, ge=1)


@dataclass(frozen=True)
class Hits:
    """What was found in a block: one entry a pair of row and text, by row, then text.

    Attributes:
        row: int32, row of the block; ``text``: int32, position among the given texts.
        rule: uint8, position in ``RULES``.
        share: float32, of the text's n-grams that the row holds; 1 where it is whole.
        turn: int32, the first turn of the row that holds any of them.
    """

    row: np.ndarray
    text: np.ndarray
    rule: np.ndarray
    share: np.ndarray
    turn: np.ndarray


@dataclass(frozen=True)
class _Grams:
    """All n-grams of one length: sorted hashes, and the texts of each (compressed rows)."""

    keys: np.ndarray
    starts: np.ndarray
    owner: np.ndarray
    table: np.ndarray

    def find(self, hashes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Positions of hashes that are keys, and of which key."""
        at = np.flatnonzero(self.table[_slot(hashes, self.table)])
        key = np.minimum(np.searchsorted(self.keys, hashes[at]), len(self.keys) - 1)
        hit = self.keys[key] == hashes[at]
        return at[hit], key[hit]


class Index:
    """Texts of benchmarks, ready to be looked for.

    Of equal texts of a benchmark's part the first counts. ``skipped`` says how many texts are too
    short to be looked for.
    """

    def __init__(self, texts: Sequence[Text], detector: Detector) -> None:
        self.detector = detector
        self.skipped = 0
        self._exact: dict[str, list[int]] = {}
        self._number = number = dict[str, int]()
        seen: set[tuple[str, str, str]] = set()
        flat, owners, lengths = array("i"), array("i"), array("i")
        for position, text in enumerate(texts):
            found = words(text.text)
            plain = " ".join(found)
            key = (text.benchmark, text.part, plain)
            if key in seen:
                continue
            seen.add(key)
            if len(found) < detector.min_words:
                self.skipped += 1
                continue
            self._exact.setdefault(plain, []).append(position)
            if len(found) >= detector.ngram or len(plain) >= detector.min_chars:
                for word in found:
                    flat.append(number.setdefault(word, len(number) + 1))
                flat.append(0)
                owners.append(position)
                lengths.append(len(found))
        self._value = _values(self._number)
        self._count = np.zeros(len(texts), dtype=np.int64)  # distinct n-grams of a text
        self._grams = dict(self._index(np.array(flat), np.array(owners), np.array(lengths)))

    def _index(
        self, flat: np.ndarray, owners: np.ndarray, lengths: np.ndarray
    ) -> Iterator[tuple[int, _Grams]]:
        """The n-grams of the texts that lie in ``flat`` one after the other, 0 behind each."""
        place = np.repeat(np.arange(len(owners), dtype=np.int32), lengths + 1)
        end = (np.cumsum(lengths + 1, dtype=np.int32) - 1)[place]
        wanted = np.minimum(lengths, self.detector.ngram)[place]
        for size, hashes in _runs(self._value[flat], self.detector.ngram):
            at = np.flatnonzero(wanted[: len(hashes)] == size)
            at = at[at + size <= end[at]]
            if not len(at):
                continue
            grams, texts = hashes[at], owners[place[at]]
            order = np.lexsort((texts, grams))
            grams, texts = grams[order], texts[order]
            new = np.ones(len(grams), dtype=bool)
            new[1:] = (grams[1:] != grams[:-1]) | (texts[1:] != texts[:-1])
            grams, texts = grams[new], texts[new]
            self._count += np.bincount(texts, minlength=len(self._count))
            keys, starts = np.unique(grams, return_index=True)
            table = np.zeros(1 << (_SLOTS * len(keys)).bit_length(), dtype=bool)
            table[_slot(keys, table)] = True
            yield size, _Grams(keys, np.append(starts, len(grams)), texts, table)

    def search(self, turns: Sequence[str], rows: np.ndarray) -> Hits:
        """What stands in the turns of a block of rows.

        Args:
            turns: texts, the turns of a row one after the other.
            rows: int [turns], the row of each turn, ascending.
        """
        cut = [words(turn) for turn in turns]
        found: list[_Found] = []
        for row, (turn, one) in zip(rows, enumerate(cut), strict=True):
            if len(one) >= self.detector.min_words:
                texts = self._exact.get(" ".join(one), ())
                found += [(int(row), text, 0, 1.0, turn) for text in texts]
        if cut and self._number:
            found += self._contained(cut, rows)
        best: dict[tuple[int, int], _Found] = {}
        for hit in sorted(found, key=lambda hit: (hit[2], -hit[3], hit[4])):
            best.setdefault(hit[:2], hit)
        first = np.searchsorted(rows, rows)  # the first turn of each turn's row
        kept = [(*hit[:4], hit[4] - int(first[hit[4]])) for _, hit in sorted(best.items())]
        types = (np.int32, np.int32, np.uint8, np.float32, np.int32)
        return Hits(*(np.array([hit[i] for hit in kept], dtype=t) for i, t in enumerate(types)))

    def _contained(self, cut: list[list[str]], rows: np.ndarray) -> list[_Found]:
        every: list[str] = []
        for one in cut:
            every += one
            every.append("")
        # 0 stands for words that no text holds, and for "", the border between two turns.
        numbers = map(self._number.get, every, repeat(0))
        flat = np.fromiter(numbers, dtype=np.int32, count=len(every))
        lengths = np.array([len(one) + 1 for one in cut])
        turn_of = np.repeat(np.arange(len(cut)), lengths)
        found: list[_Found] = []
        for size, hashes in _runs(self._value[flat], self.detector.ngram):
            grams = self._grams.get(size)
            if grams is None:
                continue
            at, key = grams.find(hashes)
            if len(at):
                found += self._shares(turn_of[at], key, grams, rows)
        return found

    def _shares(
        self, turn: np.ndarray, key: np.ndarray, grams: _Grams, rows: np.ndarray
    ) -> list[_Found]:
        """Texts of which a turn, or a row's turns together, hold enough of the found n-grams."""
        turn, key = np.unique(np.stack([turn, key]), axis=1)
        many = grams.starts[key + 1] - grams.starts[key]
        within = np.arange(many.sum()) - np.repeat(np.cumsum(many) - many, many)
        text = grams.owner[np.repeat(grams.starts[key], many) + within]
        turn, key = np.repeat(turn, many), np.repeat(key, many)
        found: list[_Found] = []
        (at, whose), count = np.unique(np.stack([turn, text]), axis=1, return_counts=True)
        for t, x in zip(*(part[count == self._count[whose]] for part in (at, whose)), strict=True):
            found.append((int(rows[t]), int(x), 1, 1.0, int(t)))
        in_row = np.unique(np.stack([rows[turn], text, key]), axis=1)[:2]
        (row, whose), count = np.unique(in_row, axis=1, return_counts=True)
        share = count / self._count[whose]
        for i in np.flatnonzero(share >= self.detector.threshold):
            first = turn[(rows[turn] == row[i]) & (text == whose[i])].min()
            found.append((int(row[i]), int(whose[i]), 2, float(share[i]), int(first)))
        return found


def _values(number: dict[str, int]) -> np.ndarray:
    """uint64 [1 + words]: a random number a word, the same in every process; 0 for no word."""
    values = np.zeros(len(number) + 1, dtype=np.uint64)
    for word, i in number.items():
        hashed = hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        values[i] = int.from_bytes(hashed, "little")
    return values


def _runs(values: np.ndarray, most: int) -> Iterator[tuple[int, np.ndarray]]:
    """(size, uint64 hashes of all runs of that many words) from 1 to ``most``, modulo 2^64."""
    hashes, power = values, 1
    for size in range(1, min(most, len(values)) + 1):
        if size > 1:
            power = power * _BASE % (1 << 64)
            hashes = hashes[:-1] + values[size - 1 :] * np.uint64(power)
        yield size, hashes


def _slot(hashes: np.ndarray, table: np.ndarray) -> np.ndarray:
    return hashes >> np.uint64(65 - len(table).bit_length())  # as many of the highest bits
