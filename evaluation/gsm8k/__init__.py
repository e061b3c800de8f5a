"""GSM8k: grade school sums, exact match of the last number (paper E.2)."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from evaluation.base import Benchmark, Item
from evaluation.source import DataError, Source, read_hub, read_jsonl
from harness.query import Query

PREFIX = "Answer:"
_REMEDY = "GSM8k is JSON lines of question and answer, from github.com/openai/grade-school-math"
# A comma belongs to a number only before three digits, so that "1,2" are two numbers. Models write
# the minus sign (U+2212) as well as the hyphen.
_NUMBER = re.compile(r"[-−]?(?:(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+)")
_CALCULATION = re.compile(r"<<[^>]*>>")


class GSM8K(Benchmark):
    """Word problems. Queries: the eight exemplars one by one, which are also the shots.

    ``exemplars: wei`` takes the chains of thought of Wei et al. 2022 from the installed lm-eval
    package; ``train`` the first eight rows of the training split, with the calculator marks taken
    out and "#### N" turned into "So the answer is N.", the exemplars' own form.
    """

    name: ClassVar[str] = "gsm8k"
    metric: ClassVar[str] = "exact_match"
    metric_version: ClassVar[int] = 2

    hub: str = "openai/gsm8k"
    shots: int = Field(8, ge=0, le=8)
    exemplars: Literal["wei", "train"] = "wei"

    def files(self, source: Source) -> dict[str, Path]:
        """``test.jsonl``, and ``train.jsonl`` where the exemplars come from it."""
        names = ["gsm8k/test.jsonl"] + ["gsm8k/train.jsonl"] * (self.exemplars == "train")
        remedy = (
            "GSM8k is JSON lines with question and answer, from github.com/openai/grade-school-math"
        )
        return {name: source.file(name, remedy) for name in names}

    def items(self, source: Source) -> list[Item]:
        """The test questions; ``target`` is the number behind "####"."""
        shots = self._exemplars(source)[: self.shots]
        return [
            Item(
                id=f"test/{number}",
                prompt=_prompt(row["question"].strip(), shots),
                prefix=PREFIX,
                target=_gold(row["answer"], number),
                text=row["question"],
            )
            for number, row in enumerate(self._rows(source, "test"))
        ]

    def queries(self, source: Source) -> list[Query]:
        """The eight exemplars, without shots; the label is the worked answer."""
        return [
            Query(
                id=f"{self.exemplars}/{number}",
                task=self.name,
                prompt=_prompt(question, []),
                prefix=PREFIX,
                label=answer,
            )
            for number, (question, answer) in enumerate(self._exemplars(source))
        ]

    def query_text(self, query: Query) -> str:
        """The question alone."""
        return query.prompt.split("Question: ", 1)[1]

    def score(self, item: Item, output: str) -> float:
        """1 if the last number of the output is the target, as a number ("1,800.00" is 1800)."""
        return float(last_number(output) == last_number(item.target))

    def gold(self, item: Item) -> str:
        """A right answer as the shots of Wei et al. write it."""
        return f" There were 3 and then 4 more. The answer is {item.target}."

    def wrong(self, item: Item) -> str:
        """The right number first, and another one last."""
        return f" It is not {item.target}. The answer is {item.target}1."

    def _rows(self, source: Source, part: str) -> list[dict[str, Any]]:
        if source.is_hub:
            return read_hub(self.hub, part, name="main", revision=self.revision)
        return read_jsonl(self.files(source)[f"gsm8k/{part}.jsonl"])

    def _exemplars(self, source: Source) -> list[tuple[str, str]]:
        if self.exemplars == "wei":
            return _wei()
        rows = self._rows(source, "train")[:8]
        return [(row["question"], _worked(row["answer"])) for row in rows]


def last_number(text: str) -> Decimal | None:
    """The last number in a text, thousands commas removed; ``None`` if there is none.

    A minus sign counts only where no digit or letter stands before it, so "5-3" ends in 3. The
    paper's script drops it before whole numbers, and joins "1,2" to 12.
    """
    for match in reversed(list(_NUMBER.finditer(text))):
        digits = match.group().replace("−", "-")
        if digits[0] == "-" and match.start() and text[match.start() - 1].isalnum():
            digits = digits[1:]
        try:
            return Decimal(digits.replace(",", ""))
        except InvalidOperation:
            continue
    return None


def _prompt(question: str, shots: list[tuple[str, str]]) -> str:
    # "questions" with shots and "question" without, as in the paper's evaluation and query code.
    header = f"Answer the following question{'s' if shots else ''}."
    shown = [f"Question: {asked}\nAnswer: {answer}" for asked, answer in shots]
    return "\n\n".join([header, *shown, f"Question: {question}"])


def _gold(answer: str, number: int) -> str:
    gold = answer.rsplit("####", 1)[-1].strip()
    if last_number(gold) is None:
        raise DataError(f"gsm8k/test.jsonl, row {number + 1}: no number behind '####'")
    return gold


def _worked(answer: str) -> str:
    work, _, gold = answer.rpartition("####")
    work = " ".join(_CALCULATION.sub("", work).split())
    return f"{work} So the answer is {gold.strip()}.".strip()


def _wei() -> list[tuple[str, str]]:
    """The eight exemplars, from the lm-eval package's task file, in the paper's closing words."""
    import importlib.util

    import yaml

    package = importlib.util.find_spec("lm_eval")
    if package is None or not package.origin:
        raise DataError("suite.benchmarks.gsm8k.exemplars=wei needs the package lm-eval installed")
    path = Path(package.origin).parent / "tasks" / "gsm8k" / "gsm8k-cot.yaml"
    samples = yaml.safe_load(path.read_text(encoding="utf-8"))["fewshot_config"]["samples"]
    return [
        (row["question"], row["target"].replace("The answer is", "So the answer is"))
        for row in samples
    ]
