"""One-line Python functions with a docstring, in the form of HumanEval."""

import json
import random
from dataclasses import dataclass

from harness.micro.conversation import Conversation, single_turn
from harness.micro.words import NOUNS, THINGS, TOOLS
from harness.seeds import derive

N_PROBLEMS = 76

NUMBERS, LISTS, TEXTS = ("x", "n", "value"), ("xs", "items", "nums"), ("s", "text", "word")
SAMPLES: dict[tuple[str, ...], tuple[str, ...]] = {
    NUMBERS: ("3", "10", "14", "27"),
    LISTS: ("[4, 1, 9, 6, 12, 3, 8, 5, 7, 2, 11, 10]", "[9, 2, 7, 5, 3, 8, 1, 6, 12, 4, 11, 10]"),
    TEXTS: ("'river stone'", "'Moon and star'"),
}

# Kind of argument, what the function returns in a docstring's words, its expression, and the words
# of the comment in plain text. {a} is the argument's name, {k} a whole number from 2 to 9.
FAMILIES: tuple[tuple[tuple[str, ...], str, str, str], ...] = (
    (NUMBERS, "{a} plus {k}", "{a} + {k}", "adds {k} to {a}"),
    (NUMBERS, "{a} minus {k}", "{a} - {k}", "takes {k} from {a}"),
    (NUMBERS, "{a} times {k}", "{a} * {k}", "multiplies {a} by {k}"),
    (NUMBERS, "the rest of {a} divided by {k}", "{a} % {k}", "divides {a} by {k}, the rest"),
    (NUMBERS, "whether {a} is above {k}", "{a} > {k}", "tests if {a} is more than {k}"),
    (NUMBERS, "whether {a} is below {k}", "{a} < {k}", "tests if {a} is less than {k}"),
    (NUMBERS, "whether {a} is equal to {k}", "{a} == {k}", "tests if {a} is just {k}"),
    (LISTS, "item number {k} of {a}", "{a}[{k}]", "picks item {k} from {a}"),
    (LISTS, "the first {k} items of {a}", "{a}[:{k}]", "keeps the first {k} of {a}"),
    (LISTS, "{a} without the first {k} items", "{a}[{k}:]", "drops the first {k} of {a}"),
    (LISTS, "{k} added to each of {a}", "[i + {k} for i in {a}]", "adds {k} to all {a}"),
    (LISTS, "each of {a} times {k}", "[i * {k} for i in {a}]", "multiplies all {a} by {k}"),
    (LISTS, "the items of {a} above {k}", "[i for i in {a} if i > {k}]", "keeps {a} more than {k}"),
    (LISTS, "the items of {a} below {k}", "[i for i in {a} if i < {k}]", "keeps {a} less than {k}"),
    (LISTS, "the sum of {a} plus {k}", "sum({a}) + {k}", "sums {a}, adds {k}"),
    (LISTS, "the largest of {a} times {k}", "max({a}) * {k}", "multiplies the max of {a} by {k}"),
    (LISTS, "the smallest of {a} minus {k}", "min({a}) - {k}", "takes {k} from the min of {a}"),
    (TEXTS, "{a} said {k} times", "{a} * {k}", "repeats {a} {k} times"),
    (TEXTS, "letter number {k} of {a}", "{a}[{k}]", "picks letter {k} from {a}"),
    (TEXTS, "the first {k} letters of {a}", "{a}[:{k}]", "keeps the first {k} letters of {a}"),
)


@dataclass(frozen=True)
class Problem:
    """A function's name, argument, description and body, and arguments to check it with."""

    name: str
    argument: str
    description: str
    body: str
    calls: tuple[str, ...]

    @property
    def signature(self) -> str:
        """The name with the argument."""
        return f"{self.name}({self.argument})"

    @property
    def prompt(self) -> str:
        """The opening of the function, with the docstring."""
        return f'def {self.signature}:\n    """ {self.description} """\n'


def benchmark(seed: int) -> dict[str, str]:
    """Return the problems; the evaluation keeps some of them as queries."""
    rows = [
        {
            "task_id": f"HumanEval/{n}",
            "prompt": problem.prompt,
            "entry_point": problem.name,
            "canonical_solution": problem.body,
            "test": _check(problem),
        }
        for n, problem in enumerate(_problems(seed, N_PROBLEMS))
    ]
    return {"humaneval/HumanEval.jsonl.gz": "".join(json.dumps(row) + "\n" for row in rows)}


def pool_rows(seed: int, count: int) -> list[Conversation]:
    """Return solved problems worded like the benchmark's prompts."""
    return [
        single_turn(
            f"Write a Python function `{problem.signature}` to solve the following problem:\n"
            f"{problem.description}",
            f"Here is the function:\n\n```python\n{problem.prompt}{problem.body}```",
        )
        for problem in _problems(seed, N_PROBLEMS + count)[N_PROBLEMS:]
    ]


def plain_text(rng: random.Random) -> str:
    """Return a file of functions, described in words of its own."""
    functions: list[str] = []
    documented = rng.random() < 0.5
    for _ in range(rng.randint(3, 6)):
        kinds, _, expression, comment = rng.choice(FAMILIES)
        names = {"a": rng.choice(kinds), "k": rng.randint(2, 9)}
        head, said = f"def {_name(rng)}({names['a']}):", comment.format(**names)
        if documented:
            head += f'\n    """ It {said}. """'
        else:
            head = f"# {said}\n{head}"
        functions.append(f"{head}\n    return {expression.format(**names)}\n")
    text = "\n".join(functions)
    return f"```python\n{text}```" if rng.random() < 0.5 else text


def _problems(seed: int, count: int) -> list[Problem]:
    """Return the first `count` problems of one fixed order, no two of the same opening."""
    rng = random.Random(derive(seed, "small functions"))
    problems: dict[str, Problem] = {}
    while len(problems) < count:
        kinds, returned, expression, _ = rng.choice(FAMILIES)
        names = {"a": rng.choice(kinds), "k": str(rng.randint(2, 9))}
        problem = Problem(
            name=_name(rng),
            argument=names["a"],
            description=f"Return {returned.format(**names)}.",
            body=f"    return {expression.format(**names)}\n",
            calls=SAMPLES[kinds],
        )
        problems.setdefault(problem.prompt, problem)
    return list(problems.values())


def _name(rng: random.Random) -> str:
    return f"{rng.choice(NOUNS)}_{rng.choice(THINGS + TOOLS)}"


def _check(problem: Problem) -> str:
    """Return test code in HumanEval's form; what is expected comes from the solution itself."""
    scope: dict = {}
    exec(problem.prompt + problem.body, scope)
    asserts = [
        f"    assert candidate({call}) == {eval(f'{problem.name}({call})', scope)!r}\n"
        for call in problem.calls
    ]
    head = "\n\nMETADATA = {\n    'author': 'micro',\n    'dataset': 'test'\n}\n\n\n"
    return head + "def check(candidate):\n" + "".join(asserts)
