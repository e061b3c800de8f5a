"""The stages behind ``run``: each asks the store for its artifact and builds it if it is missing.

Putting the pool in order stands in ``ordering``.

What a stage returns carries its costs at full price, whether it ran now or was found: the ledger
says what a method needs, ``reused`` what this run did not spend.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from harness.artifacts import Artifact, Store
from harness.chat import TULU_TEMPLATE, template_hash
from harness.files import digest
from harness.memory import peak_memory_mb, reset_peak
from harness.model import ModelConfig
from harness.pool import Pool
from harness.progress import interactive
from harness.query import Query
from harness.record import Contamination, Score, Stage, StageCost, Training
from harness.seeds import derive
from harness.settings import Settings
from harness.tracking import curves


def seeds(seed: int) -> dict[str, int]:
    """The derived seeds of a run, by purpose."""
    return {purpose: derive(seed, purpose) for purpose in ("train", "evaluate")}


def queries(settings: Settings) -> list[Query]:
    """The target's query sets."""
    return settings.target.queries(settings.suite)


def template_hash_of(model: ModelConfig) -> str:
    """Hash of the chat template in use, read without loading a tokenizer."""
    if model.chat_template == "tulu":
        text = TULU_TEMPLATE
    elif model.chat_template:
        text = model.chat_template
    else:
        text = _own_template(model.folder()) or TULU_TEMPLATE
    return template_hash(text)


def _own_template(folder: Path) -> str | None:
    file = folder / "chat_template.jinja"
    if file.is_file():
        return file.read_text(encoding="utf-8")
    config = folder / "tokenizer_config.json"
    found = json.loads(config.read_text(encoding="utf-8")) if config.is_file() else {}
    template = found.get("chat_template")
    return template if isinstance(template, str) else None


def costs_of(artifact: Artifact, own: Stage) -> list[StageCost]:
    """What an artifact's stages cost, at full price.

    Args:
        own: the stage whose attempts are those at the artifact; others have theirs already.
    """
    costs = [StageCost.model_validate(cost) for cost in artifact.info["costs"]]
    costs = [cost.over(artifact.attempts) if cost.stage == own else cost for cost in costs]
    if artifact.reused:
        costs = [cost.model_copy(update={"reused": True}) for cost in costs]
    return costs


# -- contamination -------------------------------------------------------------------------------


def without_benchmarks(settings: Settings, store: Store, pool: Pool) -> Pool:
    """The pool itself; with ``pool.contamination=remove`` the one without flagged rows."""
    if settings.pool.contamination != "remove":
        return pool
    from harness.contamination import remove, texts_of

    texts = texts_of(settings.suite, store)
    return remove(pool, texts, store, size=settings.pool.size, progress=settings.progress)


def contamination(settings: Settings, store: Store, pool: Pool) -> Contamination:
    """What the record says of benchmark texts in the pool, or of what was left out of it."""
    if pool.contamination is not None:
        return Contamination.model_validate(pool.contamination)
    if settings.pool.contamination == "off":
        return Contamination()
    from harness.contamination import scan, texts_of

    texts = texts_of(settings.suite, store)
    return scan(pool, texts, store, progress=settings.progress).summary("report")


# -- train ---------------------------------------------------------------------------------------


@dataclass
class TrainStage:
    """The fine-tuned model, and how to load it."""

    identity: dict[str, Any]
    path: Path | None
    report: Training
    costs: list[StageCost]
    load: Callable[[], Any]
    forget: Callable[[], None] = field(default=lambda: None)


