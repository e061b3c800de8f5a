"""What transformers' Trainer is given here: row order, batches, checkpoints, kept epochs."""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.files import fsync_tree
from harness.seeds import derive

if TYPE_CHECKING:
    import torch

IGNORED = -100  # the label that the loss skips


class Rows:
    """The least that a Trainer's dataset must be."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.rows[index]


class Order:
    """A sampler: rows of like length in one batch, in an order that seed and epoch decide.

    Transformers' own draws from the global generator, so a training that goes on in the middle of
    its second epoch or later would see other rows than the one that was killed.

    Attributes:
        epoch: counted from 0.
    """

    def __init__(self, lengths: list[int], batch_size: int, seed: int) -> None:
        self.lengths, self.batch_size, self.seed = lengths, batch_size, seed
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        import torch
        from transformers.trainer_pt_utils import get_length_grouped_indices

        generator = torch.Generator()
        generator.manual_seed(derive(self.seed, f"epoch {self.epoch}"))
        order = get_length_grouped_indices(self.lengths, self.batch_size, generator=generator)
        return iter(order)


def ordered_trainer(order: Order, **more: Any) -> Any:
    """A transformers Trainer that takes the rows in ``order``; ``more`` are its arguments."""
    from transformers import Trainer, TrainerCallback

    class Ordered(Trainer):
        """A Trainer that takes the rows in our order."""

        def _get_train_sampler(self, train_dataset: Any = None) -> Any:
            return order

    class Turn(TrainerCallback):
        """Tells the order which epoch begins; a resumed one begins at a fraction."""

        def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            order.epoch = int(state.epoch or 0)

    trainer = Ordered(**more)
    trainer.add_callback(Turn())
    return trainer


class Collator:
    """Right-pads a batch to its longest row."""

    def __init__(self, pad_id: int) -> None:
        self.pad_id = pad_id

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """Token ids, labels and attention mask: int64 [rows, longest]."""
        import torch

        longest = max(row["length"] for row in rows)
        shape = (len(rows), longest)
        ids = torch.full(shape, self.pad_id, dtype=torch.long)
        labels = torch.full(shape, IGNORED, dtype=torch.long)
        mask = torch.zeros(shape, dtype=torch.long)
        for index, row in enumerate(rows):
            length = row["length"]
            ids[index, :length] = torch.tensor(row["input_ids"])
            labels[index, :length] = torch.tensor(row["labels"])
            mask[index, :length] = 1
        return {"input_ids": ids, "labels": labels, "attention_mask": mask}


def checkpoint_by_the_clock(minutes: float) -> Any:
    """A callback: a checkpoint once the last one is ``minutes`` old."""
    from transformers import TrainerCallback

    class Save(TrainerCallback):
        """Asks for a checkpoint once the last one is ``minutes`` old."""

        def __init__(self) -> None:
            self.last = time.monotonic()

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if time.monotonic() - self.last >= 60 * minutes:
                control.should_save = True
                self.last = time.monotonic()

    return Save()


def save_weights(trainer: Any, folder: Path) -> None:
    """The weights alone, as safetensors."""
    trainer.save_model(str(folder))  # every process takes part in gathering shards
    if trainer.is_world_process_zero():
        (folder / "training_args.bin").unlink(missing_ok=True)  # a pickle


def epoch_keeper(trainer: Any, folder: Path) -> Any:
    """A callback: weights and Adam's moments of every epoch in ``folder/<epoch>``."""
    from transformers import TrainerCallback

    class Keep(TrainerCallback):
        """Writes the state at the end of every epoch, the last and possibly partial one included.

        It acts at the end of the epoch's last step, before a checkpoint of that step is written: a
        training that goes on from that checkpoint sees no further end of the epoch.
        """

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.epoch != int(state.epoch) and state.global_step < state.max_steps:
                return
            here = folder / str(math.ceil(state.epoch))
            if trainer.is_world_process_zero():
                shutil.rmtree(here, ignore_errors=True)  # of a run that was killed
                here.mkdir(parents=True)
                _save_moments(trainer, here / "moments.safetensors")
            save_weights(trainer, here / "weights")
            if trainer.is_world_process_zero():
                fsync_tree(here)

    return Keep()


def _save_moments(trainer: Any, file: Path) -> None:
    """Adam's moments by the names of the parameters, float32."""
    from safetensors.torch import save_file

    tensors: dict[str, torch.Tensor] = {}
    for name, parameter in trainer.model.named_parameters():
        state = trainer.optimizer.state.get(parameter, {})
        for moment in ("exp_avg", "exp_avg_sq"):
            if moment in state:
                tensors[f"{moment}.{name}"] = state[moment].detach().float().cpu().contiguous()
    if not tensors:
        raise ValueError(
            f"{type(trainer.optimizer).__name__} keeps no Adam moments by parameter, so the epochs "
            "cannot be kept: use an AdamW (recipe.trainer.optim) and no sharding (fsdp, deepspeed)"
        )
    save_file(tensors, file)


def note_epochs(history: Sequence[dict[str, Any]], folder: Path) -> None:
    """Write each epoch's ``epoch.json``. ``history`` has every step, whatever was killed between:
    a step is logged before its checkpoint is written, and the log is in the checkpoint."""
    rates: dict[int, list[float]] = {}
    steps: dict[int, int] = {}
    for entry in history:
        if "loss" in entry:
            epoch = math.ceil(entry["epoch"])
            rates.setdefault(epoch, []).append(entry["learning_rate"])
            steps[epoch] = entry["step"]
    for epoch, values in rates.items():
        note = {"step": steps[epoch], "learning_rate": sum(values) / len(values)}
        (folder / str(epoch) / "epoch.json").write_text(json.dumps(note), encoding="utf-8")


def quiet(trainer: Any) -> None:
    """No printed dictionary a step; the tracker and the record have the losses."""
    from transformers.trainer_callback import PrinterCallback

    trainer.remove_callback(PrinterCallback)
