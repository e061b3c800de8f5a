"""The Muon optimizer for matrices, all of one shape at once.

`torch.optim.Muon` works matrix by matrix and in bf16; on a CPU that takes longer than the model.
"""

from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import Tensor

ROUNDS = 5
QUINTIC = (3.4445, -4.7750, 2.0315)


class Muon(torch.optim.Optimizer):
    """Momentum, made orthogonal, scaled to the size of an Adam step."""

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 1e-3,
        momentum: float = 0.95,
        weight_decay: float = 0.1,
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Take one step."""
        for group in self.param_groups:
            by_shape: dict[tuple[int, ...], list[Tensor]] = defaultdict(list)
            for parameter in group["params"]:
                by_shape[tuple(parameter.shape)].append(parameter)
            for shape, parameters in by_shape.items():
                gradients = torch.stack([p.grad for p in parameters if p.grad is not None])
                state = self.state[parameters[0]]
                if not state:
                    state["momentum"] = torch.zeros_like(gradients)
                state["momentum"].lerp_(gradients, 1 - group["momentum"])
                update = orthogonal(gradients.lerp(state["momentum"], group["momentum"]))
                update *= 0.2 * max(shape) ** 0.5 * group["lr"]
                for parameter, change in zip(parameters, update, strict=True):
                    parameter.mul_(1 - group["lr"] * group["weight_decay"]).sub_(change)


def orthogonal(matrices: Tensor) -> Tensor:
    """Return the nearest matrices, about, whose singular values are all one (Newton-Schulz)."""
    wide = matrices.mT if matrices.size(-2) > matrices.size(-1) else matrices
    x = wide / (wide.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    a, b, c = QUINTIC
    for _ in range(ROUNDS):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    return x.mT if wide is not matrices else x
