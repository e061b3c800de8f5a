"""The forms in which public sources come; one file a family."""

from typing import Annotated

from pydantic import Field

from harness.pool.sources.base import Folders, Form
from harness.pool.sources.instruction import Instruction
from harness.pool.sources.pairs import Flan, Pairs
from harness.pool.sources.sharegpt import ShareGPT
from harness.pool.sources.trees import Trees
from harness.pool.sources.turns import Alternating, Turns

AnyForm = Annotated[
    Pairs | Flan | Instruction | Turns | Alternating | ShareGPT | Trees,
    Field(discriminator="form"),
]

__all__ = ["AnyForm", "Folders", "Form"]
