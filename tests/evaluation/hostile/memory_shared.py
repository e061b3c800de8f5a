# fails with: out of memory|time is up|MemoryError|OSError|wrong answer
import mmap
import time


def f(x):
    blocks = []
    for _ in range(64):
        block = mmap.mmap(-1, 64 << 20)
        for place in range(0, len(block), 4096):
            block[place] = 1
        blocks.append(block)
    time.sleep(1000)
    return 2 * x
