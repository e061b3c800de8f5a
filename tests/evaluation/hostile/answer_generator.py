# fails with: wrong answer
def f(x):
    yield 2 * x
