"""Judges that are asked over OpenAI's chat interface, alpaca-eval's own among them.

alpaca-eval keeps what it does well: its annotators' prompts and parameters, the seeded swap of the
two answers, the parsers of replies, the win rate. The asking itself is ours (``asking``), for
alpaca-eval's knows neither ``Retry-After`` nor a limit of spending, aborts on any error but a rate
limit, and its cache forgets which model at which endpoint gave a verdict.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
from abc import abstractmethod
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from evaluation.judges import Judge, write_annotator
from evaluation.judges.asking import Asking, reader
from evaluation.judges.spend import Price

OPENAI = "https://api.openai.com/v1"
_OF_ASKING = (
    "key_variable", "cache", "max_spend", "price_prompt", "price_reply", "concurrency", "attempts",
    "timeout", "max_wait",
)  # fmt: skip


class ApiJudge(Judge):
    """Asks an endpoint. Subclasses say which annotator of alpaca-eval, which URL and which model.

    Fields:
        cache: folder of kept replies, shared by all runs; null keeps none.
        max_spend: US dollars that one evaluation may cost, by the estimate before the first
            question and by the endpoint's own count after each; null: no limit.
        price_prompt, price_reply: US dollars per million tokens.
        concurrency, attempts, timeout, max_wait: how it is asked, see ``client.Endpoint``.
    """

    cache: str | None = None
    max_spend: float | None = Field(None, ge=0)
    price_prompt: float | None = Field(None, ge=0)
    price_reply: float | None = Field(None, ge=0)
    concurrency: int = Field(4, ge=1, le=64)
    attempts: int = Field(8, ge=1)
    timeout: float = Field(120, gt=0)
    max_wait: float = Field(120, ge=0)

    @abstractmethod
    def endpoint_url(self) -> str:
        """The base of the interface that is asked."""

    @abstractmethod
    def annotator_name(self) -> str:
        """A folder of alpaca-eval's ``evaluators_configs``."""

    def key(self) -> str | None:
        """The key to send."""
        return None

    def parameters(self, packaged: dict[str, Any]) -> dict[str, Any]:
        """The request's parameters, from the annotator's."""
        return packaged

    def reply(self, choice: dict[str, Any]) -> dict[str, Any]:
        """A choice of a reply as the annotator's parser wants it."""
        return choice

    def check(self) -> None:
        """The annotator exists and can be asked; a limit of spending has prices."""
        self._annotator()
        if self.max_spend is not None and self.price() is None:
            raise ValueError(
                "judge.max_spend needs judge.price_prompt and judge.price_reply, US dollars per "
                "million tokens; give them (0 for a model of your own), or max_spend=null"
            )

    def identity(self) -> dict[str, Any]:
        """What decides verdicts: endpoint, annotator, its parameters, the prompt; no key."""
        plain = {k: v for k, v in super().identity().items() if k not in _OF_ASKING}
        settings, template = self._annotator()
        return {
            **plain,
            "base_url": self.endpoint_url(),
            "annotator": self.annotator_name(),
            "parameters": self.parameters(dict(settings["completions_kwargs"])),
            "prompt": hashlib.sha256(template.encode()).hexdigest()[:16],
        }

    def arguments(self, folder: Path) -> dict[str, Any]:
        """alpaca-eval's annotator with the asking replaced."""
        settings, template = self._annotator()
        settings["completions_kwargs"] = self.parameters(dict(settings["completions_kwargs"]))
        settings.pop("fn_completions")
        notes: dict[str, Any] = {}
        parser = reader(settings.pop("fn_completion_parser"), notes)
        return {
            "annotators_config": write_annotator(folder, self.annotator_name(), settings, template),
            "fn_completions": Asking(self, notes),
            "fn_completion_parser": parser,
            "notes": notes,
        }

    def price(self) -> Price | None:
        """What tokens cost; None if a price is not given."""
        if self.price_prompt is None or self.price_reply is None:
            return None
        return Price(self.price_prompt, self.price_reply)

    def _annotator(self) -> tuple[dict[str, Any], str]:
        """The annotator's settings and its prompt."""
        import yaml

        name = self.annotator_name()
        folder = annotators()
        path = folder / name / "configs.yaml"
        if not path.is_file():
            import difflib

            known = sorted(path.parent.name for path in folder.glob("*/configs.yaml"))
            near = difflib.get_close_matches(name, known) or known
            raise ValueError(
                f"judge.annotator={name}: alpaca-eval has no such annotator; "
                f"nearest: {', '.join(near)}"
            )
        settings = next(iter(yaml.safe_load(path.read_text(encoding="utf-8")).values()))
        template = (folder / str(settings["prompt_template"])).read_text(encoding="utf-8")
        asks = settings.get("fn_completions")
        if asks != "openai_completions" or not template.lstrip().startswith("<|im_start|>"):
            raise ValueError(
                f"judge.annotator={name} is no annotator of OpenAI's chat interface (it asks by "
                f"{asks}); take one that is, such as alpaca_eval_gpt4"
            )
        return settings, template


class AlpacaEvalJudge(ApiJudge):
    """A judge that comes with alpaca-eval: ``annotator`` names it.

    Needs ``key_variable`` in the environment. ``base_url`` null is ``OPENAI_BASE_URL`` where that
    is set, and OpenAI's else.
    """

    name: ClassVar[str] = "alpaca_eval"

    annotator: str = "alpaca_eval_gpt4"
    key_variable: str = Field("OPENAI_API_KEY", description="environment variable with the key")
    base_url: str | None = None

    def check(self) -> None:
        """The annotator exists and a key is set."""
        super().check()
        if not os.environ.get(self.key_variable):
            raise ValueError(
                f"judge.annotator={self.annotator} asks an API and needs {self.key_variable} in "
                "the environment; set it, or choose judge=local with an endpoint of your own, or "
                "judge=reference_rule, which needs no network (and measures no quality)"
            )

    def endpoint_url(self) -> str:
        """``base_url``, or the environment's, or OpenAI's."""
        return self.base_url or os.environ.get("OPENAI_BASE_URL") or OPENAI

    def annotator_name(self) -> str:
        """``annotator``."""
        return self.annotator

    def key(self) -> str | None:
        """The key from the environment."""
        return os.environ.get(self.key_variable)


def annotators() -> Path:
    """alpaca-eval's folder of annotators; found without importing it."""
    package = importlib.util.find_spec("alpaca_eval")
    if package is None or not package.origin:
        raise ValueError("judge: the package alpaca-eval is not installed")
    return Path(package.origin).parent / "evaluators_configs"
