"""Sentence embedders: any sentence-transformers model, by folder or hub id (paper A.7).

Texts are put into batches by falling length under a token budget; masks keep padding out, so the
embedding of a text does not depend on its batch. FLOPs are those of the transformer and its dense
layers at the real token lengths.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from harness.chat import Message
from harness.component import Component
from harness.encoder import batches
from harness.files import files_digest
from harness.hub import checkpoint_folder

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from harness.flops import ModelFlops

VERSION = 1  # of the numbers: raise it when the same model and texts give others
_NEEDED = (".safetensors", ".json", ".jinja", ".model", ".txt", ".bin", ".py")


class Embedder(Component):
    """A sentence-transformers model.

    Attributes:
        path: a folder with modules.json; or a hub id.
        revision: commit, tag or branch on the hub.
        max_length: tokens of a text that count; 0 is the model's own limit.
        dtype: of the weights. Embeddings are normalised in float32 whatever it is.
        append_eos: end every text with the tokenizer's end token.
        trust_remote_code: run Python that the checkpoint brings.
        max_tokens: padded tokens in one batch.
    """

    path: str
    revision: str | None = None
    max_length: int = 0
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    append_eos: bool = False
    trust_remote_code: bool = False
    max_tokens: int = 2048

    def folder(self) -> Path:
        """The local folder: ``path`` itself or the hub's snapshot.

        Raises:
            ModelError: it is neither here nor to be had.
        """
        return checkpoint_folder(
            "method.model",
            self.path,
            marker="modules.json",
            revision=self.revision,
            patterns=[
                *(f"*{ending}" for ending in _NEEDED if ending != ".bin"),
                "*/pytorch_model.bin",  # dense layers of older models
            ],
            ignore=["onnx/*", "openvino/*"],
        )

    def content_identity(self) -> dict[str, Any]:
        """What decides an embedding, whatever the model is called and wherever it lies."""
        folder = self.folder()
        files = {
            str(path.relative_to(folder)): path
            for path in sorted(folder.rglob("*"))
            if path.is_file()
            and path.suffix in _NEEDED
            and path.parts[-2] not in ("onnx", "openvino")
        }
        settings = self.model_dump(include={"max_length", "dtype", "append_eos"})
        return {"version": VERSION, "digest": files_digest(files), **settings}

    def load(self) -> LoadedEmbedder:
        """An embedder whose weights are read when the first text has to be embedded."""
        return LoadedEmbedder(self)


class LoadedEmbedder:
    """``Embedder`` at work."""

    def __init__(self, config: Embedder) -> None:
        self.config = config

    @cached_property
    def model(self) -> SentenceTransformer:
        """The weights."""
        import torch
        from sentence_transformers import SentenceTransformer
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()
        model = SentenceTransformer(
            str(self.config.folder()),
            trust_remote_code=self.config.trust_remote_code,
            model_kwargs={"dtype": getattr(torch, self.config.dtype)},
        ).eval()
        model.to(getattr(torch, self.config.dtype))  # dense layers too
        if self.config.max_length:
            model.max_seq_length = self.config.max_length
        return model

    @cached_property
    def flops(self) -> ModelFlops:
        """FLOP counts, read from the configuration alone."""
        from transformers import AutoConfig

        from harness.flops import encoder_flops

        folder, trust = self.config.folder(), self.config.trust_remote_code
        config = AutoConfig.from_pretrained(str(folder), trust_remote_code=trust)
        return encoder_flops(config, dense=_dense(folder), trust_remote_code=trust)

    def embed(
        self,
        texts: Sequence[str],
        *,
        prefix: str = "",
        on_batch: Callable[[int, int], None] = lambda rows, tokens: None,
    ) -> dict[str, np.ndarray]:
        """``embeddings``, float16 [texts, width], normalised, and ``lengths``, int32 [texts].

        Args:
            prefix: an instruction before every text; models that leave it out of their pooling
                do so here.
            on_batch: called with the rows and real tokens of each finished batch.
        """
        model, prompt = self.model, prefix or None
        if self.config.append_eos:
            texts = [f"{text}{model.tokenizer.eos_token}" for text in texts]
        lengths = self._lengths(texts, prompt)
        found: np.ndarray | None = None
        for positions in batches(lengths, self.config.max_tokens, packed=False):
            values = model.encode(
                [texts[i] for i in positions],
                prompt=prompt,
                batch_size=len(positions),
                show_progress_bar=False,
                convert_to_tensor=True,
            )
            values = values.float()
            values = values / values.norm(dim=-1, keepdim=True).clamp_min(1e-12)
            if found is None:
                found = np.empty((len(texts), values.shape[1]), dtype=np.float16)
            found[positions] = values.cpu().numpy().astype(np.float16)
            on_batch(len(positions), int(lengths[positions].sum()))
        assert found is not None, "no texts to embed"
        return {"embeddings": found, "lengths": lengths}

    def _lengths(self, texts: Sequence[str], prompt: str | None) -> np.ndarray:
        """int32 [texts]: the tokens that go through the model."""
        lengths: list[int] = []
        for start in range(0, len(texts), 64):
            batch = self.model.preprocess(list(texts[start : start + 64]), prompt=prompt)
            lengths += batch["attention_mask"].sum(1).tolist()
        return np.array(lengths, dtype=np.int32)

    def timed(self, texts: Sequence[str], *, prefix: str) -> tuple[dict[str, np.ndarray], float]:
        """``embed`` and the seconds it took."""
        self.model  # noqa: B018  (loading is no part of the pass)
        start = time.perf_counter()
        return self.embed(texts, prefix=prefix), time.perf_counter() - start


def chat_text(messages: Sequence[Message]) -> str:
    """A conversation as embedders see it (paper A.7): Tulu's layout without special tokens.

    All turns, each behind its role marker; no strings that stand for begin and end of a sequence,
    no opened assistant turn at the end.
    """
    return "\n".join(
        f"<|{message['role']}|>\n{message['content'].strip()}" for message in messages
    ).strip()


def _dense(folder: Path) -> list[tuple[int, int]]:
    """Inputs and outputs of the model's dense layers."""
    import json

    found = []
    for module in json.loads((folder / "modules.json").read_text(encoding="utf-8")):
        if module["type"].rpartition(".")[2] == "Dense":
            path = folder / module["path"] / "config.json"
            config = json.loads(path.read_text(encoding="utf-8"))
            found.append((int(config["in_features"]), int(config["out_features"])))
    return found
