# fails with: EOFError
def f(x):
    return 2 * x if input() else None
