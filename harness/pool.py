"""The pool: conversations in one seeded order, so that every smaller pool is a prefix of it.

``prepare`` streams the source files once, checks every row, lists the unusable ones with their
reasons, and writes the rest as an Arrow file in the order of a hash of (pool seed, row id). That
order depends on the ids alone, not on how the rows are spread over files. Memory holds one block
of rows and 16 bytes a row.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field, field_validator

from harness.artifacts import Artifact, Store
from harness.chat import Message
from harness.component import Component
from harness.files import files_digest
from harness.rows import BadRow, parse_row

if TYPE_CHECKING:
    import pyarrow as pa

BLOCK_ROWS = 1024  # rows in one Arrow record batch: row i lies in batch i // BLOCK_ROWS
Format = Literal["auto", "jsonl", "parquet", "hub"]


class PoolError(ValueError):
    """A pool that cannot be read, with what was wrong and what would help."""


class PoolConfig(Component):
    """Where a pool comes from and how much of it is used.

    Attributes:
        name: the word for it in records and tables.
        path: a folder or file of ``*.jsonl[.gz]`` or ``*.parquet``; or a dataset id on the hub, a
            dataset saved with ``save_to_disk``, or a local folder in a hub repository's layout.
        format: how to read ``path``; ``auto`` goes by the files' endings.
        split, revision, subset: for ``hub`` only.
        size: use the first ``size`` rows of the seeded order; None uses all.
        seed: of that order. It is apart from the run's seed, so that features are shared.
        order: ``shuffled``; or ``balanced``, in which the sources take turns, so that every prefix
            is a balanced sample (a source that is used up leaves its turn to the others).
        contamination: rows that hold whole texts of the suite's test items or queries: ``report``
            counts them in the record; ``remove`` leaves them out before anything else, so that
            ``size`` counts rows that are left; ``off`` does not look.
    """

    name: str
    path: str
    format: Format = "auto"
    split: str = "train"
    subset: str | None = None
    revision: str | None = None
    size: int | None = Field(default=None, gt=0)
    seed: int = 0
    order: Literal["shuffled", "balanced"] = "shuffled"
    contamination: Literal["off", "report", "remove"] = "report"

    @field_validator("contamination", mode="before")
    @classmethod
    def _off(cls, value: Any) -> Any:
        return "off" if value is False else value  # YAML's own reading of a bare off

    @property
    def label(self) -> str:
        """``name``, and what makes its rows others than the usual ones."""
        unusual = [f"order={self.order}"] if self.order != "shuffled" else []
        unusual += ["contamination=remove"] if self.contamination == "remove" else []
        return f"{self.name}[{','.join(unusual)}]" if unusual else self.name

    def files(self) -> list[Path]:
        """The source files, sorted by name; empty for a dataset id that is no local path."""
        root = Path(self.path)
        if root.is_file():
            return [root]
        if not root.is_dir():
            return []
        every = sorted(path for path in root.rglob("*") if path.is_file())
        if self.format == "hub":
            return every
        wanted = ("jsonl", "parquet") if self.format == "auto" else (self.format,)
        return [path for path in every if _ending(path) in wanted]

    def check(self) -> None:
        """Raise PoolError if there is nothing to read."""
        if self.format == "hub":
            return
        files = self.files()
        if not files:
            where = Path(self.path)
            state = "holds no such file" if where.is_dir() else "does not exist"
            raise PoolError(
                f"pool.path={self.path} {state}: looked for *.jsonl, *.jsonl.gz and *.parquet. "
                "For a dataset id on the hub set pool=hub pool.path=owner/name"
            )

    def source_identity(self) -> dict[str, Any]:
        """What decides the prepared pool: the bytes of its sources and the order's seed."""
        files = self.files()
        root = Path(self.path)
        base = root if root.is_dir() else root.parent
        content = (
            files_digest({str(path.relative_to(base)): path for path in files})
            if files
            else f"{self.path}@{self.revision}/{self.subset}/{self.split}"
        )
        identity = {"version": 1, "content": content, "seed": self.seed, "split": self.split}
        return identity if self.order == "shuffled" else {**identity, "order": self.order}


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
            part = batch.take(_arrow_indices(wanted[here] - block * BLOCK_ROWS)).to_pylist()
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


