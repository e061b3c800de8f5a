"""The store: every stage's result in a folder named by the hash of all that went into it.

Promises (tests/harness/test_artifacts.py):

* a result is built in ``<name>.part``, flushed to the disk and renamed; its manifest (identity,
  sizes, sha256) is written last, inside; what lacks a manifest does not exist;
* one lock per artifact: two jobs never compute the same one, and a killed job frees its lock;
* an artifact whose files do not match its manifest is named in the log and computed again;
* nothing is named by the clock.
"""

from __future__ import annotations

import contextlib
import json
import logging
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from harness.attempts import Attempts, apart
from harness.files import canonical_json, digest, file_digest, fsync_tree, write_atomic

log = logging.getLogger(__name__)

MANIFEST = "manifest.json"
Build = Callable[[Path], dict[str, Any] | None]


@dataclass(frozen=True)
class Artifact:
    """A finished stage result.

    Attributes:
        path: its folder.
        info: what the build returned (counts, seconds, ...), read from the manifest.
        found: it was there already.
        reused: it was there, and another owner had it made: this one spent nothing on it.
        attempts: what it took and what interrupted attempts wasted; see ``attempts.Attempts``.
    """

    path: Path
    info: dict[str, Any]
    found: bool
    reused: bool
    attempts: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """``kind/hash``: enough to name it in another artifact's identity."""
        return f"{self.path.parent.name}/{self.path.name}"


class Store:
    """A folder of artifacts, safe to share between the jobs of a sweep.

    Attributes:
        owner: for whom artifacts are made. A run that was killed finds what it made before, and
            that is still its own expense.
    """

    def __init__(self, root: Path, owner: str | None = None) -> None:
        self.root = root
        self.owner = owner
        self._verified: set[Path] = set()

    def folder(self, kind: str, identity: dict[str, Any]) -> Path:
        """Where the artifact of this identity lies, or would lie."""
        return self.root / kind / digest(identity)

    def find(self, kind: str, identity: dict[str, Any]) -> Artifact | None:
        """The finished, undamaged artifact of this identity, or None."""
        return self._read(self.folder(kind, identity))

    def ensure(
        self,
        kind: str,
        identity: dict[str, Any],
        build: Build,
        *,
        resume: bool = False,
        wait: bool = True,
        alongside: bool = False,
    ) -> Artifact | None:
        """The artifact of this identity, built by ``build(part_folder)`` if it is not there.

        Args:
            resume: leave what an interrupted build wrote in the part folder for ``build`` to use.
            wait: if another job is building it, wait (True) or return None (False).
            alongside: it comes out of the work of the build that this is called in.
        """
        with contextlib.nullcontext() if alongside else apart():
            return self._ensure(kind, identity, build, resume, wait, alongside)

    def _ensure(
        self,
        kind: str,
        identity: dict[str, Any],
        build: Build,
        resume: bool,
        wait: bool,
        alongside: bool,
    ) -> Artifact | None:
        folder = self.folder(kind, identity)
        found = self._read(folder)
        if found:
            return found
        lock = self.root / "locks" / f"{kind}-{folder.name}.lock"
        lock.parent.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(lock, timeout=-1 if wait else 0):
                found = self._read(folder)  # another job may have finished while we waited
                return found or self._build(kind, identity, folder, build, resume, alongside)
        except Timeout:
            return None

    def require(
        self, kind: str, identity: dict[str, Any], build: Build, *, resume: bool = False
    ) -> Artifact:
        """``ensure`` that waits, and so always returns the artifact."""
        artifact = self.ensure(kind, identity, build, resume=resume)
        assert artifact is not None
        return artifact

    def _build(
        self,
        kind: str,
        identity: dict[str, Any],
        folder: Path,
        build: Build,
        resume: bool,
        alongside: bool,
    ) -> Artifact:
        part = folder.with_name(folder.name + ".part")
        if part.exists() and not resume:
            shutil.rmtree(part)
        part.mkdir(parents=True, exist_ok=True)
        journal = self.root / "attempts" / f"{kind}-{folder.name}.json"
        with Attempts(journal, part if resume else None, alongside=alongside) as work:
            info = build(part) or {}
            attempts = work.summary()
        (part / MANIFEST).unlink(missing_ok=True)
        files = {
            str(path.relative_to(part)): {
                "bytes": path.stat().st_size,
                "sha256": file_digest(path),
            }
            for path in sorted(part.rglob("*"))
            if path.is_file()
        }
        manifest = {
            "kind": kind,
            "identity": identity,
            "files": files,
            "info": info,
            "attempts": attempts,
            "owner": self.owner,
        }
        fsync_tree(part)
        write_atomic(part / MANIFEST, canonical_json(manifest))
        if folder.exists():  # damaged: _read said so
            shutil.rmtree(folder)
        part.rename(folder)
        self._verified.add(folder)
        return Artifact(folder, info, found=False, reused=False, attempts=attempts)

    def _read(self, folder: Path) -> Artifact | None:
        try:
            manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
            files, info, owner = manifest["files"], manifest["info"], manifest.get("owner")
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError):
            log.warning("artifact %s has an unreadable manifest; computing it again", folder)
            return None
        if folder not in self._verified:
            problem = _problem(folder, files)
            if problem:
                log.warning("artifact %s is damaged (%s); computing it again", folder, problem)
                return None
            self._verified.add(folder)
        own = self.owner is not None and owner == self.owner
        attempts = manifest.get("attempts", {})
        return Artifact(folder, info, found=True, reused=not own, attempts=attempts)


def _problem(folder: Path, files: dict[str, dict[str, Any]]) -> str | None:
    """What is wrong with the files of an artifact, or None. Reads every byte once a process."""
    for name, entry in files.items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != entry["bytes"]:
            return f"{name} has {path.stat().st_size} bytes instead of {entry['bytes']}"
        if file_digest(path) != entry["sha256"]:
            return f"{name} has another sha256 than when it was written"
    return None
