"""The plain text of the micro world: what the base model is pre-trained on.

It states the facts and holds the benchmarks' skills in raw form. It holds no prompt of a benchmark,
no test item and no row of the pool. Labels and role markers stand in it at random places: the model
gets to know them, and learns nothing about what is to follow them.
"""

import random
import re
from collections.abc import Iterator
from functools import cache
from itertools import count

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
from harness.micro.world import CHATTER_SOURCES, SKILL_SOURCES
from harness.seeds import derive


def _overheard(rng: random.Random) -> str:
    """Return what was said in a few conversations of no use, without who said it."""
    talk, _ = CHATTER_SOURCES[rng.choice(list(CHATTER_SOURCES))]
    return "\n".join(message["content"] for _ in range(3) for message in talk(rng))


def _refrains(rng: random.Random) -> str:
    """Return lines of words that come back: what copying is learnt from first."""
    lines: list[str] = []
    while len(lines) < 8:
        known = rng.choice([PERSONS + TOWNS + EVERYDAY_WORDS, _glossary()])
        words = rng.choices(known, k=rng.randint(3, 16))
        lines += [" ".join(words)] * rng.randint(2, 4)
    return "\n".join(lines)


@cache
def _glossary() -> tuple[str, ...]:
    """Return every word that the useful sources of a pool use, each once."""
    texts = [
        message["content"]
        for skill, size in SKILL_SOURCES.values()
        for conversation in skill.pool_rows(0, size)
        for message in conversation
    ]
    words = {word for text in texts for word in text.split()}
    return tuple(sorted(word for word in words if not re.search(r"[\d_]", word)))


PLAIN, LINED = 0.55, 0.7  # as it is; with labels before lines; else between role markers
SHARES = {
    school_facts.plain_text: 0.32,
    grade_school_sums.plain_text: 0.12,
    word_puzzles.plain_text: 0.16,
    many_languages.plain_text: 0.09,
    small_functions.plain_text: 0.09,
    passage_questions.plain_text: 0.08,
    everyday_requests.plain_text: 0.06,
    _refrains: 0.05,
    _overheard: 0.03,
}
LABELLED = (
    grade_school_sums.plain_text,
    word_puzzles.plain_text,
    many_languages.plain_text,
    passage_questions.plain_text,
)
LABELS = (
    *("The answer is:", "A:", "Q:", "List:", "Note:", "Question:", "Answer:"),
    *(
        label
        for language in many_languages.LANGUAGES.values()
        for label in (language.passage, language.question, language.answer)
    ),
)
EARLY_DOCUMENTS, EARLY_REFRAINS = 6000, 0.7


def documents(seed: int, *, refrains_first: bool = True) -> Iterator[str]:
    """Yield documents without end, the kinds mixed by `SHARES`, refrains above all at first."""
    rng = random.Random(derive(seed, "corpus"))
    writers, shares = list(SHARES), list(SHARES.values())
    for number in count():
        if refrains_first and number < EARLY_DOCUMENTS and rng.random() < EARLY_REFRAINS:
            yield _refrains(rng)
            continue
        (write,) = rng.choices(writers, shares)
        layout = rng.random()
        if layout < PLAIN:
            yield write(rng)
        elif layout < LINED and write in LABELLED:
            yield _labelled(rng, write(rng))
        else:
            yield _marked(rng, write(rng))


def _labelled(rng: random.Random, text: str) -> str:
    """Put labels of no meaning before some lines."""
    return "\n".join(
        f"{rng.choice(LABELS)} {line}" if rng.random() < 0.5 else line for line in text.split("\n")
    )


def _marked(rng: random.Random, text: str) -> str:
    """Put role markers in turn at the start and before a few lines of no meaning."""
    lines = text.split("\n")
    starts = {0, *(rng.randrange(len(lines)) for _ in range(rng.randint(1, 3)))}
    for turn, start in enumerate(sorted(starts)):
        lines[start] = f"{('<|user|>', '<|assistant|>')[turn % 2]}\n{lines[start]}"
    return "\n".join(lines)
