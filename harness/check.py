"""What was asked for on the command line, checked before Hydra starts and before torch is imported.

Every group choice and every key of a single run or a whole sweep is looked up, and every choice is
composed and built once, so a mistake in the last cell of a sweep shows in the first second. Errors
name the word, the legal ones, and the nearest.
"""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from harness.overrides import (
    UsageError,
    compose_words,
    first_values,
    hydra_state,
    is_group,
    key_of,
    split_words,
    sweep_words,
    values_of,
)

if TYPE_CHECKING:
    from harness.settings import ReportSettings, Settings

MOST_CHOICES = 60  # of a sweep that are built one by one; a compose takes some 50 ms


@dataclass(frozen=True)
class Request:
    """What the command line asks for.

    Attributes:
        jobs: of a sweep, what is set apart in each cell, in the order in which Hydra runs them;
            None if only its sweeper knows.
    """

    out: Path
    until: str
    multirun: bool
    report: ReportSettings
    jobs: tuple[str, ...] | None = None


def check(arguments: list[str]) -> Request:
    """Look up and build everything that ``arguments`` name.

    Raises:
        UsageError: with every problem found, a line each.
    """
    words, multirun = split_words(arguments)
    try:
        parsed = OverridesParser.create().parse_overrides(words)
    except HydraException as error:
        raise UsageError(str(error).splitlines()[0]) from error
    with hydra_state():
        check_groups(parsed)
        groups = [str(o.input_line) for o in first_values(parsed) if is_group(o)]
        base = compose_words([*groups, *_hydra_words(parsed)])
        mode = OmegaConf.select(base, "hydra.mode")
        multirun = multirun or mode == RunMode.MULTIRUN
        params = OmegaConf.select(base, "hydra.sweeper.params") if multirun else None
        jobs = _jobs(base, [*map("=".join, sweep_words(params)), *words]) if multirun else None
        given = {key_of(o) for o in parsed}
        swept = [f"{key}={value}" for key, value in sweep_words(params) if key not in given]
        if swept:
            parsed = [*OverridesParser.create().parse_overrides(swept), *parsed]
            check_groups(parsed)
        if not multirun:
            refuse_sweep(parsed)
        _refuse_several_reports(parsed)
        first, *_ = [choice.build() for choice in _each_choice(parsed)]
    return Request(first.out, first.until, multirun, first.report, jobs)


def describe() -> tuple[str, str]:
    """The groups with their options and the other top-level settings, as text for ``--help``."""
    with hydra_state():
        loader = GlobalHydra.instance().config_loader()
        groups = [name for name in loader.list_groups("") if name not in ("hydra",)]
        lines = [f"  {name:<11} {', '.join(loader.get_group_options(name))}" for name in groups]
        config = compose_words([])
    plain = [
        f"  {key:<13} {_short(config[key])}"
        for key in map(str, config)
        if key not in groups and key not in ("hydra", "selector_model")
    ]
    return "\n".join(lines), "\n".join(plain)


def _jobs(base: DictConfig, words: list[str]) -> tuple[str, ...] | None:
    """The cells of a sweep as Hydra's own sweeper will make them."""
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

    if not str(OmegaConf.select(base, "hydra.sweeper._target_")).endswith(".BasicSweeper"):
        return None
    loader = GlobalHydra.instance().config_loader()
    try:
        parsed = OverridesParser.create(config_loader=loader).parse_overrides(words)
        (cells,) = BasicSweeper.split_arguments(parsed, None)
    except Exception:  # Hydra will say what is wrong when it does the same
        return None
    varied = [len(set(values)) > 1 for values in zip(*cells, strict=True)]
    return tuple(" ".join(itertools.compress(cell, varied)) for cell in cells)


def _short(value: Any) -> str:
    text = OmegaConf.to_yaml(value, resolve=False) if OmegaConf.is_config(value) else str(value)
    return ", ".join(text.split("\n")).strip(", ")


def check_groups(parsed: list[Override]) -> None:
    """Whether every chosen file of a group is there.

    Raises:
        UsageError: with the nearest name and all that there are.
    """
    loader = GlobalHydra.instance().config_loader()
    extra = _searchpath_options(parsed)
    problems = []
    for override in parsed:
        if not is_group(override) or override.is_delete():
            continue
        group = override.key_or_group.partition("@")[0]
        options = sorted({*loader.get_group_options(group), *extra.get(group, [])})
        for value in values_of(override):
            if value not in (*options, "null", "None", ""):
                problems.append(
                    f"{key_of(override)}={value}: no such {group}.{_nearest(value, options)} "
                    f"There are: {', '.join(options)}"
                )
    if problems:
        raise UsageError("\n       ".join(problems))


