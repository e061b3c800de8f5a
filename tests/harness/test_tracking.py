"""Trackers: every run has its own curves, and the user's variables stay the user's."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness.tracking import TENSORBOARD, curves


def test_every_run_has_a_folder_and_the_environment_is_as_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_PROJECT", "mine")
    monkeypatch.delenv(TENSORBOARD, raising=False)
    before = dict(os.environ)
    for name in ("first", "second"):
        with curves(["tensorboard"], tmp_path, name):
            assert Path(os.environ[TENSORBOARD]) == tmp_path / "curves" / "tensorboard" / name
            assert os.environ["WANDB_PROJECT"] == "mine"
        assert dict(os.environ) == before
    monkeypatch.setenv(TENSORBOARD, "/logs")
    with curves(["tensorboard"], tmp_path, "third"):
        assert os.environ[TENSORBOARD] == "/logs/third"


def test_an_open_run_is_ended_even_if_the_training_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[str] = []
    wandb = SimpleNamespace(run=object(), finish=lambda: ended.append("wandb"))
    mlflow = SimpleNamespace(active_run=lambda: None, end_run=lambda: ended.append("mlflow"))
    monkeypatch.setitem(sys.modules, "wandb", wandb)  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "mlflow", mlflow)  # type: ignore[arg-type]
    with pytest.raises(RuntimeError), curves(["wandb"], tmp_path, "run"):
        raise RuntimeError("a training that fails")
    assert ended == ["wandb"]


def test_without_a_tracker_nothing_is_made(tmp_path: Path) -> None:
    with curves([], tmp_path / "out", "run"):
        assert TENSORBOARD not in os.environ or os.environ[TENSORBOARD]
    assert not (tmp_path / "out").exists()
