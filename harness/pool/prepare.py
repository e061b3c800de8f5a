"""The pool on disk: every row checked once, in the order of a hash of (pool seed, row id)."""

from __future__ import annotations

import gzip
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.artifacts import Store
from harness.pool.config import PoolConfig, PoolError
from harness.pool.read import read
from harness.pool.table import BLOCK_ROWS, Pool, arrow_indices
from harness.rows import BadRow, parse_row

if TYPE_CHECKING:
    import pyarrow as pa


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
        for where, stem, raw in read(config, progress):
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
                piece = table.take(arrow_indices(order[start : start + BLOCK_ROWS]))
                writer.write(piece.combine_chunks().to_batches()[0])


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")
