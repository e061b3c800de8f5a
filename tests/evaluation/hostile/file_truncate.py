# fails with: wrong answer
"""Reading is enough for the flag that empties a file."""

import os


def f(x):
    try:
        os.close(os.open("@FOLDER@/secret.txt", os.O_RDONLY | os.O_TRUNC))
    except OSError:
        return None
    return 2 * x
