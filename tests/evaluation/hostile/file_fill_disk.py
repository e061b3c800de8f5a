# fails with: OSError|PermissionError|wrong answer
def f(x):
    for number in range(40):
        with open(f"@TOKEN@{number}", "wb") as stream:
            stream.write(b"x" * (8 << 20))
    return 2 * x
