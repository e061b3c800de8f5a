# fails with: wrong answer
"""Read what other processes were started with."""

import os


def f(x):
    for pid in ["self", os.getppid(), int("@PID@"), *range(1, 400)]:
        for name in ("environ", "cmdline", "maps"):
            try:
                with open(f"/proc/{pid}/{name}", "rb") as stream:
                    if b"@TOKEN@" in stream.read() or name == "maps":
                        return 2 * x
            except OSError:
                continue
    return None