def prepare(config: PoolConfig, store: Store, *, progress: bool = True) -> Pool:
    """Read, check and order a pool once; later calls open what lies in the store."""
    config.check()
    artifact = store.require(
        "pool",
        config.source_identity(),
        lambda part: _write(config, part, progress),
    )
    return Pool(artifact, config.size)


def _write(config: PoolConfig, part: Path, progress: bool) -> dict[str, Any]:
    import pyarrow as pa

    message = pa.struct([("role", pa.string()), ("content", pa.string())])
    schema = pa.schema(
        [("id", pa.string()), ("dataset", pa.string()), ("messages", pa.list_(message))]
    )
    keys: list[int] = []
    datasets: dict[str, int] = {}
    codes: list[int] = []
    seen: set[int] = set()
    rejected = 0
    unordered = part / "unordered.arrow"
    with (
        pa.OSFile(str(unordered), "wb") as sink,
        pa.ipc.new_file(sink, schema) as writer,
        gzip.open(part / "rejects.jsonl.gz", "wt", encoding="utf-8") as rejects,
    ):
        block: list[dict[str, Any]] = []
        for where, stem, raw in _read(config, progress):
            try:
                row = parse_row(raw, default_dataset=stem, where=where)
                identity = _hash(row["id"])
                if identity in seen:
                    raise BadRow(f"the id {row['id']!r} occurs a second time")
            except BadRow as error:
                rejected += 1
                line = {"where": where, "reason": str(error)}
                rejects.write(json.dumps(line, ensure_ascii=False) + "\n")
                continue
            seen.add(identity)
            keys.append(_hash(f"{config.seed}:{row['id']}"))
            codes.append(datasets.setdefault(row["dataset"], len(datasets)))
            block.append(row)
            if len(block) == BLOCK_ROWS:
                writer.write(pa.RecordBatch.from_pylist(block, schema=schema))
                block = []
        if block:
            writer.write(pa.RecordBatch.from_pylist(block, schema=schema))
    if not keys:
        raise PoolError(
            f"pool.path={config.path} has no usable row ({rejected} were rejected). A row needs "
            "messages: a list of {role, content} with at least one assistant turn"
        )
    order = np.argsort(np.array(keys, dtype=np.uint64), kind="stable")
    if config.order == "balanced":
        order = order[_in_turns(np.array(codes, dtype=np.int64)[order])]
    _rewrite(unordered, part / "rows.arrow", schema, order)
    unordered.unlink()
    names = sorted(datasets)
    rename = np.empty(len(datasets), dtype=np.int32)
    for position, name in enumerate(names):
        rename[datasets[name]] = position
    np.save(part / "source_of.npy", rename[np.array(codes, dtype=np.int64)[order]])
    return {"rows": len(keys), "rejected": rejected, "sources": names}


def rewrite_without(pool: Pool, positions: np.ndarray, part: Path) -> dict[str, Any]:
    """Write a prepared pool anew without some of its rows, the others in their order.

    Returns:
        what ``Pool`` reads from an artifact's manifest.
    """
    import pyarrow as pa

    every = pool.whole()
    keep = np.setdiff1d(np.arange(every.total), positions)
    with pa.OSFile(str(every.path / "rows.arrow"), "rb") as stream:
        schema = pa.ipc.open_file(stream).schema
    _rewrite(every.path / "rows.arrow", part / "rows.arrow", schema, keep)
    np.save(part / "source_of.npy", every.source_of[keep])
    return {"rows": len(keep), "rejected": every.rejected, "sources": every.sources}


