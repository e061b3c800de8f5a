"""String measures that several benchmarks share."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Iterable

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalise(text: str) -> str:
    """SQuAD's normal form: lower case, no ASCII punctuation, no English articles, single blanks."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def token_f1(output: str, gold: str) -> float:
    """Harmonic mean of token precision and recall between two texts (SQuAD v1.1), in [0, 1].

    A few answers are nothing but an article or a sign, which the normal form takes away; they are
    compared as they stand, where the official script always gives 0.
    """
    found, wanted = normalise(output).split(), normalise(gold).split()
    if not wanted:
        return float(output.strip().lower() == gold.strip().lower())
    common = sum((Counter(found) & Counter(wanted)).values())
    if not common:
        return 0.0
    precision, recall = common / len(found), common / len(wanted)
    return 2 * precision * recall / (precision + recall)


def best_f1(output: str, golds: Iterable[str]) -> float:
    """The best F1 over several accepted answers."""
    return max(token_f1(output, gold) for gold in golds)
