"""How long the rows of a pool, the queries and the test prompts are: a profile of a sample.

A profile is a JSON file. The shipped ones lie in ``profiles/`` and say what they were measured on;
``python -m harness.plan --measure FILE [KEY=VALUE ...]`` measures one on a pool of yours.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from harness.flops import Polynomial

FOLDER = Path(__file__).with_name("profiles")
COLUMNS = ("tokens", "prompt", "read", "labels", "turns")


class ProfileError(ValueError):
    """A length profile that is not there, or is none."""


@dataclass(frozen=True)
class Sample:
    """Rows or queries by their token counts, standing for ``count`` of them.

    Attributes:
        table: int64 [sampled, 5]: tokens of the row, uncut; of its prompt alone; up to the last
            label's predecessor; label tokens; assistant turns.
        count: how many rows the sample stands for.
    """

    table: np.ndarray
    count: int

    @property
    def weight(self) -> float:
        """Rows that one sampled row stands for."""
        return self.count / len(self.table) if len(self.table) else 0.0

    def column(self, name: str) -> np.ndarray:
        """int64 [sampled]."""
        return self.table[:, COLUMNS.index(name)]

    def cut(self, column: str, length: int) -> np.ndarray:
        """int64 [sampled]: tokens that are read of each, cut on the right at ``length``."""
        return np.minimum(self.column(column), length)

    def total(self, cost: Polynomial, lengths: np.ndarray) -> float:
        """The cost of all rows from that of the sampled ones."""
        return cost(lengths) * self.weight

    def tokens(self, lengths: np.ndarray) -> int:
        """Tokens of all rows from those of the sampled ones."""
        return round(float(lengths.sum()) * self.weight)

    def of(self, count: int) -> Sample:
        """The same lengths, standing for ``count`` rows."""
        return Sample(self.table, count)

    def longest(self, share: float) -> Sample:
        """The longest ``share`` of the sampled rows, at least one."""
        order = np.argsort(-self.column("tokens"), kind="stable")
        return Sample(self.table[order[: max(1, round(share * len(order)))]], self.count)

    def labelled(self, length: int) -> tuple[np.ndarray, np.ndarray]:
        """Tokens read and label tokens of each, int64 [sampled], when rows are cut at ``length``.

        Of a cut row the sample does not know where its labels lie; they are taken to end it, which
        is so for every row of one turn.
        """
        over = np.maximum(self.column("tokens") - length, 0)
        labels = np.maximum(self.column("labels") - over, 0)
        read = np.where(over > 0, np.minimum(self.column("read"), length - 1), self.column("read"))
        return np.where(labels > 0, read, 0), labels


@dataclass(frozen=True)
class Profile:
    """Token lengths under one tokenizer and chat template.

    Attributes:
        name, source: what it was measured on, and how.
        rows: sampled pool rows, as ``Sample.table``.
        pool_bytes: of text, a row.
        header: tokens before an assistant's words when they stand alone.
        queries: by benchmark, as ``Sample.table``.
        items: by benchmark ``{"items": number, "prompts": [tokens of sampled prompts]}``.
    """

    name: str
    source: str
    rows: np.ndarray
    pool_rows: int
    pool_bytes: float
    header: int
    queries: Mapping[str, np.ndarray] = field(default_factory=dict)
    items: Mapping[str, dict[str, Any]] = field(default_factory=dict)

    @cached_property
    def sample(self) -> Sample:
        """The pool's rows; ``of`` scales it to a pool."""
        return Sample(self.rows, len(self.rows))

    @property
    def error(self) -> float:
        """Standard error of the mean length, as a share of it."""
        tokens = self.sample.column("tokens")
        if len(tokens) < 2 or len(tokens) >= self.pool_rows:
            return 0.0
        return float(tokens.std(ddof=1) / len(tokens) ** 0.5 / tokens.mean())

    def write(self, path: Path) -> None:
        """One JSON file, sampled rows a line each."""
        plain = {
            **{key: getattr(self, key) for key in _PLAIN},
            "queries": {name: rows.tolist() for name, rows in self.queries.items()},
            "items": dict(self.items),
        }
        text = json.dumps(plain, indent=1, default=str)
        lines = {
            "columns": list(COLUMNS),
            **json.loads(text),
            "rows": self.rows.tolist(),
        }
        path.write_text(json.dumps(lines, separators=(",", ":")) + "\n", encoding="utf-8")


_PLAIN = ("name", "source", "pool_rows", "pool_bytes", "header")


def names() -> list[str]:
    """The shipped profiles."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))


def read_profile(name: str) -> Profile:
    """A shipped profile by name, or one of your own by file.

    Raises:
        ProfileError: there is none, or the file is not one.
    """
    path = FOLDER / f"{name}.json" if name in names() else Path(name)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if tuple(found.pop("columns")) != COLUMNS:
            raise ProfileError(f"{path}: columns are not {', '.join(COLUMNS)}; measure it again")
        rows = np.array(found.pop("rows"), dtype=np.int64).reshape(-1, len(COLUMNS))
        queries = {
            task: np.array(table, dtype=np.int64).reshape(-1, len(COLUMNS))
            for task, table in found.pop("queries").items()
        }
        return Profile(rows=rows, queries=queries, **found)
    except FileNotFoundError:
        raise ProfileError(
            f"--profile {name}: no such file, and no shipped profile; those are "
            f"{', '.join(names())}. Measure one: python -m harness.plan --measure FILE KEY=VALUE"
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise ProfileError(f"{path} is no length profile: {error}") from error
