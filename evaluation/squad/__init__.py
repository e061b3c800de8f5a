"""SQuAD v1.1: questions on a given passage, F1 (paper E.6)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from evaluation.base import Benchmark, Item, seeded_key
from evaluation.source import Source, read_hub
from evaluation.squad.format import answer_texts, read_squad
from evaluation.text_metrics import best_f1
from harness.query import Query

# The paper's three shots as far as their ids are known: Lourdes 1858, SQuAD's first question.
SHOT_IDS = ("5733be284776f41900661182",)
TRAINING = 87_599  # questions in the release's training file
HOME = "https://rajpurkar.github.io/SQuAD-explorer (SQuAD v1.1)"
_REMEDY = (
    "SQuAD is squad/train*-v1.1.json.gz and squad/dev-v1.1.json.gz, from the SQuAD v1.1 release"
)


class SQuAD(Benchmark):
    """Extraction from a passage. Queries: training questions, without shots.

    Shots are the training questions of ``shot_ids`` that the file holds, filled up with its first
    questions from other passages. Queries are the first ``n_queries`` of a seeded order of the
    training questions.
    """

    name: ClassVar[str] = "squad"
    metric: ClassVar[str] = "f1"

    hub: str = "rajpurkar/squad"
    shots: int = Field(3, ge=0)
    shot_ids: tuple[str, ...] = SHOT_IDS
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

    def gaps(self, source: Source) -> list[str]:
        """Training questions that the data lack, of which queries and shots are taken."""
        rows = self._rows(source, "train")
        if len(rows) == TRAINING:
            return []
        names = [name for name in map(str, self._training_files(source))]
        return [
            f"{TRAINING - len(rows):,} of the {TRAINING:,} training questions, so that the "
            f"{self.n_queries} queries are drawn from {len(rows):,} and shots that are not among "
            f"them are replaced. Looked in {', '.join(names)}. Get train-v1.1.json from "
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
            return [{**row, "answers": answer_texts(row["answers"])} for row in rows]
        paths = [path for name, path in self.files(source).items() if f"/{part}" in name]
        return [row for path in paths for row in read_squad(path)]

    def _shots(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        by_id = {row["id"]: row for row in rows}
        shots = [by_id[name] for name in self.shot_ids if name in by_id][: self.shots]
        passages = {row["context"] for row in shots}
        for row in rows:
            if len(shots) >= self.shots:
                break
            if row["context"] not in passages:
                shots.append(row)
                passages.add(row["context"])
        return shots


def _prompt(row: dict[str, Any]) -> str:
    return f"{row['context']}\n\n{row['question']}"
