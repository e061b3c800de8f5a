"""The record: the one JSON file that a finished or failed run leaves.

Boards and reports are made from records alone, so a record holds all that they need. Records are
validated when read; an older ``schema_version`` is brought up to date by ``_MIGRATIONS``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.files import write_atomic

SCHEMA_VERSION = 1

Stage = Literal["warmup", "score", "queries", "order", "train", "evaluate"]
SELECTION_STAGES: tuple[Stage, ...] = ("warmup", "score", "queries", "order")


class RecordError(ValueError):
    """A file that should be a record and is not one."""


class StageCost(BaseModel):
    """What one stage costs, whether it ran for this run or was found in the store.

    Attributes:
        flops: measured convention: fvcore's count of the architecture at the real token lengths.
        flops_paper: the paper's: 2N a token to infer, 6N to train, 2,048 tokens a row (App. E).
        tokens: real (unpadded) tokens that went through the model.
        rows: rows, queries or requests that went through; of ``order`` those put in order.
        seconds: wall time when the work was done; 0 where nothing was computed.
        peak_memory_mb: peak resident memory of the process that did it (CUDA: of the device).
        reused: True if this run found the result in the store and spent nothing.
        attempts: how often it was begun; ``seconds`` are those of the work that is in the result.
        seconds_wasted: of interrupted attempts, done again.
        energy_joules: by NVML and RAPL, of the whole machine; None where there is no counter.
        energy_wasted_joules: of that, what interrupted attempts took besides.
        peak_host_mb, peak_device_mb: resident memory, and the device's; 0 where not known.
    """

    model_config = ConfigDict(extra="forbid")

    stage: Stage
    flops: float = 0.0
    flops_paper: float = 0.0
    tokens: int = 0
    rows: int = 0
    seconds: float = 0.0
    peak_memory_mb: float = 0.0
    reused: bool = False
    attempts: int = 1
    seconds_wasted: float = 0.0
    energy_joules: float | None = None
    energy_wasted_joules: float = 0.0
    peak_host_mb: float = 0.0
    peak_device_mb: float = 0.0

    def over(self, attempts: dict[str, Any]) -> StageCost:
        """With what all attempts at the work took (``attempts.Attempts.summary``)."""
        before = attempts.get("seconds_before", 0.0)
        more = {key: value for key, value in attempts.items() if key != "seconds_before"}
        return self.model_copy(update={**more, "seconds": self.seconds + before})


class Score(BaseModel):
    """One benchmark's result. ``score`` and ``stderr`` are in percent (0 to 100).

    ``items`` is the path of the per-item results, relative to the folder of the sweep.
    """

    model_config = ConfigDict(extra="forbid")

    score: float = Field(allow_inf_nan=False)  # JSON has no NaN: it would not be read back
    stderr: float | None = Field(default=None, allow_inf_nan=False)
    n: int
    metric: str
    items: str | None = None
    notes: dict[str, Any] = Field(default_factory=dict)


class Selection(BaseModel):
    """What was selected. ``sources`` counts rows by ``dataset``; ``pool_sources`` the pool's."""

    model_config = ConfigDict(extra="forbid")

    rows: int = 0
    sources: dict[str, int] = Field(default_factory=dict)
    pool_sources: dict[str, int] = Field(default_factory=dict)
    ordering: str | None = None


class Contamination(BaseModel):
    """Benchmark texts in the pool's rows (harness/contamination).

    Attributes:
        mode: ``off``: nobody looked; ``report``; ``remove``: the flagged rows were left out.
        rows: that were looked at: the rows in use, or with ``remove`` all of the pool before.
        flagged: that hold at least one text; ``removed``: of these, left out.
        benchmarks: rows that hold a text, by benchmark and part ("test", "query"). A row may
            count under several.
        rules: flagged rows by the first rule that found them: "exact", "whole", "ngram".
        detector: its settings and version; ``texts``: how many there were, and their digest.
        seconds: what looking took, whenever it was done.
    """

    model_config = ConfigDict(extra="forbid")

    mode: Literal["off", "report", "remove"] = "off"
    rows: int = 0
    flagged: int = 0
    removed: int = 0
    benchmarks: dict[str, dict[str, int]] = Field(default_factory=dict)
    rules: dict[str, int] = Field(default_factory=dict)
    detector: dict[str, Any] = Field(default_factory=dict)
    texts: int = 0
    texts_digest: str = ""
    seconds: float = 0.0


