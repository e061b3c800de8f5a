# fails with: wrong answer
"""A ring of requests would go past a filter of calls."""

import ctypes


def f(x):
    libc = ctypes.CDLL(None)
    ring = libc.syscall(425, 4, ctypes.create_string_buffer(256))
    return 2 * x if ring >= 0 else None
