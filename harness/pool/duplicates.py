"""Exact duplicates among millions of conversations, in 16 bytes each.

The key is the reference's (paper C.3): the newline-join over the messages of ``role: content``,
the content stripped; the first conversation of a key stays. Keys are kept as 128-bit hashes in a
few sorted runs, which are merged as they grow, so a lookup is some binary searches: twice the bytes
of the hashes at the worst moment, where a Python set would take some 100 bytes each. Two different
conversations of 5.8 million get the same hash with a chance of 5e-26.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

KEY = np.dtype("S16")


def key(messages: Sequence[Mapping[str, Any]]) -> bytes:
    """The hash of a conversation.

    Raises:
        UnicodeEncodeError: it holds half a surrogate pair, which no file can keep as text.
    """
    joined = "\n".join(f"{turn['role']}: {turn['content'].strip()}" for turn in messages)
    return hashlib.blake2b(joined.encode(), digest_size=KEY.itemsize).digest()


def as_array(digests: Sequence[bytes]) -> np.ndarray:
    """Hashes as ``Seen`` takes them: S16 [hashes]."""
    return np.frombuffer(b"".join(digests), dtype=KEY)


class Seen:
    """A growing set of keys that says of each new one whether it was there."""

    def __init__(self) -> None:
        self._runs: list[np.ndarray] = []  # each sorted, the longest first

    def __len__(self) -> int:
        return sum(len(run) for run in self._runs)

    def add(self, new: np.ndarray) -> np.ndarray:
        """Add keys and tell which were not there, of equal ones the first: bool [new]."""
        fresh = np.zeros(len(new), dtype=bool)
        if not len(new):
            return fresh
        unique, first = np.unique(new, return_index=True)
        known = np.zeros(len(unique), dtype=bool)
        for run in self._runs:
            place = np.minimum(np.searchsorted(run, unique), len(run) - 1)
            known |= run[place] == unique
        fresh[first[~known]] = True
        self._put(unique[~known])
        return fresh

    def _put(self, run: np.ndarray) -> None:
        while self._runs and len(run) and len(self._runs[-1]) <= 2 * len(run):
            # Of two sorted pieces the stable sort makes one merge.
            run = np.sort(np.concatenate([self._runs.pop(), run]), kind="stable")
        if len(run):
            self._runs.append(run)
