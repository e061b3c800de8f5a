# fails with: SystemExit|RuntimeError|the program ended
raise SystemExit


def f(x):
    return 2 * x