def _searchpath_options(parsed: list[Override]) -> dict[str, list[str]]:
    """Options that the user's own configuration folders add, by group."""
    found: dict[str, list[str]] = {}
    for override in parsed:
        if override.key_or_group != "hydra.searchpath":
            continue
        entries: Any = override.value()
        for entry in entries if isinstance(entries, list) else []:
            root = Path(str(entry).removeprefix("file://"))
            for file in root.glob("*/*.yaml"):
                found.setdefault(file.parent.name, []).append(file.stem)
    return found


def _hydra_words(parsed: list[Override]) -> list[str]:
    return [str(o.input_line) for o in parsed if o.key_or_group.startswith("hydra.")]


@dataclass
class _Choice:
    words: list[str]
    keys: list[str]
    where: str = ""

    def __post_init__(self) -> None:
        self._config: DictConfig | None = None

    @property
    def config(self) -> DictConfig:
        if self._config is None:
            try:
                self._config = compose_words(self.words)
            except UsageError:
                _check_keys(self)  # Hydra's own words for a misspelt key say less
                raise
        return self._config

    def build(self) -> Settings:
        from harness.settings import ConfigError, build

        plain = {key: value for key, value in self.config.items_ex(resolve=False) if key != "hydra"}
        try:
            return build(OmegaConf.create(plain))
        except ConfigError as error:
            raise UsageError(str(error).replace("\n", "\n       ")) from error


def _each_choice(parsed: list[Override]) -> Iterator[_Choice]:
    """The first cell, then the first cell with each other value of each sweep in turn."""
    first = list(first_values(parsed))
    keys = [
        o.key_or_group
        for o in first
        if not (is_group(o) or o.is_add() or o.is_delete())
        and not o.key_or_group.startswith("hydra.")
    ]
    swept = [str(o.input_line) for o in first if is_group(o)]
    yield _Choice(
        [str(o.input_line) for o in first], keys, f" with {' '.join(swept)}" * bool(swept)
    )
    others = [
        (override, value)
        for override in parsed
        if override.is_sweep_override()
        for value in values_of(override)[1:]
    ]
    for override, value in others[:MOST_CHOICES]:
        words = [
            f"{override.get_key_element()}={value}"
            if key_of(o) == key_of(override)
            else str(o.input_line)
            for o in first
        ]
        yield _Choice(words, keys, f" with {key_of(override)}={value}")


def _check_keys(choice: _Choice) -> None:
    """Every key that is set must be there; Hydra's own error would not say what is."""
    groups = [w for w in choice.words if w.partition("=")[0] not in choice.keys]
    if not choice.keys:
        return
    known = sorted(_dotted(compose_words(groups)))
    options = GlobalHydra.instance().config_loader().list_groups("")
    problems = []
    for key in choice.keys:
        if key in known or any(name.startswith(key + ".") for name in known):
            continue
        near = _nearest(key, [*known, *options])
        same = [name for name in known if name.rpartition(".")[0] == key.rpartition(".")[0]]
        listed = same or [*options, *(name for name in known if "." not in name)]
        listed = [name for name in dict.fromkeys(listed) if not name.endswith("_target_")]
        problems.append(
            f"{key}: no such setting{choice.where}.{near} There are: {', '.join(listed)}"
        )
    if problems:
        raise UsageError("\n       ".join(problems))


def _dotted(config: Any, prefix: str = "") -> Iterator[str]:
    for key, value in config.items_ex(resolve=False):
        if key in ("hydra", "_target_") and not prefix:
            continue
        yield f"{prefix}{key}"
        if isinstance(value, DictConfig) and not value._is_none() and not value._is_missing():
            yield from _dotted(value, f"{prefix}{key}.")


def refuse_sweep(parsed: list[Override]) -> None:
    """Whether no key has several values.

    Raises:
        UsageError: one has, and ``-m`` was not given.
    """
    swept = [str(o.input_line) for o in parsed if o.is_sweep_override()]
    if swept:
        raise UsageError(f"{swept[0]} lists several values, which is a sweep: add -m")


def _refuse_several_reports(parsed: list[Override]) -> None:
    for override in parsed:
        if override.is_sweep_override() and key_of(override).startswith("report."):
            key, values = key_of(override), values_of(override)
            list_word = f" or, for several tables, {key}=[{','.join(values)}]"
            raise UsageError(
                f"{override.input_line}: a sweep has one report. Give one value: "
                f"{key}={values[0]}{list_word * (key == 'report.compare')}"
            )


def _nearest(word: str, options: list[str]) -> str:
    near = difflib.get_close_matches(word, sorted(set(options)), n=3, cutoff=0.5)
    return f" Nearest: {', '.join(near)}." if near else ""
