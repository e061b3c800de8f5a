"""Small promises about files: written whole or not at all, hashed, named by content."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def write_atomic(path: Path, text: str) -> None:
    """Write ``text`` so that a reader sees the old file or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with part.open("w", encoding="utf-8", newline="\n") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def canonical_json(data: Any) -> str:
    """``data`` as JSON with sorted keys and no blanks: equal data give equal text."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest(data: Any, length: int = 16) -> str:
    """Hex sha256 of ``data``'s canonical JSON, cut to ``length`` characters."""
    return hashlib.sha256(canonical_json(data).encode()).hexdigest()[:length]


_FILE_DIGESTS: dict[tuple[str, int, int], str] = {}


def file_digest(path: Path) -> str:
    """Hex sha256 of a file's bytes; remembered in this process by path, size and mtime."""
    stat = path.stat()
    key = (str(path.resolve()), stat.st_size, stat.st_mtime_ns)
    if key not in _FILE_DIGESTS:
        with path.open("rb") as stream:
            _FILE_DIGESTS[key] = hashlib.file_digest(stream, "sha256").hexdigest()
    return _FILE_DIGESTS[key]


def files_digest(files: Mapping[str, Path]) -> str:
    """One digest for named files, which depends on names and bytes but not on where they lie."""
    return digest({name: file_digest(path) for name, path in sorted(files.items())})


def fsync_tree(folder: Path) -> None:
    """Flush every file below ``folder``, and the folders, to the disk."""
    for path in [*folder.rglob("*"), folder]:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
