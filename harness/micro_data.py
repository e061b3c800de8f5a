"""Replaces the word ``micro`` in settings by where the embedded world lies."""

from __future__ import annotations

from pathlib import Path

from harness.artifacts import Store
from harness.files import files_digest


def data_folder(store: Store) -> Path:
    """The generated pool and benchmarks, made when first asked for."""
    from harness.micro import world

    package = Path(world.__file__).parent
    code = {str(path.relative_to(package)): path for path in sorted(package.rglob("*.py"))}

    def build(part: Path) -> None:
        world.build(part)

    return store.require("micro", {"generator": files_digest(code)}, build).path


def model_folder() -> Path:
    """The shipped base model."""
    import harness.micro

    return Path(harness.micro.__file__).parent / "model"
