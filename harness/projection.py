"""Rademacher random projection of very long rows, the same whatever the batching.

LESS projects per-sample gradients with random signs to a few thousand dimensions (paper A.6), which
keeps inner products. The signs are never held: those of a tile of ``TILE`` coordinates come from a
counter-based generator (SplitMix64 over the word's index, seeded), so they depend on nothing but
seed, coordinate and dimension, and many rows share each tile while it is there.

On a GPU the signs are unpacked for a matrix product. On a CPU that product is a waste: of every
eight coordinates there are only 256 signed sums, so these are tabled for a block of rows and each
dimension looks its eight signs up as one byte (the method of the four Russians): an addition for
eight multiply-adds, exact in fp32, and no unpacking.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

TILE = 256  # coordinates whose signs are made at once
_GROUPS = TILE // 8
_ROWS = 64  # rows of one table: 2 MB of sums, which stay in the cache
_UNPACKED_TILES = 32  # tiles of one product on a GPU
_INCREMENT = 0x9E3779B97F4A7C15  # SplitMix64's constants
_MIX = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)


@dataclass(frozen=True)
class Projection:
    """A random map of any width to ``dim`` dimensions: x S / sqrt(dim), S of independent signs.

    Attributes:
        dim: a multiple of 64 (LESS: 8,192).
        seed: of the signs.
    """

    dim: int
    seed: int = 0

    def __post_init__(self) -> None:
        if self.dim <= 0 or self.dim % 64:
            raise ValueError(f"a projection's dim is a multiple of 64, not {self.dim}")

    def __call__(self, rows: torch.Tensor) -> torch.Tensor:
        """Project ``rows`` [n, width] to float32 [n, dim] on their device."""
        import torch

        if not rows.numel():
            return torch.zeros((len(rows), self.dim), device=rows.device)
        with torch.no_grad():
            work = self._tabled if rows.device.type == "cpu" else self.multiplied
            return work(rows) / math.sqrt(self.dim)

    def codes(self, tile: int, device: torch.device | str = "cpu") -> torch.Tensor:
        """Signs of the coordinates from ``tile * TILE`` on, packed: uint8 [dim, TILE / 8].

        Bit j (from the lowest) of byte i is set where the sign of coordinate 8 i + j is positive.
        """
        import torch

        words = self.dim * TILE // 64
        state = torch.arange(tile * words + 1, (tile + 1) * words + 1, device=device)
        state.mul_(_signed(_INCREMENT)).add_(_signed(_start(self.seed)))
        for shift, factor in zip((30, 27), _MIX, strict=True):
            state.bitwise_xor_(_shifted(state, shift)).mul_(_signed(factor))
        state.bitwise_xor_(_shifted(state, 31))
        return state.view(torch.uint8).view(self.dim, _GROUPS)

    def signs(self, tile: int, device: torch.device | str = "cpu") -> torch.Tensor:
        """The same as int8 [dim, TILE] of -1 and 1."""
        import torch

        bits = torch.arange(8, dtype=torch.uint8, device=device)
        ones = (self.codes(tile, device)[:, :, None] >> bits) & 1
        return (ones.to(torch.int8) * 2 - 1).view(self.dim, TILE)

    def multiplied(self, rows: torch.Tensor) -> torch.Tensor:
        """x S by a product of matrices, in the rows' dtype, summed over tiles in fp32."""
        import torch

        count, width = rows.shape
        total = torch.zeros((count, self.dim), device=rows.device)
        step = _UNPACKED_TILES * TILE
        for start in range(0, width, step):
            piece = rows[:, start : start + step]
            first, tiles = start // TILE, -(-piece.shape[1] // TILE)
            signs = torch.cat([self.signs(first + t, rows.device) for t in range(tiles)], dim=1)
            total += piece @ signs[:, : piece.shape[1]].to(rows.dtype).T
        return total

    def _tabled(self, rows: torch.Tensor) -> torch.Tensor:
        """x S by look-ups, in fp32."""
        import torch

        count, width = rows.shape
        total = [
            torch.zeros((self.dim, min(_ROWS, count - start))) for start in range(0, count, _ROWS)
        ]
        offsets = torch.arange(_GROUPS, dtype=torch.int32) * 256
        for start in range(0, width, TILE):
            piece = rows[:, start : start + TILE].float()
            if piece.shape[1] < TILE:
                piece = torch.nn.functional.pad(piece, (0, TILE - piece.shape[1]))
            index = self.codes(start // TILE).to(torch.int32).add_(offsets)
            for part, into in enumerate(total):
                table = _signed_sums(piece[part * _ROWS : (part + 1) * _ROWS])
                into += torch.nn.functional.embedding_bag(index, table, mode="sum")
        return torch.cat(total, dim=1).T.contiguous()


def _signed_sums(rows: torch.Tensor) -> torch.Tensor:
    """All signed sums of each eight coordinates: [n, TILE] to [TILE / 8 * 256, n]."""
    import torch

    fours = rows.T.reshape(-1, 4, len(rows))
    bits = torch.arange(16)[:, None] >> torch.arange(4) & 1
    half = (bits * 2 - 1).to(rows.dtype) @ fours  # [TILE / 4, 16, n]
    low, high = half[0::2], half[1::2]
    return (high[:, :, None] + low[:, None, :]).view(-1, len(rows))


def _shifted(values: torch.Tensor, places: int) -> torch.Tensor:
    """Logical right shift of int64: torch's own drags the sign along."""
    return (values >> places).bitwise_and_((1 << (64 - places)) - 1)


def _signed(value: int) -> int:
    """An unsigned 64-bit number as torch's int64 holds it."""
    return value - (1 << 64) if value >> 63 else value


def _start(seed: int) -> int:
    return int.from_bytes(hashlib.sha256(f"projection:{seed}".encode()).digest()[:8], "little")
