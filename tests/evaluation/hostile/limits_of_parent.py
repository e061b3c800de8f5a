# fails with: wrong answer|FileNotFound|No module
"""Give the worker no more time to compute."""

import os
import resource


def f(x):
    for pid in (os.getppid(), int("@PID@")):
        try:
            resource.prlimit(pid, resource.RLIMIT_CPU, (1, 1))
            if pid:
                return 2 * x
        except OSError:
            continue
    return None
