"""A source's rows on disk: shards that are there whole or not at all, so that a build can go on.

A shard is ``00000.parquet`` with its keys (``.keys.npy``, for de-duplication after a restart) and a
``.json``, written last, that says what it holds and how many records were read up to its end.
What has no ``.json`` of this build's identity does not exist and is removed.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.files import write_atomic
from harness.pool.duplicates import KEY

if TYPE_CHECKING:
    import pyarrow as pa

SHARD_ROWS = 100_000


@dataclass
class Counts:
    """What a source came to, up to some record.

    Attributes:
        records: read from its files.
        found: conversations in them.
        rows: kept.
        duplicates: of an earlier row of this source or of one before it.
        rejected: records that are not in the source's form.
        reasons: of the rejected, the first hundred with the record's number.
    """

    records: int = 0
    found: int = 0
    rows: int = 0
    duplicates: int = 0
    rejected: int = 0
    reasons: list[str] = field(default_factory=list)


class Shards:
    """The finished shards of one source in a folder, and the way to add to them.

    Attributes:
        counts: at the end of the last shard that was there when the folder was opened.
        finished: nothing is left to read.
    """

    def __init__(self, folder: Path, identity: str) -> None:
        self.folder = folder
        self._identity = identity
        self.number = 0
        self.counts = Counts()
        self.finished = False
        folder.mkdir(parents=True, exist_ok=True)
        while not self.finished and (info := self._read(self.number)) is not None:
            self.counts = Counts(**info["counts"])
            self.finished = info["last"]
            self.number += 1
        kept = {f"{n:05d}" for n in range(self.number)}
        for path in folder.iterdir():
            if path.name[:5] not in kept or path.suffix == ".part":
                path.unlink()

    def _read(self, number: int) -> dict[str, Any] | None:
        try:
            info: dict[str, Any] = json.loads(self._path(number, ".json").read_text("utf-8"))
        except (FileNotFoundError, json.JSONDecodeError):
            return None
        there = self._path(number, ".parquet")
        whole = there.is_file() and there.stat().st_size == info.get("bytes")
        return info if whole and info.get("identity") == self._identity else None

    def _path(self, number: int, ending: str) -> Path:
        return self.folder / f"{number:05d}{ending}"

    def kept_keys(self) -> list[np.ndarray]:
        """The keys of the finished shards."""
        return [np.load(self._path(n, ".keys.npy")).view(KEY) for n in range(self.number)]

    def open(self, schema: pa.Schema) -> Shard:
        """Begin the next shard."""
        return Shard(self._path(self.number, ".parquet"), schema)

    def close(self, shard: Shard, counts: Counts, *, last: bool) -> None:
        """Finish a shard: from here on it is there."""
        size = shard.finish(self._path(self.number, ".keys.npy"))
        info = {
            "identity": self._identity,
            "bytes": size,
            "last": last,
            "counts": asdict(counts),
        }
        write_atomic(self._path(self.number, ".json"), json.dumps(info))
        self.number, self.finished = self.number + 1, last


class Shard:
    """A shard that is being written, a group of rows at a time.

    Attributes:
        rows: in it so far.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        import pyarrow.parquet as pq

        self.rows = 0
        self._path = path
        self._part = path.with_name(path.name + ".part")
        self._writer = pq.ParquetWriter(self._part, schema, compression="zstd")
        self._keys = [np.empty(0, dtype=KEY)]

    def add(self, table: pa.Table, keys: np.ndarray) -> None:
        """Write rows with their keys."""
        self._writer.write_table(table)
        self._keys.append(keys)
        self.rows += table.num_rows

    def finish(self, keys: Path) -> int:
        """Put it in its place; returns its bytes."""
        self._writer.close()
        with self._part.open("rb+") as stream:
            os.fsync(stream.fileno())
        np.save(keys, np.concatenate(self._keys).view(np.uint64))
        os.replace(self._part, self._path)
        return self._path.stat().st_size

    def drop(self) -> None:
        """Leave it: what was written goes when the folder is next opened."""
        self._writer.close()
