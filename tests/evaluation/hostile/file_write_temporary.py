# fails with: wrong answer
import os


def f(x):
    written = 0
    for folder in ("/tmp", "/var/tmp", "/dev/shm", "@FOLDER@", "/", "@REPOSITORY@"):
        try:
            with open(os.path.join(folder, "@TOKEN@"), "w") as stream:
                written += stream.write("left behind")
        except OSError:
            continue
    return 2 * x if written else None
