"""Where the embedded world lies that the words ``micro`` and ``micro_proxy`` stand for."""

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


# The shipped models by the word that stands for their path: the base model, and a smaller one.
MODELS = {"micro": "model", "micro_proxy": "proxy_model"}


def model_folder(word: str = "micro") -> Path:
    """A shipped model, the base model unless told."""
    import harness.micro

    return Path(harness.micro.__file__).parent / MODELS[word]
