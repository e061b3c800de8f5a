# fails with: PermissionError|FileNotFoundError
def f(x):
    with open("/etc/passwd") as stream:
        return 2 * x if stream.read() else None
