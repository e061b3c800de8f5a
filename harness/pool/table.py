"""A prepared pool, read by position without loading the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.artifacts import Artifact
from harness.chat import Message
from harness.pool.config import PoolError

if TYPE_CHECKING:
    import pyarrow as pa

BLOCK_ROWS = 1024  # rows in one Arrow record batch: row i lies in batch i // BLOCK_ROWS


@dataclass(frozen=True)
class Row:
    """One conversation of the pool."""

    id: str
    dataset: str
    messages: list[Message]


class Pool:
    """The first ``size`` rows of a prepared pool, read by position without loading the rest.

    Attributes:
        digest: names the prepared pool (all its rows, in their order).
        size: rows in use.
        sources: names of the sources, sorted.
        source_of: int32 [size], index into ``sources`` for every row.
    """

    def __init__(self, artifact: Artifact, size: int | None) -> None:
        total = int(artifact.info["rows"])
        if size is not None and size > total:
            raise PoolError(
                f"pool.size={size}, but the pool has {total:,} usable rows; "
                f"give at most {total} or pool.size=null for all"
            )
        self._artifact = artifact
        self.path = artifact.path
        self.digest = artifact.path.name
        self.total = total
        self.size = size or total
        self.sources: list[str] = artifact.info["sources"]
        self.rejected = int(artifact.info["rejected"])
        self.source_of = np.load(self.path / "source_of.npy", mmap_mode="r")[: self.size]

    @cached_property
    def _file(self) -> pa.RecordBatchFileReader:
        import pyarrow as pa

        # Read, not mapped: pages of a mapped file count as memory until the system takes them back.
        return pa.ipc.open_file(pa.OSFile(str(self.path / "rows.arrow"), "rb"))

    def rows(self, positions: Sequence[int] | np.ndarray | range) -> list[Row]:
        """The rows at ``positions`` (any order, repeats allowed)."""
        wanted = np.asarray(positions, dtype=np.int64)
        if wanted.size and (wanted.min() < 0 or wanted.max() >= self.total):
            raise IndexError(f"pool positions run from 0 to {self.total - 1}")
        result: list[Row | None] = [None] * len(wanted)
        for block in np.unique(wanted // BLOCK_ROWS):
            batch = self._file.get_batch(int(block))
            here = np.nonzero(wanted // BLOCK_ROWS == block)[0]
            part = batch.take(arrow_indices(wanted[here] - block * BLOCK_ROWS)).to_pylist()
            for place, row in zip(here, part, strict=True):
                result[place] = Row(**row)
        return [row for row in result if row is not None]

    def turns(self, rows: range) -> tuple[list[str], np.ndarray]:
        """The texts of all turns of ``rows``, row after row, and int64 [turns]: each one's row.

        Rows count from the first of ``rows``. Faster than ``rows`` where only texts are read.
        """
        texts: list[str] = []
        counts = [np.empty(0, dtype=np.int64)]
        for block in range(rows.start // BLOCK_ROWS, -(-rows.stop // BLOCK_ROWS)):
            start = max(rows.start - block * BLOCK_ROWS, 0)
            count = min(rows.stop - block * BLOCK_ROWS, BLOCK_ROWS) - start
            messages = self._file.get_batch(block).column("messages").slice(start, count)
            texts += messages.flatten().field("content").to_pylist()
            counts.append(messages.value_lengths().to_numpy().astype(np.int64))
        every = np.concatenate(counts)
        return texts, np.repeat(np.arange(len(every)), every)

    def whole(self) -> Pool:
        """The same pool with all its rows in use."""
        return Pool(self._artifact, None)

    @property
    def contamination(self) -> dict[str, Any] | None:
        """What was left out of it (``record.Contamination``); None if nothing was looked for."""
        return self._artifact.info.get("contamination")

    def ids(self, positions: Sequence[int] | np.ndarray) -> list[str]:
        """Ids of the rows at ``positions``."""
        return [row.id for row in self.rows(positions)]

    def ranges(self, rows_per_range: int) -> list[range]:
        """Fixed row ranges that cover the rows in use; the last may reach past ``size``.

        The ranges depend on the prepared pool alone, so what is computed for a range serves every
        pool size.
        """
        return [
            range(start, min(start + rows_per_range, self.total))
            for start in range(0, self.size, rows_per_range)
        ]

    def count_sources(self, positions: Sequence[int] | np.ndarray | None = None) -> dict[str, int]:
        """Rows by source, of the given positions or of all rows in use."""
        codes = self.source_of if positions is None else self.source_of[np.asarray(positions)]
        counts = np.bincount(codes, minlength=len(self.sources))
        return {name: int(n) for name, n in zip(self.sources, counts, strict=True) if n}


def arrow_indices(values: np.ndarray) -> pa.Array:
    """Positions as Arrow takes them: int64."""
    import pyarrow as pa

    return pa.array(values.astype(np.int64))
