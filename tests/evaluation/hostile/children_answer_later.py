# fails with: the program ended|cannot be read|time is up|wrong answer
"""The parent leaves; a daemon holds the pipes and goes on."""

import os
import time


def f(x):
    if os.fork():
        os._exit(0)
    os.setsid()
    time.sleep(1000)
