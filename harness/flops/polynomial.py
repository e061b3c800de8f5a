"""The cost of one sequence as an exact quadratic in its length."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

Lengths = int | Sequence[int] | np.ndarray

# Three lengths fix a quadratic, the fourth checks it. Short ones: a trace on the meta device costs
# the same at any length, but some positions tables are small.
_FIT_LENGTHS = (16, 33, 100)
_CHECK_LENGTH = 126


@dataclass(frozen=True)
class Polynomial:
    """FLOPs of one sequence of L tokens: ``a L² + b L + c``, in whole FLOPs."""

    a: int
    b: int
    c: int

    def __call__(self, lengths: Lengths) -> float:
        """FLOPs of one sequence or of many, summed exactly (in whole numbers) before rounding.

        Args:
            lengths: a length in tokens, or any array of them.
        """
        count, total, squares = sums(lengths)
        return float(self.a * squares + self.b * total + self.c * count)

    def __add__(self, other: Polynomial) -> Polynomial:
        return Polynomial(self.a + other.a, self.b + other.b, self.c + other.c)

    def __sub__(self, other: Polynomial) -> Polynomial:
        return self + other * -1

    def __mul__(self, times: int) -> Polynomial:
        return Polynomial(self.a * times, self.b * times, self.c * times)


def sums(lengths: Lengths) -> tuple[int, int, int]:
    """How many lengths there are, their sum and the sum of their squares."""
    array = whole(lengths)
    return array.size, int(array.sum()), int(np.dot(array, array))


def whole(lengths: Lengths) -> np.ndarray:
    """``lengths`` as a flat int64 array.

    Raises:
        ValueError: a length is negative or not a whole number.
    """
    array = np.atleast_1d(np.asarray(lengths)).ravel()
    if array.size == 0:
        return array.astype(np.int64)
    if not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"lengths are whole numbers of tokens, not {array.dtype}")
    if int(array.min()) < 0:
        raise ValueError(f"a length cannot be negative: {int(array.min())}")
    return array.astype(np.int64)


def fit(count: Callable[[int], int]) -> Polynomial:
    """The quadratic through ``count`` at three lengths, checked at a fourth.

    Raises:
        ValueError: the counts are no quadratic with whole coefficients, so that no closed form
            may stand in for counting.
    """
    (x, y, z), (f, g, h) = _FIT_LENGTHS, (Fraction(count(length)) for length in _FIT_LENGTHS)
    slope = (g - f) / (y - x)
    a = ((h - g) / (z - y) - slope) / (z - x)
    b = slope - a * (x + y)
    c = f - a * x * x - b * x
    if any(value.denominator != 1 for value in (a, b, c)):
        raise ValueError(f"the counts are no quadratic with whole coefficients: {a}, {b}, {c}")
    polynomial = Polynomial(int(a), int(b), int(c))
    counted, predicted = count(_CHECK_LENGTH), int(polynomial(_CHECK_LENGTH))
    if counted != predicted:
        raise ValueError(
            f"the cost is not quadratic in length: {counted} FLOPs counted at {_CHECK_LENGTH} "
            f"tokens, {predicted} predicted from {_FIT_LENGTHS}"
        )
    return polynomial
