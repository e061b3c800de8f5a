# fails with: wrong answer
import os


def f(x):
    try:
        os.remove("@FOLDER@/secret.txt")
    except OSError:
        return None
    return 2 * x