class Training(BaseModel):
    """What the fine-tuning saw. ``rows_without_labels``: the answer was truncated away."""

    model_config = ConfigDict(extra="forbid")

    rows: int = 0
    rows_without_labels: int = 0
    rows_truncated: int = 0
    steps: int = 0
    tokens: int = 0
    label_tokens: int = 0
    loss_first: float | None = None
    loss_last: float | None = None


class Record(BaseModel):
    """One run: a cell of method × pool size × budget × target × model × seed."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    schema_version: int = SCHEMA_VERSION
    run_id: str
    status: Literal["done", "failed"]
    error: str = ""

    method: str
    pool: str
    pool_size: int
    budget: int
    target: str
    model: str
    selector_model: str
    recipe: str
    suite: str
    judge: str
    seed: int
    floor: bool = Field(False, description="a reference line (base_model, full_pool), not a rival")

    scores: dict[str, Score] = Field(default_factory=dict)
    ledger: list[StageCost] = Field(default_factory=list)
    selection: Selection = Field(default_factory=Selection)
    training: Training = Field(default_factory=Training)
    contamination: Contamination = Field(default_factory=Contamination)
    seconds: float = 0.0
    peak_memory_mb: float = 0.0

    config: dict[str, Any] = Field(default_factory=dict)
    seeds: dict[str, int] = Field(default_factory=dict)
    versions: dict[str, str] = Field(default_factory=dict)
    git_commit: str | None = None
    digests: dict[str, str] = Field(default_factory=dict)
    chat_template_hash: str | None = None
    hardware: dict[str, Any] = Field(default_factory=dict)

    @property
    def mean(self) -> float | None:
        """Plain mean of the benchmarks' scores, in percent; None if there are none."""
        values = [score.score for score in self.scores.values()]
        return sum(values) / len(values) if values else None

    def cost(
        self, *stages: Stage, column: Literal["flops", "flops_paper", "tokens", "seconds"] = "flops"
    ) -> float:
        """Sum of one ledger column over ``stages``."""
        return sum(getattr(entry, column) for entry in self.ledger if entry.stage in stages)

    @property
    def flops_select(self) -> float:
        """Measured FLOPs of the selection: warm-up training, pool pass, query pass, ordering."""
        return self.cost(*SELECTION_STAGES)

    @property
    def flops_train(self) -> float:
        """Measured FLOPs of the fine-tuning."""
        return self.cost("train")

    @property
    def flops_total(self) -> float:
        """Selection and fine-tuning; evaluation is not part of a method's cost."""
        return self.flops_select + self.flops_train

    @property
    def flops_paper(self) -> float:
        """The paper's convention for the same sum."""
        return self.cost(*SELECTION_STAGES, "train", column="flops_paper")


def write_record(record: Record, folder: Path) -> Path:
    """Write ``folder/<run_id>.json`` in one step; a record there already is replaced."""
    path = folder / f"{record.run_id}.json"
    write_atomic(path, record.model_dump_json(indent=1) + "\n")
    return path


def read_record(path: Path) -> Record:
    """Read and validate one record.

    Raises:
        RecordError: the file is no record, or of a newer schema than this code knows.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        version = data.get("schema_version") if isinstance(data, dict) else None
        if not isinstance(version, int):
            raise RecordError(f"{path}: no schema_version, so this is not a record")
        if version > SCHEMA_VERSION:
            raise RecordError(
                f"{path}: schema_version {version}, but this version reads up to {SCHEMA_VERSION}; "
                "update winnow"
            )
        for old in range(version, SCHEMA_VERSION):
            data = _MIGRATIONS[old](data)
        return Record.model_validate(data)
    except (json.JSONDecodeError, UnicodeDecodeError, ValidationError) as error:
        raise RecordError(f"{path}: {error}") from error


def find_records(*folders: Path) -> Iterator[Path]:
    """Paths of all record files in ``folders`` and their ``records`` sub-folders, sorted, once."""
    seen: set[Path] = set()
    for folder in folders:
        if not folder.is_dir():
            raise FileNotFoundError(f"no such folder: {folder}")
        for path in sorted([*folder.glob("records/*.json"), *folder.glob("**/records/*.json")]):
            if path not in seen:
                seen.add(path)
                yield path


# From each older schema version to the next. Version 1 is the first.
_MIGRATIONS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}
