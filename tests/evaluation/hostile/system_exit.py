# fails with: SystemExit|RuntimeError|the program ended
def f(x):
    raise SystemExit(0)
