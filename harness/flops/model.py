"""What one model's forward passes, training and generation cost at real token lengths."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.files import canonical_json
from harness.flops.counting import count_encoder, count_forward
from harness.flops.gradients import GradientFlops, count_gradients
from harness.flops.polynomial import Lengths, Polynomial, whole
from harness.flops.shape import Shape
from harness.flops.training import count_training

if TYPE_CHECKING:
    from transformers import PretrainedConfig


@dataclass(frozen=True)
class ModelFlops:
    """Costs of one architecture, in FLOPs; padding is never counted.

    Attributes:
        body: the base model without its LM head, a sequence.
        head: the LM head alone on every position, a sequence.
        parameters: the paper's N: all parameters, tied ones once.
        config: a private copy of the architecture, for counts that are made on demand.
        steps: training steps counted so far, and ``adapters`` gradients; by ``recipe_key``.
    """

    body: Polynomial
    head: Polynomial
    parameters: int
    config: PretrainedConfig | Shape = field(repr=False, compare=False)
    steps: dict[str, Polynomial] = field(default_factory=dict, repr=False, compare=False)
    adapters: dict[str, GradientFlops] = field(default_factory=dict, repr=False, compare=False)

    def forward(self, lengths: Lengths, head: bool = True) -> float:
        """One forward pass over sequences of these lengths, with or without the LM head."""
        return self.body(lengths) + (self.head(lengths) if head else 0.0)

    def train(
        self,
        lengths: Lengths,
        *,
        lora: Mapping[str, Any] | None = None,
        gradient_checkpointing: bool = False,
    ) -> float:
        """One forward and backward pass over these sequences (times epochs is the fine-tuning).

        Training all weights costs exactly three forward passes. With LoRA or checkpointing the
        polynomial is counted from a real step on first use (a second or two; see ``training``).

        Args:
            lengths: tokens of each row as trained on, after truncation.
            lora: arguments of ``peft.LoraConfig``, such as ``{"r": 8, "target_modules": [...]}``.
            gradient_checkpointing: whether the layers' forward passes run a second time.
        """
        if lora is None and not gradient_checkpointing:
            return 3.0 * self.forward(lengths)
        key = recipe_key(lora, gradient_checkpointing)
        if key not in self.steps:
            self.steps[key] = count_training(self.config, lora, gradient_checkpointing)
        return self.steps[key](lengths)

    def gradients(self, lora: Mapping[str, Any]) -> GradientFlops:
        """LESS's gradients with respect to this adapter; counted on first use.

        Args:
            lora: arguments of ``peft.LoraConfig``.
        """
        key = recipe_key(lora)
        if key not in self.adapters:
            self.adapters[key] = count_gradients(self.config, lora)
        return self.adapters[key]

    def read(self, known: Lengths, tokens: Lengths, answers: Lengths) -> float:
        """Passes over tokens behind others whose keys and values are there already.

        Each token attends to all before it and to its own sequence: ``body.a · tokens · (known +
        tokens) + body.b · tokens``.

        Args:
            known: tokens of each sequence that are there.
            tokens: further ones, which go through.
            answers: for how many of these the LM head runs.
        """
        before, read = whole(known), whole(tokens)
        if before.shape != read.shape:
            raise ValueError(f"{before.size} beginnings but {read.size} lengths")
        further = self.body.a * int(np.dot(before, read))
        return self.body(read) + float(further) + int(whole(answers).sum()) * self.head(1)

    def write(self, prompt_lengths: Lengths, new_lengths: Lengths) -> float:
        """Generation with a key-value cache behind prompts that were read.

        The prompt's pass gives the first token. Every further one is a pass over one token that
        attends to all before it and to itself: ``body.b + body.a · t`` at total length t, plus the
        head.

        Args:
            prompt_lengths: prompt tokens of each text.
            new_lengths: generated tokens of each, the end token included.
        """
        prompts, new = whole(prompt_lengths), whole(new_lengths)
        if prompts.shape != new.shape:
            raise ValueError(f"{prompts.size} prompts but {new.size} generated lengths")
        steps = np.maximum(new - 1, 0)
        attended = int(np.dot(steps, prompts)) + int(np.dot(steps, steps + 1)) // 2
        count = int(steps.sum())
        passes = self.body.a * attended + (self.body.b + self.body.c) * count
        return float(passes) + count * self.head(1)

    def generate(self, prompt_lengths: Lengths, new_lengths: Lengths) -> float:
        """``read`` and ``write``: each prompt whole, with the LM head on its last position only.

        A request with 0 new tokens still costs its prompt.
        """
        prompts = whole(prompt_lengths)
        once = np.ones_like(prompts)
        return self.read(0 * prompts, prompts, once) + self.write(prompts, new_lengths)


def recipe_key(lora: Mapping[str, Any] | None, gradient_checkpointing: bool = False) -> str:
    """What decides the cost of a step: LoRA's alpha and dropout multiply no matrices."""
    free = ("lora_alpha", "lora_dropout")
    named = lora and {key: value for key, value in lora.items() if key not in free}
    return canonical_json([named, gradient_checkpointing])


_COUNTED: dict[str, ModelFlops] = {}


def model_flops(config: PretrainedConfig) -> ModelFlops:
    """Count a causal LM's architecture; equal configurations are counted once in a process.

    Raises:
        UncountedOperation: the architecture holds a product that the counter does not know.
        ValueError: its cost is no quadratic in length, or it is no causal LM.
    """
    key = config.to_json_string(use_diff=False)
    if key not in _COUNTED:
        _COUNTED[key] = ModelFlops(*count_forward(config), config=copy.deepcopy(config))
    return _COUNTED[key]


def encoder_flops(
    config: PretrainedConfig,
    *,
    dense: Sequence[tuple[int, int]] = (),
    trust_remote_code: bool = False,
) -> ModelFlops:
    """Count a text encoder and the dense layers behind its pooling; it has no head.

    The count is of what leads to the token states: BERT's unused pooler is left out.

    Args:
        dense: inputs and outputs of each dense layer, applied once a text.
    """
    body, parameters = count_encoder(config, trust_remote_code=trust_remote_code)
    weights = sum(inputs * outputs for inputs, outputs in dense)
    nothing = Polynomial(0, 0, 0)
    return ModelFlops(
        body + Polynomial(0, 0, 2 * weights), nothing, parameters + weights, copy.deepcopy(config)
    )
