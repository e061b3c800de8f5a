# fails with: wrong answer
"""Shared memory and queues outlive their maker."""

import ctypes


def f(x):
    libc = ctypes.CDLL(None)
    made = [libc.shmget(0, 4096, 0o1600), libc.msgget(0, 0o1600), libc.semget(0, 1, 0o1600)]
    return 2 * x if max(made) >= 0 else None
