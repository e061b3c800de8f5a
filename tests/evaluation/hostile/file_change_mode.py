# fails with: wrong answer
import os


def f(x):
    try:
        os.chmod("@FOLDER@/secret.txt", 0o777)
    except OSError:
        return None
    return 2 * x
