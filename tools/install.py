"""Installs the project into the virtual environment whose Python runs this; `make` calls it.

torch comes first, alone, because its CPU and CUDA builds share a version number and the plain name
may bring several GB of CUDA. For ``--torch cpu`` the pinned version is looked for as a CPU build
(``+cpu``) where pip is set up to look; then with uv, which knows where PyTorch keeps its builds;
then under the plain name, which runs on a CPU too but may be large. ``--torch cuda`` asks uv for
the build that fits the driver, then pip for the plain name.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PIP = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
CONSTRAINTS = ["-c", str(ROOT / "constraints.txt")]


def pinned(name: str) -> str:
    """The version of ``name`` in constraints.txt."""
    found = re.search(rf"^{name}==(\S+)", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert found, f"constraints.txt does not pin {name}"
    return found[1]


def works(*command: str, quiet: bool = True) -> bool:
    """Run a command; whether it succeeded."""
    stderr = subprocess.DEVNULL if quiet else None
    return subprocess.run(command, stderr=stderr).returncode == 0


def uv_torch(version: str, backend: str) -> bool:
    """Install torch with uv's knowledge of PyTorch's builds."""
    return works(*PIP, "uv") and works(
        sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", sys.executable,
        f"--torch-backend={backend}", f"torch=={version}",
    )  # fmt: skip


def torch_installed(version: str) -> bool:
    """Whether the pinned torch is there already, whatever its build."""
    code = "from importlib.metadata import version as v; print(v('torch').split('+')[0])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    return found.stdout.strip() == version


def install_torch(build: str) -> None:
    """Install the pinned torch."""
    version = pinned("torch")
    if build == "cpu" and torch_installed(version):
        return
    tries = {
        "cpu": (lambda: works(*PIP, f"torch=={version}+cpu"), lambda: uv_torch(version, "cpu")),
        "cuda": (lambda: uv_torch(version, "auto"),),
    }[build]
    if not any(attempt() for attempt in tries) and not works(
        *PIP, f"torch=={version}", quiet=False
    ):
        sys.exit(f"torch {version} could not be installed; see the messages above")


def main() -> None:
    """Install torch, then the project with everything pinned."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--torch", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--extra", default="", help="an extra of pyproject.toml, e.g. dev")
    chosen = parser.parse_args()
    build, extra = chosen.torch, f"[{chosen.extra}]" * bool(chosen.extra)
    start = time.monotonic()
    what = f"the pinned packages{' for ' * bool(extra)}{chosen.extra}"
    print(f"installing {what} into .venv (minutes the first time)", flush=True)
    if not (extra and torch_installed(pinned("torch"))):
        install_torch(build)
    if not works(*PIP, *CONSTRAINTS, "-e", f"{ROOT}{extra}", quiet=False):
        sys.exit("the packages could not be installed; see the messages above")
    print(f"installed in {time.monotonic() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
