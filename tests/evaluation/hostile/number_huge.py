# fails with: time is up|MemoryError
def f(x):
    return 7 ** (10**10)
