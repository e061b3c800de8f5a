"""What a check finds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from evaluation.check.paper import Counts


@dataclass
class Checked:
    """What was found of one benchmark.

    Attributes:
        queries, items: how many there are; ``items`` counts those that are left out as queries.
        paper: what the paper has; ``None`` for a benchmark outside it.
        left_out: ids of items that are not asked because they are queries.
        shared: items that are asked though a query of some benchmark has their text, as text.
        gold, wrong: the scores (0 to 100) of right and of wrong answers; ``None``: not graded.
        best: what the gold answers must score.
        notes: of the gold score, as a record would have them.
        gaps: data that are missing: what, where it was looked for, how to get it.
        seconds: how long all of it took.
    """

    name: str
    queries: int | None = None
    items: int | None = None
    paper: Counts | None = None
    left_out: list[str] = field(default_factory=list)
    shared: list[str] = field(default_factory=list)
    gold: float | None = None
    wrong: float | None = None
    best: float = 100.0
    notes: dict[str, Any] = field(default_factory=dict)
    gaps: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    seconds: float = 0.0


@dataclass
class Report:
    """What was found of a suite; ``boards`` are ``evaluation.alpaca_eval.replay.Replayed``."""

    suite: str
    data: str
    benchmarks: list[Checked]
    boards: list[Any] = field(default_factory=list)
    gaps: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def all(self, kind: Literal["errors", "gaps", "remarks"]) -> list[str]:
        """Every error, gap or remark, with the name of its benchmark."""
        own = [f"{one.name}: {text}" for one in self.benchmarks for text in getattr(one, kind)]
        return [*own, *getattr(self, kind, [])]

    def make_strict(self) -> None:
        """Every gap becomes an error."""
        for one in self.benchmarks:
            one.errors, one.gaps = one.errors + one.gaps, []
        self.errors, self.gaps = self.errors + self.gaps, []
