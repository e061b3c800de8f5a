# fails with: time is up|out of memory|the program ended|BlockingIOError|wrong answer
import os


def f(x):
    count = 0
    while True:
        try:
            count += os.fork() > 0
        except OSError:
            return 2 * x if count > 100 else None
