# fails with: PermissionError|No module named|OSError
import socket


def f(x):
    with socket.socket() as listener:
        listener.bind(("0.0.0.0", 0))
        listener.listen()
    return 2 * x
