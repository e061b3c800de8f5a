# fails with: not plain data|MemoryError|time is up
from itertools import count


def f(x):
    return count(2 * x)
