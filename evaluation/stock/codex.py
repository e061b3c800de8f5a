"""HumanEval by lm-eval's task files ``humaneval`` and ``humaneval_instruct``, in our sandbox."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field

from evaluation.base import Item
from evaluation.codex import Codex
from evaluation.source import Source
from evaluation.stock import Stock, StockItem


class StockCodex(Codex, Stock):
    """One greedy program a problem, pass@1.

    ``variant``: ``humaneval`` gives the function's opening alone, for models that go on with a
    text; ``humaneval_instruct`` asks for the function and opens the answer, for models that chat.
    The stock scorer, which is fetched from the hub and isolates little, is replaced by our sandbox;
    programs are put together as there. Items are all 164 problems; those that are queries are left
    out unless ``query_duplicates`` says otherwise.
    """

    task: ClassVar[str] = "humaneval"
    file: ClassVar[str] = "humaneval/{part}.yaml"
    resolves: ClassVar[bool] = False  # importing the task's functions fetches the stock scorer

    variant: Literal["humaneval", "humaneval_instruct"] = "humaneval"
    query_duplicates: Literal["error", "leave_out", "keep"] = "leave_out"
    n: int = Field(1, ge=1, le=1)
    k: int = Field(1, ge=1, le=1)
    temperature: float = Field(0.0, ge=0, le=0)

    @property
    def stock_task(self) -> str:
        """The variant."""
        return self.variant

    @property
    def scored_by(self) -> tuple[str, str]:
        """pass@1 of the programs that the stock filter builds."""
        return "pass@1", "create_test"

    def items(self, source: Source) -> list[Item]:
        """All problems, in the order of their numbers."""
        rows = [row for part in self._split(source) for row in part]
        rows.sort(key=lambda row: int(row["task_id"].rpartition("/")[2]))
        names = ("task_id", "prompt", "canonical_solution", "test", "entry_point")
        return [
            StockItem(
                id=row["task_id"],
                prompt=row["prompt"],
                target={key: row[key] for key in ("prompt", "test", "entry_point")},
                text=row["prompt"],
                part=self.variant,
                doc={name: row[name] for name in names},
            )
            for row in rows
        ]

    def configure(self, config: dict[str, Any], task: Any) -> None:
        """Programs are built as by the stock filter and run in one pool of the sandbox."""
        values: dict[str, float] = {}

        def run(responses: Sequence[list[str]], docs: Sequence[dict[str, Any]]) -> list[list[str]]:
            bodies = [[self.body(text) for text in texts] for texts in responses]
            task.grades = self.grade(task.items, bodies, task.how)
            for doc, value in zip(docs, task.grades.values, strict=True):
                values[doc["task_id"]] = value
            return [
                [doc["prompt"] + body for body in texts]
                for doc, texts in zip(docs, bodies, strict=True)
            ]

        config["filter_list"] = [
            {"name": "create_test", "filter": [{"function": "custom", "filter_fn": run}]}
        ]
        config["metric_list"] = [
            {"metric": "pass@1", "aggregation": "mean", "higher_is_better": True}
        ]
        config["process_results"] = lambda doc, results: {"pass@1": values[doc["task_id"]]}

    def body(self, text: str) -> str:
        """What the stock filter takes of an answer: all, or up to the fence if it was opened."""
        return text.partition("```")[0] if self.variant == "humaneval_instruct" else text
