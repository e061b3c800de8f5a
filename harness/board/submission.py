"""A submission: records, per-item results and orderings as plain data, in a folder or a zip.

    submission.json                      format, and sha256 and size of every other file
    records/<run_id>.json
    runs/<run_id>/items/<benchmark>.jsonl.gz
    runs/<run_id>/selection.jsonl.gz     rank, id, dataset, score, position of every pick

Nothing else belongs into it. Nothing is unpacked to disk, no link is followed, and no more is read
than the limits below: a submission comes from strangers.
"""

from __future__ import annotations

import hashlib
import json
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

FORMAT = 1
MANIFEST = "submission.json"
MAX_FILES = 200_000
MAX_FILE = 1 << 28  # bytes of one file as it lies there; what gzip hides has its own limit
MAX_TOTAL = 1 << 33
ALLOWED = (".json", ".jsonl.gz")


class SubmissionError(ValueError):
    """What is handed in cannot be read safely; the message says what and why."""


class Source(Protocol):
    """Files of a submission by name."""

    def names(self) -> list[str]:
        """All files, sorted."""

    def read(self, name: str) -> bytes:
        """The bytes of one.

        Raises:
            SubmissionError: it is not there, or larger than MAX_FILE.
        """


def open_source(path: Path) -> Source:
    """A folder or a zip file as a source.

    Raises:
        SubmissionError: neither, or one that holds what no submission may hold.
    """
    if path.is_dir():
        return _Folder(path)
    if path.is_file() and zipfile.is_zipfile(path):
        return _Zip(path)
    raise SubmissionError(f"{path} is neither a folder nor a zip file")


def safe_name(name: str) -> bool:
    """Whether a name stays inside the folder that it is read from, on any system."""
    pure = PurePosixPath(name)
    return (
        bool(name)
        and name == pure.as_posix()
        and not pure.is_absolute()
        and not {"..", "."} & set(pure.parts)
        and not set(name) & set('\\:*?"<>|')
        and name.isprintable()
        and len(name) < 500
    )


class _Folder:
    def __init__(self, root: Path) -> None:
        self.root = root
        self._names: set[str] = set()
        for path in root.rglob("*"):
            name = path.relative_to(root).as_posix()
            if path.is_symlink():
                raise SubmissionError(f"{name} is a link")
            if path.is_dir():
                continue
            if not path.is_file():
                raise SubmissionError(f"{name} is no plain file")
            self._names.add(name)
            if len(self._names) > MAX_FILES:
                raise SubmissionError(f"more than {MAX_FILES:,} files")

    def names(self) -> list[str]:
        return sorted(self._names)

    def read(self, name: str) -> bytes:
        if name not in self._names:
            raise SubmissionError(f"no file {name}")
        path = self.root / name
        if path.stat().st_size > MAX_FILE:
            raise SubmissionError(f"{name} is larger than {MAX_FILE:,} bytes")
        return path.read_bytes()


class _Zip:
    def __init__(self, path: Path) -> None:
        try:
            self._archive = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError, ValueError) as error:
            raise SubmissionError(f"{path} is no readable zip file ({error})") from error
        self._entries: dict[str, zipfile.ZipInfo] = {}
        entries = self._archive.infolist()
        if len(entries) > MAX_FILES:
            raise SubmissionError(f"more than {MAX_FILES:,} files")
        for entry in entries:
            kind = stat.S_IFMT(entry.external_attr >> 16)
            if entry.is_dir() and safe_name(entry.filename.rstrip("/")):
                continue
            if not safe_name(entry.filename) or kind not in (0, stat.S_IFREG):
                raise SubmissionError(f"entry {entry.filename!r} leads out of the archive")
            if entry.filename in self._entries:
                raise SubmissionError(f"two entries are called {entry.filename}")
            self._entries[entry.filename] = entry
        if sum(entry.file_size for entry in entries) > MAX_TOTAL:
            raise SubmissionError(f"more than {MAX_TOTAL:,} bytes unpacked")

    def names(self) -> list[str]:
        return sorted(self._entries)

    def read(self, name: str) -> bytes:
        if name not in self._entries:
            raise SubmissionError(f"no file {name}")
        try:
            with self._archive.open(self._entries[name]) as stream:
                data = stream.read(MAX_FILE + 1)  # whatever size the entry claims
        except (zipfile.BadZipFile, zlib.error, RuntimeError, OSError, EOFError) as error:
            raise SubmissionError(f"{name} is damaged or encrypted ({error})") from error
        if len(data) > MAX_FILE:
            raise SubmissionError(f"{name} is larger than {MAX_FILE:,} bytes")
        return data


def parse_json(data: bytes, name: str) -> Any:
    """JSON of strangers.

    Raises:
        SubmissionError: it is none, or nested without end.
    """
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise SubmissionError(f"{name} is no JSON ({error})") from error


def describe(data: bytes) -> dict[str, Any]:
    """A file's entry in the manifest."""
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
