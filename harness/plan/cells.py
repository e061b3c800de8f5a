"""The cells of a sweep as settings, hundreds of them in a second or two.

Composing a cell by Hydra takes 150 ms. Here all options of the swept groups are composed at once,
and the cells are put together from the parts. What another part refers to, and ``scale`` and
``experiment``, which reach over the whole configuration, are fixed first, value by value.
"""

from __future__ import annotations

import copy
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from harness import overrides
from harness.check import check, check_groups, refuse_sweep
from harness.features import FeatureSettings
from harness.files import canonical_json
from harness.overrides import UsageError
from harness.settings import COMPONENTS, ConfigError, Settings, build, instantiate

_WHOLE = ("scale", "experiment")  # groups that set keys outside their own
_REFERENCE = re.compile(r"\$\{(?:[\w.]+:)?([\w.]+)")


def cells(arguments: list[str]) -> list[Settings]:
    """Settings of every cell, in the order in which Hydra would run them.

    ``pool.path`` may be missing: a plan needs no data.

    Raises:
        UsageError: with every problem found, a line each.
    """
    words, multirun = overrides.split_words(arguments)
    try:
        return _cells(words, multirun)
    except (UsageError, ConfigError, ValueError, HydraException) as error:
        check(arguments)  # says it better, if the words are to blame
        raise UsageError(str(error)) from error


def _cells(words: list[str], multirun: bool) -> list[Settings]:
    parser = OverridesParser.create()
    with overrides.hydra_state():
        parsed = parser.parse_overrides(words)
        check_groups(parsed)
        first = overrides.compose_words([str(o.input_line) for o in overrides.first_values(parsed)])
        if not multirun and OmegaConf.select(first, "hydra.mode") != RunMode.MULTIRUN:
            refuse_sweep(parsed)
        given = {overrides.key_of(o) for o in parsed}
        preset = overrides.sweep_words(OmegaConf.select(first, "hydra.sweeper.params"))
        swept = parser.parse_overrides([f"{k}={v}" for k, v in preset if k not in given])
        check_groups(swept)
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


@dataclass(frozen=True)
class _Option:
    """The node that a value sets, what it sets there, and its text before anything is resolved."""

    node: str
    value: Any
    text: str


