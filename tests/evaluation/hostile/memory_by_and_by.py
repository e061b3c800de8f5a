# fails with: MemoryError|out of memory|the program ended|time is up
def f(x):
    blocks = []
    while True:
        blocks.append(bytearray(16 << 20))
