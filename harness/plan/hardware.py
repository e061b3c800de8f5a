"""Hours on named hardware: FLOPs over the peak times the share of it that is reached."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

UTILISATION = 0.4  # of the dense bf16 peak: what well-kept training code reaches on such devices


@dataclass(frozen=True)
class Hardware:
    """A device.

    Attributes:
        name: as its maker calls it.
        tflops: peak dense bfloat16, in TFLOP/s.
        memory_gb: of the device.
        source: where the figures come from.
    """

    name: str
    tflops: float
    memory_gb: float
    source: str

    def hours(self, flops: float, utilisation: float) -> float:
        """Device hours for so many FLOPs."""
        return flops / (self.tflops * 1e12 * utilisation) / 3600


@cache
def devices() -> dict[str, Hardware]:
    """The shipped table, by short name."""
    text = Path(__file__).with_name("hardware.yaml").read_text(encoding="utf-8")
    return {name: Hardware(**fields) for name, fields in yaml.safe_load(text).items()}
