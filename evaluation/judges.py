"""Judges: who says which of two answers is better."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from evaluation.text_metrics import token_f1
from harness.component import Component

# Between the two answers in the prompt of the rule; answers are cleared of it before.
SEPARATOR = "\x1e"


class Judge(Component):
    """Base of judges; what it returns goes to ``alpaca_eval.evaluate`` as it is."""

    name: ClassVar[str]

    @abstractmethod
    def check(self) -> None:
        """Cheap check before anything runs.

        Raises:
            ValueError: the judge cannot be asked; the message says what is missing.
        """

    @abstractmethod
    def arguments(self, folder: Path) -> dict[str, Any]:
        """Keyword arguments that name the annotator; ``folder`` is for files of its own."""


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
        settings = {
            self.name: {
                "prompt_template": "prompt.txt",
                "is_randomize_output_order": False,
                "completions_kwargs": {},
                "batch_size": 1,
            }
        }
        import yaml

        config = folder / self.name
        config.mkdir(parents=True, exist_ok=True)
        (config / "configs.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
        # alpaca-eval looks for the template beside the configuration's folder.
        (folder / "prompt.txt").write_text("{output_1}" + SEPARATOR + "{output_2}", "utf-8")
        return {
            "annotators_config": str(config.resolve()),
            "caching_path": None,
            "fn_completions": _compare,
            "fn_completion_parser": lambda completion: [completion],
        }


class AlpacaEvalJudge(Judge):
    """A judge that comes with alpaca-eval, asked over the OpenAI interface.

    ``annotator`` is a folder of alpaca-eval's ``evaluators_configs``. Needs ``key_variable`` in
    the environment; ``OPENAI_BASE_URL`` sends the questions elsewhere.
    """

    name: ClassVar[str] = "alpaca_eval"

    annotator: str = "alpaca_eval_gpt4"
    key_variable: str = Field("OPENAI_API_KEY", description="environment variable with the key")

    def check(self) -> None:
        """The annotator exists and a key is set."""
        import importlib.util

        package = importlib.util.find_spec("alpaca_eval")
        if package is None or not package.origin:
            raise ValueError("judge: the package alpaca-eval is not installed")
        folder = Path(package.origin).parent / "evaluators_configs"
        if not (folder / self.annotator / "configs.yaml").is_file():
            import difflib

            known = sorted(path.parent.name for path in folder.glob("*/configs.yaml"))
            near = difflib.get_close_matches(self.annotator, known) or known
            raise ValueError(
                f"judge.annotator={self.annotator}: alpaca-eval has no such annotator; "
                f"nearest: {', '.join(near)}"
            )
        if not os.environ.get(self.key_variable):
            raise ValueError(
                f"judge.annotator={self.annotator} asks an API and needs {self.key_variable} in "
                "the environment; set it, or choose judge=reference_rule, which needs no network "
                "(and measures no quality)"
            )

    def arguments(self, folder: Path) -> dict[str, Any]:
        """The packaged configuration by its name; replies are kept, for they cost money."""
        return {
            "annotators_config": self.annotator,
            "caching_path": str((folder / "annotations.json").resolve()),
        }


def _compare(prompts: Sequence[str], **_: Any) -> dict[str, list[Any]]:
    """alpaca-eval's completion function: preferences in [1, 1.5], 1.5 a tie, 2 never."""
    preferences = []
    for prompt in prompts:
        reference, _, answer = prompt.partition(SEPARATOR)
        preferences.append(1 + 0.5 * token_f1(answer, reference))
    return {
        "completions": preferences,
        "completions_all": preferences,
        "price_per_example": [0.0] * len(prompts),
        "time_per_example": [0.0] * len(prompts),
    }
