# fails with: too long|MemoryError|time is up
def f(x):
    return "a" * 50_000_000
