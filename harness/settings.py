"""The whole configuration of a run as typed objects, built and checked before anything heavy.

``build`` turns Hydra's composed config into ``Settings``. Components are named by ``_target_``;
their modules import no torch, so every mistake in a configuration shows within a second or two.
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from harness import paper
from harness.component import Component
from harness.features import FeatureSettings
from harness.model import ModelConfig
from harness.pool import PoolConfig
from harness.target import Target
from harness.training import Recipe

MICRO = "micro"  # as a path: the embedded world's pool, benchmarks or model
STAGES = ("pool", "order", "train", "evaluate", "record")
COMPONENTS = (
    "method", "pool", "target", "model", "selector_model", "recipe", "suite", "judge", "tracker",
)  # fmt: skip
_FOR_PRESETS = ("scale", "experiment", "study")  # read by other files of conf/, not by a run


class ConfigError(ValueError):
    """A configuration that cannot be run; the message lists every problem found."""


class Tracker(Component):
    """Where training curves go, in the words of transformers' ``report_to``."""

    name: str
    report_to: list[str] = Field(default_factory=list)


class ReportSettings(BaseModel):
    """How the runs of a folder are shown; no part of what a run is.

    Attributes:
        compare: published tables to lay beside the runs.
        reference: the method that the others are held against, as the board names it.
        refresh: seconds between two renewals of a running sweep's page; 0: none before its end.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    compare: list[str] = Field(default_factory=list)
    reference: Annotated[str, Field(min_length=1)] = "random"
    refresh: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 30.0

    @field_validator("compare", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @field_validator("compare")
    @classmethod
    def _published(cls, value: list[str]) -> list[str]:
        for name in value:
            paper.check_name(name)
        return value


class _Method(Protocol):
    """What the harness needs of a method; methods/base.py has the base class."""

    name: str
    label: str
    needs_queries: bool
    needs_model: bool
    seeded: bool
    floor: bool

    def budget(self, asked: int, pool_size: int) -> int: ...
    def order(self, context: Any) -> Any: ...
    def identity(self) -> dict[str, Any]: ...


class Settings(BaseModel):
    """One run. The fields are those of conf/config.yaml."""

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True, frozen=True)

    method: Any
    pool: PoolConfig
    target: Target
    model: ModelConfig
    selector_model: ModelConfig | None = None
    recipe: Recipe
    suite: Any
    judge: Any
    tracker: Tracker
    features: FeatureSettings
    budget: Annotated[float, Field(gt=0)]
    seed: Annotated[int, Field(ge=0)]
    out: Path
    store: Path
    evaluate: Literal["suite", "target"] = "suite"
    report: ReportSettings = Field(default_factory=ReportSettings)
    until: Literal["pool", "order", "train", "evaluate", "record"]
    overwrite: Literal["failed", "never", "always"]
    keep_models: bool
    progress: bool
    resolved: dict[str, Any]  # the composed config as plain data, for the record

    @model_validator(mode="after")
    def _whole_budget(self) -> Settings:
        if self.budget >= 1 and self.budget != int(self.budget):
            raise ValueError(
                f"budget={self.budget} must be a whole number of rows, or a share below 1"
            )
        return self

    @property
    def scored(self) -> Any:
        """What the model is scored on: the suite, or with ``evaluate=target`` a part of it.

        The part is the benchmarks that the selection was made for. A method that looks at no
        queries, or a target that is no benchmark, is scored on the whole suite all the same.
        """
        tasks = self.target.tasks
        if self.evaluate == "suite" or not tasks or not self.method.needs_queries:
            return self.suite
        part = {name: one for name, one in self.suite.benchmarks.items() if name in tasks}
        return self.suite.model_copy(update={"benchmarks": part})

    @property
    def selector(self) -> ModelConfig:
        """The model to select with: the trained one unless another is named."""
        return self.selector_model or self.model

    def rows(self, pool_size: int) -> int:
        """The budget in rows."""
        return int(self.budget) if self.budget >= 1 else max(1, round(self.budget * pool_size))

    def check(self) -> None:
        """Look for the data and keys that the run will need, before any model is loaded."""
        if self.pool.path != MICRO:
            self.pool.check()
        for part in (self.scored, self.judge):
            part.check()


def build(config: DictConfig) -> Settings:
    """Typed settings from a composed config.

    Raises:
        ConfigError: with every problem, each on a line that names the key and what is allowed.
    """
    problems: list[str] = []
    try:
        resolved = OmegaConf.to_container(config, resolve=True, throw_on_missing=False)
    except Exception as error:
        raise ConfigError(f"the configuration does not resolve: {error}") from error
    assert isinstance(resolved, dict)
    plain = {str(key): value for key, value in resolved.items() if key != "hydra"}
    for name in sorted(str(key) for key in OmegaConf.missing_keys(config)):
        problems.append(f"{name} has to be given: {name}=VALUE")
    if problems:
        raise ConfigError("\n".join(problems))
    values: dict[str, Any] = {}
    for key, value in plain.items():
        if key not in (*Settings.model_fields, *_FOR_PRESETS):
            problems.append(_no_setting(key))
        elif key in COMPONENTS and value is not None:
            try:
                values[key] = instantiate(value)
            except Exception as error:
                problems += explain(error, key)
        elif key in Settings.model_fields:
            values[key] = value
    if not problems:
        try:
            values["features"] = FeatureSettings(**values["features"])
        except ValidationError as error:
            problems += explain(error, "features")
    if not problems:
        try:
            return Settings(**values, resolved=plain)
        except ValidationError as error:
            problems += explain(error, "")
    raise ConfigError("\n".join(problems))


def _no_setting(key: str) -> str:
    report = [f"report.{name}" for name in ReportSettings.model_fields]
    near = difflib.get_close_matches(key, [*Settings.model_fields, *report], n=1, cutoff=0.5)
    hint = f" (nearest: {near[0]})" if near else ""
    return f"{key} is no setting{hint}; settings are {', '.join(sorted(Settings.model_fields))}"


def instantiate(node: dict[str, Any]) -> Any:
    """The object that a config node names by ``_target_``, its parts first."""
    import hydra

    return hydra.utils.instantiate(node, _convert_="all")


def explain(error: BaseException, key: str) -> list[str]:
    """Lines that name the key, the value and what is allowed."""
    found: BaseException | None = error
    while found is not None and not isinstance(found, ValidationError):
        found = found.__cause__ or found.__context__
    if isinstance(found, ValidationError):
        lines = []
        for entry in found.errors():
            where = ".".join([key, *map(str, entry["loc"])]).strip(".")
            if entry["type"] == "extra_forbidden":
                lines.append(f"{where} is not a setting here")
            else:
                lines.append(f"{where}={entry['input']!r}: {entry['msg']}")
        return lines
    if isinstance(error, MissingMandatoryValue):
        return [str(error)]
    return [f"{key}: {str(error).strip().splitlines()[0]}"]
