# fails with: time is up|out of memory
import contextlib
import os


def f(x):
    while True:
        with contextlib.suppress(OSError):
            os.fork()
