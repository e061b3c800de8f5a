"""Training on several devices: an engine starts the processes, this module is what they run.

``recipe.launch`` names the engine (``accelerate launch``, ``torchrun``, ...). The run itself stays
one process, which holds the locks and waits; only the training is handed over, by a job file.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from harness.chat import Message
from harness.model import ModelConfig
from harness.record import Training
from harness.training import Recipe, Trained, train


class LaunchError(RuntimeError):
    """The launched training ended without a result."""


def launch_training(
    recipe: Recipe, base: ModelConfig, rows: Sequence[Sequence[Message]], folder: Path, **more: Any
) -> Trained:
    """``train`` with the same arguments, in processes that ``recipe.launch`` starts."""
    job, result, output = folder / "job.json", folder / "result.json", folder / "training.log"
    result.unlink(missing_ok=True)
    description = {
        "recipe": recipe.model_dump(mode="json"),
        "model": base.model_dump(mode="json"),
        "rows": list(rows),
        "folder": str(folder.resolve()),
        "more": more,
    }
    job.write_text(json.dumps(description), encoding="utf-8")
    command = [*recipe.launch, "-m", "harness.launch", str(job.resolve())]
    try:
        with output.open("ab") as log:
            done = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT)
    except FileNotFoundError as error:
        raise LaunchError(f"recipe.launch: there is no command {recipe.launch[0]!r}") from error
    if done.returncode or not result.is_file():
        end = output.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-3:]
        said = " | ".join(end)
        raise LaunchError(f"{' '.join(command)} ended with code {done.returncode}: {said}")
    found = json.loads(result.read_text(encoding="utf-8"))
    for path in (job, result, output):
        path.unlink()
    return Trained(
        training=Training.model_validate(found["training"]),
        lengths=np.array(found["lengths"], dtype=np.int32),
        seconds=found["seconds"],
        peak_memory_mb=found["peak_memory_mb"],
    )


def main() -> None:
    """Run one process of a launched training; the argument is the job file."""
    import torch

    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    folder = Path(job["folder"])
    done = train(
        Recipe.model_validate(job["recipe"]),
        ModelConfig.model_validate(job["model"]),
        job["rows"],
        folder=folder,
        **job["more"],
    )
    distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
    if not distributed or torch.distributed.get_rank() == 0:
        plain = {**asdict(done), "lengths": done.lengths.tolist()}
        plain["training"] = done.training.model_dump()
        (folder / "result.json").write_text(json.dumps(plain), encoding="utf-8")
    if distributed:
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
