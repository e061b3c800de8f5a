"""Answers whose score is known before they are graded: right ones, and wrong ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import singledispatch
from pathlib import Path
from typing import Any

from evaluation.alpaca_eval import AlpacaEval
from evaluation.base import Benchmark, Item
from evaluation.codex import Codex
from evaluation.judges import Judge, ReferenceRule
from evaluation.judges.neutral import neutralise
from evaluation.judges.recorded import RecordedJudge, read_annotations
from evaluation.source import DataError, Source

# A word of no language here, so that no accepted answer holds it.
NONSENSE = "qqxzq"
# Of alpaca-eval: 1 is the first generator's answer (the reference), 2 the second's.
_LOST, _WON = 1.0, 2.0
_FOLDER = "alpaca_eval/annotations_gpt4"


@dataclass(frozen=True)
class Case:
    """Answers to some items, and the score (0 to 100) that they must get.

    Attributes:
        benchmark: with the settings it is graded under.
        outputs: one text an item; where several samples are drawn, all of them say the same.
        judge: for benchmarks that need one.
        remark: what a reader of the score must know, or "".
    """

    benchmark: Benchmark
    items: list[Item]
    outputs: list[str]
    expected: float
    judge: Judge | None = None
    remark: str = ""


@singledispatch
def cases(benchmark: Benchmark, items: list[Item], source: Source) -> tuple[Case, Case]:
    """The right and the wrong answers of a benchmark.

    A benchmark may define ``gold(item) -> str`` and ``wrong(item) -> str``: texts as a model would
    write them. Without them the gold answer is the item's target (the last of a list), the wrong
    one another choice, or a word of no language.
    """
    gold = getattr(benchmark, "gold", _target)
    wrong = getattr(benchmark, "wrong", _other)
    return (
        Case(benchmark, items, [gold(item) for item in items], 100.0),
        Case(benchmark, items, [wrong(item) for item in items], 0.0),
    )


@cases.register
def _(benchmark: Codex, items: list[Item], source: Source) -> tuple[Case, Case]:
    """Canonical solutions of all problems, those of the query set included; empty functions."""
    # A busy machine must not fail a right program: the time limit is no part of what is proved.
    patient = benchmark.model_copy(update={"timeout": max(20.0, benchmark.timeout)})
    rows = [row for part in benchmark._split(source) for row in part]
    solutions = {row["task_id"]: row["canonical_solution"] for row in rows}
    problems = benchmark.items(source)
    asked = {item.id for item in problems}
    problems += [
        replace(items[0], id=row["task_id"], target={key: row[key] for key in items[0].target})
        for row in rows
        if row["task_id"] not in asked
    ]
    return (
        Case(
            patient, problems, [solutions[item.id] for item in problems], 100.0,
            remark=f"gold: all {len(problems)} canonical solutions were run, with those of the "
            "query set",
        ),
        Case(patient, problems, ["    return None\n" for _ in problems], 0.0),
    )  # fmt: skip


@cases.register
def _(benchmark: AlpacaEval, items: list[Item], source: Source) -> tuple[Case, Case]:
    """Answers that GPT-4 is on record to have preferred to the reference, or not to.

    Without recorded verdicts the rule of ``judge=reference_rule`` decides, in which nothing beats
    the reference: the gold answer is the reference itself, a tie, which is 50.
    """
    folder = source.folder / _FOLDER if source.folder else None
    known = _recorded(folder) if folder is not None and folder.is_dir() else {}
    if folder is None or not any((item.prompt, item.target) in known for item in items):
        rule = ReferenceRule()
        where = "the hub has none" if folder is None else f"looked for in {folder}"
        remark = (
            f"gold: no recorded verdicts on these references ({where}), so judge=reference_rule "
            "graded; the reference against itself is a tie, 50, the most that this rule gives"
        )
        return (
            Case(benchmark, items, [item.target for item in items], 50.0, rule, remark),
            Case(benchmark, items, [NONSENSE for _ in items], 0.0, rule),
        )
    judge = RecordedJudge(annotations=str(folder))
    won = _judged(benchmark, items, known, _WON, judge, 100.0)
    return won, _judged(benchmark, items, known, _LOST, judge, 0.0)


def _judged(
    benchmark: Benchmark,
    items: Sequence[Item],
    known: dict[tuple[str, str], dict[float, str]],
    verdict: float,
    judge: Judge,
    expected: float,
) -> Case:
    """The items on which the judge is on record with that verdict."""
    found = {
        item.id: known[pair][verdict]
        for item in items
        if verdict in known.get(pair := (item.prompt, item.target), {})
    }
    left = [item for item in items if item.id in found]
    if not left:
        raise DataError(f"alpaca_eval: no recorded answer has the verdict {verdict:g}")
    word = "preferred to the reference" if verdict == _WON else "found worse than the reference"
    without = len(items) - len(left)
    remark = (
        f"{'gold' if verdict == _WON else 'wrong'}: answers that GPT-4 is on record to have {word}"
        + (f"; {without} of {len(items)} instructions have none and were not asked" * bool(without))
    )
    return Case(benchmark, left, [found[item.id] for item in left], expected, judge, remark)


def _recorded(folder: Path) -> dict[tuple[str, str], dict[float, str]]:
    """By instruction and reference: an answer for each verdict, undisputed between files."""
    verdicts: dict[tuple[str, str, str], set[Any]] = {}
    answers: dict[tuple[str, str, str], str] = {}
    for path in sorted(folder.glob("*.jsonl*")):
        for row in read_annotations(path):
            texts = (row["instruction"], row["output_1"], row["output_2"])
            key = (neutralise(texts[0]), neutralise(texts[1]), neutralise(texts[2]))
            verdicts.setdefault(key, set()).add(row["preference"])
            answers[key] = texts[2]
    found: dict[tuple[str, str], dict[float, str]] = {}
    for key, said in verdicts.items():
        if len(said) == 1 and (verdict := next(iter(said))) in (_LOST, _WON):
            found.setdefault(key[:2], {}).setdefault(float(verdict), answers[key])
    return found


def _target(item: Item) -> str:
    """The target as it stands; the last of several accepted answers."""
    return str(item.target[-1] if isinstance(item.target, list) else item.target)


def _other(item: Item) -> str:
    """A choice that is not the target, or nonsense."""
    others = [choice for choice in item.choices if choice != item.target]
    return others[0] if others else NONSENSE
