"""The suite that is checked, composed from the same files as a run's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evaluation.source import DataError
from evaluation.suite import MICRO, Suite


def load_suite(
    name: str, data: str | None, settings: Sequence[str], config_dir: str | None
) -> Suite:
    """The suite ``name`` of conf/suite (or of ``config_dir``) over ``data``.

    Args:
        settings: as on the harness' command line, e.g. ``suite.benchmarks.squad.shots=0``.

    Raises:
        DataError: no such suite or setting, or an illegal value.
    """
    from hydra import compose, initialize_config_module
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException
    from hydra.utils import instantiate
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    # Fields that the file leaves at their defaults are no keys of Hydra's; the classes know them.
    words = [f"suite={name}", *(f"++{w}" if w.startswith("suite.") else w for w in settings)]
    if config_dir:
        words.append(f"hydra.searchpath=[file://{Path(config_dir).resolve()}]")
    GlobalHydra.instance().clear()
    try:
        with initialize_config_module("conf", version_base="1.3"):
            plain: Any = OmegaConf.to_container(compose("config", words).suite, resolve=True)
        if data is not None:
            plain["data"] = data
        # What is run is known: the canonical solutions that the data hold, and empty functions.
        plain["allow_code_execution"] = True
        suite: Suite = instantiate(plain, _convert_="all")
        return suite
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        raise DataError(_reason(error)) from error


def micro_data(suite: Suite, folder: Path) -> Suite:
    """The suite over the embedded world, generated in ``folder``, if that is its data."""
    if suite.data != MICRO:
        return suite
    from harness.artifacts import Store
    from harness.micro_data import data_folder

    return suite.model_copy(update={"data": str(data_folder(Store(folder)) / "benchmarks")})


def _reason(error: BaseException) -> str:
    """The innermost words: Hydra wraps what a class says of its settings."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line for line in str(error).splitlines() if line.strip()]
    return "\n       ".join(lines[:12]) or type(error).__name__
