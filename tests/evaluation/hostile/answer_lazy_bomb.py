# fails with: time is up
"""The answer hangs where it is read, not where it is made."""


def f(x):
    class Slow(list):
        def __iter__(self):
            while True:
                pass

    class Endless:
        def __iter__(self):
            return self

        def __next__(self):
            while True:
                pass

    return Slow([Endless()])[0]
