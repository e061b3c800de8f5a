"""The cost of a training step where it is not three forward passes.

A frozen weight needs no gradient of its own, so LoRA costs about two forward passes, not three;
gradient checkpointing runs most of the forward pass again. Neither has a closed form worth
trusting: torch's FlopCounterMode counts a real step, forward and backward, on the meta device.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from harness.flops.counting import build_on_meta
from harness.flops.layers import fit_deep
from harness.flops.polynomial import Polynomial

if TYPE_CHECKING:
    from transformers import PretrainedConfig

    from harness.flops.shape import Shape


def count_training(
    config: PretrainedConfig | Shape, lora: Mapping[str, Any] | None, gradient_checkpointing: bool
) -> Polynomial:
    """FLOPs of forward, loss and backward for one sequence; the optimiser's step is left out.

    Args:
        config: the base model's architecture.
        lora: arguments of ``peft.LoraConfig``; None trains all weights.
        gradient_checkpointing: per decoder layer, as transformers' Trainer does it by default
            (non-reentrant: the LM head is not run again).
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # new names that older versions lack
        # With sdpa transformers' mask builder reads a value, and the meta device has none; eager
        # attention has the same products.
        model = build_on_meta(config, "eager")
        if lora is not None:
            from peft import LoraConfig, TaskType, get_peft_model

            model = get_peft_model(model, LoraConfig(**{"task_type": TaskType.CAUSAL_LM, **lora}))
        model.train()
        if gradient_checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
    return fit_deep(model, lambda length: count_step(model, length))


def count_step(model: Any, length: int) -> int:
    """FLOPs that torch counts for one forward and backward pass over ``length`` tokens."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    ids = torch.zeros((1, length), dtype=torch.long, device=model.device)
    mask = torch.ones_like(ids)  # without one, transformers looks for packed sequences in values
    with FlopCounterMode(display=False) as counter:
        output = model(input_ids=ids, attention_mask=mask, labels=ids, use_cache=False)
        output.loss.backward()
    model.zero_grad(set_to_none=True)
    return int(counter.get_total_flops())
