# fails with: time is up
def f(x):
    while True:
        print("y" * 10_000, flush=True)
