# fails with: PermissionError|No module named|OSError|ConnectionRefusedError
import socket


def f(x):
    with socket.socket() as client:
        client.connect(("127.0.0.1", int("@PORT@")))
    return 2 * x
