"""GSM8k by lm-eval's task file ``gsm8k_cot``."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from evaluation.base import Item
from evaluation.gsm8k import GSM8K
from evaluation.source import Source
from evaluation.stock import Stock, StockItem


class StockGSM8K(GSM8K, Stock):
    """Eight shots with chains of thought; both stock filters are computed, one gives the score.

    ``filter``: ``strict-match`` wants the shots' own words "The answer is N.";
    ``flexible-extract`` takes the last number anywhere.
    """

    task: ClassVar[str] = "gsm8k_cot"
    file: ClassVar[str] = "gsm8k/gsm8k-cot.yaml"

    shots: int = Field(8, ge=0, le=8)
    filter: Literal["strict-match", "flexible-extract"] = "strict-match"

    @property
    def scored_by(self) -> tuple[str, str]:
        """The metric behind the chosen filter."""
        return "exact_match", self.filter

    def items(self, source: Source) -> list[Item]:
        """The test questions; ``target`` is the number behind "####"."""
        rows = self._rows(source, "test")
        return [
            StockItem.of(item, self.task, {key: row[key] for key in ("question", "answer")})
            for item, row in zip(GSM8K.items(self, source), rows, strict=True)
        ]
