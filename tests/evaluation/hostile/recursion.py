# fails with: RecursionError|the program ended|MemoryError|time is up
import sys

sys.setrecursionlimit(10**9)


def f(x):
    return f(x + 1)
