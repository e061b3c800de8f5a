"""Benchmarks by lm-eval's stock protocol: its task files as installed, our data and sandbox.

Prompts, shots, stop strings, filters and metrics are those of the installed lm-eval package; it is
its own task objects that run (``evaluation/stock/parts.py``). Query sets, item ids and the way data
are read are those of the benchmarks in the folders beside this one.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from evaluation.base import Benchmark, Item
from evaluation.source import DataError, Source


@dataclass(frozen=True)
class StockItem(Item):
    """An item with what the stock task reads.

    Attributes:
        part: the name of the stock task, e.g. "mmlu_anatomy".
        doc: the document, as the hub's data set gives it to that task.
    """

    part: str = ""
    doc: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, item: Item, part: str, doc: dict[str, Any]) -> StockItem:
        """The paper's item asked barely: the stock task adds shots, words and prefix itself."""
        return cls(
            id=item.id, prompt=item.text, target=item.target, text=item.text, group=item.group,
            choices=item.choices, part=part, doc=doc,
        )  # fmt: skip


class Stock(Benchmark):
    """What stock benchmarks share.

    Deviations, none of which touches a prompt or a score: the answer to a task that names no
    length ends after lm-eval's 256 tokens as there, but a batch stops row by row; code runs in our
    sandbox; only items that ``query_duplicates`` lets through are asked; the opening of an answer
    keeps its last newline, which lm-eval's own model class loses to templates that trim.
    """

    task: ClassVar[str]
    file: ClassVar[
        str
    ]  # of the stock task below lm_eval/tasks: {part}, or {short} without the whole's name
    headline: ClassVar[tuple[str, str]]  # metric and filter that the score is taken from
    group_file: ClassVar[str | None] = None  # of the stock group that averages over the parts
    resolves: ClassVar[bool] = True  # whether the functions that the file names can be imported

    apply_chat_template: bool = Field(
        True, description="render turns by the model's chat template, not as plain text"
    )
    fewshot_as_multiturn: bool = Field(
        True, description="shots as turns of the conversation, lm-eval's default in chat"
    )

    def splits(self, part: str, source: Source) -> dict[str, list[dict[str, Any]]]:
        """Documents of the splits that shots come from, for one stock task; often the file's."""
        return {}

    def remarks(self, items: Sequence[Item]) -> dict[str, Any]:
        """What the notes of a score say of the items."""
        return {}

    def configure(self, config: dict[str, Any], task: Any) -> None:
        """Change the stock configuration where it cannot run as it stands."""

    @property
    def stock_task(self) -> str:
        """The stock name of the whole, as lm-eval's command line takes it."""
        return self.task

    @property
    def scored_by(self) -> tuple[str, str]:
        """Metric and filter that the score is taken from."""
        return self.headline

    @property
    def metric_name(self) -> str:
        """The stock metric's name."""
        return self.scored_by[0]

    def stock_file(self, part: str) -> Path:
        """The installed task file of a part.

        Raises:
            DataError: lm-eval has no such task.
        """
        path = stock_folder() / self.file.format(
            part=part, short=part.removeprefix(f"{self.task}_")
        )
        if not path.is_file():
            raise DataError(
                f"{self.name}: lm-eval {stock_version()} has no task {part} (looked for {path}), "
                "so these data have no stock protocol; take suite=paper, or leave them out"
            )
        return path

    def test_items(self, source: Source) -> tuple[list[Item], list[str]]:
        """As the base class, once it is known that every item has a stock task."""
        items, left_out = super().test_items(source)
        for part in sorted({item.part for item in items if isinstance(item, StockItem)}):
            self.stock_file(part)
        return items, left_out

    def identity(self) -> dict[str, Any]:
        """Settings and lm-eval's version, since prompts and metric are its own."""
        return {**super().identity(), "lm_eval": stock_version()}

    def protocol(self, name: str) -> dict[str, Any]:
        """Names the stock task, whatever the suite is called."""
        metric, filtered = self.scored_by
        return {
            "name": "lm_eval",
            "version": stock_version(),
            "task": self.stock_task,
            "shots": getattr(self, "shots", 0),
            "metric": metric,
            "filter": filtered,
            "apply_chat_template": self.apply_chat_template,
            "fewshot_as_multiturn": self.fewshot_as_multiturn,
        }

    def build_task(self, items: Sequence[Item], left_out: Sequence[str], source: Source) -> Any:
        """lm-eval's own task objects over the items."""
        from evaluation.stock.parts import StockTask

        return StockTask(self, items, left_out, source)


def stock_version() -> str:
    """The installed lm-eval's version."""
    return importlib.metadata.version("lm_eval")


def stock_folder() -> Path:
    """The installed lm-eval's folder of tasks, found without importing it."""
    package = importlib.util.find_spec("lm_eval")
    if package is None or not package.origin:
        raise DataError("the stock protocol needs the package lm-eval installed")
    return Path(package.origin).parent / "tasks"
