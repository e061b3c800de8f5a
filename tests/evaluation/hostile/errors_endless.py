# fails with: time is up
import sys


def f(x):
    while True:
        sys.stderr.write("y" * 10_000)
