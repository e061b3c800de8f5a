# fails with: time is up
def f(x):
    while True:
        try:
            while True:
                pass
        except BaseException:
            pass
