"""Fine-tuning: transformers' Trainer on rows that we tokenised and masked ourselves.

The loss counts assistant tokens only, the end token among them. Rows of which the answer was cut
away teach nothing: they are left out, counted and reported. A killed training goes on from its last
checkpoint. FSDP, DeepSpeed and trackers come with the Trainer (``recipe.trainer``).
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from harness.chat import Chat, Encoded, Message
from harness.component import Component
from harness.memory import peak_memory_mb
from harness.model import ModelConfig
from harness.progress import interactive
from harness.record import Stage, StageCost, Training
from harness.trainer import (
    IGNORED,
    Collator,
    Order,
    Rows,
    checkpoint_by_the_clock,
    epoch_keeper,
    note_epochs,
    ordered_trainer,
    quiet,
    save_weights,
)

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Lora(Component):
    """LoRA by peft's names (paper D: r 128, alpha 512, dropout 0.1, on q, k, v and o)."""

    r: int = 128
    lora_alpha: int = 512
    lora_dropout: float = 0.1
    target_modules: list[str] = Field(
        default_factory=lambda: ["q_proj", "k_proj", "v_proj", "o_proj"]
    )


class Recipe(Component):
    """How the base model is fine-tuned (paper D).

    Attributes:
        batch_size: rows in one optimiser step, over all devices and accumulation steps.
        micro_batch_size: rows on one device at once; ``batch_size`` must be a multiple.
        schedule: of the learning rate after the warm-up; down to 0.
        precision: ``bf16`` is mixed precision with fp32 master weights; weights are always fp32.
        checkpoint_minutes: how much work a kill may cost; 0 saves at every step.
        launch: what starts the training's processes on several devices, word by word, for example
            ``[accelerate, launch, --config_file, fsdp.yaml]`` (see harness/launch.py); empty trains
            in this process.
        trainer: further TrainingArguments by name (fsdp, deepspeed, ...).
    """

    name: str
    epochs: float = Field(default=2.0, gt=0)
    batch_size: int = Field(default=128, gt=0)
    micro_batch_size: int = Field(default=1, gt=0)
    learning_rate: float = Field(default=2e-5, gt=0)
    schedule: Literal["linear", "cosine", "constant_with_warmup"] = "linear"
    warmup_ratio: float = Field(default=0.03, ge=0, le=1)
    weight_decay: float = 0.0
    max_length: int = Field(default=2048, gt=1)
    precision: Literal["fp32", "bf16"] = "bf16"
    gradient_checkpointing: bool = False
    lora: Lora | None = None
    checkpoint_minutes: float = Field(default=10.0, ge=0)
    launch: list[str] = Field(default_factory=list)
    trainer: dict[str, Any] = Field(default_factory=dict)

    def identity(self) -> dict[str, Any]:
        """All but the name and how often a checkpoint is kept."""
        return {
            key: value
            for key, value in super().identity().items()
            if key not in ("name", "checkpoint_minutes")
        }


@dataclass
class Trained:
    """The numbers for the record, and the lengths and what else the ledger needs."""

    training: Training
    lengths: np.ndarray  # int32 [rows trained on], tokens after the cut
    seconds: float
    peak_memory_mb: float


def label_rows(
    rows: Sequence[Sequence[Message]], chat: Chat, max_length: int
) -> tuple[list[dict[str, Any]], Training]:
    """Rows as ``{"input_ids", "labels", "length"}``, and what had to be left out.

    Labels equal the ids on assistant tokens and ``IGNORED`` elsewhere. The first token is never
    predicted, so a label there does not count.
    """
    features, report = [], Training(rows=len(rows))
    for row in chat.encode(rows, max_length, labels=True):
        report.rows_truncated += row.truncated
        labels = _labels(row)
        count = sum(label != IGNORED for label in labels[1:])
        if count == 0:
            report.rows_without_labels += 1
            continue
        report.label_tokens += count
        report.tokens += len(row.ids)
        features.append({"input_ids": row.ids, "labels": labels, "length": len(row.ids)})
    return features, report


def _labels(row: Encoded) -> list[int]:
    return [
        token if inside else IGNORED for token, inside in zip(row.ids, row.is_label, strict=True)
    ]


