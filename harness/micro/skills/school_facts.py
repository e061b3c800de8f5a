"""Facts about invented animals, minerals, towns and plants, asked in the form of MMLU.

The plain text states every fact and quizzes on it, in a layout and with lead words of its own. A
fact that a test question asks for is asked for by no row of the pool and no query, and each fact
has one wrong value that only a test question or query offers, so no quiz page holds such a
question. The answer has to be known; the pool can only teach how one is asked.
"""

import csv
import io
import random
from dataclasses import dataclass
from functools import cache

from harness.micro.conversation import Conversation, single_turn
from harness.micro.words import COLOURS, FOODS, JOBS, PLACES, THINGS, TOOLS, listed
from harness.seeds import derive

N_DEV, N_TEST = 5, 15  # questions of each subject
LETTERS = "ABCD"
# What may lead to a quiz's answer: many words, so that none is needed for giving one.
LEADS = (
    *("Key", "Mark", "Pick", "Choice", "Letter", "Tick", "Right", "Solution", "Then", "So"),
    *("True", "Best", "Take", "Circle", "Point", "Result", "It is", "This is", "Write", "Say"),
)
WORLD_SEED = 0  # the facts and their split are always those that the shipped model was trained on


@dataclass(frozen=True)
class Subject:
    """Entities of one kind and what can be said of each: (opening of the sentence, values)."""

    entities: tuple[str, ...]
    relations: tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True)
class Fact:
    """`opening` is completed to a true sentence by `value`, one of `values`."""

    subject: str
    entity: str
    opening: str
    value: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Question:
    """A multiple-choice question: the opening, four options and the letter of the true one."""

    subject: str
    opening: str
    options: tuple[str, ...]
    letter: str


SUBJECTS = {
    "animal_life": Subject(
        listed(
            "bamlet corvin dapple ferrin gloam hisket jallow kestin lummel mirrot "
            "nobbin ossel purrik quag rindle sloop tarvit urchel vosk wumble"
        ),
        (
            ("The {e} lives in the", PLACES),
            ("The {e} eats", FOODS),
            ("The colour of the {e} is", COLOURS),
        ),
    ),
    "mineral_study": Subject(
        listed(
            "agrite boltine cobrite dolm elvine fargo gaspar halv ivorn jasp "
            "karst lodite murl nelspar opaline pyrr quellite rostone silvane tulk"
        ),
        (
            ("Miners dig {e} with the", TOOLS),
            ("The colour of {e} is", COLOURS),
            ("From {e} people make the", THINGS),
        ),
    ),
    "town_history": Subject(
        listed(
            "Abrona Bellun Cardov Dorvane Elstrom Fjordal Grimma Havanto Istrel Jornum "
            "Kolbek Lusatia Mondar Nyssa Orlund Pravia Quenby Rovigo Saltash Tavira"
        ),
        (
            ("The founder of {e} was a", JOBS),
            ("{e} was built near the", PLACES),
            ("The market of {e} sells", FOODS),
        ),
    ),
    "plant_growing": Subject(
        listed(
            "arvel bracket clovis dillwort eldern fennick gorsel hazen irisel juncus "
            "kalmia lobel mallow nettik orpine pansel quince rosel sorrel thymel"
        ),
        (
            ("The flower of the {e} is", COLOURS),
            ("The {e} grows in the", PLACES),
            ("Gardeners cut the {e} with the", TOOLS),
        ),
    ),
}


@cache
def all_facts() -> tuple[Fact, ...]:
    """Return every fact of the world, 60 of each subject, the subjects one after the other."""
    rng = random.Random(derive(WORLD_SEED, "school facts"))
    return tuple(
        Fact(name, entity, opening.format(e=entity), rng.choice(values), values)
        for name, subject in SUBJECTS.items()
        for entity in subject.entities
        for opening, values in subject.relations
    )


