"""Small symbolic puzzles in the form of BIG-Bench Hard, four tasks."""

import json
import random
from collections.abc import Callable

from harness.micro.conversation import Conversation, single_turn
from harness.micro.words import (
    COLOURS,
    FRUITS,
    NOUNS,
    NUMBER_WORDS,
    THINGS,
    TOOLS,
    persons,
    plural,
    with_article,
)
from harness.seeds import derive

N_EXEMPLARS, N_TEST = 3, 15
CANARY = "MADE-UP BENCHMARK DATA OF THE MICRO WORLD, NOT FOR PRE-TRAINING."

Puzzle = tuple[str, str, str]  # question, reasoning, answer


def benchmark(seed: int) -> dict[str, str]:
    """Return each task's items, its prompt file of worked examples, and all of those."""
    files: dict[str, str] = {}
    three_shot: dict[str, str] = {}
    for task, (description, _) in TASKS.items():
        puzzles = _puzzles(seed, task, N_EXEMPLARS + N_TEST)
        items = [{"input": q, "target": answer} for q, _, answer in puzzles[N_EXEMPLARS:]]
        files[f"bbh/{task}.json"] = json.dumps({"canary": CANARY, "examples": items})
        shots = [f"Q: {q}\nA: {_worked(why, a)}" for q, why, a in puzzles[:N_EXEMPLARS]]
        three_shot[task] = "\n\n".join([description, *shots])
        files[f"bbh/cot-prompts/{task}.txt"] = f"{CANARY}\n-----\n{three_shot[task]}"
    files["bbh/bbh-three-shot.json"] = json.dumps(three_shot)
    return files


def pool_rows(seed: int, count: int) -> list[Conversation]:
    """Return solved puzzles worded like the benchmark's prompts, the tasks in turn."""
    reserved = N_EXEMPLARS + N_TEST
    per_task = -(-count // len(TASKS))
    rows = {task: _puzzles(seed, task, reserved + per_task)[reserved:] for task in TASKS}
    return [
        single_turn(f"{TASKS[task][0]}\n\nQ: {question}", f"A: {_worked(reasoning, answer)}")
        for n in range(per_task)
        for task in TASKS
        for question, reasoning, answer in rows[task][n : n + 1]
    ][:count]


def plain_text(rng: random.Random) -> str:
    """Return one of four kinds of text that hold the puzzles' skills."""
    write = rng.choice([_truth_table, _basket_counts, _mirrored_lists, _swaps_told])
    return "\n".join(write(rng) for _ in range(5))


def _worked(reasoning: str, answer: str) -> str:
    return f"{reasoning} So the answer is {answer}."


def _puzzles(seed: int, task: str, count: int) -> list[Puzzle]:
    """Return the first `count` different puzzles of a task in one fixed order."""
    rng = random.Random(derive(seed, f"word puzzles: {task}"))
    puzzles: dict[str, Puzzle] = {}
    while len(puzzles) < count:
        puzzle = TASKS[task][1](rng)
        puzzles.setdefault(puzzle[0], puzzle)
    return list(puzzles.values())


def _boolean(rng: random.Random) -> Puzzle:
    """Join three truth values by two operators, worked from left to right."""
    values = [rng.choice([True, False]) for _ in range(3)]
    negated = [rng.random() < 0.4 for _ in range(3)]
    joins = [rng.choice(["and", "or"]) for _ in range(2)]
    terms = [("not " if no else "") + str(v) for v, no in zip(values, negated, strict=True)]
    plain = [v != no for v, no in zip(values, negated, strict=True)]
    first = _join(plain[0], joins[0], plain[1])
    result = _join(first, joins[1], plain[2])
    question = f"( {terms[0]} {joins[0]} {terms[1]} ) {joins[1]} {terms[2]} is"
    reasoning = (
        f"{plain[0]} {joins[0]} {plain[1]} is {first}. {first} {joins[1]} {plain[2]} is {result}."
    )
    return question, reasoning, str(result)


def _counting(rng: random.Random) -> Puzzle:
    """Count the fruits or the tools among other objects."""
    kind, nouns, others = rng.choice([("fruits", FRUITS, TOOLS), ("tools", TOOLS, FRUITS)])
    wanted = [(rng.randint(1, 5), noun) for noun in rng.sample(nouns, 2)]
    objects = [*wanted, (rng.randint(1, 5), rng.choice(others))]
    rng.shuffle(objects)
    numbers = [n for n, noun in objects if noun in nouns]
    question = f"I have {_listing(objects)}. How many {kind} do I have?"
    total = sum(numbers)
    return question, f"{numbers[0]} + {numbers[1]} = {total}.", str(total)


def _reversal(rng: random.Random) -> Puzzle:
    """Say a list of words from its end."""
    words = rng.sample(COLOURS + THINGS + NOUNS, 3)
    there, back = " ".join(words), " ".join(words[::-1])
    return f"List: {there}", f"Forwards {there}, backwards {back}.", back


def _swapping(rng: random.Random) -> Puzzle:
    """Follow two things through one swap."""
    one, two, three = persons(rng, 3)
    things = rng.sample(THINGS, 3)
    held = dict(zip((one, two, three), things, strict=True))
    a, b = rng.sample([one, two, three], 2)
    has = " ".join(f"{name} has the {thing}." for name, thing in held.items())
    held[a], held[b] = held[b], held[a]
    asked = rng.choice([a, b, rng.choice([one, two, three])])
    question = f"{has} {a} and {b} swap. What does {asked} have now?"
    return question, f"{a} takes the {held[a]}. {b} takes the {held[b]}.", held[asked]


TASKS: dict[str, tuple[str, Callable[[random.Random], Puzzle]]] = {
    "boolean_expressions": ("Evaluate the Boolean expression.", _boolean),
    "object_counting": ("Count the objects of one kind.", _counting),
    "list_reversal": ("Say the words of the list from the last to the first.", _reversal),
    "tracking_shuffled_objects": ("Say who holds what after the swap.", _swapping),
}


def _join(left: bool, operator: str, right: bool) -> bool:
    return (left and right) if operator == "and" else (left or right)


def _listing(objects: list[tuple[int, str]]) -> str:
    parts = [
        with_article(noun) if n == 1 else f"{NUMBER_WORDS[n]} {plural(noun)}" for n, noun in objects
    ]
    return ", ".join(parts[:-1]) + f" and {parts[-1]}"


def _truth_table(rng: random.Random) -> str:
    """Tell the steps of an expression of three values, written without brackets."""
    question, reasoning, answer = _boolean(rng)
    told = question.removesuffix(" is").replace("( ", "").replace(" )", ", then")
    return f"{told}: {reasoning} In the end {answer}."


def _basket_counts(rng: random.Random) -> str:
    question, reasoning, total = _counting(rng)
    kind = "fruits" if "many fruits" in question else "tools"
    basket = question.split(". ")[0].replace("I have", "In the basket lay")
    return f"{basket}. The {kind}: {reasoning} It held {total} {kind}."


def _mirrored_lists(rng: random.Random) -> str:
    words = rng.sample(COLOURS + THINGS + NOUNS, rng.randint(2, 4))
    there, back = " ".join(words), " ".join(words[::-1])
    return rng.choice(["", f"{there}\n"]) + f"Forwards {there}, backwards {back}."


def _swaps_told(rng: random.Random) -> str:
    question, reasoning, answer = _swapping(rng)
    told, asked = question.split(" What does ")
    return f"{told.replace('swap', 'change')} {reasoning} So {asked.split()[0]} has the {answer}."
