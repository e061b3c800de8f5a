"""What a configuration names by ``_target_``: frozen, typed choices with an identity.

A component's fields are its schema: unknown keys and illegal values are refused when it is
built, with every problem in one error, and before anything heavy is imported (so a component's
module imports torch and the like inside its functions, never at the top).
"""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict


class Component(BaseModel):
    """Base of methods, suites, benchmarks, judges and recipes.

    ``version`` is part of the identity: raise it when the same fields start to mean another result.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    version: ClassVar[int] = 1

    def identity(self) -> dict[str, Any]:
        """Everything that decides this component's result, as plain JSON data."""
        cls = type(self)
        return {
            "class": f"{cls.__module__}.{cls.__qualname__}",
            "version": cls.version,
            **self.model_dump(mode="json"),
        }
