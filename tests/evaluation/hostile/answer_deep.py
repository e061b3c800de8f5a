# fails with: RecursionError|ValueError|cannot be read|the program ended|time is up
import sys


def f(x):
    sys.setrecursionlimit(20_000)
    answer = []
    for _ in range(4_000):
        answer = [answer]
    return answer
