# fails with: the program ended
import os


def f(x):
    os._exit(0)
