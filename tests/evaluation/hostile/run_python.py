# fails with: wrong answer|PermissionError|FileNotFoundError
import os
import sys


def f(x):
    if os.fork() == 0:
        os.execv(sys.executable, [sys.executable, "-c", "open('@TOKEN@', 'w')"])
    _, status = os.wait()
    return 2 * x if status == 0 else None
