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
from harness.micro.world import CHATTER_SOURCES
from harness.seeds import derive


def _overheard(rng: random.Random) -> str:
    """Return what was said in a few conversations of no use, without who said it."""
    talk, _ = CHATTER_SOURCES[rng.choice(list(CHATTER_SOURCES))]
    return "\n".join(message["content"] for _ in range(3) for message in talk(rng))


SHARES = {
    school_facts.plain_text: 0.22,
    grade_school_sums.plain_text: 0.16,
    word_puzzles.plain_text: 0.16,
    many_languages.plain_text: 0.12,
    small_functions.plain_text: 0.09,
    passage_questions.plain_text: 0.14,
    everyday_requests.plain_text: 0.07,
    _overheard: 0.04,
}


def documents(seed: int) -> Iterator[str]:
    """Yield documents without end, the kinds mixed by `SHARES`."""
    rng = random.Random(derive(seed, "corpus"))
    writers, shares = list(SHARES), list(SHARES.values())
    while True:
        yield rng.choices(writers, shares)[0](rng)
