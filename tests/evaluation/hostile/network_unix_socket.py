# fails with: PermissionError|No module named|OSError|ConnectionRefusedError
"""An abstract socket, which no file permission guards."""

import socket


def f(x):
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(b"\0@TOKEN@")
    return 2 * x
