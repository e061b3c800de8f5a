"""MMLU: choice among four answers by the probability of the next token (paper E.1)."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any, ClassVar, Literal

from evaluation.base import Benchmark, Item
from evaluation.source import DataError, Source, read_hub
from harness.query import Query

LETTERS = "ABCD"
PREFIX = "The answer is:"
_REMEDY = "MMLU is read from mmlu/{part}/<subject>_{part}.csv (question, A, B, C, D, letter)"


class MMLU(Benchmark):
    """Multiple choice in 57 subjects. Queries: the dev questions. Micro average.

    The output of an item is the letter whose continuation " A" to " D" has the highest
    log-probability behind the assistant prefix, in fp32 (one token each for most tokenizers; the
    sum where a tokenizer needs more).
    """

    name: ClassVar[str] = "mmlu"
    metric: ClassVar[str] = "accuracy"

    hub: str = "cais/mmlu"
    shots: Literal[0] = 0

    def files(self, source: Source) -> dict[str, Path]:
        """All CSV files of both parts."""
        found = {}
        for part in ("dev", "test"):
            for path in source.files(f"mmlu/{part}/*_{part}.csv", _REMEDY.format(part=part)):
                found[f"mmlu/{part}/{path.name}"] = path
        return found

    def items(self, source: Source) -> list[Item]:
        """The test questions, by subject."""
        return [
            Item(
                id=f"{row['subject']}/{row['number']}",
                prompt=_prompt(row),
                prefix=PREFIX,
                target=row["answer"],
                text=_question(row),
                group=row["subject"],
                choices=tuple(LETTERS),
            )
            for row in self._rows(source, "test")
        ]

    def queries(self, source: Source) -> list[Query]:
        """The dev questions (five a subject) in the same prompt; the label is the letter."""
        return [
            Query(
                id=f"{row['subject']}/dev/{row['number']}",
                task=self.name,
                prompt=_prompt(row),
                prefix=PREFIX,
                label=row["answer"],
            )
            for row in self._rows(source, "dev")
        ]

    def query_text(self, query: Query) -> str:
        """Question and choices, without the line that names the subject."""
        return query.prompt.split("\n\n", 1)[1].removesuffix("\nAnswer:")

    def score(self, item: Item, output: str) -> float:
        """1 if the chosen letter is right."""
        return float(output.strip() == item.target)

    def _rows(self, source: Source, part: str) -> list[dict[str, Any]]:
        return self._hub_rows(part) if source.is_hub else _csv_rows(source, part)

    def _hub_rows(self, part: str) -> list[dict[str, Any]]:
        rows = read_hub(self.hub, part, name="all", revision=self.revision)
        counts: dict[str, int] = {}
        result = []
        for row in rows:
            number = counts[row["subject"]] = counts.get(row["subject"], -1) + 1
            result.append({**row, "number": number, "answer": LETTERS[row["answer"]]})
        return result


def _csv_rows(source: Source, part: str) -> list[dict[str, Any]]:
    rows = []
    for path in source.files(f"mmlu/{part}/*_{part}.csv", _REMEDY.format(part=part)):
        with path.open(encoding="utf-8", newline="") as stream:
            for number, fields in enumerate(csv.reader(stream)):
                if len(fields) != 6 or fields[5] not in LETTERS:
                    raise DataError(
                        f"{path}, record {number + 1}: expected question, four choices and a "
                        f"letter A-D, found {len(fields)} fields ending in {fields[-1:]!r}"
                    )
                rows.append(
                    {
                        "subject": path.stem.removesuffix(f"_{part}"),
                        "number": number,
                        "question": fields[0],
                        "choices": fields[1:5],
                        "answer": fields[5],
                    }
                )
    return rows


def _question(row: dict[str, Any]) -> str:
    choices = zip(LETTERS, row["choices"], strict=True)
    return "\n".join([row["question"], *(f"{letter}. {choice}" for letter, choice in choices)])


def _prompt(row: dict[str, Any]) -> str:
    # Two blanks before the subject, as in the paper's code.
    subject = row["subject"].replace("_", " ")
    header = f"The following are multiple choice questions (with answers) about  {subject}."
    return f"{header}\n\n{_question(row)}\nAnswer:"
