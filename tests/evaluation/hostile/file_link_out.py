# fails with: wrong answer
import os


def f(x):
    try:
        os.symlink("@FOLDER@/secret.txt", "link")
        return 2 * x if open("link").read() else None
    except OSError:
        return None
