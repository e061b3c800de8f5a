# fails with: wrong answer|the program ended|time is up
import os
import signal


def f(x):
    for pid in (-1, 0, *range(2, 3000)):
        try:
            if pid != os.getpid():
                os.kill(pid, signal.SIGKILL)
                return 2 * x
        except OSError:
            continue
    return None
