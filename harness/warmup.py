"""The warm-up: a training that a method needs before it can score, kept in the store.

IFD scores with a model that has seen a little of the pool (paper A.5); LESS takes gradients at the
checkpoints of a LoRA training (paper A.6). Both are the selector model, fine-tuned on some rows of
the pool as ``harness.training`` does it, so a killed one goes on, and budgets, pool sizes and
methods that ask for the same warm-up share it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.artifacts import Store
from harness.files import digest
from harness.memory import reset_peak
from harness.model import ModelConfig
from harness.pool import Pool
from harness.record import StageCost
from harness.seeds import derive
from harness.training import Recipe

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Epoch:
    """The state at the end of one epoch.

    Attributes:
        path: folder with ``weights`` and ``moments.safetensors``.
        step: optimiser steps done by then: Adam's step count.
        learning_rate: mean over the steps of this epoch.
    """

    path: Path
    step: int
    learning_rate: float


@dataclass(frozen=True)
class WarmUp:
    """A finished warm-up training.

    Attributes:
        path: the artifact's folder.
        identity: all that decides the weights; for the identity of what is computed with them.
        base: the model that was trained.
        recipe: how.
        epochs: in order; empty unless the epochs were asked for.
        cost: its full price, whether it ran or was found.
    """

    path: Path
    identity: dict[str, Any]
    base: ModelConfig
    recipe: Recipe
    epochs: list[Epoch]
    cost: StageCost

    def load(self, epoch: int = -1, *, merged: bool = False) -> Any:
        """The model after an epoch (the last: -1), on its device in evaluation mode.

        Args:
            merged: with LoRA, put the adapter into the weights, so that a pass costs what the plain
                model's costs; else it is attached, and frozen.

        Raises:
            IndexError: that epoch was not kept.
        """
        from harness.training import load_trained

        whole = not self.epochs and epoch == -1
        folder = self.path if whole else self._epoch(epoch).path
        model = load_trained(self.base, self.recipe, folder)
        return model.merge_and_unload() if merged and self.recipe.lora else model

    def moments(self, epoch: int = -1) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        """Adam's first and second moments at the end of an epoch, without bias correction.

        By the name of the parameter in ``load(epoch).named_parameters()``; float32, on the CPU, of
        the parameter's shape. A parameter that never had a gradient is missing.

        Raises:
            IndexError: that epoch was not kept.
        """
        from safetensors.torch import load_file

        every = load_file(self._epoch(epoch).path / "moments.safetensors")
        first, second = ({}, {})  # type: tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]
        for key, value in every.items():
            moment, name = key.split(".", 1)
            (first if moment == "exp_avg" else second)[name] = value
        return first, second

    def _epoch(self, epoch: int) -> Epoch:
        try:
            return self.epochs[epoch]
        except IndexError:
            raise IndexError(
                f"epoch {epoch} of a warm-up that kept {len(self.epochs)} (see keep_epochs)"
            ) from None


def warm_up(
    store: Store,
    pool: Pool,
    positions: Sequence[int] | np.ndarray,
    recipe: Recipe,
    base: ModelConfig,
    *,
    seed: int,
    name: str,
    keep_epochs: bool = False,
) -> WarmUp:
    """Fine-tune ``base`` on the rows at ``positions``, or find that it is done.

    Args:
        seed: of the run; the training's own is derived from it.
        name: the word for it in logs and trackers.
        keep_epochs: keep weights, Adam's moments and the mean learning rate of every epoch.

    Raises:
        ValueError: there are no rows, or none has a label within ``recipe.max_length``.
    """
    chosen = np.asarray(positions, dtype=np.int64)
    if not len(chosen):
        raise ValueError(f"the warm-up training of {name} was given no rows")
    identity: dict[str, Any] = {
        "version": 1,
        "recipe": recipe.identity(),
        "model": base.content_identity(),
        "pool": pool.digest,
        "positions": digest(chosen.tolist()),
        "keep_epochs": keep_epochs,
        "seed": seed,
    }

    def build(part: Path) -> dict[str, Any]:
        from harness.training import fine_tune, training_cost

        reset_peak()
        done = fine_tune(
            recipe,
            base,
            [row.messages for row in pool.rows(chosen)],
            folder=part,
            seed=derive(seed, "warmup"),
            run_name=f"{name}-warmup-{len(chosen)}-s{seed}",
            keep_epochs=keep_epochs,
        )
        cost = training_cost("warmup", recipe, base, done, len(chosen))
        return {"cost": cost.model_dump(), "report": done.training.model_dump()}

    artifact = store.require("warmup", identity, build, resume=True)
    cost = StageCost.model_validate(artifact.info["cost"]).over(artifact.attempts)
    return WarmUp(
        artifact.path,
        identity,
        base,
        recipe,
        _epochs(artifact.path / "epochs"),
        cost.model_copy(update={"reused": artifact.reused}),
    )


def _epochs(folder: Path) -> list[Epoch]:
    if not folder.is_dir():
        return []
    paths = sorted(folder.iterdir(), key=lambda path: int(path.name))
    notes = [json.loads((path / "epoch.json").read_text(encoding="utf-8")) for path in paths]
    return [Epoch(path, **note) for path, note in zip(paths, notes, strict=True)]
