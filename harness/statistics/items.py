"""Per-item results of runs, read once: bounded, confined to the sweep's folder, and cached.

What is kept of an item file is the score of every item (fp32) and which items they are. The cache
(``.board_items.npz`` in the folder of a sweep) holds just that, by path, size and modification time
of the file; it is written when many items were read, left out silently where nothing can be
written, and never holds more than the files say: deleting it changes no number.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from harness.files import digest

CACHE = ".board_items.npz"
CACHE_FROM = 100_000  # newly read items from which on a cache pays
MIN_GROUPS = 8  # clusters; fewer say too little of their own spread
MAX_UNPACKED = 1 << 27  # bytes of one item file, unpacked
_VERSION = 2


class ItemError(ValueError):
    """A per-item file that is missing, outside its folder, too large or damaged."""


@dataclass(frozen=True)
class ItemSet:
    """Which items were asked. A key is the item's id and the hash of its rendered prompt.

    Attributes:
        keys: one a row, unique.
        groups: subject, subtask or language of each; "" where there is none.
        digest: of all.
        clusters: the article or the like of each, where items share more than their group.
    """

    keys: tuple[str, ...]
    groups: tuple[str, ...]
    digest: str
    clusters: tuple[str, ...] = ()

    @cached_property
    def labels(self) -> np.ndarray:
        """int [items]: the number of each item's group."""
        return _numbered(self.groups)

    @cached_property
    def cluster_labels(self) -> np.ndarray:
        """int [items]: the number of each item's cluster; its group where it has none."""
        clusters = self.clusters or ("",) * len(self.groups)
        pairs = zip(clusters, self.groups, strict=True)
        return _numbered([cluster or group for cluster, group in pairs])

    @cached_property
    def members(self) -> np.ndarray:
        """int [groups]: items in each group."""
        return np.bincount(self.labels)


@dataclass(frozen=True)
class ItemScores:
    """One run's scores on one benchmark: fp32 [items] in [0, 1], in the order of ``items``.

    Items that a judge gave no verdict on are not among them.
    """

    items: ItemSet
    values: np.ndarray

    @cached_property
    def means(self) -> dict[str, float]:
        """Mean over ``items``, and unweighted mean over ``groups``, in percent."""
        sums = np.bincount(self.items.labels, weights=self.values)
        total = float(sums.sum()) / len(self.values)
        return {"items": 100 * total, "groups": 100 * float((sums / self.items.members).mean())}


def _numbered(names: Sequence[str]) -> np.ndarray:
    number = {name: at for at, name in enumerate(dict.fromkeys(names))}
    return np.array([number[name] for name in names])


def inside(root: Path, relative: str) -> Path:
    """``root / relative``.

    Raises:
        ItemError: the path is absolute, or leads out of ``root``, be it by a link.
    """
    pure = PurePosixPath(relative)
    if not relative or pure.is_absolute() or ".." in pure.parts or "\\" in relative:
        raise ItemError(f"{relative!r} is no path inside the folder of the records")
    path = root / pure
    if not _within(root, path.parent) or path.is_symlink():
        raise ItemError(f"{relative!r} leads out of the folder of the records")
    return path


@lru_cache(maxsize=4096)
def _within(root: Path, folder: Path) -> bool:
    return folder.resolve().is_relative_to(root.resolve())


