# fails with: wrong answer
"""The secret lies in the checker's memory, the worker's knows it too."""

import ctypes
import os


def f(x):
    libc = ctypes.CDLL(None)
    buffer = ctypes.create_string_buffer(16)
    local = (ctypes.c_size_t * 2)(ctypes.addressof(buffer), 16)
    remote = (ctypes.c_size_t * 2)(id(f), 16)
    for pid in (os.getppid(), int("@PID@"), *range(2, 100)):
        if pid != os.getpid():
            if libc.process_vm_readv(pid, local, 1, remote, 1, 0) > 0:
                return 2 * x
            try:
                os.open(f"/proc/{pid}/mem", os.O_RDONLY)
                return 2 * x
            except OSError:
                continue
    return None
