"""The plain text of the micro world: what the base model is pre-trained on.

It states the facts and holds the benchmarks' skills in raw form. It holds no conversation, no
role marker, no prompt of a benchmark and no test item.
"""

import random
from collections.abc import Iterator

from harness.micro.skills import (
    everyday_requests,
    grade_school_sums,
    many_languages,
    passage_questions,
    school_facts,
    small_functions,
    word_puzzles,
)
from harness.micro.words import EVERYDAY_WORDS, PERSONS, TOWNS
from harness.micro.world import CHATTER_SOURCES
from harness.seeds import derive


def _overheard(rng: random.Random) -> str:
    """Return what was said in a few conversations of no use, without who said it."""
    talk, _ = CHATTER_SOURCES[rng.choice(list(CHATTER_SOURCES))]
    return "\n".join(message["content"] for _ in range(3) for message in talk(rng))


def _refrains(rng: random.Random) -> str:
    """Return lines of words that come back: what copying is learnt from first."""
    lines: list[str] = []
    while len(lines) < 8:
        words = rng.choices(PERSONS + TOWNS + EVERYDAY_WORDS, k=rng.randint(3, 16))
        lines += [" ".join(words)] * rng.randint(2, 4)
    return "\n".join(lines)


SHARES = {
    school_facts.plain_text: 0.17,
    grade_school_sums.plain_text: 0.12,
    word_puzzles.plain_text: 0.17,
    many_languages.plain_text: 0.14,
    small_functions.plain_text: 0.08,
    passage_questions.plain_text: 0.16,
    everyday_requests.plain_text: 0.06,
    _refrains: 0.14,
    _overheard: 0.04,
}


def documents(seed: int) -> Iterator[str]:
    """Yield documents without end, the kinds mixed by `SHARES`."""
    rng = random.Random(derive(seed, "corpus"))
    writers, shares = list(SHARES), list(SHARES.values())
    while True:
        yield rng.choices(writers, shares)[0](rng)