class _Parts:
    """What the cells are put together from.

    Args:
        fixed: words of all cells.
        sweeps: for each swept key the words of its values.
        built: components that were built already, by their configuration.
    """

    def __init__(
        self, fixed: list[str], sweeps: list[list[Override]], built: dict[str, Any] | None = None
    ) -> None:
        self.fixed, self.sweeps = fixed, sweeps
        self._built: dict[str, Any] = {} if built is None else built

    def settings(self) -> list[Settings]:
        """Of every cell."""
        if not all(self.sweeps):
            return []
        raw = _composed([*self.fixed, *(_word(sweep[0]) for sweep in self.sweeps)])
        build(raw)  # the first cell whole: what is no setting shows here
        options = [[]] * len(self.sweeps) if self._whole() else self._options()
        text = "\n".join([_text(raw), *(option.text for sweep in options for option in sweep)])
        used = set(_REFERENCE.findall(text))
        hard = [
            index
            for index, (first, *_) in enumerate(self.sweeps)
            if (self._whole() and first.key_or_group in _WHOLE)
            or any(_touch(_node(first), name) for name in used)
        ]
        if hard:
            return self._one_by_one(hard)
        found = []
        start = _resolved(raw)
        for cell in itertools.product(*options):
            plain = dict(start)
            for option in sorted(cell, key=lambda option: option.node.count(".")):
                _set(plain, option.node.split("."), option.value)
            found.append(self._one(plain))
        return found

    def _whole(self) -> bool:
        return any(sweep[0].key_or_group in _WHOLE for sweep in self.sweeps)

    def _one_by_one(self, hard: list[int]) -> list[Settings]:
        """The cells of each choice of the ``hard`` sweeps for themselves; in the order of all."""
        numbered = [list(enumerate(sweep)) for sweep in self.sweeps]
        easy = [index for index in range(len(numbered)) if index not in hard]
        by_place: dict[tuple[int, ...], Settings] = {}
        for choice in itertools.product(*(numbered[index] for index in hard)):
            words = [*self.fixed, *(_word(override) for _, override in choice)]
            members = _Parts(words, [self.sweeps[index] for index in easy], self._built).settings()
            places = itertools.product(*(range(len(numbered[index])) for index in easy))
            for rest, settings in zip(places, members, strict=True):
                place = dict(zip([*hard, *easy], [*(at for at, _ in choice), *rest], strict=True))
                by_place[tuple(place[index] for index in range(len(numbered)))] = settings
        return [by_place[place] for place in sorted(by_place)]

    def _options(self) -> list[list[_Option]]:
        """What each value of each sweep sets."""
        beside = self._beside_each_other()
        if beside is not None:
            return beside
        return [
            [self._option(number, override) for override in sweep]
            for number, sweep in enumerate(self.sweeps)
        ]

    def _option(self, number: int, override: Override) -> _Option:
        """A value of the sweep of that number, beside the first values of the others."""
        node = _node(override)
        if not overrides.is_group(override):
            return _Option(node, override.value(), "")
        others = [_word(sweep[0]) for at, sweep in enumerate(self.sweeps) if at != number]
        raw = _composed([*self.fixed, *others, _word(override)])
        return _Option(node, _resolved(raw)[node], _text(OmegaConf.create({node: raw[node]})))

    def _beside_each_other(self) -> list[list[_Option]] | None:
        """All options from one composition, each under a name of its own.

        None where that may be wrong: if anything but the option sets what it stands for.
        """
        nodes = [_node(sweep[0]) for sweep in self.sweeps if overrides.is_group(sweep[0])]
        words = [*self.fixed]
        for number, sweep in enumerate(self.sweeps):
            if overrides.is_group(sweep[0]):
                group = sweep[0].key_or_group
                words.append(f"~{sweep[0].get_key_element()}")
                words += [
                    f"+{group}@option_{number}_{at}={override.get_value_string()}"
                    for at, override in enumerate(sweep)
                ]
        if not nodes or any("." in node for node in nodes):
            return None
        try:
            raw = _composed(words)
            plain = _resolved(raw)
        except Exception:  # such as a word that sets a key of the option
            return None
        if any(raw.get(node) is not None for node in nodes):
            return None
        found = []
        for number, sweep in enumerate(self.sweeps):
            options = []
            for at, override in enumerate(sweep):
                name = f"option_{number}_{at}"
                if overrides.is_group(override):
                    part = OmegaConf.create({name: raw.get(name)})
                    options.append(_Option(_node(override), plain.get(name), _text(part)))
                else:
                    options.append(_Option(_node(override), override.value(), ""))
            found.append(options)
        return found

    def _one(self, plain: dict[str, Any]) -> Settings:
        """``settings.build`` of plain data; parts that many cells share are built once."""
        values = {key: value for key, value in plain.items() if key in Settings.model_fields}
        for key in COMPONENTS:
            if values.get(key) is not None:
                name = key + canonical_json(values[key])
                if name not in self._built:
                    self._built[name] = instantiate(values[key])
                values[key] = self._built[name]
        values["features"] = FeatureSettings(**values["features"])
        return Settings(**values, resolved=plain)


def _composed(words: Sequence[str]) -> DictConfig:
    config = overrides.compose_words(list(words))
    plain = OmegaConf.create({k: v for k, v in config.items_ex(resolve=False) if k != "hydra"})
    if OmegaConf.is_missing(plain.pool, "path"):
        plain.pool.path = "not-given"
    return plain


def _resolved(config: DictConfig) -> dict[str, Any]:
    plain: Any = OmegaConf.to_container(config, resolve=True)
    return plain


def _text(config: DictConfig) -> str:
    return OmegaConf.to_yaml(config, resolve=False)


def _word(override: Override) -> str:
    return str(override.input_line)


def _node(override: Override) -> str:
    """The dotted key that an override sets: the package, if a group has another than its name."""
    return overrides.key_of(override).rpartition("@")[2]


def _touch(one: str, other: str) -> bool:
    """Whether one of two dotted keys holds the other."""
    return f"{one}.".startswith(f"{other}.") or f"{other}.".startswith(f"{one}.")


def _set(plain: dict[str, Any], path: list[str], value: Any) -> None:
    """Set a nested key; what other cells hold is left as it is."""
    for name in path[:-1]:
        plain[name] = dict(plain[name])
        plain = plain[name]
    plain[path[-1]] = copy.deepcopy(value)
