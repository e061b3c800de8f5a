# fails with: wrong answer
"""Without the socket module, by the C library."""

import ctypes


def f(x):
    libc = ctypes.CDLL(None)
    return 2 * x if libc.socket(2, 1, 0) >= 0 else None
