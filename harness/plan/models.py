"""Architectures without weights: from a folder, from the shipped shapes, or a hub config alone."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from harness.flops import ModelFlops, Polynomial, encoder_flops, model_flops
from harness.hub import ModelError
from harness.micro_data import MODELS, model_folder

if TYPE_CHECKING:
    from transformers import PretrainedConfig

_OWN = ("parameters", "dense", "behind")  # not part of the configuration


@cache
def shapes() -> dict[str, dict[str, Any]]:
    """The shipped shapes by hub id."""
    text = Path(__file__).with_name("architectures.yaml").read_text(encoding="utf-8")
    return dict(yaml.safe_load(text))


def architecture(path: str, revision: str | None = None, trust: bool = False) -> PretrainedConfig:
    """The configuration of a checkpoint; of a hub's, nothing but that file is fetched.

    Raises:
        ModelError: it is neither here nor to be had.
    """
    from transformers import AutoConfig

    if path in MODELS:
        path = str(model_folder(path))
    if path in shapes() and not Path(path).is_dir():
        shape = {key: value for key, value in shapes()[path].items() if key not in _OWN}
        config: PretrainedConfig = AutoConfig.for_model(shape.pop("model_type"), **shape)
        return config
    try:
        config = AutoConfig.from_pretrained(path, revision=revision, trust_remote_code=trust)
        return config
    except (OSError, ValueError) as error:
        raise ModelError(
            f"no architecture for {path}: it is no folder with a config.json, not among the "
            f"shipped shapes ({', '.join(shapes())}), and the hub gave none "
            f"({type(error).__name__}). Give a folder that holds its config.json"
        ) from error


@cache
def decoder(path: str, revision: str | None = None, trust: bool = False) -> ModelFlops:
    """Costs of a causal LM."""
    return model_flops(architecture(path, revision, trust))


@cache
def encoder(path: str, revision: str | None = None, trust: bool = False) -> ModelFlops:
    """Costs of a sentence embedder, with what follows its encoder."""
    if Path(path).is_dir():
        from harness.embedder import Embedder

        return Embedder(path=path, trust_remote_code=trust).load().flops
    shape = shapes().get(path, {})
    found = encoder_flops(
        architecture(path, revision, trust),
        dense=[tuple(pair) for pair in shape.get("dense", ())],
        trust_remote_code=trust,
    )
    behind = shape.get("behind")
    if not behind:
        return found
    return replace(
        found,
        body=found.body + Polynomial(0, behind["b"], behind["c"]),
        parameters=found.parameters + behind["parameters"],
    )
