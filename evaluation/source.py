"""Where benchmark data comes from: a folder of raw files, or Hugging Face data sets."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class DataError(ValueError):
    """Benchmark data that is missing or unusable; the message says which, where and what to do."""


@dataclass(frozen=True)
class Source:
    """A folder laid out as described in ``evaluation/README.md``, or the hub.

    Attributes:
        folder: the folder; ``None`` means that each benchmark reads its hub data set.
    """

    folder: Path | None

    @property
    def is_hub(self) -> bool:
        """Whether data sets are read by their hub id."""
        return self.folder is None

    def file(self, name: str, remedy: str) -> Path:
        """The file ``name`` below the folder.

        Raises:
            DataError: it is not there; ``remedy`` says how to get it.
        """
        assert self.folder is not None
        path = self.folder / name
        if not path.is_file():
            raise DataError(
                f"suite.data: no file {name} in {self.folder} (looked for {path}); {remedy}, "
                "or set suite.data=hub to read the data sets from the Hugging Face hub"
            )
        return path

    def files(self, pattern: str, remedy: str) -> list[Path]:
        """All files below the folder that match ``pattern``, sorted by name; at least one."""
        assert self.folder is not None
        paths = sorted(self.folder.glob(pattern))
        if not paths:
            raise DataError(
                f"suite.data: no file {pattern} in {self.folder}; {remedy}, "
                "or set suite.data=hub to read the data sets from the Hugging Face hub"
            )
        return paths


def read_text(path: Path) -> str:
    """A text file's content, unpacked if its name ends in ``.gz``."""
    data = path.read_bytes()
    return (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8")


def read_json(path: Path) -> Any:
    """A JSON file, packed or not.

    Raises:
        DataError: the file is damaged.
    """
    try:
        return json.loads(read_text(path))
    except (json.JSONDecodeError, UnicodeDecodeError, gzip.BadGzipFile, EOFError) as error:
        raise DataError(f"{path}: not readable as JSON ({error}); fetch the file again") from error


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSON-lines file, packed or not; blank lines are skipped.

    Raises:
        DataError: a line is no JSON; the message names it.
    """
    return list(_jsonl(path))


def _jsonl(path: Path) -> Iterator[dict[str, Any]]:
    try:
        lines = read_text(path).split("\n")  # splitlines would also cut at U+2028 inside a text
    except (UnicodeDecodeError, gzip.BadGzipFile, EOFError) as error:
        raise DataError(f"{path}: not readable ({error}); fetch the file again") from error
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                yield json.loads(line)
            except json.JSONDecodeError as error:
                raise DataError(f"{path}, line {number}: no JSON ({error})") from error


def read_hub(
    path: str, split: str, *, name: str | None = None, revision: str | None = None
) -> list[dict[str, Any]]:
    """One split of a hub data set, or of a local folder laid out like one.

    Raises:
        DataError: it cannot be had (no network, not in the cache, no such split).
    """
    import datasets

    try:
        data = datasets.load_dataset(path, name, split=split, revision=revision)
    except Exception as error:  # the library raises a dozen kinds; all mean: no data
        part = f" ({name})" if name else ""
        raise DataError(
            f"data set {path}{part}, split {split}: {error}. Check the network, or fetch it into "
            "the cache first (HF_HUB_OFFLINE=1 then reads only that), or give a folder of files "
            "with suite.data=DIR"
        ) from error
    return list(data)
