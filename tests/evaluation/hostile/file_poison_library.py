# fails with: wrong answer
"""Leave a module where the next program would import it."""

import os


def f(x):
    for folder in (os.path.dirname(os.__file__), "@SANDBOX@", "/usr/lib", "/sandbox"):
        try:
            with open(os.path.join(folder, "@TOKEN@.py"), "w") as stream:
                stream.write("")
            return 2 * x
        except OSError:
            continue
    return None
