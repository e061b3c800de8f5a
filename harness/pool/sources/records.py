"""The records of a source's files, one at a time: JSON lines, JSON arrays, Parquet, TSV, Excel."""

from __future__ import annotations

import csv
import gzip
import io
import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any
from xml.etree import ElementTree

from harness.pool.config import PoolError
from harness.pool.table import BLOCK_ROWS

CHUNK = 1 << 20  # characters of a JSON array read at a time
LONGEST_FIELD = 1 << 27  # of a TSV file; Python's own limit is 128 KiB


def records(path: Path) -> Iterator[dict[str, Any]]:
    """Every record of a file, in its order.

    Raises:
        PoolError: the file's ending is not known, or what is in it cannot be read.
    """
    name = path.name.removesuffix(".gz")
    reader = next((READERS[ending] for ending in READERS if name.endswith(ending)), None)
    if reader is None:
        raise PoolError(f"{path}: can be read are {', '.join(READERS)}, the first two also as .gz")
    number = 0
    try:
        for number, record in enumerate(reader(path), start=1):  # noqa: B007
            yield record
    except (ValueError, KeyError, OSError, EOFError, csv.Error, zipfile.BadZipFile) as error:
        raise PoolError(f"{path}, after record {number}: {error}") from error


def _open(path: Path) -> IO[str]:
    if path.suffix == ".gz":
        return io.TextIOWrapper(gzip.open(path, "rb"), encoding="utf-8")
    return path.open(encoding="utf-8", newline="")


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with _open(path) as stream:
        for line in stream:
            if line.strip():
                yield json.loads(line)


def _array(path: Path) -> Iterator[dict[str, Any]]:
    """The elements of one big array, without holding it."""
    decoder = json.JSONDecoder()
    with _open(path) as stream:
        buffer, place = stream.read(CHUNK), 0
        if not buffer.lstrip().startswith("["):
            raise ValueError("the file is no JSON array")
        place = buffer.index("[") + 1
        while True:
            while place < len(buffer) and buffer[place] in " \t\r\n,":
                place += 1
            if buffer[place : place + 1] == "]":
                return
            try:
                if place == len(buffer):
                    raise json.JSONDecodeError("the array does not end", buffer[-40:], 0)
                record, place = decoder.raw_decode(buffer, place)
            except json.JSONDecodeError:
                # Doubling what is read keeps a record longer than a chunk from costing its square.
                more = stream.read(max(CHUNK, len(buffer) - place))
                if not more:
                    raise
                buffer, place = buffer[place:] + more, 0
                continue
            yield record


def _parquet(path: Path) -> Iterator[dict[str, Any]]:
    import pyarrow.parquet as pq

    for batch in pq.ParquetFile(path).iter_batches(batch_size=BLOCK_ROWS):
        yield from batch.to_pylist()


def _table(path: Path) -> Iterator[dict[str, Any]]:
    csv.field_size_limit(LONGEST_FIELD)
    with _open(path) as stream:
        yield from csv.DictReader(stream, delimiter="\t")


def _sheet(path: Path) -> Iterator[dict[str, Any]]:
    """The first sheet of an Excel file; its first row names the fields."""
    with zipfile.ZipFile(path) as archive:
        shared: list[str] = []
        if "xl/sharedStrings.xml" in archive.namelist():
            root = ElementTree.fromstring(archive.read("xl/sharedStrings.xml"))
            shared = [_text(item) for item in root]
        sheet = ElementTree.fromstring(archive.read("xl/worksheets/sheet1.xml"))
    names: dict[str, str] = {}
    for row in sheet.iterfind(".//{*}row"):
        cells = {
            cell.get("r", "").rstrip("0123456789"): _cell(cell, shared)
            for cell in row.iterfind("{*}c")
        }
        if not names:
            names = {column: name for column, name in cells.items() if name}
        elif any(cells.values()):
            yield {name: cells.get(column) for column, name in names.items()}


def _cell(cell: ElementTree.Element, shared: list[str]) -> str | None:
    if cell.get("t") == "inlineStr":
        return _text(cell)
    value = cell.findtext("{*}v")
    return shared[int(value)] if cell.get("t") == "s" and value is not None else value


def _text(element: ElementTree.Element) -> str:
    return "".join(part.text or "" for part in element.iter() if part.tag.endswith("}t"))


READERS: dict[str, Callable[[Path], Iterator[dict[str, Any]]]] = {
    ".jsonl": _lines,
    ".json": _array,
    ".parquet": _parquet,
    ".tsv": _table,
    ".xlsx": _sheet,
}
