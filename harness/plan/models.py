"""Architectures without weights: from a folder, from the shipped shapes, or a hub config alone.

The shipped ones have their FLOPs beside them (``counts.json``), so that a plan of them imports no
torch; ``python -m harness.plan.counts`` counts anew, and a test holds the file against that.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from harness.flops import GradientFlops, ModelFlops, Polynomial, Shape, encoder_flops, model_flops
from harness.hub import ModelError
from harness.micro_data import MODELS, model_folder

if TYPE_CHECKING:
    from transformers import PretrainedConfig

COUNTS = Path(__file__).with_name("counts.json")
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
    known = shape(path)
    if known is not None:
        return known.load()
    from transformers import AutoConfig

    try:
        config: PretrainedConfig = AutoConfig.from_pretrained(
            path, revision=revision, trust_remote_code=trust
        )
        return config
    except (OSError, ValueError) as error:
        raise ModelError(
            f"no architecture for {path}: it is no folder with a config.json, not among the "
            f"shipped shapes ({', '.join(shapes())}), and the hub gave none "
            f"({type(error).__name__}). Give a folder that holds its config.json"
        ) from error


def shape(path: str) -> Shape | None:
    """Of a shipped architecture; None for any other, and for a folder of the same name."""
    if path in MODELS:
        text = (model_folder(path) / "config.json").read_text(encoding="utf-8")
        return Shape(json.loads(text))
    if path not in shapes() or Path(path).is_dir():
        return None
    return Shape({key: value for key, value in shapes()[path].items() if key not in _OWN})


@cache
def decoder(path: str, revision: str | None = None, trust: bool = False) -> ModelFlops:
    """Costs of a causal LM."""
    return shipped(path) or model_flops(architecture(path, revision, trust))


@cache
def encoder(path: str, revision: str | None = None, trust: bool = False) -> ModelFlops:
    """Costs of a sentence embedder, with what follows its encoder."""
    if Path(path).is_dir():
        from harness.embedder import Embedder

        return Embedder(path=path, trust_remote_code=trust).load().flops
    return shipped(path) or count_encoder(path, revision, trust)


def embeds(path: str) -> bool:
    """Whether a shipped architecture is that of an embedder."""
    return not {"dense", "behind"}.isdisjoint(shapes().get(path, ()))


def count_encoder(path: str, revision: str | None = None, trust: bool = False) -> ModelFlops:
    """Count a sentence embedder by its architecture."""
    own = shapes().get(path, {})
    found = encoder_flops(
        architecture(path, revision, trust),
        dense=[tuple(pair) for pair in own.get("dense", ())],
        trust_remote_code=trust,
    )
    behind = own.get("behind")
    if not behind:
        return found
    return replace(
        found,
        body=found.body + Polynomial(0, behind["b"], behind["c"]),
        parameters=found.parameters + behind["parameters"],
    )


@cache
def _counts() -> dict[str, Any]:
    return dict(json.loads(COUNTS.read_text(encoding="utf-8"))) if COUNTS.is_file() else {}


def shipped(path: str) -> ModelFlops | None:
    """The counts that come with the project; None for an architecture that is not among them."""
    known, counts = shape(path), _counts().get(path)
    return unpacked(counts, known) if known and counts else None


def packed(flops: ModelFlops) -> dict[str, Any]:
    """Counts as plain data."""
    return {
        "body": _numbers(flops.body),
        "head": _numbers(flops.head),
        "parameters": flops.parameters,
        "steps": {key: _numbers(found) for key, found in sorted(flops.steps.items())},
        "adapters": {
            key: {"tokens": _numbers(found.tokens), "label": found.label, "size": found.size}
            for key, found in sorted(flops.adapters.items())
        },
    }


def unpacked(plain: Mapping[str, Any], config: Shape) -> ModelFlops:
    """The counts that were ``packed``."""
    adapters = {
        key: GradientFlops(Polynomial(*found["tokens"]), found["label"], found["size"])
        for key, found in plain["adapters"].items()
    }
    return ModelFlops(
        Polynomial(*plain["body"]),
        Polynomial(*plain["head"]),
        plain["parameters"],
        config,
        {key: Polynomial(*found) for key, found in plain["steps"].items()},
        adapters,
    )


def _numbers(polynomial: Polynomial) -> list[int]:
    return [polynomial.a, polynomial.b, polynomial.c]
