"""MMLU by lm-eval's task files ``mmlu_<subject>``."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from evaluation.base import Item
from evaluation.mmlu import LETTERS, MMLU
from evaluation.source import Source
from evaluation.stock import Stock, StockItem


class StockMMLU(MMLU, Stock):
    """Choice by log-likelihood, no shots unless asked for, mean over questions."""

    task: ClassVar[str] = "mmlu"
    file: ClassVar[str] = "mmlu/default/{part}.yaml"
    group_file: ClassVar[str | None] = "mmlu/default/_mmlu.yaml"
    headline: ClassVar[tuple[str, str]] = ("acc", "none")
    metric: ClassVar[str] = "acc"

    shots: int = Field(0, ge=0, le=5, description="the first dev questions; stock: 0")  # type: ignore[assignment]

    def items(self, source: Source) -> list[Item]:
        """The test questions, by subject."""
        rows = self._rows(source, "test")
        return [
            StockItem.of(item, f"mmlu_{item.group}", _document(row))
            for item, row in zip(MMLU.items(self, source), rows, strict=True)
        ]

    def splits(self, part: str, source: Source) -> dict[str, list[dict[str, Any]]]:
        """The dev questions of the subject, which the task file names even without shots."""
        subject = part.removeprefix("mmlu_")
        rows = [row for row in self._rows(source, "dev") if row["subject"] == subject]
        return {"dev": [_document(row) for row in rows]}


def _document(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "question": row["question"],
        "subject": row["subject"],
        "choices": list(row["choices"]),
        "answer": LETTERS.index(row["answer"]),
    }
