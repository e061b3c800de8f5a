"""A pool's rows against the texts of a suite: found once, kept, counted, left out.

What is found lies in the store in row ranges of its own (``ROWS`` each, so that millions of rows
make hundreds of artifacts), named by the pool, the texts and the detector: it is computed once,
shared, resumed and extended like any feature of rows. Texts are an artifact too, so that a run that
finds all there reads no benchmark.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from harness.artifacts import Artifact, Store
from harness.contamination.index import RULES, Detector, Hits, Index
from harness.contamination.texts import PARTS, HasTexts, Text, outside_texts, suite_texts
from harness.memory import peak_memory_mb
from harness.pool import BLOCK_ROWS, Pool, PoolError, rewrite_without
from harness.ranges import ensure_ranges, load, range_identity, save
from harness.record import Contamination

ROWS = 16_384  # of one stored range
VERSION = 1  # of how texts are taken from benchmarks: raise it with texts.py
ARRAYS = ("row", "text", "rule", "share", "turn")


@dataclass(frozen=True)
class Texts:
    """The texts to look for, as an artifact: ``texts.jsonl.gz`` and ``group.npy`` (uint16).

    ``groups`` has a (benchmark, part) for each number of ``group``.
    """

    artifact: Artifact

    @property
    def digest(self) -> str:
        """Names the texts, wherever they were read from."""
        return str(self.artifact.info["digest"])

    @property
    def groups(self) -> list[tuple[str, str]]:
        """(benchmark, part), numbered as in ``group``."""
        return [(benchmark, part) for benchmark, part in self.artifact.info["groups"]]

    @cached_property
    def group(self) -> np.ndarray:
        """uint16 [texts]: position of each text's benchmark and part in ``groups``."""
        return np.load(self.artifact.path / "group.npy")

    def read(self) -> list[Text]:
        """All of them."""
        with gzip.open(self.artifact.path / "texts.jsonl.gz", "rt", encoding="utf-8") as stream:
            return [Text(*json.loads(line)) for line in stream]


def texts_of(suite: HasTexts, store: Store, *, outside: Path | None = None) -> Texts:
    """The texts of a suite's test items and queries, read once.

    Args:
        outside: a folder of benchmarks of which the sets that no suite scores are taken as well.
    """
    identity: dict[str, Any] = {"version": VERSION, "suite": suite.identity()["benchmarks"]}
    found: list[Text] | None = None
    if outside is not None:
        found = outside_texts(outside)
        identity["outside"] = _digest(found)

    def build(part: Path) -> dict[str, Any]:
        every = [*suite_texts(suite), *(found or [])]
        groups = sorted({(text.benchmark, text.part) for text in every})
        number = {group: i for i, group in enumerate(groups)}
        code = np.array([number[text.benchmark, text.part] for text in every], dtype=np.uint16)
        np.save(part / "group.npy", code)
        # mtime 0: the same texts are the same bytes
        with (
            (part / "texts.jsonl.gz").open("wb") as raw,
            gzip.GzipFile("", "wb", compresslevel=3, fileobj=raw, mtime=0) as stream,
        ):
            for text in every:
                stream.write(_line(text))
        return {"digest": _digest(every), "groups": groups, "texts": len(every)}

    return Texts(store.require("texts", identity, build))


def _digest(texts: Iterable[Text]) -> str:
    total = hashlib.sha256()
    for text in texts:
        total.update(_line(text))
    return total.hexdigest()[:16]


def _line(text: Text) -> bytes:
    return json.dumps([text.benchmark, text.part, text.id, text.text]).encode() + b"\n"


@dataclass(frozen=True)
class Found:
    """What was found in the rows in use of a pool.

    Attributes:
        row: int64, pool positions; the other arrays as in ``index.Hits``, ``text`` counting in the
            artifact's file.
        seconds: what finding it took, whenever it was done.
    """

    pool: Pool
    texts: Texts
    detector: Detector
    row: np.ndarray
    text: np.ndarray
    rule: np.ndarray
    share: np.ndarray
    turn: np.ndarray
    seconds: float

    @property
    def rows(self) -> np.ndarray:
        """int64: positions of the rows that hold a text, ascending."""
        return np.unique(self.row)

    def summary(self, mode: Literal["report", "remove"]) -> Contamination:
        """What a record says of it."""
        flagged = self.rows
        group = self.texts.group[self.text]
        counts: dict[str, dict[str, int]] = {}
        for number, (benchmark, part) in enumerate(self.texts.groups):
            here = counts.setdefault(benchmark, dict.fromkeys(PARTS, 0))
            here[part] = len(np.unique(self.row[group == number]))
        best = {rule: np.unique(self.row[self.rule == i]) for i, rule in enumerate(RULES)}
        rules, seen = {}, np.empty(0, np.int64)
        for rule, rows in best.items():
            rules[rule] = len(np.setdiff1d(rows, seen))
            seen = np.union1d(seen, rows)
        return Contamination(
            mode=mode,
            rows=self.pool.size,
            flagged=len(flagged),
            removed=len(flagged) if mode == "remove" else 0,
            benchmarks=counts,
            rules=rules,
            detector=self.detector.identity(),
            texts=len(self.texts.group),
            texts_digest=self.texts.digest,
            seconds=self.seconds,
        )

    def lines(self, only: Callable[[int], bool] = lambda _: True) -> Iterator[dict[str, Any]]:
        """One object a pair of row and text, in pool order: where, what, and by which rule."""
        texts = self.texts.read()
        order = np.lexsort((self.text, self.row))
        for start in range(0, len(order), BLOCK_ROWS):
            some = [int(i) for i in order[start : start + BLOCK_ROWS] if only(int(i))]
            for i, row in zip(some, self.pool.rows(self.row[some]), strict=True):
                text, turn = texts[self.text[i]], row.messages[self.turn[i]]
                yield {
                    "id": row.id,
                    "dataset": row.dataset,
                    "benchmark": text.benchmark,
                    "part": text.part,
                    "item": text.id,
                    "rule": RULES[self.rule[i]],
                    "share": round(float(self.share[i]), 4),
                    "turn": int(self.turn[i]),
                    "role": turn["role"],
                    "text": text.text,
                }


