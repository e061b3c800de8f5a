"""The random projection: its signs, its independence of the batch, and what it preserves."""

from __future__ import annotations

import hashlib
import math

import pytest
import torch

from harness.projection import TILE, Projection


def some(rows: int, width: int, seed: int = 0) -> torch.Tensor:
    return torch.randn((rows, width), generator=torch.Generator().manual_seed(seed))


def test_signs_are_those_of_splitmix64() -> None:
    """By hand with Python's unbounded integers: word w of a tile holds eight codes of a row."""
    mask = (1 << 64) - 1
    start = int.from_bytes(hashlib.sha256(b"projection:3").digest()[:8], "little")
    projection = Projection(64, seed=3)
    words = 64 * TILE // 64
    for tile, word in ((0, 0), (0, 7), (2, 255)):
        state = (start + (tile * words + word + 1) * 0x9E3779B97F4A7C15) & mask
        state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 & mask
        state = (state ^ (state >> 27)) * 0x94D049BB133111EB & mask
        state ^= state >> 31
        codes = projection.codes(tile).flatten()[8 * word : 8 * word + 8]
        assert int.from_bytes(bytes(codes.tolist()), "little") == state


def test_signs_are_fair_and_unrelated() -> None:
    projection = Projection(256)
    signs = torch.cat([projection.signs(t) for t in range(8)], dim=1).float()  # [256, 2048]
    assert set(signs.unique().tolist()) == {-1.0, 1.0}
    assert abs(signs.mean().item()) < 5 / math.sqrt(signs.numel())
    for sides in (signs, signs.T):  # products of different rows, and of different columns
        products = sides @ sides.T / sides.shape[1]
        products.fill_diagonal_(0)
        assert products.abs().max().item() < 6 / math.sqrt(sides.shape[1])


def test_the_seed_decides() -> None:
    rows = some(3, 700)
    one, again, other = (Projection(128, seed)(rows) for seed in (5, 5, 6))
    assert torch.equal(one, again)
    assert not torch.allclose(one, other)


@pytest.mark.parametrize("width", [1, 255, 256, 257, 1000])
def test_look_ups_and_products_give_the_plain_definition(width: int) -> None:
    projection, rows = Projection(192, 1), some(70, width)
    tiles = -(-width // TILE)
    signs = torch.cat([projection.signs(t) for t in range(tiles)], dim=1)[:, :width].double()
    plain = rows.double() @ signs.T
    assert torch.allclose(projection(rows).double() * math.sqrt(192), plain, atol=1e-4)
    assert torch.allclose(projection.multiplied(rows).double(), plain, atol=1e-4)


def test_rows_do_not_depend_on_their_company_nor_coordinates_on_their_block() -> None:
    projection, rows = Projection(320), some(130, 900)
    together = projection(rows)
    for size in (1, 7, 64, 100):
        parts = [projection(rows[i : i + size]) for i in range(0, len(rows), size)]
        assert torch.allclose(torch.cat(parts), together, atol=1e-5)
    # the map is linear, and a coordinate's signs do not depend on how many there are
    left, right = rows.clone(), rows.clone()
    left[:, 300:], right[:, :300] = 0, 0
    assert torch.allclose(projection(rows[:, :300]), projection(left), atol=1e-5)
    assert torch.allclose(projection(left) + projection(right), together, atol=1e-4)


def test_inner_products_are_preserved() -> None:
    """The error of one product has the standard deviation sqrt((1 + cos²) / dim) at most."""
    dim = 4096
    rows = torch.nn.functional.normalize(some(40, 3000) + some(1, 3000, 1), dim=1)
    projected = Projection(dim)(rows)
    exact = rows @ rows.T
    error = (projected @ projected.T - exact).abs()
    assert (error < 5 * torch.sqrt((1 + exact**2) / dim)).all()
    assert error.pow(2).mean().sqrt() > 0.3 / math.sqrt(dim)  # it is random, not the identity


def test_half_precision_rows_are_summed_in_fp32() -> None:
    rows = some(5, 600).bfloat16()
    assert torch.allclose(Projection(64)(rows), Projection(64)(rows.float()), atol=1e-5)


def test_no_rows_and_odd_dims() -> None:
    assert Projection(64)(torch.empty((0, 10))).shape == (0, 64)
    with pytest.raises(ValueError, match="multiple of 64, not 100"):
        Projection(100)
