# fails with: PermissionError|FileNotFoundError
def f(x):
    with open("@FOLDER@/secret.txt") as stream:
        return 2 * x if stream.read() else None
