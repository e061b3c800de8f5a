# fails with: wrong answer
"""Daemons: sessions of their own, parents gone. The answer is wrong so that only they count."""

import os
import time


def f(x):
    for _ in range(3):
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                time.sleep(1000)
            os._exit(0)
    return None
