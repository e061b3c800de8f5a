# fails with: out of memory|time is up|wrong answer
"""Each child keeps within the limit of one process."""

import os
import time


def f(x):
    for _ in range(24):
        if os.fork() == 0:
            block = bytearray(b"x") * (150 << 20)
            time.sleep(1000)
            os._exit(len(block))
    time.sleep(1000)
    return 2 * x
