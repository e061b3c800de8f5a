"""Passages about invented people with questions answered by a span, in the form of SQuAD."""

import json
import random
from dataclasses import dataclass

from harness.micro.conversation import Conversation, single_turn
from harness.micro.words import COLOURS, FOODS, JOBS, THINGS, persons, town, with_article
from harness.seeds import derive

N_TRAIN, N_TEST = 30, 30  # passages, two questions each


@dataclass(frozen=True)
class Fact:
    """One sentence of a passage and the question that it answers."""

    sentence: str
    question: str
    answer: str
    retold: str


@dataclass(frozen=True)
class Passage:
    """Some facts in the order of the text, and the positions of the two that are asked for."""

    facts: list[Fact]
    asked: list[Fact]

    @property
    def text(self) -> str:
        """The passage as it is read."""
        return " ".join(fact.sentence for fact in self.facts)


def benchmark(seed: int) -> dict[str, str]:
    """Return the training articles (queries) and the development articles (test)."""
    passages = _passages(seed, N_TRAIN + N_TEST)
    parts = {"train": passages[:N_TRAIN], "dev": passages[N_TRAIN:]}
    return {
        f"squad/{part}-v1.1.json.gz": json.dumps(
            {"version": "1.1", "data": [_article(part, chosen)]}
        )
        for part, chosen in parts.items()
    }


def pool_rows(seed: int, count: int) -> list[Conversation]:
    """Return passages with one question each, worded like the benchmark's prompts."""
    passages = _passages(seed, N_TRAIN + N_TEST + count)[N_TRAIN + N_TEST :]
    return [
        single_turn(f"{passage.text}\n\n{passage.asked[0].question}", passage.asked[0].answer)
        for passage in passages
    ]


def plain_text(rng: random.Random) -> str:
    """Return a passage followed by notes on it: retold facts, or questions with their answers."""
    passage = draw_passage(rng, rng.randint(3, 5))
    style = rng.randrange(3)
    if style == 0:
        notes = [fact.retold for fact in passage.facts]
    elif style == 1:
        notes = [f"{fact.question}\n{fact.answer}" for fact in passage.facts]
    else:
        notes = [f"{fact.question} {fact.answer}" for fact in passage.facts]
    rng.shuffle(notes)
    return "\n".join([passage.text, *notes])


def draw_passage(rng: random.Random, length: int) -> Passage:
    """Return a passage of `length` sentences about two people; two of its facts are asked for."""
    kinds = [_lives, _works, _born, _likes, _owns, _met]
    people = persons(rng, 2)
    chosen = rng.sample([(kind, who) for kind in kinds for who in people], length)
    facts = [kind(rng, who) for kind, who in chosen]
    return Passage(facts, rng.sample(facts, 2))


def _passages(seed: int, count: int) -> list[Passage]:
    """Return the first `count` different passages of one fixed order."""
    rng = random.Random(derive(seed, "passage questions"))
    passages: dict[str, Passage] = {}
    while len(passages) < count:
        passage = draw_passage(rng, rng.randint(3, 5))
        passages.setdefault(passage.text, passage)
    return list(passages.values())


def _article(part: str, passages: list[Passage]) -> dict:
    paragraphs = []
    for p, passage in enumerate(passages):
        questions = [
            {
                "id": f"{part}-{p}-{q}",
                "question": fact.question,
                "answers": [{"text": fact.answer, "answer_start": _start(passage, fact)}],
            }
            for q, fact in enumerate(passage.asked)
        ]
        paragraphs.append({"context": passage.text, "qas": questions})
    return {"title": f"People_{part}", "paragraphs": paragraphs}


def _start(passage: Passage, fact: Fact) -> int:
    """Return where the answer begins within the passage, looking in the fact's own sentence."""
    sentence = passage.text.index(fact.sentence)
    return sentence + fact.sentence.rindex(fact.answer)


def _lives(rng: random.Random, who: str) -> Fact:
    where = town(rng)
    return Fact(
        f"{who} lives in {where}.",
        f"Where does {who} live?",
        f"in {where}",
        f"The home of {who} is in {where}.",
    )


def _works(rng: random.Random, who: str) -> Fact:
    job = rng.choice(JOBS)
    return Fact(
        f"{who} works as {with_article(job)}.",
        f"What does {who} work as?",
        with_article(job),
        f"The work of {who} is that of {with_article(job)}.",
    )


def _born(rng: random.Random, who: str) -> Fact:
    year = str(rng.randint(1500, 1999))
    return Fact(
        f"{who} was born in {year}.",
        f"When was {who} born?",
        f"in {year}",
        f"The birth of {who} was in {year}.",
    )


def _likes(rng: random.Random, who: str) -> Fact:
    food = " and ".join(rng.sample(FOODS, 2))
    return Fact(
        f"{who} likes to eat {food}.",
        f"What does {who} like to eat?",
        food,
        f"The food of {who} is {food}.",
    )


def _owns(rng: random.Random, who: str) -> Fact:
    thing = f"{rng.choice(COLOURS)} {rng.choice(THINGS)}"
    return Fact(
        f"{who} owns a {thing}.",
        f"What does {who} own?",
        f"a {thing}",
        f"The thing of {who} is a {thing}.",
    )


def _met(rng: random.Random, who: str) -> Fact:
    friend = next(name for name in persons(rng, 2) if name != who)
    return Fact(
        f"{who} is a friend of {friend}.",
        f"Who is the friend of {who}?",
        friend,
        f"The friend of {who} is {friend}.",
    )
