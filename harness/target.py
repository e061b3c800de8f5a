"""The target: the query sets that a selection is made for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Protocol

from harness.component import Component
from harness.query import Query
from harness.rows import BadRow, parse_row


class TargetError(ValueError):
    """A target that names no query set."""


class HasQueries(Protocol):
    """What a target needs of a suite."""

    def queries(self, names: list[str] | None = None) -> dict[str, list[Query]]:
        """Query sets by benchmark; all of the suite's if ``names`` is None."""
        ...


class Target(Component):
    """Which query sets a method may look at.

    Attributes:
        name: the word for it in records and tables.
        tasks: benchmarks of the suite; None takes all of them (multi-task).
        path: a JSONL file with a query a line (messages, or prompt and completion, as in a pool)
            instead of benchmarks.
    """

    name: str
    tasks: list[str] | None = None
    path: str | None = None

    def queries(self, suite: HasQueries) -> list[Query]:
        """All queries, task after task, each task's in its set's order."""
        if self.path is not None:
            return _read_file(Path(self.path), self.name)
        sets = suite.queries(self.tasks)
        found = [query for queries in sets.values() for query in queries]
        if not found:
            raise TargetError(f"target={self.name} has no queries in this suite")
        return found


def _read_file(path: Path, task: str) -> list[Query]:
    if not path.is_file():
        raise TargetError(
            f"target.path={path} is no file; give a JSONL file with one labelled example a line"
        )
    queries = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = parse_row(json.loads(line), default_dataset=task, where=f"{path.name}:{number}")
        except (json.JSONDecodeError, BadRow) as error:
            raise TargetError(f"{path}:{number}: {error}") from error
        queries.append(_query(row, task))
    return queries


def _query(row: dict[str, Any], task: str) -> Query:
    messages = row["messages"]
    first = next(i for i, message in enumerate(messages) if message["role"] == "assistant")
    prompt = "\n\n".join(message["content"] for message in messages[:first])
    return Query(id=row["id"], task=task, prompt=prompt, label=messages[first]["content"])