def scan(
    pool: Pool,
    texts: Texts,
    store: Store,
    *,
    detector: Detector | None = None,
    progress: bool = True,
) -> Found:
    """Look for the texts in the pool's rows in use; ranges that are in the store are read."""
    chosen = detector or Detector()
    identity = _identity(texts, chosen)
    index: list[Index] = []

    def ensure(rows: range, wait: bool, on_rows: Callable[[int, int], None]) -> Artifact | None:
        def build(part: Path) -> dict[str, Any]:
            start = time.perf_counter()
            if not index:  # built when the first range is missing, and not before
                index.append(Index(texts.read(), chosen))
            save(part, _search(index[0], pool, rows, on_rows))
            return {"seconds": time.perf_counter() - start, "peak_memory_mb": peak_memory_mb()}

        return store.ensure("contamination", range_identity(identity, pool, rows), build, wait=wait)

    kept = ensure_ranges(pool, ROWS, ensure, label="contamination", progress=progress)
    found: dict[str, list[np.ndarray]] = {name: [] for name in ARRAYS}
    for rows, artifact in kept.parts:
        row = load(artifact, "row").astype(np.int64) + rows.start
        for name in ARRAYS:
            values = row if name == "row" else load(artifact, name)
            found[name].append(values[row < pool.size])
    every = {name: np.concatenate(values) for name, values in found.items()}
    return Found(pool, texts, chosen, **every, seconds=kept.seconds)


def _identity(texts: Texts, detector: Detector) -> dict[str, Any]:
    return {"detector": detector.identity(), "texts": texts.digest}


def _search(
    index: Index, pool: Pool, rows: range, on_rows: Callable[[int, int], None]
) -> dict[str, np.ndarray]:
    found: list[Hits] = []
    starts = range(rows.start, rows.stop, BLOCK_ROWS)
    for start in starts:
        block = range(start, min(start + BLOCK_ROWS, rows.stop))
        hits = index.search(*pool.turns(block))
        hits.row[:] += start - rows.start
        found.append(hits)
        on_rows(len(block), 0)
    return {name: np.concatenate([getattr(hits, name) for hits in found]) for name in ARRAYS}


def remove(
    pool: Pool,
    texts: Texts,
    store: Store,
    *,
    size: int | None = None,
    detector: Detector | None = None,
    progress: bool = True,
) -> Pool:
    """The pool without the rows that hold a text: a pool of its own, in the same order.

    All rows are looked at, not only those in use, so every smaller pool stays a prefix and a size
    counts rows that are left. ``contaminated.jsonl.gz`` in its folder lists what was left out.

    Args:
        size: rows to use, of those that are left; None for all.

    Raises:
        PoolError: no row is left, or fewer than ``size``.
    """
    chosen = detector or Detector()
    identity = {"version": 1, "without": _identity(texts, chosen), "of": pool.digest}

    def build(part: Path) -> dict[str, Any]:
        found = scan(pool.whole(), texts, store, detector=chosen, progress=progress)
        flagged = found.rows
        if len(flagged) == pool.total:
            raise PoolError(
                f"each of the pool's {pool.total:,} rows holds a benchmark text; nothing would be "
                "left. Look with python -m harness.contamination, or set pool.contamination=report"
            )
        with gzip.open(part / "contaminated.jsonl.gz", "wt", encoding="utf-8") as stream:
            for line in found.lines():
                stream.write(json.dumps(line, ensure_ascii=False) + "\n")
        info = rewrite_without(pool, flagged, part)
        return {**info, "contamination": found.summary("remove").model_dump(mode="json")}

    return Pool(store.require("pool", identity, build), size)
