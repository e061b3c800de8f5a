"""BIG-Bench Hard by lm-eval's task files ``bbh_cot_fewshot_<task>``."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from evaluation.base import Item
from evaluation.bbh import BBH
from evaluation.source import Source
from evaluation.stock import Stock, StockItem


class StockBBH(BBH, Stock):
    """Three shots with chains of thought; mean over questions, where the paper's is over tasks."""

    task: ClassVar[str] = "bbh_cot_fewshot"
    file: ClassVar[str] = "bbh/cot_fewshot/{short}.yaml"
    group_file: ClassVar[str | None] = "bbh/cot_fewshot/_bbh_cot_fewshot.yaml"
    headline: ClassVar[tuple[str, str]] = ("exact_match", "get-answer")
    average: ClassVar[Literal["items", "groups"]] = "items"

    def files(self, source: Source) -> dict[str, Path]:
        """Queries and items; the shots are in the task files."""
        return BBH.files(self.model_copy(update={"shots": 0}), source)

    def items(self, source: Source) -> list[Item]:
        """All tasks' items, by task."""
        return [
            StockItem.of(
                item, f"bbh_cot_fewshot_{item.group}", {"input": item.text, "target": item.target}
            )
            for item in BBH.items(self.model_copy(update={"shots": 0}), source)
        ]
