"""Per-sample gradients of the loss with respect to LoRA weights, many rows a step.

What LESS reads of a row (paper A.6): the gradient of the mean loss over the row's label tokens with
respect to the adapter's A and B, as it stands or as the update that Adam would make of it.

Three things make it cheap. The adapter is merged into the weights, so a step is the plain model's:
with x and the gradient g of a layer's output in hand, B's gradient is s gᵀ(x Aᵀ) and A's is
s (g B)ᵀ x, a row at a time. The language-model head runs on label tokens only and its gradient is
written down, not traced. Nothing is computed for frozen weights, for tokens behind the last label,
or below the first adapted layer. Rows are right-padded in batches of like length; in a causal model
padding cannot reach the loss, so its gradient is zero and no mask is needed.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from harness.chat import Chat, Message
from harness.encoder import batches
from harness.projection import Projection

if TYPE_CHECKING:
    import torch


HEAD_TOKENS = 1024  # label tokens for which logits are held at once
STEP_TOKENS = {"cpu": 512, "cuda": 4096}  # padded tokens of one step; 512 fit a CPU's cache
HELD_BYTES = 512 * 2**20  # gradients that wait for the projection (CUDA: a third of what is free)
BETAS, EPSILON = (0.9, 0.999), 1e-8  # Adam's, as in the warm-up training
# Turns gradients [n, size] into what is projected, in place.
Direction = Callable[["torch.Tensor"], None]


class UnsupportedModel(ValueError):
    """A model or an adapter of which the gradients are not known here."""


@dataclass(frozen=True)
class Labelled:
    """A row as the loss sees it.

    Attributes:
        ids: tokens up to the one before the last label; what follows cannot reach the loss.
        places: where a label is predicted, in ``ids``; ``targets``: the labels. Both are empty if
            the row has none.
        length: tokens of the whole row, after the cut.
    """

    ids: list[int]
    places: list[int]
    targets: list[int]
    length: int

    @classmethod
    def of(cls, ids: Sequence[int], is_label: Sequence[bool]) -> Labelled:
        """From the tokens of a row; the first is never predicted."""
        found = [t for t in range(1, len(ids)) if is_label[t]]
        end = found[-1] if found else 0
        return cls(list(ids[:end]), [t - 1 for t in found], [ids[t] for t in found], len(ids))


def label(rows: Sequence[Sequence[Message]], chat: Chat, max_length: int) -> list[Labelled]:
    """Rows of which the loss counts assistant tokens, cut on the right."""
    encoded = chat.encode(rows, max_length, labels=True)
    return [Labelled.of(row.ids, row.is_label) for row in encoded]


@dataclass(frozen=True)
class AdamDirection:
    """The step that Adam would take on a gradient, from the moments of a checkpoint.

    Attributes:
        first, second: Adam's moments without bias correction, float32 [size].
        form: ``code``: m' / sqrt(v' + 1e-8), as LESS' code has it; ``paper``: with both moments
            corrected for bias and 1e-8 outside the root, as its paper writes it.
        step: optimiser steps behind the moments; ``paper`` alone needs it.
    """

    first: torch.Tensor
    second: torch.Tensor
    form: Literal["code", "paper"] = "code"
    step: int = 0

    def __call__(self, gradients: torch.Tensor) -> None:
        """Replace gradients [n, size] by Adam's directions."""
        one, two = BETAS
        slow = gradients.square().mul_(1 - two).add_(self.second, alpha=two)
        gradients.mul_(1 - one).add_(self.first, alpha=one)
        if self.form == "paper":
            gradients.div_(1 - one ** (self.step + 1))
            slow.div_(1 - two ** (self.step + 1))
            gradients.div_(slow.sqrt_().add_(EPSILON))
        else:
            gradients.div_(slow.add_(EPSILON).sqrt_())


