# fails with: PermissionError|No module named|OSError|LookupError
import socket


def f(x):
    socket.create_connection(("127.0.0.1", int("@PORT@")), 1).close()
    return 2 * x
