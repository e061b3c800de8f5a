"""The cells of a sweep as settings, hundreds of them in a second or two.

Composing a cell by Hydra takes 50 ms. Here every option of a swept group is composed once, and the
cells are put together from the parts; where a part refers to another that is swept too, and for
``scale`` and ``experiment``, which reach over the whole configuration, Hydra composes each cell.
"""

from __future__ import annotations

import copy
import itertools
import re
from collections.abc import Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from harness import check as checking
from harness.check import UsageError
from harness.features import FeatureSettings
from harness.files import canonical_json
from harness.settings import _COMPONENTS, ConfigError, Settings, build, instantiate

_WHOLE = ("scale", "experiment")  # groups that set keys outside their own
_REFERENCE = re.compile(r"\$\{(?:[\w.]+:)?([\w.]+)")


def cells(arguments: list[str]) -> list[Settings]:
    """Settings of every cell, in the order in which Hydra would run them.

    ``pool.path`` may be missing: a plan needs no data.

    Raises:
        UsageError: with every problem found, a line each.
    """
    words, multirun = checking._words(arguments)
    try:
        return _cells(words, multirun)
    except (UsageError, ConfigError, ValueError) as error:
        checking.check(arguments)  # says it better, if the words are to blame
        raise UsageError(str(error)) from error


def _cells(words: list[str], multirun: bool) -> list[Settings]:
    parser = OverridesParser.create()
    with checking._hydra():
        parsed = parser.parse_overrides(words)
        checking._check_groups(parsed)
        first = checking._compose([str(o.input_line) for o in checking._first(parsed)])
        if not multirun and OmegaConf.select(first, "hydra.mode") != RunMode.MULTIRUN:
            checking._refuse_sweep(parsed)
        given = {checking._key(o) for o in parsed}
        preset = checking._text(OmegaConf.select(first, "hydra.sweeper.params"))
        swept = parser.parse_overrides([f"{k}={v}" for k, v in preset if k not in given])
        checking._check_groups(swept)
        choices: dict[str, list[Override]] = {}
        fixed: list[str] = []
        for override in [*swept, *parsed]:
            key = override.get_key_element()
            if override.is_sweep_override():
                values = override.sweep_string_iterator()
                choices[key] = parser.parse_overrides([f"{key}={value}" for value in values])
            else:
                fixed.append(str(override.input_line))
        return _Parts(fixed, list(choices.values())).settings()


class _Parts:
    """What the cells are put together from.

    Args:
        fixed: words of all cells.
        sweeps: for each swept key the words of its values.
    """

    def __init__(self, fixed: list[str], sweeps: list[list[Override]]) -> None:
        self.fixed, self.sweeps = fixed, sweeps
        self._built: dict[str, Any] = {}

    def settings(self) -> list[Settings]:
        """Of every cell."""
        if not all(self.sweeps):
            return []
        raw = _composed([*self.fixed, *(str(sweep[0].input_line) for sweep in self.sweeps)])
        build(raw)  # the first cell whole: what is no setting shows here
        start = _resolved(raw)
        options = [[self._option(o) for o in sweep] for sweep in self.sweeps]
        text = "\n".join([_text(raw), *(text for sweep in options for _, _, text in sweep)])
        used = {name for name in _REFERENCE.findall(text)}
        keys = [_node(sweep[0]) for sweep in self.sweeps]
        whole = any(sweep[0].key_or_group in _WHOLE for sweep in self.sweeps)
        if whole or any(_touch(key, name) for key in keys for name in used):
            lines = itertools.product(*([str(o.input_line) for o in s] for s in self.sweeps))
            return [self._one(_resolved(_composed([*self.fixed, *cell]))) for cell in lines]
        found = []
        for cell in itertools.product(*options):
            plain = dict(start)
            for node, value, _ in sorted(cell, key=lambda option: option[0].count(".")):
                _set(plain, node.split("."), value)
            found.append(self._one(plain))
        return found

    def _option(self, override: Override) -> tuple[str, Any, str]:
        """The node that an option sets, its value, and its text before anything is resolved."""
        node = _node(override)
        if not checking._is_group(override):
            return node, override.value(), ""
        if override.key_or_group in _WHOLE:
            return node, None, ""
        raw = _composed([*self.fixed, str(override.input_line)])
        part = OmegaConf.create({node: raw[node]})
        return node, OmegaConf.to_container(raw, resolve=True)[node], _text(part)  # type: ignore

    def _one(self, plain: dict[str, Any]) -> Settings:
        """``settings.build`` of plain data; parts that many cells share are built once."""
        values = {key: value for key, value in plain.items() if key in Settings.model_fields}
        for key in _COMPONENTS:
            if values.get(key) is not None:
                name = key + canonical_json(values[key])
                if name not in self._built:
                    self._built[name] = instantiate(values[key])
                values[key] = self._built[name]
        values["features"] = FeatureSettings(**values["features"])
        return Settings(**values, resolved=plain)


def _composed(words: Sequence[str]) -> DictConfig:
    config = checking._compose(list(words))
    plain = OmegaConf.create({k: v for k, v in config.items_ex(resolve=False) if k != "hydra"})
    if OmegaConf.is_missing(plain.pool, "path"):
        plain.pool.path = "not-given"
    return plain


def _resolved(config: DictConfig) -> dict[str, Any]:
    plain: Any = OmegaConf.to_container(config, resolve=True)
    return plain


def _text(config: DictConfig) -> str:
    return OmegaConf.to_yaml(config, resolve=False)


def _node(override: Override) -> str:
    """The dotted key that an override sets: the package, if a group has another than its name."""
    return checking._key(override).rpartition("@")[2]


def _touch(one: str, other: str) -> bool:
    """Whether one of two dotted keys holds the other."""
    return f"{one}.".startswith(f"{other}.") or f"{other}.".startswith(f"{one}.")


def _set(plain: dict[str, Any], path: list[str], value: Any) -> None:
    """Set a nested key; what other cells hold is left as it is."""
    for name in path[:-1]:
        plain[name] = dict(plain[name])
        plain = plain[name]
    plain[path[-1]] = copy.deepcopy(value)


__all__ = ["UsageError", "cells"]
