# fails with: cannot be read|ValueError|too long|time is up
import sys


def f(x):
    if hasattr(sys, "set_int_max_str_digits"):
        sys.set_int_max_str_digits(0)
    return 10**100_000
