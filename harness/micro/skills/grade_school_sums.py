"""Short word problems in the form of GSM8k: one or two steps with small numbers."""

import json
import random

from harness.micro.conversation import Conversation, single_turn
from harness.micro.words import FRUITS, THINGS, persons, plural
from harness.seeds import derive

N_TRAIN, N_TEST = 48, 60


def benchmark(seed: int) -> dict[str, str]:
    """Return `train.jsonl` (queries) and `test.jsonl`."""
    problems = _problems(seed, N_TRAIN + N_TEST)
    parts = {"train": problems[:N_TRAIN], "test": problems[N_TRAIN:]}
    return {
        f"gsm8k/{part}.jsonl": "".join(
            json.dumps({"question": asked, "answer": "\n".join([*steps, f"#### {result}"])}) + "\n"
            for asked, steps, result in rows
        )
        for part, rows in parts.items()
    }


def pool_rows(seed: int, count: int) -> list[Conversation]:
    """Return solved problems worded like the benchmark's prompts."""
    problems = _problems(seed, N_TRAIN + N_TEST + count)[N_TRAIN + N_TEST :]
    return [
        single_turn(
            f"Answer the following question.\n\nQuestion: {question}",
            f"Answer: {' '.join(steps)} So the answer is {result}.",
        )
        for question, steps, result in problems
    ]


def plain_text(rng: random.Random) -> str:
    """Return equations, or little stories told together with their equations."""
    if rng.random() < 0.25:
        return "\n".join(_equation(rng) for _ in range(12))
    return "\n".join(_story(rng) for _ in range(4))


def _problems(seed: int, count: int) -> list[tuple[str, list[str], int]]:
    """Return the first `count` different problems of one fixed order."""
    rng = random.Random(derive(seed, "grade school sums"))
    problems: dict[str, tuple[str, list[str], int]] = {}
    while len(problems) < count:
        problem = _problem(rng)
        problems.setdefault(problem[0], problem)
    return list(problems.values())


def _problem(rng: random.Random) -> tuple[str, list[str], int]:
    """Return a question, its steps and its result."""
    one, two = persons(rng, 2)
    goods = plural(rng.choice(FRUITS + THINGS))
    if rng.random() < 0.2:
        boxes, each = rng.randint(2, 9), rng.randint(2, 9)
        question = (
            f"{one} has {boxes} boxes with {each} {goods} in each box. "
            f"How many {goods} does {one} have?"
        )
        return question, [f"{boxes} * {each} = {boxes * each}."], boxes * each
    total = rng.randint(2, 14)
    sentences, steps = [f"{one} has {total} {goods}."], []
    for _ in range(1 if rng.random() < 0.5 else 2):
        event, after = _event(rng, one, two, total)
        sentences.append(event)
        steps.append(f"{total} {'-+'[after > total]} {abs(after - total)} = {after}.")
        total = after
    sentences.append(f"How many {goods} does {one} have now?")
    return " ".join(sentences), steps, total


def _equation(rng: random.Random) -> str:
    kind = rng.random()
    if kind < 0.25:
        a, b = rng.randint(2, 9), rng.randint(2, 9)
        return f"{a} * {b} = {a * b}."
    if kind < 0.6:
        a, b = rng.randint(1, 24), rng.randint(1, 9)
        return f"{a} + {b} = {a + b}."
    a = rng.randint(2, 24)
    b = rng.randint(1, a - 1)
    return f"{a} - {b} = {a - b}."


def _story(rng: random.Random) -> str:
    """Tell how a number of goods came about, and reckon along the way or at the end."""
    one, two = persons(rng, 2)
    goods = plural(rng.choice(FRUITS + THINGS))
    if rng.random() < 0.2:
        boxes, each = rng.randint(2, 9), rng.randint(2, 9)
        opening = f"{one} has {boxes} boxes with {each} {goods} in each box."
        return f"{opening} {boxes} * {each} = {boxes * each}. That makes {boxes * each} {goods}."
    total = rng.randint(2, 14)
    told = [f"{one} has {total} {goods}."]
    sums: list[str] = []
    for _ in range(rng.randint(1, 2)):
        event, after = _event(rng, one, two, total)
        told.append(event)
        sums.append(f"{total} {'-+'[after > total]} {abs(after - total)} = {after}.")
        total = after
    if rng.random() < 0.3:
        told = [told[0], *(part for pair in zip(told[1:], sums, strict=True) for part in pair)]
    else:
        told += sums
    return " ".join([*told, f"So in the end {one} has {total} {goods}."])


def _event(rng: random.Random, one: str, two: str, total: int) -> tuple[str, int]:
    """Return what changes a number of goods, and the number after it."""
    if total > 3 and rng.random() < 0.5:
        change = rng.randint(1, total - 1)
        event = rng.choice([f"{one} loses {change}.", f"{one} gives {change} to {two}."])
        return event, total - change
    change = rng.randint(1, 9)
    event = rng.choice([f"{one} buys {change} more.", f"{two} brings {one} {change} more."])
    return event, total + change
