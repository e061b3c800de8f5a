"""One run: pool, order, train, evaluate, record. Nothing else happens here.

Every stage asks the store first. A finished run is skipped by its record; a failed one leaves a
record too.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import stages
from harness.artifacts import Store
from harness.files import digest
from harness.heartbeat import Heartbeat
from harness.memory import peak_memory_mb
from harness.micro_data import MODELS, data_folder, model_folder
from harness.ordering import order
from harness.pool import Pool, prepare
from harness.record import Record, read_record, write_record
from harness.settings import MICRO, Settings
from harness.versions import git_commit, hardware, package_versions

log = logging.getLogger(__name__)


class RunFailed(RuntimeError):
    """A run that ended in an error; its record has been written."""


def run(settings: Settings) -> Record | None:
    """Do one run, or find that it is done.

    Returns:
        the record; None if ``until`` stopped before it.

    Raises:
        RunFailed: a stage failed. The record says where and why.
    """
    with Heartbeat(settings.out, _unplanned_id(settings)) as heartbeat:
        return _run(settings, heartbeat)


def _run(settings: Settings, heartbeat: Heartbeat) -> Record | None:
    started = time.perf_counter()
    record: Record | None = None
    try:
        store = Store(settings.store)
        settings = locate_micro(settings, store)
        settings.check()
        pool = prepare(settings.pool, store, progress=settings.progress)
        pool = stages.without_benchmarks(settings, store, pool)
        if settings.until == "pool":
            log.info("pool: %s rows in %s", f"{pool.total:,}", pool.path)
            return None
        plan = _plan(settings, pool)
        record = plan.record
        heartbeat.rename(record.run_id)
        store.owner = f"{settings.out.resolve()}/{record.run_id}"
        # What failed before it could be planned has no other name than its settings.
        (settings.out / "records" / f"{_unplanned_id(settings)}.json").unlink(missing_ok=True)
        known = settings.out / "records" / f"{record.run_id}.json"
        if known.is_file() and settings.until == "record" and _keep(known, settings.overwrite):
            log.info("%s: done already", record.run_id)
            heartbeat.found = True
            return read_record(known)
        _run_stages(settings, store, pool, plan, heartbeat)
        if settings.until != "record":
            return None
        record.status, record.error = "done", ""
    except Exception as error:
        failed = record or _unplanned(settings)
        failed.status, failed.error = "failed", _trim(error)
        failed.seconds = time.perf_counter() - started
        log.debug("the traceback", exc_info=error)
        path = write_record(failed, settings.out / "records")
        log.error("%s failed: %s (record: %s)", failed.run_id, failed.error, path)
        raise RunFailed(f"{failed.run_id}: {failed.error}") from error
    record.seconds = time.perf_counter() - started
    record.peak_memory_mb = max(
        [peak_memory_mb(), *(entry.peak_memory_mb for entry in record.ledger)]
    )
    write_record(record, settings.out / "records")
    log.info(
        "%s: mean %.1f of %d benchmark%s in %.1f s",
        record.run_id, record.mean or 0.0, len(record.scores), "s"[: len(record.scores) != 1],
        record.seconds,
    )  # fmt: skip
    return record


def _run_stages(
    settings: Settings, store: Store, pool: Pool, plan: _Plan, heartbeat: Heartbeat
) -> None:
    record = plan.record
    heartbeat.stage("order")
    if settings.until == "record" and plan.budget:
        record.contamination = stages.contamination(settings, store, pool)
    ordering = order(settings, store, pool, plan.budget)
    record.ledger += ordering.costs
    record.selection = ordering.selection(pool, plan.budget)
    folder = settings.out / "runs" / record.run_id
    if settings.until == "order":
        ordering.publish(pool, plan.budget, folder)
        _tell_selection(record, ordering.path, folder)
        return
    heartbeat.stage("train")
    trained = stages.train(settings, store, pool, ordering.positions[: plan.budget])
    record.training, record.ledger = trained.report, record.ledger + trained.costs
    if settings.until == "train":
        log.info("weights: %s", trained.path)
        return
    heartbeat.stage("evaluate")
    evaluated = stages.evaluate(settings, store, trained)
    record.ledger += evaluated.costs
    record.scores = evaluated.publish(folder, settings.out)
    ordering.publish(pool, plan.budget, folder)


def _tell_selection(record: Record, ordering: Path, folder: Path) -> None:
    if not record.selection.rows:
        log.info("%s selects nothing", record.method)
        return
    counts = sorted(record.selection.sources.items(), key=lambda found: -found[1])
    log.info("ordering: %s", ordering)
    log.info("selected: %s", ", ".join(f"{name} {rows:,}" for name, rows in counts))
    log.info("rows: %s", folder / "selection.parquet")


@dataclass
class _Plan:
    record: Record
    budget: int


def _plan(settings: Settings, pool: Pool) -> _Plan:
    """Who this run is: its name, the hash behind it, and the parts of the record known before."""
    method = settings.method
    budget = method.budget(settings.rows(pool.size), pool.size)
    trains = budget > 0
    # A run that trains on nothing is the same whatever pool, target or recipe was asked for.
    identity: dict[str, Any] = {
        "suite": settings.scored.identity(),
        "judge": settings.judge.identity(),
        "model": settings.model.content_identity(),
        "seed": settings.seed,
    }
    if trains:
        identity |= {
            "method": method.identity(),
            "pool": pool.digest,
            "pool_size": pool.size,
            "budget": budget,
            "recipe": settings.recipe.identity(),
            "features": settings.features.max_length,
            "selector": settings.selector.content_identity() if method.needs_model else None,
        }
        if method.needs_queries:
            identity["queries"] = digest([q.messages for q in stages.queries(settings)])
    size = pool.size if trains else 0
    # Methods that look at no query set make the same selection for every target.
    target = settings.target.name if method.needs_queries else "any"
    words = [method.label, f"p{size}", f"b{budget}", target, f"s{settings.seed}"]
    name = "-".join("".join(c if c.isalnum() or c in "_=" else "_" for c in w) for w in words)
    record = Record(
        run_id=f"{name}-{digest(identity, 8)}",
        status="failed",
        error="interrupted",
        method=method.label,
        pool=settings.pool.label if trains else "none",
        pool_size=size,
        budget=budget,
        target=target,
        model=settings.model.name,
        selector_model=settings.selector.name if method.needs_model else "none",
        recipe=settings.recipe.name if trains else "none",
        suite=settings.suite.name,
        judge=settings.judge.name,
        seed=settings.seed,
        floor=method.floor,
        config=settings.resolved,
        seeds={"run": settings.seed, "pool": settings.pool.seed} | stages.seeds(settings.seed),
        versions=package_versions(),
        git_commit=git_commit(),
        hardware=hardware(),
        digests={
            "pool": pool.digest,
            "model": settings.model.digest(),
            "suite": digest(settings.scored.identity()),
        },
        chat_template_hash=stages.template_hash_of(settings.model),
    )
    return _Plan(record, budget)


def _unplanned(settings: Settings) -> Record:
    """A record for a run that failed before its pool or model could be read."""
    return Record(
        run_id=_unplanned_id(settings),
        status="failed",
        method=settings.method.label,
        pool=settings.pool.label,
        pool_size=settings.pool.size or 0,
        budget=int(settings.budget) if settings.budget >= 1 else 0,
        target=settings.target.name,
        model=settings.model.name,
        selector_model=settings.selector.name,
        recipe=settings.recipe.name,
        suite=settings.suite.name,
        judge=settings.judge.name,
        seed=settings.seed,
        config=settings.resolved,
        versions=package_versions(),
        git_commit=git_commit(),
    )


def _unplanned_id(settings: Settings) -> str:
    apart = ("out", "store", "progress", "report")
    config = {k: v for k, v in settings.resolved.items() if k not in apart}
    return f"{settings.method.name}-s{settings.seed}-{digest(config, 8)}"


def locate_micro(settings: Settings, store: Store) -> Settings:
    """The same settings with the embedded world's words replaced by where it lies."""
    update: dict[str, Any] = {}
    for key in ("model", "selector_model"):
        model = getattr(settings, key)
        if model is not None and model.path in MODELS:
            update[key] = model.model_copy(update={"path": str(model_folder(model.path))})
    if settings.pool.path == MICRO or settings.suite.data == MICRO:
        data: Path = data_folder(store)
        if settings.pool.path == MICRO:
            update["pool"] = settings.pool.model_copy(update={"path": str(data / "pool")})
        if settings.suite.data == MICRO:
            update["suite"] = settings.suite.model_copy(update={"data": str(data / "benchmarks")})
    return settings.model_copy(update=update)


def _keep(path: Path, overwrite: str) -> bool:
    if overwrite == "always":
        return False
    return overwrite == "never" or read_record(path).status == "done"


def _trim(error: BaseException, limit: int = 600) -> str:
    text = f"{type(error).__name__}: {error}".strip()
    return text if len(text) <= limit else text[: limit - 3] + "..."
