"""SQuAD v1.1: questions on a given passage, F1 (paper E.6)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from evaluation.base import Benchmark, Grades, Grading, Item, seeded_key
from evaluation.source import Source, read_hub
from evaluation.squad.format import answer_texts, read_squad
from evaluation.text_metrics import best_f1
from harness.query import Query

# The paper's three shots, which are training questions: how each passage begins, and the question.
SHOTS = (
    (
        "Architecturally, the school has a Catholic character.",
        "To whom did the Virgin Mary allegedly appear in 1858 in Lourdes France?",
    ),
    ("Burke was born in Dublin, Ireland.", "Where was Burke born?"),
    (
        "The term high definition once described a series of television systems",
        'The term "high definition" originally described televisions systems from what year?',
    ),
)
TRAINING = 87_599  # questions in the release's training file
HOME = "https://rajpurkar.github.io/SQuAD-explorer (SQuAD v1.1)"
_REMEDY = (
    "SQuAD is squad/train*-v1.1.json.gz and squad/dev-v1.1.json.gz, from the SQuAD v1.1 release"
)


class SQuAD(Benchmark):
    """Extraction from a passage. Queries: training questions, without shots.

    Shots are the paper's three training questions; those that a part of the training file lacks are
    replaced by its first questions from other passages, which the score's notes then say.
    ``shot_ids`` names other ones. Items are clustered by article, which holds passages whole: its
    questions share names and topic as well as passages. Queries are the first ``n_queries`` of a
    seeded order of the training questions.
    """

    name: ClassVar[str] = "squad"
    metric: ClassVar[str] = "f1"
    prompt_version: ClassVar[int] = 2

    hub: str = "rajpurkar/squad"
    shots: int = Field(3, ge=0)
    shot_ids: tuple[str, ...] = Field((), description="in place of the paper's shots")
    n_queries: int = Field(500, ge=1)

    def files(self, source: Source) -> dict[str, Path]:
        """Training and development files."""
        train = source.files("squad/train*-v1.1.json*", _REMEDY)
        dev = source.files("squad/dev-v1.1.json*", _REMEDY)[:1]
        return {f"squad/{path.name}": path for path in [*train, *dev]}

    def items(self, source: Source) -> list[Item]:
        """The development questions; ``target`` holds all accepted answers."""
        shots = self._shots(self._rows(source, "train")) if self.shots else []
        head = "".join(f"{_prompt(shot)}\n\n{shot['answers'][0]}\n" for shot in shots)
        return [
            Item(
                id=row["id"],
                prompt=head + _prompt(row),
                target=row["answers"],
                text=_prompt(row),
                cluster=row["title"],
            )
            for row in self._rows(source, "dev")
        ]

    def queries(self, source: Source) -> list[Query]:
        """Training questions in a seeded order; the label is the first answer."""
        rows = self._rows(source, "train")
        rows = sorted(rows, key=lambda row: seeded_key("squad queries", row["id"]))
        return [
            Query(id=row["id"], task=self.name, prompt=_prompt(row), label=row["answers"][0])
            for row in rows[: self.n_queries]
        ]

    def score(self, item: Item, output: str) -> float:
        """The best token F1 over the accepted answers."""
        return best_f1(output, item.target)

    def grade(self, items: Sequence[Item], outputs: Sequence[list[str]], how: Grading) -> Grades:
        """F1 of all items; the notes say which training questions were the shots."""
        grades = super().grade(items, outputs, how)
        if self.shots and how.source is not None:
            rows = self._rows(how.source, "train")
            grades.notes["shots"] = [str(row["id"]) for row in self._shots(rows)]
            grades.notes["shots_replaced"] = self.shots - len(self._named(rows)[: self.shots])
        return grades

    def gaps(self, source: Source) -> list[str]:
        """Training questions that the data lack, of which queries and shots are taken."""
        rows = self._rows(source, "train")
        if len(rows) == TRAINING:
            return []
        names = ", ".join(map(str, self._training_files(source)))
        wanted = min(self.shots, len(self.shot_ids or SHOTS))
        replaced = wanted - len(self._named(rows)[: self.shots])
        return [
            f"{TRAINING - len(rows):,} of the {TRAINING:,} training questions, so that the "
            f"{self.n_queries} queries are drawn from {len(rows):,}, and {replaced} of the "
            f"{wanted} shots are replaced by others. Looked in {names}. Get train-v1.1.json from "
            f"{HOME} and put it in that file's place"
        ]

    def _training_files(self, source: Source) -> list[Any]:
        if source.is_hub:
            return [self.hub]
        return source.files("squad/train*-v1.1.json*", _REMEDY)

    def _rows(self, source: Source, part: str) -> list[dict[str, Any]]:
        if source.is_hub:
            split = {"train": "train", "dev": "validation"}[part]
            rows = read_hub(self.hub, split, revision=self.revision)
            return [
                {**row, "title": row.get("title", ""), "answers": answer_texts(row["answers"])}
                for row in rows
            ]
        paths = [path for name, path in self.files(source).items() if f"/{part}" in name]
        return [row for path in paths for row in read_squad(path)]

    def _shots(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        shots = self._named(rows)[: self.shots]
        passages = {row["context"] for row in shots}
        for row in rows:
            if len(shots) >= self.shots:
                break
            if row["context"] not in passages:
                shots.append(row)
                passages.add(row["context"])
        return shots

    def _named(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The rows of ``shot_ids``, or the paper's, in that order, as far as they are there."""
        if self.shot_ids:
            by_id = {row["id"]: row for row in rows}
            return [by_id[name] for name in self.shot_ids if name in by_id]
        asked: dict[str, list[dict[str, Any]]] = {question: [] for _, question in SHOTS}
        for row in rows:
            if (question := row["question"].strip()) in asked:
                asked[question].append(row)
        found = [
            [row for row in asked[question] if row["context"].strip().startswith(opening)]
            for opening, question in SHOTS
        ]
        return [same[0] for same in found if same]


def _prompt(row: dict[str, Any]) -> str:
    return f"{row['context']}\n\n{row['question']}"
