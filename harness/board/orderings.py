"""Checking what a run says it selected."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from harness.board.submission import parse_json
from harness.record import Record


def json_lines(data: bytes, name: str) -> list[Any]:
    """The values of an unpacked file of JSON lines.

    Raises:
        SubmissionError: a line is no JSON.
    """
    text = data.decode("utf-8", "replace")
    return [parse_json(line.encode(), name) for line in text.split("\n") if line.strip()]


def check_ordering(record: Record, rows: list[Any]) -> Iterator[str]:
    """Unique rows in order of rank, as many and of the sources that the record says."""
    if not all(isinstance(row, dict) for row in rows):
        yield "a row is no object"
        return
    if len(rows) > record.budget or len(rows) != record.selection.rows:
        yield (
            f"{len(rows)} rows; the record says {record.selection.rows} of a budget of "
            f"{record.budget}"
        )
    if [row.get("rank") for row in rows] != list(range(len(rows))):
        yield "ranks are not 0, 1, 2, ..."
    identities = [row.get("id") for row in rows]
    if not all(isinstance(one, str) for one in identities):
        yield "an id is no text"
    elif len(set(identities)) != len(rows):
        yield "a row of the pool is there twice"
    positions = [row.get("position") for row in rows]
    if not all(type(at) is int and 0 <= at < record.pool_size for at in positions):
        yield f"a position is not within the pool of {record.pool_size} rows"
    elif len(set(positions)) != len(rows):
        yield "a position is there twice"
    sources = Counter(str(row.get("dataset")) for row in rows)
    if dict(sources) != record.selection.sources:
        yield "the sources are not those that the record counts"
