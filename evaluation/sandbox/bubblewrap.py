"""The command that starts a candidate in bubblewrap. Standard library only."""

from __future__ import annotations

import json
import os
import shutil
import sys

from limits import Limits, library_folders
from namespaces import WORK

HERE = "/sandbox"
SEARCHED = "/usr/local/bin:/usr/bin:/bin"
_FILES = 32 << 20  # bytes that a program may write


def installed() -> str | None:
    """Where bubblewrap is, if it is."""
    return shutil.which("bwrap", path=SEARCHED)


def command(asked: int, tells: int, limits: Limits, *, root: bool) -> list[str]:
    """Words of the command.

    Args:
        asked, tells: pipe ends that the candidate inherits.
        limits: of the candidate, which puts them on itself before it reads the program.
        root: whether it is started as root of a user namespace that has no other use. Then the
            candidate becomes nobody by itself; otherwise bubblewrap makes the user namespace.

    Raises:
        FileNotFoundError: bubblewrap is not installed.
    """
    program = installed()
    if program is None:
        raise FileNotFoundError("bwrap is not installed")
    words = [program, "--die-with-parent", "--new-session", "--clearenv"]
    words += ["--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts"]
    words += ["--unshare-cgroup-try", "--cap-drop", "ALL"]
    if root:
        words += ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    else:
        words += ["--unshare-user"]
    python = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
    for folder in _above([*library_folders(), python]):
        words += ["--perms", "0755", "--dir", folder]  # else it may be closed to nobody
    for place in _outermost(library_folders()):
        if os.path.islink(place):
            words += ["--symlink", os.readlink(place), place]
        else:
            words += ["--ro-bind", place, place]
    words += ["--ro-bind", python, python]
    words += ["--ro-bind", os.path.dirname(os.path.abspath(__file__)), HERE]
    words += ["--perms", "0777", "--size", str(_FILES), "--tmpfs", WORK, "--chdir", WORK]
    words += ["--remount-ro", "/"]
    start = f"import sys; sys.path.insert(0, '{HERE}'); import candidate; candidate.main()"
    words += ["--", python, "-I", "-S", "-B", "-c", start]
    return [*words, str(asked), str(tells), json.dumps(vars(limits)), WORK]


def _outermost(folders: list[str]) -> list[str]:
    """Those that are there and lie in none of the others."""
    there = [folder for folder in folders if os.path.isdir(folder)]
    return [a for a in there if not any(a != b and a.startswith(b + "/") for b in there)]


def _above(places: list[str]) -> list[str]:
    """The folders on the way to them that are no links, the upper first."""
    found: set[str] = set()
    for place in places:
        while (place := os.path.dirname(place)) != "/":
            found.add(place)
    inside = [p for p in places if os.path.isdir(p)]
    kept = [f for f in found if not any(f == p or f.startswith(p + "/") for p in inside)]
    return sorted(f for f in kept if not os.path.islink(f))