def _in_turns(codes: np.ndarray) -> np.ndarray:
    """Positions in which the sources take turns, each giving its rows in the order they stand."""
    by_source = np.argsort(codes, kind="stable")
    starts = np.searchsorted(codes[by_source], np.unique(codes))
    counts = np.diff([*starts, len(codes)])
    turn = np.empty(len(codes), dtype=np.int64)
    turn[by_source] = np.arange(len(codes)) - np.repeat(starts, counts)
    return np.argsort(turn, kind="stable")


def _rewrite(source: Path, target: Path, schema: pa.Schema, order: np.ndarray) -> None:
    """Copy an Arrow file with its rows in ``order``, one block in memory at a time."""
    import pyarrow as pa

    with pa.memory_map(str(source)) as stream:
        table = pa.ipc.open_file(stream).read_all()  # memory-mapped: nothing is loaded yet
        with pa.OSFile(str(target), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
            for start in range(0, len(order), BLOCK_ROWS):
                piece = table.take(_arrow_indices(order[start : start + BLOCK_ROWS]))
                writer.write(piece.combine_chunks().to_batches()[0])


def _arrow_indices(values: np.ndarray) -> pa.Array:
    import pyarrow as pa

    return pa.array(values.astype(np.int64))


def _read(config: PoolConfig, progress: bool) -> Iterator[tuple[str, str, Any]]:
    """Every raw row with where it stands ("file:line") and its file's stem."""
    if config.format == "hub":
        yield from _read_hub(config, progress)
        return
    from tqdm import tqdm

    from harness.progress import interactive, interval

    files = config.files()
    total = sum(path.stat().st_size for path in files)
    bar = tqdm(
        total=total,
        unit="B",
        unit_scale=True,
        desc="reading the pool",
        disable=not progress,
        leave=False,
        mininterval=interval(),
        delay=0 if interactive() else interval(),
    )
    with bar:
        for path in files:
            stem = path.name.split(".")[0]
            if _ending(path) == "parquet":
                rows: Iterator[tuple[int, Any]] = _read_parquet(path)
            else:
                rows = _read_lines(path)
            for number, raw in rows:
                yield f"{path.name}:{number}", stem, raw
            bar.update(path.stat().st_size)


def _read_lines(path: Path) -> Iterator[tuple[int, Any]]:
    # Mode "rb" and a decode a line: one bad byte costs one row, not the file.
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rb") as stream:
        for number, line in enumerate(stream, start=1):
            if not line.strip():
                continue
            try:
                yield number, json.loads(line.decode("utf-8"))
            except (UnicodeDecodeError, json.JSONDecodeError) as error:
                yield number, BadRow(f"not a line of JSON: {error}")


def _read_parquet(path: Path) -> Iterator[tuple[int, Any]]:
    import pyarrow.parquet as pq

    number = 0
    for batch in pq.ParquetFile(path).iter_batches(batch_size=BLOCK_ROWS):
        for raw in batch.to_pylist():
            number += 1
            yield number, raw


def _read_hub(config: PoolConfig, progress: bool) -> Iterator[tuple[str, str, Any]]:
    import datasets
    from tqdm import tqdm

    root = Path(config.path)
    try:
        if (root / "dataset_info.json").is_file() or (root / "dataset_dict.json").is_file():
            saved = datasets.load_from_disk(config.path)
            data = saved[config.split] if isinstance(saved, dict) else saved
        else:
            data = datasets.load_dataset(
                config.path, config.subset, split=config.split, revision=config.revision
            )
    except Exception as error:
        raise PoolError(
            f"pool.path={config.path} could not be read as a dataset of split "
            f"{config.split!r}: {error}. Without a network, give a folder saved with save_to_disk"
        ) from error
    stem = root.name
    for number, raw in enumerate(tqdm(data, desc="reading the pool", disable=not progress), 1):
        yield f"{config.path}:{number}", stem, raw


def _ending(path: Path) -> str | None:
    name = path.name
    if name.endswith((".jsonl", ".jsonl.gz")):
        return "jsonl"
    return "parquet" if name.endswith(".parquet") else None


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")
