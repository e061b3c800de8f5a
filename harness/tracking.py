"""Where the trackers of transformers' ``report_to`` put a run's curves, and when its run ends.

The integrations expect one training a process, and that its folder stays. Here many trainings share
a process, and a training's folder is cleared when it is done. So TensorBoard gets a folder a run in
``out/curves``, W&B and MLflow end the run that the integration leaves open (the next training would
go on in it), and what the user did not set gets a default: local files below ``out/curves`` and the
project ``winnow``. Variables of the trackers that are set stay as they are.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

TENSORBOARD = "TENSORBOARD_LOGGING_DIR"


@contextmanager
def curves(report_to: Sequence[str], out: Path, name: str) -> Iterator[None]:
    """For the length of one training.

    Args:
        report_to: the trackers; nothing is done if there are none.
        out: the sweep's folder.
        name: of the run; TensorBoard's curves lie in a folder of that name.
    """
    if not report_to:
        yield
        return
    folder = (out / "curves").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    defaults = {
        "WANDB_DIR": str(folder),
        "WANDB_PROJECT": "winnow",
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}",
        "MLFLOW_EXPERIMENT_NAME": "winnow",
        "TRACKIO_DIR": str(folder / "trackio"),
    }
    given = dict(os.environ)
    os.environ.update({key: value for key, value in defaults.items() if key not in given})
    os.environ[TENSORBOARD] = str(Path(given.get(TENSORBOARD, folder / "tensorboard")) / name)
    try:
        yield
    finally:
        _end()
        for key in (*defaults, TENSORBOARD):
            if key in given:
                os.environ[key] = given[key]
            else:
                os.environ.pop(key, None)


def _end() -> None:
    """End the runs that are open; a tracker that was not used is not imported."""
    wandb, mlflow = sys.modules.get("wandb"), sys.modules.get("mlflow")
    if wandb is not None and getattr(wandb, "run", None) is not None:
        wandb.finish()
    if mlflow is not None and mlflow.active_run() is not None:
        mlflow.end_run()
