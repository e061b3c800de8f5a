"""Whether a report is still that of its records: a repeated sweep need not draw it again."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from harness.files import digest, write_atomic
from harness.record import find_records

_NAME = ".report.json"  # in the report's folder: what it was made from, and what was written


def state(folders: Sequence[Path], out: Path, compare_with: Iterable[str]) -> str:
    """A digest of what a report depends on: records and Winnow's own files, by size and time."""
    code = sorted(Path(__file__).parents[1].glob("**/*.py"))
    page = Path(__file__).parent
    code += [*sorted(page.glob("*.js")), page / "page.css", page / "page.html"]
    files = [*(folder.resolve() for folder in folders), out.resolve()]
    looked_at = [(str(path), *_stamp(path)) for path in [*find_records(*folders), *code]]
    return digest([[str(path) for path in files], sorted(compare_with), looked_at])


def read(out: Path, now: str) -> dict[str, Path] | None:
    """The paths by name of a report made from ``now``; None if it is not there or is another's."""
    try:
        made = json.loads((out / _NAME).read_text(encoding="utf-8"))
        paths = {name: out / path for name, path in made["files"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    whole = made.get("state") == now and all(path.is_file() for path in paths.values())
    return paths if whole else None


def write(out: Path, now: str, paths: Mapping[str, Path]) -> None:
    """Remember what a report was made from and where it is."""
    files = {
        name: path.resolve().relative_to(out.resolve()).as_posix() for name, path in paths.items()
    }
    write_atomic(out / _NAME, json.dumps({"state": now, "files": files}, indent=1) + "\n")


def forget(out: Path) -> None:
    """The next report is made anew: what stands there is not that of finished records."""
    (out / _NAME).unlink(missing_ok=True)


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns
