"""An architecture by the fields of its config.json, without transformers until one is built."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PretrainedConfig


@dataclass(frozen=True)
class Shape:
    """Stands for a ``PretrainedConfig`` where only sizes are asked for.

    Attributes:
        fields: as in config.json, ``model_type`` among them.
    """

    fields: Mapping[str, Any]

    @property
    def hidden_size(self) -> int:
        """Width of the hidden states."""
        return int(self.fields.get("hidden_size") or self.fields["d_model"])

    @property
    def max_position_embeddings(self) -> int:
        """Tokens that the model has positions for."""
        return int(self.fields["max_position_embeddings"])

    def get_text_config(self) -> Shape:
        """Itself; transformers tells text apart from images."""
        return self

    def load(self) -> PretrainedConfig:
        """The configuration that transformers makes of the fields."""
        from transformers import AutoConfig

        fields = {key: copy.deepcopy(self.fields[key]) for key in self.fields}
        config: PretrainedConfig = AutoConfig.for_model(fields.pop("model_type"), **fields)
        return config


def private(config: PretrainedConfig | Shape) -> PretrainedConfig:
    """A configuration of one's own: transformers writes into those that it is given."""
    return config.load() if isinstance(config, Shape) else copy.deepcopy(config)
