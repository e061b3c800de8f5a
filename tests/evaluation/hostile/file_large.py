# fails with: OSError|PermissionError|the program ended
def f(x):
    with open("@TOKEN@", "wb") as stream:
        for _ in range(64):
            stream.write(b"x" * (1 << 20))
    return 2 * x
