"""Per-item results on disk: our own lines, and lm-eval's files beside them."""

from __future__ import annotations

import gzip
import hashlib
import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evaluation.base import Item
from harness.versions import git_commit, package_versions


def write_items(
    path: Path,
    items: Sequence[Item],
    prompt_hashes: Sequence[str],
    outputs: Sequence[Sequence[str]],
    values: Sequence[float],
    details: Sequence[dict[str, Any]] = (),
) -> None:
    """Write one JSON line per item: item_id, subject, prompt_hash, outputs, target, score.

    ``cluster`` stands behind ``subject`` where items share more than that (SQuAD's article).

    ``score`` is null where a value is NaN: there was no verdict. ``details``, if there are any,
    add what a benchmark has to say beyond that. The file is packed without a time stamp, so equal
    results give equal bytes.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [
        json.dumps(
            {
                "item_id": item.id,
                "subject": item.group,
                **({"cluster": item.cluster} if item.cluster else {}),
                "prompt_hash": prompt_hash,
                "outputs": list(texts),
                "target": item.target,
                "score": value if value == value else None,  # NaN: no verdict
                **more,
            },
            ensure_ascii=False,
        )
        for item, prompt_hash, texts, value, more in zip(
            items, prompt_hashes, outputs, values, details or [{}] * len(items), strict=True
        )
    ]
    _replace(path, gzip.compress(_encoded(lines), mtime=0))


def write_lm_eval(
    folder: Path, raw: dict[str, Any], run: dict[str, Any], suffix: str
) -> list[Path]:
    """Write what ``lm_eval.evaluate`` gave, in the layout of its own command line.

    ``results_<suffix>.json`` and ``samples_<task>_<suffix>.jsonl``, as lm-eval's EvaluationTracker
    writes them, but for the suffix: there it is the time, here what the files follow from.

    Args:
        folder: gets the files.
        raw: the return value, with its samples.
        run: what lm-eval says of model, template and settings beside the results.
        suffix: ends the files' names; no underscore, by which readers split them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    samples = raw["samples"]
    hashes = {
        task: _sha256("".join(s["doc_hash"] + s["prompt_hash"] + s["target_hash"] for s in rows))
        for task, rows in samples.items()
    }
    results = {name: value for name, value in raw.items() if name != "samples"}
    results |= {**run, "task_hashes": hashes}
    text = json.dumps(results, indent=2, default=_plain, ensure_ascii=False)
    paths = [folder / f"results_{suffix}.json"]
    _replace(paths[0], _encoded([text])[:-1])
    for task, rows in samples.items():
        paths.append(folder / f"samples_{task}_{suffix}.jsonl")
        lines = [json.dumps(_sample(s), default=_plain, ensure_ascii=False) for s in rows]
        _replace(paths[-1], _encoded(lines))
    return paths


def run_facts(
    lm: Any, model: Any, *, settings: dict[str, Any], seed: int, seconds: float, began: float
) -> dict[str, Any]:
    """What lm-eval's results say of the run: model, settings, versions, tokenizer, template.

    Args:
        lm, model: the model as ``evaluation.lm.ChatLM``, and as it is.
        settings: batch_size and limit.
        seed: of sampled answers.
        seconds, began: the duration of the evaluation, and its start in seconds since 1970.
    """
    import lm_eval.defaults as defaults

    tokenizer = lm.tokenizer
    versions = package_versions()
    name = Path(str(getattr(model.config, "_name_or_path", "") or "model")).name
    template = str(tokenizer.chat_template)
    return {
        "config": {
            "model": type(lm).__name__,
            "model_args": {"pretrained": name},
            "model_num_parameters": model.num_parameters(),
            "model_dtype": str(model.dtype),
            "batch_size": settings["batch_size"],
            "batch_sizes": [],
            "device": str(model.device),
            "use_cache": None,
            "limit": settings["limit"],
            "bootstrap_iters": 100_000,  # as lm-eval has it; means need none
            "gen_kwargs": None,
            "random_seed": seed,
            "numpy_seed": None,
            "torch_seed": None,
            "fewshot_seed": defaults.DEFAULT_OTHER_SEED,
        },
        "git_hash": git_commit(),
        "date": began,
        "pretty_env_info": ", ".join(f"{name} {value}" for name, value in versions.items()),
        "transformers_version": versions.get("transformers"),
        "lm_eval_version": versions.get("lm_eval"),
        "upper_git_hash": None,
        "tokenizer_pad_token": [tokenizer.pad_token, str(tokenizer.pad_token_id)],
        "tokenizer_eos_token": [tokenizer.eos_token, str(tokenizer.eos_token_id)],
        "tokenizer_bos_token": [tokenizer.bos_token, str(tokenizer.bos_token_id)],
        "eot_token_id": tokenizer.eos_token_id,
        "max_length": lm.max_length,
        "model_source": "winnow",
        "model_name": name,
        "model_name_sanitized": name,
        "system_instruction": None,
        "system_instruction_sha": None,
        "fewshot_as_multiturn": None,  # each task's own: see its configuration
        "chat_template": template,
        "chat_template_sha": _sha256(template),
        "total_evaluation_time_seconds": str(seconds),
    }


def _sample(sample: dict[str, Any]) -> dict[str, Any]:
    """A sample as lm-eval writes it: arguments by name, answers and target as text."""
    arguments = {
        f"gen_args_{i}": {f"arg_{j}": part for j, part in enumerate(argument)}
        for i, argument in enumerate(sample["arguments"])
    }
    unscored = {
        name: None for name in sample["metrics"] if math.isnan(sample[name])
    }  # JSON has no NaN
    return {
        **sample,
        **unscored,
        "target": str(sample["target"]),
        "arguments": arguments,
        "resps": _texts(sample["resps"]),
        "filtered_resps": _texts(sample["filtered_resps"]),
    }


def _texts(value: Any) -> Any:
    return [_texts(part) for part in value] if isinstance(value, list | tuple) else str(value)


def _plain(value: Any) -> Any:
    """Numpy's numbers as Python's; anything else that JSON has no word for as text."""
    item = getattr(value, "item", None)
    if item is not None and getattr(value, "ndim", None) == 0:
        return item()
    return sorted(value) if isinstance(value, set) else str(value)


def prompt_hash(prompt: str) -> str:
    """First 16 hex digits of a rendered prompt's sha256."""
    return _sha256(prompt)[:16]


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()


def _encoded(lines: Sequence[str]) -> bytes:
    # Lone surrogates, which a byte-level model can write, have no UTF-8 form.
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "backslashreplace")


def _replace(path: Path, data: bytes) -> None:
    part = path.with_name(f"{path.name}.part")
    part.write_bytes(data)
    os.replace(part, path)
