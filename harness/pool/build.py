"""Build a pool from its public sources: read, convert, leave out duplicates, count, compare.

Sources are read one after the other in the recipe's order, their rows written in shards of
100,000; whoever stops and starts again goes on after the last finished shard. A source's rows
depend on those before it (of two equal ones the first stays), so a source is built anew if its
files, its form or anything before it changed.

Rows have ``id`` (the source's name and a number: the conversation's place in the source's files),
``dataset`` and ``messages``. What is not in the source's form is counted with its reason; what has
the form but cannot be trained on (a blank turn, say) stays here, as in the paper's pool, and is
listed when the pool is first used.
"""

from __future__ import annotations

import hashlib
import itertools
import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout
from tqdm import tqdm

from harness.files import canonical_json, digest, write_atomic
from harness.pool.config import PoolError
from harness.pool.duplicates import Seen, as_array, key
from harness.pool.fetch import find_files, folder_of
from harness.pool.recipe import Origin, Recipe, Source
from harness.pool.shards import SHARD_ROWS, Counts, Shards
from harness.pool.sources.records import records
from harness.progress import interactive, interval
from harness.rows import BadRow

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger(__name__)

GROUP_ROWS = 4096  # conversations looked up and written at once
REASONS = 100  # kept of a source's rejected records
_SAMPLED = 1 << 20  # bytes of a file's beginning and end that stand for the whole


@dataclass(frozen=True)
class Built:
    """What a source came to.

    Attributes:
        name: the source's.
        counts: of it.
        reference: rows that the paper had; None where only a part of the source was read.
        note: the recipe's.
    """

    name: str
    counts: Counts
    reference: int | None
    note: str

    @property
    def difference(self) -> int:
        """Rows more (or, negative, fewer) than the paper had."""
        return 0 if self.reference is None else self.counts.rows - self.reference


def build(
    recipe: Recipe,
    out: Path,
    *,
    local: Path | None = None,
    only: Sequence[str] = (),
    limit: int | None = None,
    shard_rows: int = SHARD_ROWS,
    progress: bool = True,
) -> list[Built]:
    """Build ``recipe`` in ``out``, or what is missing of it.

    Args:
        recipe: what to build.
        out: holds a folder of shards a source, and at the end ``manifest.json``.
        local: read the sources here and download nothing (see ``fetch``).
        only: these sources; all if there are none.
        limit: read this many records a source; counts are not compared then.
        shard_rows: rows of a shard.
        progress: show a bar.

    Raises:
        PoolError: a source cannot be had or read, or ``out`` holds something else.
    """
    unknown = sorted(set(only) - set(recipe.sources))
    if unknown:
        raise PoolError(
            f"{recipe.name} has no source {', '.join(unknown)}. "
            f"There are: {', '.join(recipe.sources)}"
        )
    chosen = {name: s for name, s in recipe.sources.items() if not only or name in only}
    out.mkdir(parents=True, exist_ok=True)
    others = sorted(
        path.name for path in out.iterdir() if path.is_dir() and path.name not in chosen
    )
    others = [name for name in others if name != "downloads"]
    if others:
        raise PoolError(
            f"{out} holds {', '.join(others)} besides, which would be part of the pool: give "
            "another --out, or remove them"
        )
    try:
        with FileLock(out / ".lock", timeout=0):
            return _build(recipe, chosen, out, local, limit, shard_rows, progress)
    except Timeout as error:
        raise PoolError(f"{out} is being built by another process") from error


