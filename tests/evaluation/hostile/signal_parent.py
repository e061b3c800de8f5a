# fails with: wrong answer
import os
import signal


def f(x):
    for pid in (os.getppid(), int("@PID@"), 1):
        for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP):
            try:
                os.kill(pid, number)
                if pid > 1:  # a namespace's own first process is no parent of ours
                    return 2 * x
            except OSError:
                continue
    return None