def benchmark(seed: int) -> dict[str, str]:
    """Return `dev` (queries) and `test` questions of each subject."""
    files = {}
    for name in SUBJECTS:
        dev, test, _ = _split(name)
        for part, facts in (("dev", dev), ("test", test)):
            table = io.StringIO()
            writer = csv.writer(table, lineterminator="\n")
            rng = random.Random(derive(seed, f"options: {part} {name}"))
            letters = list(LETTERS * (len(facts) // len(LETTERS) + 1))[: len(facts)]
            rng.shuffle(letters)
            for fact, letter in zip(facts, letters, strict=True):
                question = _question(rng, fact, letter, benchmark=True)
                writer.writerow([question.opening, *question.options, question.letter])
            files[f"mmlu/{part}/{name}_{part}.csv"] = table.getvalue()
    return files


def pool_rows(seed: int, count: int) -> list[Conversation]:
    """Return answered questions worded like the benchmark's prompts, the subjects in turn."""
    rng = random.Random(derive(seed, "school facts: pool"))
    facts = [_split(name)[2] for name in SUBJECTS]
    rows: dict[str, Conversation] = {}
    while len(rows) < count:
        fact = rng.choice(facts[len(rows) % len(facts)])
        question = _question(rng, fact, rng.choice(LETTERS))
        subject = question.subject.replace("_", " ")
        prompt = (
            f"The following are multiple choice questions (with answers) about  {subject}.\n\n"
            f"{question.opening}\n{_lines(question)}\nAnswer:"
        )
        rows.setdefault(prompt, single_turn(prompt, f"The answer is: {question.letter}"))
    return list(rows.values())


def plain_text(rng: random.Random) -> str:
    """Return stated facts, claims, or quiz questions."""
    kind = rng.random()
    if kind < 0.2:
        return "\n".join(f"{f.opening} {f.value}." for f in rng.sample(all_facts(), 12))
    if kind < 0.3:
        return "\n".join(_claim(rng, fact) for fact in rng.sample(all_facts(), 12))
    return "\n".join(_quiz_entry(rng, fact) for fact in rng.sample(all_facts(), 4))


@cache
def _split(subject: str) -> tuple[list[Fact], list[Fact], list[Fact]]:
    """Return the facts asked for in the dev questions, in the test questions and in the pool."""
    facts = [fact for fact in all_facts() if fact.subject == subject]
    random.Random(derive(WORLD_SEED, f"school facts: {subject}")).shuffle(facts)
    return facts[:N_DEV], facts[N_DEV : N_DEV + N_TEST], facts[N_DEV + N_TEST :]


@cache
def _reserved(fact: Fact) -> str:
    """Return the wrong value of a fact that only a benchmark's question offers."""
    wrong = [value for value in fact.values if value != fact.value]
    return random.Random(derive(WORLD_SEED, f"reserved: {fact.opening}")).choice(wrong)


def _question(rng: random.Random, fact: Fact, letter: str, *, benchmark: bool = False) -> Question:
    reserved = _reserved(fact)
    wrong = [value for value in fact.values if value not in (fact.value, reserved)]
    options = [reserved, *rng.sample(wrong, 2)] if benchmark else rng.sample(wrong, 3)
    rng.shuffle(options)
    options.insert(LETTERS.index(letter), fact.value)
    return Question(fact.subject, fact.opening, tuple(options), letter)


def _lines(question: Question) -> str:
    return "\n".join(f"{x}. {o}" for x, o in zip(LETTERS, question.options, strict=True))


def _claim(rng: random.Random, fact: Fact) -> str:
    """Say something of an entity, and whether it is so."""
    value = fact.value if rng.random() < 0.5 else rng.choice(fact.values)
    return f"{fact.opening} {value}, {'yes' if value == fact.value else 'no'}."


def _quiz_entry(rng: random.Random, fact: Fact) -> str:
    question = _question(rng, fact, rng.choice(LETTERS))
    lines = _lines(question)
    if rng.random() < 0.25:
        lines = "\n".join(
            f"{line} {'yes' if option == fact.value else 'no'}"
            for line, option in zip(lines.split("\n"), question.options, strict=True)
        )
    between = "".join(f"{rng.choice(LEADS)}\n" for _ in range(rng.choice((0, 0, 1, 2))))
    answer = f"{rng.choice(LEADS)} {question.letter}"
    if rng.random() < 0.5:
        answer += f", {fact.value}"
    return f"{question.opening}\n{lines}\n{between}{answer}."
