"""Random choices: every one from a generator seeded by hashing (seed, purpose)."""

from __future__ import annotations

import hashlib

import numpy as np


def derive(seed: int, purpose: str) -> int:
    """A 32-bit seed for one purpose, unrelated to the seeds of all other purposes."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{purpose}".encode()).digest()[:4], "little")


def generator(seed: int, purpose: str) -> np.random.Generator:
    """A NumPy generator for one purpose."""
    return np.random.Generator(np.random.PCG64(derive(seed, purpose)))