def train(
    recipe: Recipe,
    base: ModelConfig,
    rows: Sequence[Sequence[Message]],
    *,
    seed: int,
    folder: Path,
    report_to: Sequence[str] = (),
    run_name: str | None = None,
    keep_epochs: bool = False,
) -> Trained:
    """Fine-tune ``base`` on ``rows`` and save the weights in ``folder``.

    An interrupted training leaves ``folder/checkpoints``, from which the next call goes on.

    Args:
        keep_epochs: also keep the state at the end of every epoch, in ``folder/epochs/<n>``, the
            first being 1: ``weights``, Adam's moments in ``moments.safetensors``
            (``exp_avg.<parameter>`` and ``exp_avg_sq.<parameter>``), and ``epoch.json`` with the
            optimiser ``step`` and the mean ``learning_rate`` of the epoch's steps. The last epoch
            has the final weights, so ``folder/weights`` is not written.

    Raises:
        ValueError: no row has a label within ``recipe.max_length``, the batch size does not fit
            the devices, or epochs are to be kept of an optimiser without Adam's moments.
    """
    from transformers import TrainingArguments, set_seed
    from transformers.trainer_utils import get_last_checkpoint

    chat = base.load_chat()
    features, report = label_rows(rows, chat, recipe.max_length)
    if not features:
        raise ValueError(
            f"none of the {len(rows)} selected rows has an assistant token within "
            f"recipe.max_length={recipe.max_length} tokens; raise it"
        )
    set_seed(seed)
    model = base.load(dtype="float32")
    if recipe.lora:
        model = _with_lora(model, recipe.lora)
    checkpoints = folder / "checkpoints"
    further: dict[str, Any] = dict(recipe.trainer)
    if recipe.gradient_checkpointing:
        # Not reentrant: that is the recompute which the ledger counts.
        further["gradient_checkpointing"] = True
        further["gradient_checkpointing_kwargs"] = {"use_reentrant": False}
    arguments = TrainingArguments(
        output_dir=str(checkpoints),
        num_train_epochs=recipe.epochs,
        per_device_train_batch_size=recipe.micro_batch_size,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type=recipe.schedule,
        warmup_steps=recipe.warmup_ratio,  # below 1 transformers reads it as a share of all steps
        weight_decay=recipe.weight_decay,
        bf16=recipe.precision == "bf16",
        gradient_accumulation_steps=_accumulation(recipe),
        remove_unused_columns=False,
        seed=seed,
        save_strategy="no",  # the callback saves by the clock
        save_total_limit=1,
        logging_strategy="steps",
        logging_steps=1,
        report_to=list(report_to) or "none",
        run_name=run_name,
        disable_tqdm=not interactive(),
        use_cpu=base.torch_device() == "cpu",
        dataloader_pin_memory=base.torch_device() != "cpu",
        **further,
    )
    order = Order([row["length"] for row in features], recipe.batch_size, seed)
    trainer = ordered_trainer(
        order,
        model=model,
        args=arguments,
        train_dataset=Rows(features),
        data_collator=Collator(chat.tokenizer.pad_token_id),
        callbacks=[checkpoint_by_the_clock(recipe.checkpoint_minutes)],
    )
    if keep_epochs:
        trainer.add_callback(epoch_keeper(trainer, folder / "epochs"))
    quiet(trainer)
    last = get_last_checkpoint(str(checkpoints)) if checkpoints.is_dir() else None
    start = time.perf_counter()
    trainer.train(resume_from_checkpoint=last)
    seconds = time.perf_counter() - start
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    report.steps = trainer.state.global_step
    report.loss_first, report.loss_last = (losses[0], losses[-1]) if losses else (None, None)
    if not keep_epochs:
        save_weights(trainer, folder / "weights")
    if trainer.is_world_process_zero():
        if keep_epochs:
            note_epochs(trainer.state.log_history, folder / "epochs")
        shutil.rmtree(checkpoints, ignore_errors=True)
    lengths = np.array([row["length"] for row in features], dtype=np.int32)
    return Trained(report, lengths, seconds, peak_memory_mb())


def fine_tune(
    recipe: Recipe, base: ModelConfig, rows: Sequence[Sequence[Message]], **options: Any
) -> Trained:
    """``train``, with its options, in this process or in those that ``recipe.launch`` starts."""
    from harness.launch import launch_training

    work: Any = launch_training if recipe.launch else train
    done: Trained = work(recipe, base, rows, **options)
    return done


def training_cost(
    stage: Stage, recipe: Recipe, base: ModelConfig, done: Trained, rows: int
) -> StageCost:
    """What a training costs: measured over the rows trained on, by the paper over all ``rows``."""
    from harness.flops import model_flops, paper_train

    flops = model_flops(base.load_config())
    lora = recipe.lora.model_dump() if recipe.lora else None
    once = flops.train(
        done.lengths, lora=lora, gradient_checkpointing=recipe.gradient_checkpointing
    )
    return StageCost(
        stage=stage,
        flops=once * recipe.epochs,
        flops_paper=paper_train(flops.parameters, rows, recipe.epochs),
        tokens=round(int(done.lengths.sum()) * recipe.epochs),
        rows=rows,
        seconds=done.seconds,
        peak_memory_mb=done.peak_memory_mb,
    )


def load_trained(base: ModelConfig, recipe: Recipe, folder: Path) -> Any:
    """The model that ``train`` saved in ``folder``, in the base model's dtype."""
    if not recipe.lora:
        return base.load(folder=folder / "weights")
    from peft import PeftModel

    return PeftModel.from_pretrained(base.load(), str(folder / "weights")).eval()


def _with_lora(model: PreTrainedModel, lora: Lora) -> Any:
    from peft import LoraConfig, get_peft_model

    return get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **lora.model_dump()))


def _accumulation(recipe: Recipe) -> int:
    """Accumulation steps that give exactly ``batch_size`` rows an optimiser step."""
    import os

    import torch

    processes = int(os.environ.get("WORLD_SIZE", "1"))
    devices = processes if processes > 1 else max(1, torch.cuda.device_count())
    at_once = recipe.micro_batch_size * devices
    if recipe.batch_size % at_once:
        raise ValueError(
            f"recipe.batch_size={recipe.batch_size} is no multiple of recipe.micro_batch_size="
            f"{recipe.micro_batch_size} times {devices} device(s)"
        )
    return recipe.batch_size // at_once
