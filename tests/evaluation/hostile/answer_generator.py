# fails with: not plain data
def f(x):
    yield 2 * x
