"""Training: the mask by hand, what is left out is counted, a killed run goes on bit by bit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.launch import LaunchError, launch_training
from harness.model import ModelConfig
from harness.trainer import IGNORED
from harness.training import Lora, Recipe, label_rows, load_trained, train
from tests.conftest import conversation


def recipe(**more: Any) -> Recipe:
    plain = {
        "epochs": 2, "batch_size": 4, "micro_batch_size": 4, "learning_rate": 1e-3,
        "max_length": 64, "precision": "fp32",
    }  # fmt: skip
    return Recipe(name="test", **{**plain, **more})


ROWS = [conversation(f"Say {i}", f"{i} and {i + 1}") for i in range(12)]


def test_labels_by_hand_over_several_turns(micro_model: ModelConfig) -> None:
    chat = micro_model.load_chat()
    tokenizer = chat.tokenizer
    pieces = [
        ("<s><|system|>\nBe brief.\n<|user|>\nHi\n<|assistant|>\n", False),
        ("Yes?</s>", True),
        ("\n<|user|>\nBye\n<|assistant|>\n", False),
        ("So long</s>", True),
    ]
    ids, labels = [], []
    for text, counted in pieces:
        part = tokenizer(text, add_special_tokens=False).input_ids
        ids += part
        labels += part if counted else [IGNORED] * len(part)
    row = [
        {"role": "system", "content": "Be brief."},
        *conversation("Hi", "Yes?", "Bye", "So long"),
    ]
    (found,), report = label_rows([row], chat, 100)
    assert (found["input_ids"], found["labels"]) == (ids, labels)
    assert report.label_tokens == sum(label != IGNORED for label in labels)


def test_rows_without_a_label_are_counted_and_left_out(micro_model: ModelConfig) -> None:
    rows = [
        conversation("short", "answer"),
        conversation("long " * 100, "cut away"),
        conversation("hm", "an answer that is cut " * 30),
    ]
    features, report = label_rows(rows, micro_model.load_chat(), 64)
    assert len(features) == 2
    assert (report.rows, report.rows_without_labels, report.rows_truncated) == (3, 1, 2)
    with pytest.raises(ValueError, match="raise it"):
        train(recipe(), micro_model, rows[1:2], seed=0, folder=Path("/nonexistent"))


def weights(folder: Path) -> bytes:
    return (folder / "weights" / "model.safetensors").read_bytes()


def test_full_training_learns_repeats_itself_and_is_saved(
    micro_model: ModelConfig, tmp_path: Path
) -> None:
    done = train(recipe(epochs=6), micro_model, ROWS, seed=1, folder=tmp_path / "a")
    report = done.training
    assert report.steps == 18 and report.rows == 12
    assert report.loss_first and report.loss_last and report.loss_last < report.loss_first
    assert done.lengths.tolist() == [
        len(row.ids) for row in micro_model.load_chat().encode(ROWS, 64)
    ]
    train(recipe(epochs=6), micro_model, ROWS, seed=1, folder=tmp_path / "b")
    train(recipe(epochs=6), micro_model, ROWS, seed=2, folder=tmp_path / "c")
    assert weights(tmp_path / "a") == weights(tmp_path / "b") != weights(tmp_path / "c")
    loaded = load_trained(micro_model, recipe(), tmp_path / "a")
    from safetensors.torch import load_file

    saved = load_file(tmp_path / "a" / "weights" / "model.safetensors")
    for name, value in saved.items():
        assert torch.equal(value, loaded.state_dict()[name]), name
    assert not list((tmp_path / "a").rglob("*.bin"))  # nothing pickled


def test_accumulation_gives_the_batch_that_was_asked_for(
    micro_model: ModelConfig, tmp_path: Path
) -> None:
    done = train(recipe(micro_batch_size=2), micro_model, ROWS, seed=1, folder=tmp_path)
    assert done.training.steps == 6
    with pytest.raises(ValueError, match="no multiple"):
        train(recipe(micro_batch_size=3), micro_model, ROWS, seed=1, folder=tmp_path)


def test_lora_trains_an_adapter_alone(micro_model: ModelConfig, tmp_path: Path) -> None:
    lora = recipe(lora=Lora(r=4, lora_alpha=8, lora_dropout=0.0), learning_rate=1e-2)
    train(lora, micro_model, ROWS, seed=1, folder=tmp_path)
    saved = sorted(path.name for path in (tmp_path / "weights").iterdir())
    assert "adapter_model.safetensors" in saved and "model.safetensors" not in saved
    loaded = load_trained(micro_model, lora, tmp_path)
    ids = torch.tensor([[1, 5, 9, 20, 30]])
    with torch.no_grad():
        new, old = loaded(ids).logits, micro_model.load()(ids).logits
    assert not torch.allclose(new, old, atol=1e-3)


def test_a_launched_training_is_the_same_training(micro_model: ModelConfig, tmp_path: Path) -> None:
    more = {"seed": 1, "report_to": [], "run_name": None}
    launched = recipe(launch=[sys.executable])
    (tmp_path / "a").mkdir()
    there = launch_training(launched, micro_model, ROWS, tmp_path / "a", **more)
    here = train(recipe(), micro_model, ROWS, folder=tmp_path / "b", **more)
    assert there.training == here.training
    assert weights(tmp_path / "a") == weights(tmp_path / "b")
    with pytest.raises(LaunchError, match="no command 'nowhere'"):
        launch_training(recipe(launch=["nowhere"]), micro_model, ROWS, tmp_path / "a", **more)


def test_two_processes_share_the_batch(micro_model: ModelConfig, tmp_path: Path) -> None:
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2"]
    shared = recipe(launch=launch, micro_batch_size=1)
    more = {"seed": 1, "report_to": [], "run_name": None}
    done = launch_training(shared, micro_model, ROWS, tmp_path, **more)
    assert done.training.steps == 6  # 12 rows, 4 a step over both, 2 epochs
    assert sorted(path.name for path in tmp_path.iterdir()) == ["weights"]
    load_trained(micro_model, shared, tmp_path)


SCRIPT = """
import sys
from pathlib import Path
from tests.harness.test_training import ROWS, recipe
from harness.launch import LaunchError, launch_training
from harness.model import ModelConfig
from harness.training import train
model = ModelConfig(name="micro", path=sys.argv[1])
train(recipe(epochs=12, checkpoint_minutes=0.002), model, ROWS, seed=3, folder=Path(sys.argv[2]))
"""


def test_a_killed_training_goes_on_and_ends_the_same(
    micro_model: ModelConfig, tmp_path: Path
) -> None:
    folder = tmp_path / "killed"
    command = [sys.executable, "-c", SCRIPT, micro_model.path, str(folder)]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    job = subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list(folder.glob("checkpoints/checkpoint-*/trainer_state.json")):
        assert time.monotonic() < deadline and job.poll() is None
        time.sleep(0.02)
    os.kill(job.pid, signal.SIGKILL)
    job.wait()
    assert not (folder / "weights").exists()
    subprocess.run(command, env=env, check=True, capture_output=True)
    whole = tmp_path / "whole"
    subprocess.run([*command[:-1], str(whole)], env=env, check=True, capture_output=True)
    assert weights(folder) == weights(whole)
    assert not (folder / "checkpoints").exists()