class LoraGradients:
    """Per-sample gradients of a causal LM with a LoRA adapter.

    It takes the model over: the adapter is merged and the layers are replaced. The model's dtype is
    that of the work.

    Args:
        model: a ``peft.PeftModel`` with one LoRA adapter on linear layers.

    Attributes:
        names: the adapter's parameters in the order in which their gradients are laid out, as
            ``named_parameters`` called them.
        size: entries of a gradient.
    """

    def __init__(self, model: Any) -> None:
        self._layers, self.names = _replace_layers(model)
        self.size = 0
        for layer in self._layers:
            layer.start = self.size
            self.size += layer.size
        base = model.get_base_model().eval().requires_grad_(False)
        for name in ("final_logit_softcapping", "logits_scaling", "logit_scale"):
            if getattr(base.config.get_text_config(), name, None) not in (None, 1, 1.0):
                raise UnsupportedModel(f"the model changes its logits ({name}): not known here")
        self._body, self._head = base.base_model, base.get_output_embeddings()
        self.device = base.device

    def flat(self, values: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Values by parameter name, such as moments, laid out as a gradient: float32 [size]."""
        import torch

        return torch.cat([values[name].float().reshape(-1) for name in self.names]).to(self.device)

    def write(self, rows: Sequence[Labelled], into: torch.Tensor) -> None:
        """Gradients of rows with at least one label, as one batch.

        Args:
            into: float32 [rows, size], overwritten.
        """
        import torch

        counts = [len(row.places) for row in rows]
        padded = np.zeros((len(rows), max(len(row.ids) for row in rows)), dtype=np.int64)
        for index, row in enumerate(rows):
            padded[index, : len(row.ids)] = row.ids
        owner = np.repeat(np.arange(len(rows)), counts)
        place = np.concatenate([row.places for row in rows])
        target = np.concatenate([row.targets for row in rows])
        weight = np.repeat(1.0 / np.array(counts, dtype=np.float32), counts)
        tokens, owners, places, targets, weights = (
            torch.from_numpy(values).to(self.device)
            for values in (padded, owner, place, target, weight)
        )
        for layer in self._layers:
            layer.into = into
        with torch.enable_grad():
            hidden = self._body(input_ids=tokens, use_cache=False).last_hidden_state
        slope = torch.zeros_like(hidden)
        slope[owners, places] = self._head_slope(hidden.detach()[owners, places], targets, weights)
        hidden.backward(slope)

    def _head_slope(
        self, hidden: torch.Tensor, wanted: torch.Tensor, weights: torch.Tensor
    ) -> torch.Tensor:
        """Gradient of the weighted sum of cross-entropies wrt hidden states [tokens, width]."""
        import torch

        slope = torch.empty_like(hidden)
        with torch.no_grad():
            for start in range(0, len(hidden), HEAD_TOKENS):
                piece = slice(start, start + HEAD_TOKENS)
                chance = torch.softmax(self._head(hidden[piece]).float(), dim=-1)
                chance[torch.arange(len(chance)), wanted[piece]] -= 1
                chance *= weights[piece, None]
                slope[piece] = chance.to(hidden.dtype) @ self._head.weight
        return slope


def project_gradients(
    gradients: LoraGradients,
    rows: Sequence[Labelled],
    projection: Projection,
    direction: Direction | None = None,
    *,
    max_tokens: int | None = None,
    on_batch: Callable[[int, int], None] = lambda rows, tokens: None,
) -> np.ndarray:
    """Projected, L2-normalised gradients of rows: float32 [rows, dim].

    Args:
        rows: one without a label gets zeros.
        direction: what the optimiser makes of a gradient; None takes it as it stands (SGD).
        max_tokens: padded tokens in one batch; None: ``STEP_TOKENS`` of the device.
        on_batch: called with the rows and tokens of each finished batch.
    """
    import torch

    result = torch.zeros((len(rows), projection.dim))
    useful = [i for i, row in enumerate(rows) if row.places]
    most = max_tokens or STEP_TOKENS.get(gradients.device.type, STEP_TOKENS["cuda"])
    held = max(1, min(len(useful), _held_bytes(gradients.device) // (4 * gradients.size)))
    buffer = torch.empty((held, gradients.size), device=gradients.device)
    waiting: list[int] = []

    def flush() -> None:
        projected = projection(buffer[: len(waiting)])
        result[waiting] = torch.nn.functional.normalize(projected, dim=-1).cpu()
        waiting.clear()

    for batch in batches([len(rows[i].ids) for i in useful], most, most_rows=held):
        if len(waiting) + len(batch) > held:
            flush()
        into = buffer[len(waiting) : len(waiting) + len(batch)]
        chosen = [useful[i] for i in batch]
        gradients.write([rows[i] for i in chosen], into)
        if direction is not None:
            direction(into)
        waiting.extend(chosen)
        on_batch(len(chosen), sum(rows[i].length for i in chosen))
    if waiting:
        flush()
    on_batch(len(rows) - len(useful), 0)
    return result.numpy()


def _held_bytes(device: torch.device) -> int:
    if device.type != "cuda":
        return HELD_BYTES
    import torch

    return int(torch.cuda.mem_get_info(device)[0]) // 3


def _replace_layers(model: Any) -> tuple[list[Any], list[str]]:
    """Put a merged layer in the place of each adapted one.

    Raises:
        UnsupportedModel: naming what is not known here.
    """
    from peft.tuners.lora import Linear

    layers: list[Any] = []
    names: list[str] = []
    for path, module in list(model.named_modules()):
        if not isinstance(module, Linear):
            continue
        adapters = list(module.active_adapters)
        if len(adapters) != 1 or module.merged or module.use_dora.get(adapters[0], False):
            raise UnsupportedModel(f"{path}: gradients need one plain, unmerged LoRA adapter")
        adapter = adapters[0]
        own = [f"{path}.lora_{side}.{adapter}.weight" for side in "AB"]
        layer = _merged(module, adapter)
        parent, _, child = path.rpartition(".")
        setattr(model.get_submodule(parent), child, layer)
        layers.append(layer)
        names.extend(own)
    other = [n for n, _ in model.named_parameters() if "lora_" in n or "modules_to_save" in n]
    if other or not layers:
        raise UnsupportedModel(
            f"gradients are known for LoRA on linear layers alone; found also {other[:3]}"
            if layers
            else "the model has no LoRA adapter on a linear layer"
        )
    return layers, names


def _merged(module: Any, adapter: str) -> Any:
    import torch

    class Merged(torch.nn.Module):
        """W + s B A as one linear layer that leaves per-sample gradients of A and B behind."""

        def __init__(self) -> None:
            super().__init__()
            base = module.get_base_layer()
            self.scale = float(module.scaling[adapter])
            self.a = module.lora_A[adapter].weight.detach()  # [r, in]
            self.b = module.lora_B[adapter].weight.detach()  # [out, r]
            weight = base.weight.detach().float()
            if module.fan_in_fan_out:
                weight = weight.T
            weight = weight + self.scale * (self.b.float() @ self.a.float())
            self.weight = weight.to(base.weight.dtype)
            self.a, self.b = (side.to(base.weight.dtype) for side in (self.a, self.b))
            self.bias = None if base.bias is None else base.bias.detach()
            self.size = self.a.numel() + self.b.numel()
            self.start = 0
            self.into: torch.Tensor | None = None
            # Its only use: below the first adapted layer nothing else asks for gradients.
            self.probe = torch.zeros((), requires_grad=True)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return _function().apply(x, self.probe, self)

        def leave(self, x: torch.Tensor, slope: torch.Tensor) -> None:
            """Write the gradients of a batch: x [n, tokens, in], slope [n, tokens, out]."""
            assert self.into is not None
            n = len(x)
            middle = self.start + self.a.numel()
            into_a = self.into[:, self.start : middle].view(n, *self.a.shape)
            into_b = self.into[:, middle : self.start + self.size].view(n, *self.b.shape)
            into_a.copy_(((slope @ self.b).mul_(self.scale).transpose(1, 2)) @ x)
            into_b.copy_(slope.transpose(1, 2) @ (x @ self.a.T).mul_(self.scale))

    return Merged()


@functools.cache
def _function() -> Any:
    import torch

    class Linear(torch.autograd.Function):
        """A frozen linear layer whose backward pass shows the layer its input and its slope."""

        @staticmethod
        def forward(ctx: Any, x: Any, probe: Any, layer: Any) -> Any:
            ctx.layer = layer
            ctx.save_for_backward(x)
            return torch.nn.functional.linear(x, layer.weight, layer.bias)

        @staticmethod
        def backward(ctx: Any, slope: Any) -> Any:
            (x,) = ctx.saved_tensors
            ctx.layer.leave(x, slope)
            back = slope @ ctx.layer.weight if ctx.needs_input_grad[0] else None
            return back, None, None

    return Linear