def _build(
    recipe: Recipe,
    chosen: dict[str, Source],
    out: Path,
    local: Path | None,
    limit: int | None,
    shard_rows: int,
    progress: bool,
) -> list[Built]:
    (out / "manifest.json").unlink(missing_ok=True)
    downloads = out / "downloads"
    # All files first: what is missing shows before hours of work.
    files = {name: find_files(s.origin, local, downloads) for name, s in chosen.items()}

    def folders(repo: str) -> Path:
        return folder_of(Origin(repo=repo, files=["*"], kind="model"), local, downloads)

    seen = Seen()
    before = ""
    built: list[Built] = []
    for name, source in chosen.items():
        form = source.form.model_dump(mode="json")
        inputs = [_fingerprint(path) for path in files[name]]
        before = digest(
            {"version": 1, "name": name, "form": form, "files": inputs, "limit": limit,
             "before": before}
        )  # fmt: skip
        shards = Shards(out / name, before)
        for keys in shards.kept_keys():
            seen.add(keys)
        if not shards.finished:
            convert = source.form.converter(folders)
            every = itertools.chain.from_iterable(map(records, files[name]))
            rows = itertools.islice(every, shards.counts.records, limit)
            with _bar(name, shards.counts.records, progress) as bar:
                _fill(shards, name, (bar(convert, record) for record in rows), seen, shard_rows)
        reference = source.rows if limit is None else None
        built.append(Built(name, shards.counts, reference, source.note))
        log.info("%s: %s rows", name, f"{shards.counts.rows:,}")
    manifest = {
        "recipe": recipe.name,
        "identity": before,
        "rows": sum(one.counts.rows for one in built),
        "reference_rows": recipe.rows if len(chosen) == len(recipe.sources) else None,
        "limit": limit,
        "sources": {
            one.name: {
                **asdict(one.counts),
                "reference_rows": one.reference,
                "difference": one.difference,
                "note": one.note,
            }
            for one in built
        },
    }
    write_atomic(out / "manifest.json", canonical_json(manifest) + "\n")
    return built


def _fill(
    shards: Shards,
    name: str,
    found: Iterator[list[list[dict[str, Any]]] | BadRow],
    seen: Seen,
    shard_rows: int,
) -> None:
    """Write the rest of a source."""
    counts = replace(shards.counts, reasons=list(shards.counts.reasons))
    schema = _schema()
    shard = shards.open(schema)
    group: list[tuple[str, list[dict[str, Any]]]] = []
    hashes: list[bytes] = []

    def write() -> None:
        keys = as_array(hashes)
        fresh = seen.add(keys)
        counts.rows += int(fresh.sum())
        counts.duplicates += int((~fresh).sum())
        kept = [group[i] for i in fresh.nonzero()[0]]
        shard.add(_table(kept, name, schema), keys[fresh])
        group.clear()
        hashes.clear()

    try:
        for conversations in found:
            counts.records += 1
            try:
                if isinstance(conversations, BadRow):
                    raise conversations
                made = [key(messages) for messages in conversations]
            except (BadRow, UnicodeEncodeError) as error:
                counts.rejected += 1
                if len(counts.reasons) < REASONS:
                    counts.reasons.append(f"record {counts.records}: {error}")
                continue
            for messages in conversations:
                group.append((f"{name}_{counts.found}", messages))
                counts.found += 1
            hashes += made
            if len(group) >= GROUP_ROWS or shard.rows + len(group) >= shard_rows:
                write()
                if shard.rows >= shard_rows:
                    shards.close(shard, counts, last=False)
                    shard = shards.open(schema)
        write()
        shards.close(shard, counts, last=True)
    except BaseException:
        shard.drop()
        raise
    shards.counts = counts


def _schema() -> pa.Schema:
    import pyarrow as pa

    message = pa.struct([("role", pa.string()), ("content", pa.string())])
    return pa.schema(
        [("id", pa.string()), ("dataset", pa.string()), ("messages", pa.list_(message))]
    )


def _table(rows: list[tuple[str, list[dict[str, Any]]]], name: str, schema: pa.Schema) -> pa.Table:
    import pyarrow as pa

    columns = [
        pa.array([identity for identity, _ in rows], pa.string()),
        pa.array([name] * len(rows), pa.string()),
        pa.array([messages for _, messages in rows], schema.field("messages").type),
    ]
    return pa.Table.from_arrays(columns, schema=schema)


class _bar:
    """A bar over a source's records; as a function it converts one and counts it."""

    def __init__(self, name: str, done: int, show: bool) -> None:
        self._bar = tqdm(
            desc=name, initial=done, unit="record", unit_scale=True, disable=not show, leave=False,
            mininterval=interval(), delay=0 if interactive() else interval(),
        )  # fmt: skip

    def __enter__(self) -> _bar:
        return self

    def __exit__(self, *error: Any) -> None:
        self._bar.close()

    def __call__(self, convert: Any, record: Any) -> Any:
        self._bar.update()
        try:
            return convert(record)
        except BadRow as error:
            return error


def _fingerprint(path: Path) -> list[Any]:
    """A file's name, size, and the hash of its beginning and end."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        sample = stream.read(_SAMPLED)
        stream.seek(max(size - _SAMPLED, 0))
        sample += stream.read(_SAMPLED)
    return [path.name, size, hashlib.sha256(sample).hexdigest()]