def train(settings: Settings, store: Store, pool: Pool, positions: np.ndarray) -> TrainStage:
    """Fine-tune on the rows at ``positions``; nothing to do if there are none."""
    model, recipe = settings.model, settings.recipe
    if len(positions) == 0:
        base = {"model": model.content_identity()}
        return TrainStage(base, None, Training(), [], model.load)
    identity = {
        "version": 2,
        "recipe": recipe.identity(),
        "model": model.content_identity(),
        "pool": pool.digest,
        "positions": digest(positions.tolist()),
        "seed": settings.seed,
    }

    def build(part: Path) -> dict[str, Any]:
        from harness.training import fine_tune, training_cost

        reset_peak()
        rows = [row.messages for row in pool.rows(positions)]
        name = f"{settings.method.label}-{len(positions)}-s{settings.seed}"
        name = Path(store.owner).name if store.owner else name
        with curves(settings.tracker.report_to, settings.out, name):
            done = fine_tune(
                recipe,
                model,
                rows,
                folder=part,
                seed=derive(settings.seed, "train"),
                report_to=settings.tracker.report_to,
                run_name=name,
            )
        cost = training_cost("train", recipe, model, done, len(positions))
        return {"costs": [cost.model_dump()], "report": done.training.model_dump()}

    artifact = store.require("model", identity, build, resume=True)

    def load() -> Any:
        from harness.training import load_trained

        return load_trained(model, recipe, artifact.path)

    def forget() -> None:
        if not settings.keep_models:
            shutil.rmtree(artifact.path, ignore_errors=True)

    report = Training.model_validate(artifact.info["report"])
    return TrainStage(identity, artifact.path, report, costs_of(artifact, "train"), load, forget)


# -- evaluate ------------------------------------------------------------------------------------


@dataclass
class EvaluateStage:
    """Scores of the suite's benchmarks and the folder of per-item results."""

    path: Path
    scores: dict[str, Score]
    costs: list[StageCost]

    def publish(self, folder: Path, root: Path) -> dict[str, Score]:
        """Put the per-item results beside the records; the scores then name them from ``root``."""
        target = folder / "items"
        if target.exists():
            shutil.rmtree(target)
        target.mkdir(parents=True)
        for path in sorted((self.path / "items").iterdir()):
            _link_or_copy(path, target / path.name)
        base = os.path.relpath(folder, root)
        return {
            name: score.model_copy(
                update={"items": f"{base}/{score.items}" if score.items else None}
            )
            for name, score in self.scores.items()
        }


def evaluate(settings: Settings, store: Store, trained: TrainStage) -> EvaluateStage:
    """Score the model on the suite, or on the part of it that the settings ask for."""
    suite, judge = settings.scored, settings.judge
    identity = {
        "version": 2,  # 1 charged a prompt's pass for every sample of it
        "suite": suite.identity(),
        "judge": judge.identity(),
        "model": trained.identity,
        "seed": settings.seed,
    }

    def build(part: Path) -> dict[str, Any]:
        reset_peak()
        chat = settings.model.load_chat()
        start = time.perf_counter()
        result = suite.evaluate(
            trained.load(),
            chat.tokenizer,
            judge=judge,
            out_dir=part,
            seed=derive(settings.seed, "evaluate"),
            progress=settings.progress and interactive(),
        )
        seconds = time.perf_counter() - start
        cost = _evaluation_cost(settings, result, seconds)
        return {
            "costs": [cost.model_dump()],
            "scores": {name: score.model_dump() for name, score in result.scores.items()},
        }

    artifact = store.require("evaluation", identity, build)
    trained.forget()
    scores = {name: Score.model_validate(score) for name, score in artifact.info["scores"].items()}
    return EvaluateStage(artifact.path, scores, costs_of(artifact, "evaluate"))


def _evaluation_cost(settings: Settings, result: Any, seconds: float) -> StageCost:
    """What went through the model: prompts and beginnings as often as they were read."""
    from harness.flops import model_flops

    flops = model_flops(settings.model.load_config())
    prompts, new = np.concatenate(list(result.lengths.values())).T
    return StageCost(
        stage="evaluate",
        flops=flops.read(*result.reads.T) + flops.write(prompts, new),
        tokens=int(result.reads[:, 1].sum() + new.sum()),
        rows=len(new),
        seconds=seconds,
        peak_memory_mb=peak_memory_mb(),
    )


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copyfile(source, target)