def unpack(data: bytes, limit: int = MAX_UNPACKED) -> bytes:
    """The content of gzip data, of which at most ``limit`` bytes are ever unpacked.

    Raises:
        ItemError: it is larger, or damaged.
    """
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as stream:
            content = stream.read(limit + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise ItemError(f"damaged gzip data ({error})") from error
    if len(content) > limit:
        raise ItemError(f"more than {limit:,} bytes unpacked")
    return content


def parse_rows(data: bytes) -> list[dict[str, Any]]:
    """The rows of an unpacked item file.

    Raises:
        ItemError: a line is no JSON object with the fields of an item, each of its type.
    """
    lines = [line for line in data.decode("utf-8", "replace").split("\n") if line.strip()]
    try:
        rows = json.loads(f"[{','.join(lines)}]")  # a third of the time of line by line
        if len(rows) == len(lines) and all(map(_is_row, rows)):
            return rows
    except (ValueError, RecursionError):
        pass
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ItemError(f"row {number} is no JSON ({error})") from error
        if not _is_row(row):
            raise ItemError(
                f"row {number} is no item: item_id, subject and cluster must be text, score a "
                f"number from 0 to 1 or null, found {str(row)[:80]}"
            )
    raise ItemError("not one JSON object a line")


def _is_row(row: Any) -> bool:
    if not isinstance(row, dict):
        return False
    value = row.get("score")
    if value is None and "score" in row:  # no verdict on this item
        value = 0
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return (
        isinstance(row.get("item_id"), str)
        and isinstance(row.get("subject"), str)
        and isinstance(row.get("cluster", ""), str)
        and number
        and 0 <= value <= 1  # type: ignore[operator]  # NaN is not
    )


def read_item_scores(path: Path, known: dict[str, ItemSet] | None = None) -> ItemScores:
    """Scores of one file; items without a verdict (null) are left out, as they are of the mean.

    Args:
        path: ``<benchmark>.jsonl.gz``.
        known: item sets by digest; a set that is there already is taken, else added.

    Raises:
        ItemError: missing, too large or damaged.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ItemError(f"{error.strerror or error}") from error
    rows = [row for row in parse_rows(unpack(data)) if row["score"] is not None]
    keys = tuple(f"{row['item_id']}\n{row.get('prompt_hash', '')}" for row in rows)
    if len(set(keys)) != len(keys) or not keys:
        raise ItemError("two rows are the same item" if keys else "no scored item")
    groups = tuple(row["subject"] for row in rows)
    clusters = tuple(row.get("cluster", "") for row in rows)
    clusters = clusters if any(clusters) else ()
    parts = [keys, groups, clusters] if clusters else [keys, groups]
    name = digest([json.dumps(part) for part in parts])  # ids may hold what UTF-8 has no form for
    known = {} if known is None else known
    items = known.setdefault(name, ItemSet(keys, groups, name, clusters))
    return ItemScores(items, np.array([row["score"] for row in rows], dtype=np.float32))


@dataclass
class _Cache:
    """What was read of one sweep's folder, by the file's path below it."""

    files: dict[str, tuple[int, int, ItemScores]] = field(default_factory=dict)
    fresh: int = 0  # items read that the cache file lacks


class ItemStore:
    """Item scores of many runs; every file is read at most once.

    Attributes:
        problems: what could not be read, by path.
    """

    def __init__(self) -> None:
        self.problems: dict[str, str] = {}
        self._sets: dict[str, ItemSet] = {}
        self._caches: dict[Path, _Cache] = {}

    def scores(self, root: Path, relative: str) -> ItemScores | None:
        """Of the file ``relative`` to the sweep's folder; None (and a problem) if unreadable."""
        cache = self._caches.get(root)
        if cache is None:
            cache = self._caches[root] = self._load(root)
        try:
            path = inside(root, relative)
            try:
                stat = path.stat()
            except OSError as error:
                raise ItemError(f"{error.strerror or error}") from error
            size, changed = stat.st_size, stat.st_mtime_ns
            entry = cache.files.get(relative)
            if entry is None or entry[:2] != (size, changed):
                entry = (size, changed, read_item_scores(path, self._sets))
                cache.files[relative] = entry
                cache.fresh += len(entry[2].values)
            return entry[2]
        except ItemError as error:
            self.problems[f"{root / relative}"] = str(error)
            return None

    def save(self) -> None:
        """Write the caches of folders in which much was read."""
        for root, cache in self._caches.items():
            if cache.fresh >= CACHE_FROM:
                _write(root / CACHE, cache)
                cache.fresh = 0

    def _load(self, root: Path) -> _Cache:
        """The cache of a folder; an empty one if there is none that can be used."""
        cache = _Cache()
        try:
            with np.load(root / CACHE, allow_pickle=False) as stored:
                index = json.loads(stored["index"].tobytes())
                values = stored["values"]
            if index["version"] != _VERSION or values.dtype != np.float32:
                return cache
            sets = {
                name: ItemSet(tuple(keys), tuple(groups), name, tuple(clusters))
                for name, (keys, groups, clusters) in index["sets"].items()
            }
            for name, (size, changed, chosen, start, count) in index["files"].items():
                part = values[start : start + count]
                if len(part) != len(sets[chosen].keys):
                    return _Cache()
                items = self._sets.setdefault(chosen, sets[chosen])
                cache.files[name] = (size, changed, ItemScores(items, part))
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
            return _Cache()
        return cache


def _write(path: Path, cache: _Cache) -> None:
    files: dict[str, list[Any]] = {}
    sets: dict[str, list[Any]] = {}
    start = 0
    for name, (size, changed, scores) in sorted(cache.files.items()):
        files[name] = [size, changed, scores.items.digest, start, len(scores.values)]
        sets[scores.items.digest] = [
            scores.items.keys, scores.items.groups, scores.items.clusters
        ]  # fmt: skip
        start += len(scores.values)
    index = json.dumps({"version": _VERSION, "files": files, "sets": sets}).encode()
    values = np.concatenate([scores.values for _, _, scores in (cache.files[n] for n in files)])
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as stream:
            np.savez(stream, index=np.frombuffer(index, dtype=np.uint8), values=values)
        os.replace(part, path)
    except OSError:  # a folder that only may be read; the next board reads the files again
        part.unlink(missing_ok=True)
