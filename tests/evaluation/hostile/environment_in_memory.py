# fails with: wrong answer
"""The C library's copy is not Python's."""

import ctypes


def f(x):
    libc = ctypes.CDLL(None)
    libc.getenv.restype = ctypes.c_char_p
    return 2 * x if libc.getenv(b"SANDBOX_TEST_TOKEN") or libc.getenv(b"HOME") else None
