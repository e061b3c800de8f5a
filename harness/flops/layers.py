"""Counting a deep model by a shallow one: equal layers cost the same.

A model of 80 equal layers is counted with two and with three of them; each further one costs what
the third adds. Whether layers are equal is read from the modules themselves (types, shapes, plain
settings); a model in which the third and a later one differ is counted whole. The first two may be
special: T5's first holds the position bias, and with LoRA nothing asks for gradients below it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from harness.flops.polynomial import Polynomial, fit

if TYPE_CHECKING:
    import torch

_PLACES = ("layer_idx", "start")  # settings that say where a layer stands, not what it is
FEW = 3  # layers that stand for all: the cost of the last of them is every further one's


def fit_deep(model: Any, count: Callable[[int], int]) -> Polynomial:
    """``fit`` of what ``count`` finds for the whole model, counted on a few layers if it may be."""
    found = equal_layers(model)
    if found is None:
        return fit(count)
    parent, name, total = found
    with first_layers(parent, name, FEW - 1):
        fewer = fit(count)
    with first_layers(parent, name, FEW):
        few = fit(count)
    return few + (few - fewer) * (total - FEW)


def equal_layers(model: torch.nn.Module) -> tuple[torch.nn.Module, str, int] | None:
    """The module that holds the layers, the name of the list, and how many layers it has.

    None if there is no such list of more than ``FEW`` layers, more than one, or if layers from the
    third on differ.
    """
    import torch

    config: Any = model.config
    depth = getattr(config.get_text_config(), "num_hidden_layers", 0)
    lists = [
        (module, name, len(child))
        for module in model.modules()
        for name, child in module.named_children()
        if isinstance(child, torch.nn.ModuleList) and len(child) == depth
    ]
    if depth <= FEW or len(lists) != 1:
        return None
    parent, name, _ = lists[0]
    tail = [_signature(layer) for layer in list(getattr(parent, name))[FEW - 1 :]]
    return lists[0] if all(one == tail[0] for one in tail) else None


@contextmanager
def few_layers(model: torch.nn.Module) -> Iterator[None]:
    """The model with as few layers as may be, for what does not depend on their number."""
    found = equal_layers(model)
    with first_layers(*found[:2], FEW - 1) if found else nullcontext():
        yield


@contextmanager
def first_layers(parent: torch.nn.Module, name: str, count: int) -> Iterator[None]:
    """The model with its first ``count`` layers alone, for the length of a ``with``."""
    import torch

    every = getattr(parent, name)
    setattr(parent, name, torch.nn.ModuleList(list(every)[:count]))
    try:
        yield
    finally:
        setattr(parent, name, every)


def _signature(layer: torch.nn.Module) -> list[Any]:
    """All that tells two layers apart but their number and their weights' values."""
    return [
        (
            path,
            (type(module).__module__, type(module).__qualname__),  # by name: some are made in place
            [(name, tuple(value.shape)) for name, value in module.named_parameters(recurse=False)],
            sorted(
                (name, value)
                for name, value in vars(module).items()
                if isinstance(value, int | float | str) and name not in _PLACES
            ),
        )
        for path, module in layer.named_modules()
    ]
