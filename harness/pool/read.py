"""The raw rows of a pool's source files, one at a time, each with where it stands."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.pool.config import PoolConfig, PoolError, ending
from harness.pool.table import BLOCK_ROWS
from harness.rows import BadRow


def read(config: PoolConfig, progress: bool) -> Iterator[tuple[str, str, Any]]:
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
            if ending(path) == "parquet":
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
