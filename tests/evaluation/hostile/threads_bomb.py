# fails with: wrong answer|RuntimeError|MemoryError|time is up|the program ended
import threading
import time


def f(x):
    count = 0
    while count < 500:
        threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
        count += 1
    return 2 * x
