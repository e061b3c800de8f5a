"""The command line as Hydra's overrides: settings apart from flags, and what an override sets.

The checks and the plan of a sweep both stand on this; nothing here judges a word.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig

_CONFIG_DIR = ("--config-dir", "-cd")
_WITH_VALUE = (
    *_CONFIG_DIR, "--config-name", "-cn", "--config-path", "-cp", "--package", "-p", "--cfg", "-c",
)  # fmt: skip


class UsageError(ValueError):
    """A command line that names something that is not there."""


def flags_first(arguments: list[str]) -> list[str]:
    """The same words with the flags before the settings: Hydra wants settings in one piece."""
    flags, words = _split(arguments)
    return [*flags, *words]


def split_words(arguments: list[str]) -> tuple[list[str], bool]:
    """Settings in Hydra's form, those that flags stand for included, and whether to sweep."""
    flags, words = _split(arguments)
    for flag, value in itertools.zip_longest(flags, flags[1:], fillvalue=""):
        name, equals, attached = flag.partition("=")
        if name in _CONFIG_DIR:
            folder = Path(attached if equals else value).resolve()
            words.append(f"hydra.searchpath=[file://{folder}]")
    return words, bool({"-m", "--multirun"} & set(flags))


def _split(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Flags (with their values) and settings."""
    flags: list[str] = []
    words: list[str] = []
    rest = iter(arguments)
    for word in rest:
        if word in _WITH_VALUE:
            flags += [word, next(rest, "")]
        else:
            (flags if word.startswith("-") else words).append(word)
    return flags, words


def sweep_words(params: DictConfig | None) -> list[tuple[str, str]]:
    """The sweep that a preset holds, as key and value lists in the command line's form."""
    return [(str(key), str(value)) for key, value in (params or {}).items()]


class hydra_state:
    """Hydra's global state for the length of a ``with``."""

    def __enter__(self) -> None:
        GlobalHydra.instance().clear()
        self._context = initialize_config_module("conf", version_base="1.3")
        self._context.__enter__()

    def __exit__(self, *error: Any) -> None:
        self._context.__exit__(*error)
        GlobalHydra.instance().clear()


def compose_words(words: list[str]) -> DictConfig:
    """The configuration of one job, Hydra's own settings included.

    Raises:
        UsageError: Hydra refuses the words.
    """
    try:
        return compose("config", overrides=words, return_hydra_config=True)
    except Exception as error:
        lines = [line for line in str(error).splitlines() if line.strip()]
        detail = lines[0] if lines else type(error).__name__
        raise UsageError(detail) from error


def is_group(override: Override) -> bool:
    """Whether an override chooses a file of a group, and sets no single key."""
    group = override.key_or_group.partition("@")[0]
    groups = GlobalHydra.instance().config_loader().list_groups("")
    return group in groups or group.startswith("hydra/")


def key_of(override: Override) -> str:
    """What is set: ``model@selector_model`` is another key than ``model``."""
    return override.get_key_element().lstrip("+~")


def values_of(override: Override) -> list[str]:
    """The values of an override, one by one if it is a sweep; none for what cannot be listed."""
    if override.is_sweep_override():
        try:
            return [str(value) for value in override.sweep_string_iterator()]
        except Exception:  # a glob: Hydra resolves it against the group's own options
            return []
    if override.is_delete() and override.value() is None:  # ~suite.benchmarks.codex
        return []
    return [str(override.get_value_string())]


def first_values(parsed: list[Override]) -> Iterator[Override]:
    """The overrides with the first value of every sweep."""
    for override in parsed:
        values = values_of(override)
        if override.is_sweep_override() and values:
            word = f"{override.get_key_element()}={values[0]}"
            yield OverridesParser.create().parse_override(word)
        elif not override.is_sweep_override():
            yield override
