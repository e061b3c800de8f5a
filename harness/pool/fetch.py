"""Where a source's files are: in a folder laid out as the hub, or downloaded once.

Below ``--from DIR`` a repository's files lie in ``DIR/owner/name/``. Without it they come through
the hub's client and its cache, which goes on with what is half there, or by plain HTTP.
"""

from __future__ import annotations

import os
import shutil
import urllib.error
import urllib.request
from pathlib import Path

from harness.pool.config import PoolError
from harness.pool.recipe import Origin


def find_files(origin: Origin, local: Path | None, downloads: Path) -> list[Path]:
    """The files of a source in the order in which they are read.

    Args:
        origin: what is wanted.
        local: look here only, and download nothing.
        downloads: the folder for files that are on no hub.

    Raises:
        PoolError: a file is missing and cannot be had.
    """
    folder = folder_of(origin, local, downloads)
    found = []
    for pattern in origin.files:
        here = sorted(folder.glob(pattern))
        if not here:
            raise PoolError(f"{folder} has no {pattern} (of {origin.repo})")
        found += here
    return found


def folder_of(origin: Origin, local: Path | None, downloads: Path) -> Path:
    """The folder with a repository's files, fetched first if need be."""
    if local is not None:
        folder = local / origin.repo
        if not folder.is_dir():
            raise PoolError(
                f"{folder} does not exist: {origin.repo}'s files ({', '.join(origin.files)}) are "
                "expected there. Without --from they are downloaded"
            )
        return folder
    if origin.url is not None:
        for name in origin.files:
            _download(f"{origin.url}/{name}", downloads / origin.repo / name)
        return downloads / origin.repo
    return _snapshot(origin)


def _snapshot(origin: Origin) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        path = snapshot_download(
            origin.repo,
            repo_type=origin.kind,
            revision=origin.revision,
            allow_patterns=origin.files,
        )
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        terms = (
            f" It is gated: accept its terms at https://huggingface.co/datasets/{origin.repo} and "
            "set HF_TOKEN."
            if origin.gated
            else ""
        )
        raise PoolError(
            f"{origin.repo} could not be had from the hub ({type(error).__name__}).{terms} "
            "With files of your own, give --from DIR with DIR/owner/name/files"
        ) from error
    return Path(path)


def _download(url: str, target: Path) -> None:
    if target.is_file():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    try:
        with urllib.request.urlopen(url, timeout=60) as answer, part.open("wb") as stream:
            shutil.copyfileobj(answer, stream, 1 << 20)
    except (urllib.error.URLError, OSError) as error:
        raise PoolError(f"{url} could not be downloaded ({error})") from error
    os.replace(part, target)
