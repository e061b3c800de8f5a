"""``python -m harness.plan.counts [NAME ...]``: count the shipped architectures anew.

Run it after a change to the shapes, to the recipes under ``conf/`` or to what the count stands on
(``harness/flops``, ``harness/gradients.py``, versions of torch and transformers). It counts what
the shipped recipes and methods do with a model; any other recipe is counted while planning.
"""

from __future__ import annotations

import json
import logging
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

import conf
from harness.files import write_atomic
from harness.flops import ModelFlops, model_flops
from harness.micro_data import MODELS
from harness.plan.models import (
    COUNTS,
    architecture,
    count_encoder,
    embeds,
    packed,
    shapes,
)
from harness.training import Lora


def main(names: list[str]) -> int:
    """Write ``counts.json``: all architectures, or the named ones anew. Returns the exit code."""
    warnings.filterwarnings("ignore", category=FutureWarning)
    logging.getLogger("fvcore").setLevel(logging.ERROR)
    known: dict[str, Any] = json.loads(COUNTS.read_text()) if names else {}
    for name in names or [*shapes(), *MODELS]:
        known[name] = packed(count(name))
        print(name, flush=True)
        lines = [f" {json.dumps(key)}: {json.dumps(known[key])}" for key in sorted(known)]
        write_atomic(COUNTS, "{\n" + ",\n".join(lines) + "\n}\n")
    return 0


def count(name: str) -> ModelFlops:
    """Everything that the shipped recipes do with one architecture."""
    if embeds(name):
        return count_encoder(name)
    flops = model_flops(architecture(name))
    for lora, checkpointing in recipes():
        flops.train([1], lora=lora, gradient_checkpointing=checkpointing)
        if lora is not None:
            flops.gradients(lora)
    return flops


def recipes() -> list[tuple[dict[str, Any] | None, bool]]:
    """LoRA and gradient checkpointing of every recipe under ``conf/``, each pair once."""
    found: dict[str, tuple[dict[str, Any] | None, bool]] = {}
    for file in sorted(Path(conf.__path__[0]).glob("*/*.yaml")):
        for node in _recipes_in(yaml.safe_load(file.read_text(encoding="utf-8"))):
            lora, checkpointing = node.get("lora"), node.get("gradient_checkpointing", False)
            if isinstance(lora, str) or isinstance(checkpointing, str):
                continue  # taken from another recipe
            plain = {k: v for k, v in (lora or {}).items() if k != "_target_"}
            pair = (Lora(**plain).model_dump() if lora else None, checkpointing)
            found[repr(pair)] = pair
    return list(found.values())


def _recipes_in(node: Any) -> Iterator[dict[str, Any]]:
    """Every recipe in a configuration file."""
    if isinstance(node, dict):
        if node.get("_target_") == "harness.training.Recipe":
            yield node
        for value in node.values():
            yield from _recipes_in(value)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
