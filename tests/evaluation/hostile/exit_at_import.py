# fails with: the program ended
import os

os._exit(0)


def f(x):
    return 2 * x
