"""Recipes: which public sources a pool is built from, and how many rows of each the paper had.

They are data: ``harness/pool/recipes/NAME.yaml``. The counts are the paper's Tables 5 and 6 (paper
C.1, C.2), after de-duplication; the repositories are those of its scripts, or of the Tulu 3
mixture's card. They were written down without the hub at hand: what is uncertain, or cannot be had
from public files, stands in a source's ``note``.
"""

from __future__ import annotations

from importlib.resources import files as package_files
from pathlib import Path
from typing import Any, Literal

from omegaconf import OmegaConf
from pydantic import Field, ValidationError

from harness.component import Component
from harness.pool.config import PoolError
from harness.pool.sources import AnyForm


class Origin(Component):
    """Files in a repository.

    Attributes:
        repo: ``owner/name`` on the hub; with ``url``, only the name of the folder it is kept in.
        files: their names or patterns in the repository, in the order in which they are read.
        revision: a commit; None takes what the repository holds today.
        url: where ``files`` lie that are on no hub.
        gated: its terms must be accepted with an account first.
        kind: what the hub calls it.
    """

    repo: str
    files: list[str] = Field(min_length=1)
    revision: str | None = None
    url: str | None = None
    gated: bool = False
    kind: Literal["dataset", "model"] = "dataset"


class Source(Component):
    """One source of a pool.

    Attributes:
        rows: how many the paper had of it, after de-duplication.
        origin: where its files are.
        form: how its records are written.
        note: what is uncertain, or why the count must differ.
    """

    rows: int
    origin: Origin
    form: AnyForm
    note: str = ""


class Recipe(Component):
    """A pool's sources, in the order that decides which of two equal rows stays.

    Attributes:
        rows: of the whole pool; the sum of its sources.
    """

    name: str
    rows: int
    sources: dict[str, Source]


def names() -> list[str]:
    """The recipes that there are."""
    folder = package_files("harness.pool") / "recipes"
    return sorted(file.name.removesuffix(".yaml") for file in folder.iterdir())


def read_recipe(name: str) -> Recipe:
    """A recipe by its name, or from a YAML file of one's own.

    Raises:
        PoolError: there is none of that name, or it is not written as it should be.
    """
    own = Path(name)
    if own.suffix in (".yaml", ".yml") and own.is_file():
        text = own.read_text(encoding="utf-8")
    elif name in names():
        file = package_files("harness.pool") / "recipes" / f"{name}.yaml"
        text = file.read_text(encoding="utf-8")
    else:
        raise PoolError(f"{name}: no such recipe. There are: {', '.join(names())}")
    data: Any = OmegaConf.to_container(OmegaConf.create(text))
    try:
        return Recipe.model_validate({"name": own.stem, **data})
    except ValidationError as error:
        raise PoolError(f"{name}: {error}") from error
