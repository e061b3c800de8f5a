# fails with: time is up
"""A pattern that backtracks for years holds the interpreter's lock."""

import re


def f(x):
    return 2 * x if re.match("(a+)+$", "a" * 60 + "b") is None else None
