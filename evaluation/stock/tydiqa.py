"""TyDi QA, gold passage, by lm-eval's task files ``tydiqa_goldp_<language>``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from evaluation.base import Item
from evaluation.source import Source, read_hub, read_json, read_jsonl
from evaluation.squad.format import answer_texts, read_squad
from evaluation.stock import Stock, StockItem
from evaluation.tydiqa import TyDiQA

CODES = {
    "arabic": "ar",
    "bengali": "bn",
    "english": "en",
    "finnish": "fi",
    "indonesian": "id",
    "korean": "ko",
    "russian": "ru",
    "swahili": "sw",
    "telugu": "te",
}
_LANGUAGES = {code: language for language, code in CODES.items()}


class StockTyDiQA(TyDiQA, Stock):
    """No shots unless asked for; F1; unweighted mean over languages.

    The stock tag has no average of its own; this one is the paper's. Passages are not cut
    (``passage_words`` touches queries only). A shot is drawn among the training questions that
    the data hold: all of them on the hub, the one demonstration in a folder.
    """

    task: ClassVar[str] = "tydiqa_goldp"
    file: ClassVar[str] = "tydiqa/{part}.yaml"
    headline: ClassVar[tuple[str, str]] = ("f1", "none")

    shots: Literal[0, 1] = 0

    def items(self, source: Source) -> list[Item]:
        """All languages' questions, by language; ``target`` holds all accepted answers."""
        rows = self._unstripped(source)
        return [
            StockItem.of(item, f"tydiqa_goldp_{CODES[item.group]}", _document(row))
            for item, row in zip(TyDiQA.items(self, source), rows, strict=True)
        ]

    def splits(self, part: str, source: Source) -> dict[str, list[dict[str, Any]]]:
        """The training questions of the language, which the task file names even without shots."""
        language = _LANGUAGES[part.removeprefix("tydiqa_goldp_")]
        rows = self._training(source, language)
        return {"train": [_document(row) for row in rows]}

    def remarks(self, items: Sequence[Item]) -> dict[str, Any]:
        """The languages, and which of them are no TyDi QA."""
        return TyDiQA.grade(self, items, [[""] for _ in items], None).notes  # type: ignore[arg-type]

    def _training(self, source: Source, language: str) -> list[dict[str, Any]]:
        if source.is_hub:
            return [row for row in self._hub("train") if _language(row) == language]
        shown = read_json(self.files(source)["tydiqa/one-shot.json"])[language]
        return [{**row, "language": language} for row in shown]

    def _unstripped(self, source: Source) -> list[dict[str, Any]]:
        """The rows behind the items as the data hold them; ours lose blanks at their ends."""
        if source.is_hub:
            return self._hub("validation")
        found = []
        for language, path in self._sources(source).items():
            lines = path.name.endswith((".jsonl", ".jsonl.gz"))
            rows = read_jsonl(path) if lines else read_squad(path)
            if path.name.startswith("tydiqa-goldp"):  # the release, all languages in one file
                rows = [row for row in rows if _language(row) == language]
            found += [{**row, "language": language} for row in rows]
        return found

    def _hub(self, split: str) -> list[dict[str, Any]]:
        rows = read_hub(self.hub, split, name="secondary_task", revision=self.revision)
        return [{**row, "language": _language(row)} for row in rows]


def _language(row: dict[str, Any]) -> str:
    return str(row["id"]).partition("-")[0]


def _document(row: dict[str, Any]) -> dict[str, Any]:
    name, language = str(row["id"]), row["language"]
    if not name.startswith(f"{language}-"):  # by which the task file tells languages apart
        name = f"{language}-{name}"
    texts = answer_texts(row["answers"])
    return {
        "id": name,
        "title": row.get("title", ""),
        "context": row["context"],
        "question": row["question"],
        "answers": {"text": texts, "answer_start": [0 for _ in texts]},
    }
