# fails with: wrong answer
import ctypes
import os


def f(x):
    libc = ctypes.CDLL(None)
    attach = 16
    pids = (os.getppid(), int("@PID@"))
    return 2 * x if any(pid and libc.ptrace(attach, pid, 0, 0) == 0 for pid in pids) else None
