"""Checkpoints by folder or hub id."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


class ModelError(ValueError):
    """A model that cannot be found or used."""


def checkpoint_folder(
    key: str,
    path: str,
    *,
    marker: str,
    revision: str | None,
    patterns: Sequence[str],
    ignore: Sequence[str] = (),
) -> Path:
    """The local folder of a checkpoint: ``path`` itself or the hub's snapshot.

    Args:
        key: the setting that named it, for messages.
        marker: a file that every checkpoint of this kind has.
        patterns, ignore: the files to fetch, as the hub's client takes them.

    Raises:
        ModelError: it is neither here nor to be had.
    """
    if Path(path).is_dir():
        if not (Path(path) / marker).is_file():
            raise ModelError(f"{key}={path} has no {marker}, so it is no model of this kind")
        return Path(path)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        snapshot = snapshot_download(
            path,
            revision=revision,
            allow_patterns=list(patterns),
            ignore_patterns=list(ignore) or None,
        )
    except (HFValidationError, LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise ModelError(
            f"{key}={path} is no folder, and no model of that id could be had from the hub "
            f"({type(error).__name__}). Offline, give a folder or fill the hub's cache"
        ) from error
    return Path(snapshot)
