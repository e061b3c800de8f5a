"""The model: where its weights come from, what names it, and how it is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import field_validator

from harness.chat import Chat, check_template
from harness.component import Component
from harness.files import files_digest
from harness.hub import checkpoint_folder

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

_NEEDED = (".safetensors", ".json", ".jinja", ".model", ".txt")


class ModelConfig(Component):
    """A causal language model, by folder or hub id.

    Attributes:
        name: the word for it in records and tables.
        path: a folder with config.json, safetensors weights and a tokenizer; or a hub id.
        revision: commit, tag or branch on the hub; a commit makes runs repeatable.
        chat_template: None (the tokenizer's own, else Tulu's), ``tulu``, or a Jinja template.
        dtype: of the weights when the model only reads (encoding, evaluation).
        attention: transformers' ``attn_implementation``.
        device: ``auto`` takes CUDA if it is there.
        trust_remote_code: run Python that the checkpoint brings. Off unless you trust its author.
    """

    name: str
    path: str
    revision: str | None = None
    chat_template: str | None = None
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    attention: Literal["sdpa", "eager", "flash_attention_2"] = "sdpa"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    trust_remote_code: bool = False

    @field_validator("chat_template")
    @classmethod
    def _is_template(cls, value: str | None) -> str | None:
        check_template(value)
        return value

    def folder(self) -> Path:
        """The local folder of the checkpoint: ``path`` itself or the hub's snapshot.

        Raises:
            ModelError: it is neither here nor to be had.
        """
        return checkpoint_folder(
            "model.path",
            self.path,
            marker="config.json",
            revision=self.revision,
            patterns=[f"*{ending}" for ending in _NEEDED],
        )

    def digest(self) -> str:
        """Names the weights and the tokenizer by their bytes."""
        folder = self.folder()
        files = {
            path.name: path
            for path in sorted(folder.iterdir())
            if path.is_file() and path.suffix in _NEEDED and path.name != "pretraining.json"
        }
        return files_digest(files)

    def content_identity(self) -> dict[str, Any]:
        """What decides the model's outputs, whatever it is called and wherever it lies."""
        return {
            "digest": self.digest(),
            "chat_template": self.chat_template,
            "dtype": self.dtype,
            "attention": self.attention,
        }

    def load(self, *, dtype: str | None = None, folder: Path | None = None) -> PreTrainedModel:
        """The causal LM in evaluation mode on its device; ``folder`` gives other weights."""
        import torch
        from transformers import AutoModelForCausalLM
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()  # a bar a cell says nothing
        model: Any = AutoModelForCausalLM.from_pretrained(
            str(folder or self.folder()),
            dtype=getattr(torch, dtype or self.dtype),
            attn_implementation=self.attention,
            trust_remote_code=self.trust_remote_code,
        )
        return model.eval().to(self.torch_device())

    def load_config(self) -> PretrainedConfig:
        """The architecture, without weights."""
        from transformers import AutoConfig

        return AutoConfig.from_pretrained(
            str(self.folder()), trust_remote_code=self.trust_remote_code
        )

    def load_chat(self) -> Chat:
        """The tokenizer with its chat template; a missing pad token becomes the end token."""
        from transformers import AutoTokenizer

        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            str(self.folder()), trust_remote_code=self.trust_remote_code
        )
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        return Chat(tokenizer, self.chat_template)

    def torch_device(self) -> str:
        """The device as torch names it."""
        import torch

        if self.device != "auto":
            return self.device
        return "cuda" if torch.cuda.is_available() else "cpu"
