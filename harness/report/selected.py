"""Scores of what was selected: read from the ``selection.parquet`` that a run leaves beside it.

Records hold no scores of rows. A folder of records alone gives a report without them, which says
that they are missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from harness.record import Record, find_records

BINS = 24
MOST_FILES = (
    400  # beyond that, one seed a cell is read: a board of a thousand runs opens in seconds
)


class Selections:
    """Where runs left their selections.

    Args:
        folders: as given to ``read_board``; searched once for records.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self._files: dict[str, Path] = {}
        for path in find_records(*folders):
            # The run's name is that of the record's file: text inside a record names no path.
            file = path.parent.parent / "runs" / path.stem / "selection.parquet"
            if file.is_file():
                self._files.setdefault(path.stem, file)

    def __len__(self) -> int:
        return len(self._files)

    def scores(self, records: Sequence[Record]) -> np.ndarray | None:
        """Scores of all rows that ``records`` selected, finite ones only.

        Returns:
            float64 [rows]; empty where the method gives no scores; None where no file is left or
            none can be read.
        """
        found = [
            values
            for record in records
            if (file := self._files.get(record.run_id)) is not None
            and (values := _read(file)) is not None
        ]
        if not found:
            return None
        values = np.concatenate(found)
        return values[np.isfinite(values)]

    def seeds_read(self, cells: Sequence[Sequence[Record]]) -> bool:
        """Whether all seeds of ``cells`` are read, or only the first of each."""
        return sum(len(records) for records in cells) <= MOST_FILES


def _read(file: Path) -> np.ndarray | None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        column = pq.ParquetFile(file).read(["score"], use_threads=False).column("score")
        return np.asarray(column.to_numpy(), dtype=np.float64)
    except (OSError, pa.ArrowInvalid, KeyError, ValueError, TypeError):
        return None


def histogram(scores: np.ndarray) -> tuple[float, float, list[int]]:
    """Lowest and highest score and how many rows are in each of BINS equal bins between them."""
    low, high = float(scores.min()), float(scores.max())
    if not high > low:  # one value: a bin around it
        room = abs(low) * 0.01 or 0.5
        low, high = low - room, high + room
    counts, _ = np.histogram(scores, bins=BINS, range=(low, high))
    return low, high, [int(count) for count in counts]
