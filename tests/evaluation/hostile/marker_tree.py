# fails with: wrong answer|cannot be read
"""An answer too deep or too strange to be read."""

import os


def f(x):
    for handle in range(3, 64):
        try:
            os.write(handle, b"[" * 60_000 + b"\n")
        except OSError:
            continue
    return None
