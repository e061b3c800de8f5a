# fails with: MemoryError|out of memory
def f(x):
    block = bytearray(4 << 30)
    return 2 * x if block else None
