# fails with: the program ended|wrong answer
import ctypes


def f(x):
    ctypes.string_at(1)
    return 2 * x
