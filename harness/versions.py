"""What a result was made with: package versions, commit, hardware."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

_PACKAGES = (
    "winnow", "torch", "transformers", "tokenizers", "accelerate", "peft", "datasets", "lm_eval",
    "alpaca_eval", "fvcore", "hydra-core", "numpy", "pandas",
)  # fmt: skip


@cache
def package_versions() -> dict[str, str]:
    """Installed versions of Python and of the packages that can change a number."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


@cache
def git_commit() -> str | None:
    """The commit of this code, with "+changes" if the checkout differs; None outside of git."""
    here = Path(__file__).resolve().parent
    try:
        commit = _git("rev-parse", "HEAD", at=here)
        changed = _git("status", "--porcelain", "--untracked-files=no", at=here)
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit + ("+changes" if changed else "")


def _git(*words: str, at: Path) -> str:
    done = subprocess.run(
        ["git", *words], cwd=at, capture_output=True, text=True, check=True, timeout=20
    )
    return done.stdout.strip()


def hardware() -> dict[str, Any]:
    """Processor count, and the GPU's name where torch was loaded and sees one."""
    found: dict[str, Any] = {"machine": platform.machine(), "cpus": os.cpu_count()}
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        found["gpu"] = torch.cuda.get_device_name()
        found["gpus"] = torch.cuda.device_count()
    return found
