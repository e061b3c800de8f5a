"""Judges: who says which of two answers is better.

``gpt4`` and ``weighted_gpt4_turbo`` (``api.py``) are alpaca-eval's own, ``local`` (``local.py``) is
any endpoint that speaks OpenAI's chat interface, ``recorded`` (``recorded.py``) reads verdicts from
files, and the rule below needs nothing at all.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from evaluation.text_metrics import token_f1
from harness.component import Component

# Between the texts in the prompt of judges that are functions; texts are cleared of it before.
SEPARATOR = "\x1e"


class Judge(Component):
    """Base of judges; what it returns goes to alpaca-eval's ``PairwiseAnnotator`` as it is."""

    name: ClassVar[str]

    max_unparsable: float = Field(
        0.02, ge=0, le=1,
        description="largest share of answers without a usable verdict; above it is an error",
    )  # fmt: skip

    def identity(self) -> dict[str, Any]:
        """What decides a verdict; ``max_unparsable`` decides only whether there is a score."""
        plain = super().identity()
        plain.pop("max_unparsable")
        return plain

    @abstractmethod
    def check(self) -> None:
        """Cheap check before anything runs.

        Raises:
            ValueError: the judge cannot be asked; the message says what is missing.
        """

    @abstractmethod
    def arguments(self, folder: Path) -> dict[str, Any]:
        """Keyword arguments that name the annotator; ``folder`` is for files of its own.

        ``notes`` among them is not alpaca-eval's: what the judge puts into that dictionary, now or
        while it is asked, goes into the score's notes.
        """


class ReferenceRule(Judge):
    """Compares an answer with the reference by its words; needs no network.

    The preference for the model is half the token F1 between its answer and the reference: equal
    answers tie (50 %), answers with no word in common lose (0 %), and nothing wins. It says how
    near an answer is to one given answer and is no measure of quality.
    """

    name: ClassVar[str] = "reference_rule"

    def check(self) -> None:
        """Nothing is needed."""

    def arguments(self, folder: Path) -> dict[str, Any]:
        """A configuration without random order (the rule must know which is the reference)."""
        return function_arguments(folder, self.name, ("output_1", "output_2"), _compare)


def write_annotator(folder: Path, name: str, settings: dict[str, Any], template: str) -> str:
    """Write one annotator in alpaca-eval's form; returns its path.

    alpaca-eval takes annotators by path only, and looks for the template beside their folder.
    """
    import yaml

    config = folder / name
    config.mkdir(parents=True, exist_ok=True)
    (folder / "prompt.txt").write_text(template, encoding="utf-8")
    whole = {name: {**settings, "prompt_template": "prompt.txt", "batch_size": 1}}
    (config / "configs.yaml").write_text(yaml.safe_dump(whole), encoding="utf-8")
    return str(config.resolve())


def function_arguments(
    folder: Path, name: str, columns: Sequence[str], completions: Any
) -> dict[str, Any]:
    """Arguments for a judge that is a function of the ``columns``, separated by ``SEPARATOR``.

    ``completions`` takes such prompts and returns ``completed(preferences)``, 1 to 2 or None.
    """
    settings = {"is_randomize_output_order": False, "completions_kwargs": {}}
    template = SEPARATOR.join(f"{{{column}}}" for column in columns)
    return {
        "annotators_config": write_annotator(folder, name, settings, template),
        "fn_completions": completions,
        "fn_completion_parser": lambda completion: [completion],
    }


def completed(completions: Sequence[Any]) -> dict[str, list[Any]]:
    """Completions in the form that alpaca-eval wants from a function."""
    return {
        "completions": list(completions),
        "completions_all": list(completions),
        "price_per_example": [0.0] * len(completions),
        "time_per_example": [0.0] * len(completions),
    }


def _compare(prompts: Sequence[str], **_: Any) -> dict[str, list[Any]]:
    """Preferences in [1, 1.5]: 1.5 is a tie, and 2, a win, never happens."""
    pairs = [prompt.partition(SEPARATOR) for prompt in prompts]
    return completed([1 + 0.5 * token_f1(answer, reference) for reference, _, answer in pairs])
