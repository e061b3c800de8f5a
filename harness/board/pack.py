"""Making a submission from a folder of runs: plain data, the same bytes for the same runs.

Records are packed without local paths (harness/board/paths.py).
"""

from __future__ import annotations

import gzip
import json
import math
import os
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from harness.board.paths import without_paths
from harness.board.submission import FORMAT, MANIFEST, SubmissionError, describe, safe_name
from harness.record import Record, find_records, read_record
from harness.statistics.items import ItemError, inside

Write = Callable[[str, bytes], None]

_EPOCH = (1980, 1, 1, 0, 0, 0)


def pack(folder: Path, out: Path) -> int:
    """Write a submission of all finished runs below ``folder``.

    Args:
        folder: searched for records, at any depth.
        out: a new or empty folder, or a name that ends in ``.zip``.

    Returns:
        the number of runs.

    Raises:
        SubmissionError: no finished run, or one that lacks what a submission needs.
        RecordError: a file that should be a record is none.
        FileNotFoundError: ``folder`` does not exist.
    """
    if out.is_dir() and any(out.iterdir()):
        raise SubmissionError(f"{out} is not empty; name a new folder or a .zip file")
    files: dict[str, dict[str, Any]] = {}
    runs = 0
    with _zip(out) if out.suffix == ".zip" else nullcontext(_folder(out)) as write:
        for name, data in _contents(folder):
            runs += name.startswith("records/")
            files[name] = describe(data)
            write(name, data)
        if not runs:
            raise SubmissionError(f"{folder} holds no finished run")
        manifest = {"format": FORMAT, "files": dict(sorted(files.items()))}
        write(MANIFEST, (json.dumps(manifest, indent=1, sort_keys=True) + "\n").encode())
    return runs


def _contents(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Names and bytes of all files but the manifest, in a fixed order."""
    done: dict[str, tuple[Record, Path]] = {}
    for path in find_records(folder):
        record = read_record(path)
        if record.status == "done":
            done.setdefault(record.run_id, (record, path.parent.parent))
    for run_id, (record, root) in sorted(done.items()):
        if not safe_name(run_id) or "/" in run_id:
            raise SubmissionError(f"{run_id!r} cannot be the name of a file")
        scores = {}
        for name, score in record.scores.items():
            items = f"runs/{run_id}/items/{name}.jsonl.gz"
            if score.items is None or not safe_name(items):
                raise SubmissionError(f"{run_id} has no per-item results of {name}")
            try:
                data = inside(root, score.items).read_bytes()
            except (OSError, ItemError) as error:
                raise SubmissionError(f"{run_id}: per-item results of {name}: {error}") from error
            scores[name] = score.model_copy(update={"items": items})
            yield items, data
        if record.budget:
            yield f"runs/{run_id}/selection.jsonl.gz", _selection(root / "runs" / run_id)
        packed = without_paths(record.model_copy(update={"scores": scores}))
        yield f"records/{run_id}.json", (packed.model_dump_json(indent=1) + "\n").encode()


def _selection(folder: Path) -> bytes:
    """The run's own table of its picks as JSON lines."""
    import pyarrow.parquet as pq

    path = folder / "selection.parquet"
    if not path.is_file():
        raise SubmissionError(f"{path} is missing: what was selected is part of a submission")
    lines = []
    for row in pq.read_table(path).to_pylist():
        score = row["score"]
        row["score"] = score if score is not None and math.isfinite(score) else None
        lines.append(json.dumps(row, ensure_ascii=False) + "\n")
    return gzip.compress("".join(lines).encode(), mtime=0)


def _folder(out: Path) -> Write:
    def write(name: str, data: bytes) -> None:
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    return write


@contextmanager
def _zip(out: Path) -> Iterator[Write]:
    """Entries without a date, so that the same runs give the same bytes; whole or not at all."""
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(f"{out.name}.part")
    try:
        with zipfile.ZipFile(part, "w") as archive:

            def write(name: str, data: bytes) -> None:
                entry = zipfile.ZipInfo(name, _EPOCH)
                entry.external_attr = 0o100644 << 16
                kind = zipfile.ZIP_STORED if name.endswith(".gz") else zipfile.ZIP_DEFLATED
                archive.writestr(entry, data, kind)

            yield write
        os.replace(part, out)
    finally:
        part.unlink(missing_ok=True)
