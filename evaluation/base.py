"""A benchmark: items, query set, prompt and metric in one place."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from evaluation.judges import Judge
from evaluation.source import DataError, Source
from harness.component import Component
from harness.query import Query


@dataclass(frozen=True)
class Item:
    """One test item.

    Attributes:
        id: unique within its benchmark.
        prompt: the user's turn, with the shots where there are any.
        target: what the metric compares with; plain JSON data.
        text: the bare question, by which items are told apart from queries.
        prefix: what the assistant's turn opens with, or "".
        group: subject, subtask or language; "" where the benchmark has none.
        choices: the answers among which log-likelihood decides; none means that text is generated.
        cluster: what items share beside their group, such as an article; "" where that is all.
    """

    id: str
    prompt: str
    target: Any
    text: str
    prefix: str = ""
    group: str = ""
    choices: tuple[str, ...] = ()
    cluster: str = ""


@dataclass(frozen=True)
class Sampling:
    """How text is generated: greedily where ``temperature`` is 0.

    ``top_k`` 0 and ``top_p`` 1 mean no limit.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    n: int = 1


@dataclass(frozen=True)
class Grading:
    """What a metric may need beside the outputs.

    Attributes:
        judge: whom AlpacaEval asks.
        folder: where a metric may leave files of its own.
        progress: whether a metric that takes time may show a bar.
        source: where the benchmark's data is, for metrics that have files of their own.
    """

    judge: Judge | None
    folder: Path
    progress: bool = False
    source: Source | None = None


@dataclass
class Grades:
    """A metric's result: one value in [0, 1] per item, and remarks for ``Score.notes``.

    NaN is an item that could not be scored (no verdict of a judge); it is left out of the mean.
    ``details``, if not empty, holds what else the per-item results say of each item.
    """

    values: list[float]
    notes: dict[str, Any] = field(default_factory=dict)
    details: list[dict[str, Any]] = field(default_factory=list)


class Benchmark(Component):
    """Base of all benchmarks. A subclass reads items and queries and scores outputs.

    ``prompt_version`` and ``metric_version`` are part of the identity: raise them when the same
    settings start to give another prompt or another score.
    """

    prompt_version: ClassVar[int] = 1
    metric_version: ClassVar[int] = 1
    name: ClassVar[str]
    metric: ClassVar[str]
    average: ClassVar[Literal["items", "groups"]] = "items"
    stops: ClassVar[tuple[str, ...]] = ()
    executes_code: ClassVar[bool] = False
    needs_judge: ClassVar[bool] = False

    hub: str = Field(description="data set id, or a folder laid out like that data set")
    revision: str | None = Field(None, description="commit of the hub data set; None: the newest")
    max_new_tokens: int = Field(512, ge=1)
    query_duplicates: Literal["error", "leave_out", "keep"] = Field(
        "error", description="what to do with a test item whose question is a query's"
    )

    @abstractmethod
    def files(self, source: Source) -> dict[str, Path]:
        """The files that items and queries are read from, by their names below the folder.

        Raises:
            DataError: one is missing.
        """

    @abstractmethod
    def items(self, source: Source) -> list[Item]:
        """All test items in the order of the data."""

    @abstractmethod
    def queries(self, source: Source) -> list[Query]:
        """The query set in a fixed order."""

    def score(self, item: Item, output: str) -> float:
        """One output's score in [0, 1]."""
        raise NotImplementedError(f"{type(self).__name__} defines neither score nor grade")

    def grade(self, items: Sequence[Item], outputs: Sequence[list[str]], how: Grading) -> Grades:
        """Scores of all items; ``outputs`` holds ``sampling.n`` texts per item."""
        return Grades(
            [self.score(item, texts[0]) for item, texts in zip(items, outputs, strict=True)]
        )

    @property
    def metric_name(self) -> str:
        """The metric as a record names it."""
        return self.metric

    @property
    def sampling(self) -> Sampling:
        """Greedy unless a benchmark says otherwise."""
        return Sampling()

    def protocol(self, name: str) -> dict[str, Any]:
        """How the benchmark is asked and scored, for ``Score.notes``; ``name`` is the suite's."""
        versions = {"prompt_version": self.prompt_version, "metric_version": self.metric_version}
        shots = getattr(self, "shots", None)
        return {"name": name, **({} if shots is None else {"shots": shots}), **versions}

    def build_task(self, items: Sequence[Item], left_out: Sequence[str], source: Source) -> Any:
        """The benchmark as lm-eval runs it (see ``evaluation.task``). Imports lm-eval."""
        from evaluation.task import BenchmarkTask

        return BenchmarkTask(self, items, left_out)

    def query_text(self, query: Query) -> str:
        """The bare question of a query, comparable with ``Item.text``."""
        return query.prompt

    def test_items(self, source: Source) -> tuple[list[Item], list[str]]:
        """Items less those that are queries, and the ids of what was left out.

        Raises:
            DataError: an item's question is also a query's and ``query_duplicates`` is "error".
        """
        items = self.items(source)
        if not items:
            raise DataError(f"{self.name}: the data holds no test item")
        if len({item.id for item in items}) != len(items):
            raise DataError(f"{self.name}: two test items have the same id")
        taken = {text_hash(self.query_text(query)): query.id for query in self.queries(source)}
        shared = {item.id: taken[h] for item in items if (h := text_hash(item.text)) in taken}
        if self.query_duplicates == "keep" or not shared:
            return items, []
        if self.query_duplicates == "error":
            item, query = next(iter(shared.items()))
            raise DataError(
                f"{self.name}: {len(shared)} test item(s) are also queries, e.g. item {item} is "
                f"query {query}: selection would see the test. Remove them from the data, or set "
                f"suite.benchmarks.{self.name}.query_duplicates=leave_out (or keep)"
            )
        return [item for item in items if item.id not in shared], sorted(shared)


def text_hash(text: str) -> str:
    """Hash of a text, the same for texts that differ in case or white space only."""
    return hashlib.sha256(" ".join(text.casefold().split()).encode()).hexdigest()


def seeded_key(purpose: str, name: str) -> str:
    """A sort key that gives the same order on every machine, unrelated to the data's order."""
    return hashlib.sha256(f"{purpose}:{name}".encode()).hexdigest()


def spread(items: Sequence[Item], limit: int | None, purpose: str) -> list[Item]:
    """The first ``limit`` items of a fixed order that takes the groups in turn; all if ``None``.

    A smaller limit's items are among a larger one's.
    """
    if limit is None or limit >= len(items):
        return list(items)
    groups: dict[str, list[Item]] = defaultdict(list)
    for item in sorted(items, key=lambda item: seeded_key(purpose, item.id)):
        groups[item.group].append(item)
    turns = [
        (rank, seeded_key(purpose, group), item)
        for group, members in groups.items()
        for rank, item in enumerate(members)
    ]
    return [item for _, _, item in sorted(turns, key=lambda turn: turn[:2])[:limit]]
