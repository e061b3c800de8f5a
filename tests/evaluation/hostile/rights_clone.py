# fails with: wrong answer
"""The same by clone, whose flags a filter has to read."""

import ctypes
import os


def f(x):
    number = {"x86_64": 56, "aarch64": 220}[os.uname().machine]
    pid = ctypes.CDLL(None).syscall(number, 0x10000000 | 17, 0, 0, 0, 0)
    if pid == 0:
        os._exit(0)
    return 2 * x if pid > 0 else None
