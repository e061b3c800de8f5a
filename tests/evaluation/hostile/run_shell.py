# fails with: wrong answer|PermissionError|FileNotFoundError|No module
import subprocess


def f(x):
    done = subprocess.run(["/bin/sh", "-c", "echo 4"], capture_output=True)
    return int(done.stdout) if done.returncode == 0 else None
