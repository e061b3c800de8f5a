# fails with: time is up
def f(x):
    while True:
        pass
