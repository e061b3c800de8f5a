"""Where a pool comes from and how much of it is used."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from harness.component import Component
from harness.files import files_digest

Format = Literal["auto", "jsonl", "parquet", "hub"]


class PoolError(ValueError):
    """A pool that cannot be read, with what was wrong and what would help."""


class PoolConfig(Component):
    """Where a pool comes from and how much of it is used.

    Attributes:
        name: the word for it in records and tables.
        path: a folder or file of ``*.jsonl[.gz]`` or ``*.parquet``; or a dataset id on the hub, a
            dataset saved with ``save_to_disk``, or a local folder in a hub repository's layout.
        format: how to read ``path``; ``auto`` goes by the files' endings.
        split, revision, subset: for ``hub`` only.
        size: use the first ``size`` rows of the seeded order; None uses all.
        seed: of that order. It is apart from the run's seed, so that features are shared.
        order: ``shuffled``; or ``balanced``, in which the sources take turns, so that every prefix
            is a balanced sample (a source that is used up leaves its turn to the others).
        contamination: rows that hold whole texts of the suite's test items or queries: ``report``
            counts them in the record; ``remove`` leaves them out before anything else, so that
            ``size`` counts rows that are left; ``off`` does not look.
    """

    name: str
    path: str
    format: Format = "auto"
    split: str = "train"
    subset: str | None = None
    revision: str | None = None
    size: int | None = Field(default=None, gt=0)
    seed: int = 0
    order: Literal["shuffled", "balanced"] = "shuffled"
    contamination: Literal["off", "report", "remove"] = "report"

    @field_validator("contamination", mode="before")
    @classmethod
    def _off(cls, value: Any) -> Any:
        return "off" if value is False else value  # YAML's own reading of a bare off

    @property
    def label(self) -> str:
        """``name``, and what makes its rows others than the usual ones."""
        unusual = [f"order={self.order}"] if self.order != "shuffled" else []
        unusual += ["contamination=remove"] if self.contamination == "remove" else []
        return f"{self.name}[{','.join(unusual)}]" if unusual else self.name

    def files(self) -> list[Path]:
        """The source files, sorted by name; empty for a dataset id that is no local path."""
        root = Path(self.path)
        if root.is_file():
            return [root]
        if not root.is_dir():
            return []
        every = sorted(path for path in root.rglob("*") if path.is_file())
        if self.format == "hub":
            return every
        wanted = ("jsonl", "parquet") if self.format == "auto" else (self.format,)
        return [path for path in every if ending(path) in wanted]

    def check(self) -> None:
        """Raise PoolError if there is nothing to read."""
        if self.format == "hub":
            return
        files = self.files()
        if not files:
            where = Path(self.path)
            state = "holds no such file" if where.is_dir() else "does not exist"
            raise PoolError(
                f"pool.path={self.path} {state}: looked for *.jsonl, *.jsonl.gz and *.parquet. "
                + self._remedy()
            )

    def _remedy(self) -> str:
        from harness.pool.recipe import names  # which knows this module

        if self.name in names():
            return f"Build it with python -m harness.pool build {self.name} --out {self.path}"
        return "For a dataset id on the hub set pool=hub pool.path=owner/name"

    def source_identity(self) -> dict[str, Any]:
        """What decides the prepared pool: the bytes of its sources and the order's seed."""
        files = self.files()
        root = Path(self.path)
        base = root if root.is_dir() else root.parent
        content = (
            files_digest({str(path.relative_to(base)): path for path in files})
            if files
            else f"{self.path}@{self.revision}/{self.subset}/{self.split}"
        )
        identity = {"version": 1, "content": content, "seed": self.seed, "split": self.split}
        return identity if self.order == "shuffled" else {**identity, "order": self.order}


def ending(path: Path) -> str | None:
    """``jsonl``, ``parquet``, or None for what no pool is read from."""
    name = path.name
    if name.endswith((".jsonl", ".jsonl.gz")):
        return "jsonl"
    return "parquet" if name.endswith(".parquet") else None
