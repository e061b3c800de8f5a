"""The cost of LESS's gradients: what ``harness.gradients`` does for a row, counted as it runs.

It is no training step: the adapter is merged, so that forward is the plain model's; the head runs
on label tokens alone, and once more for their gradient; frozen weights, tokens behind the last
label and what lies below the first adapted layer cost nothing; the gradients of A and B do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.flops.counting import build_on_meta
from harness.flops.layers import few_layers, fit_deep
from harness.flops.polynomial import Lengths, Polynomial, whole

if TYPE_CHECKING:
    from transformers import PretrainedConfig

    from harness.flops.shape import Shape


@dataclass(frozen=True)
class GradientFlops:
    """Costs of per-sample gradients with respect to a LoRA adapter, in FLOPs.

    Attributes:
        tokens: of a row by the tokens that are read, those up to the last label's predecessor.
        label: of each label token: the head, and its share of the gradient.
        size: entries of a gradient.
    """

    tokens: Polynomial
    label: int
    size: int

    def __call__(self, read: Lengths, labels: Lengths) -> float:
        """Of rows by tokens read and label tokens; a row without a label is not read: 0 and 0."""
        read, labels = whole(read), whole(labels)
        if read.shape != labels.shape:
            raise ValueError(f"{read.size} lengths but {labels.size} counts of labels")
        return self.tokens(read[labels > 0]) + float(self.label * int(labels.sum()))

    def projected(self, rows: int, dim: int) -> float:
        """Of the product of ``rows`` gradients with the signs of a projection to ``dim``."""
        return 2.0 * self.size * dim * rows


def count_gradients(config: PretrainedConfig | Shape, lora: Mapping[str, Any]) -> GradientFlops:
    """Count ``harness.gradients.LoraGradients`` on the meta device.

    Args:
        config: the selector model's architecture.
        lora: arguments of ``peft.LoraConfig``.
    """
    from peft import LoraConfig, TaskType, get_peft_model

    from harness.gradients import LoraGradients

    model = build_on_meta(config, "eager")
    model.base_model.register_forward_pre_hook(_with_mask, with_kwargs=True)
    adapted = get_peft_model(model, LoraConfig(**{"task_type": TaskType.CAUSAL_LM, **lora}))
    gradients = LoraGradients(adapted)
    with few_layers(model):
        label = count_row(gradients, 8, 3) - count_row(gradients, 8, 2)
    tokens = fit_deep(model, lambda length: count_row(gradients, length, 1) - label)
    return GradientFlops(tokens, label, gradients.size)


def _with_mask(module: Any, arguments: Any, named: dict[str, Any]) -> Any:
    """Without a mask transformers looks for packed sequences in values, and meta has none."""
    import torch

    return arguments, {**named, "attention_mask": torch.ones_like(named["input_ids"])}


def count_row(gradients: Any, read: int, labels: int) -> int:
    """FLOPs that torch counts for the gradient of one row with its labels at the end."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from harness.gradients import Labelled

    places = np.arange(read - labels, read).tolist()
    row = Labelled([1] * read, places, [1] * labels, read + 1)
    into = torch.empty((1, gradients.size), device=gradients.device)
    with FlopCounterMode(display=False) as counter:
        gradients.write([row], into)
    return int(counter.get_total_flops())
