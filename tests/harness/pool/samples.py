"""A few records of every source, written by hand in the format of its public files.

``write_hub(folder)`` lays them out as the hub does: ``folder/owner/name/file``.
"""

from __future__ import annotations

import csv
import gzip
import json
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from harness.micro_data import model_folder

FLAN = [
    {"inputs": "Is 3 odd?", "targets": "yes"},
    {"inputs": "Q: 2 + 2\nA:", "targets": "4"},
    {"inputs": "Is 3 odd?\n", "targets": " yes "},  # the first again, but for blanks
]
COT_ZERO = [{"inputs": "Think. 1 + 1?", "targets": "1 and 1 make 2."}]
COT_FEW = [{"inputs": "Q: 0?\nA: 0\nQ: 5?\nA:", "targets": "5"}]


def _reply(role: str, text: str, *replies: Any, **more: Any) -> dict[str, Any]:
    labels = {"quality": {"value": more.pop("quality"), "count": 3}} if "quality" in more else {}
    return {"message_id": text, "role": role, "text": text, "deleted": False, "labels": labels,
            "replies": list(replies), **more}  # fmt: skip


TREES = [
    {
        "message_tree_id": "t1",
        "tree_state": "ready_for_export",
        "prompt": _reply(
            "prompter",
            "Hello?",
            _reply("assistant", "Meh.", quality=0.2),
            _reply(
                "assistant",
                "Hello!",
                _reply("prompter", "Thanks", _reply("assistant", "Welcome.", quality=0.1)),
                quality=0.9,
            ),
            _reply("assistant", "Best, but deleted", quality=1.0, deleted=True),
            _reply("assistant", "Unlabelled"),
        ),
    },
    {  # the best path ends with a user's turn
        "message_tree_id": "t2",
        "prompt": _reply(
            "prompter", "Why?", _reply("assistant", "So.", _reply("prompter", "Really?"))
        ),
    },
]
DOLLY = [
    {"instruction": "Name a colour.", "context": "", "response": "Blue", "category": "open_qa"},
    {"instruction": "Who?", "context": "Ann ran.", "response": "Ann", "category": "closed_qa"},
]
ALPACA = [
    {"instruction": "Add.", "input": "1 2", "output": "3"},
    {"instruction": "Say hi.", "input": "", "output": "hi"},
]
CODE = [
    {"instruction": "Loop.", "input": "n", "output": "for"},
    {"instruction": "Import.", "input": "", "output": "import"},
]
SHAREGPT = [
    {
        "id": "abc",
        "conversations": [
            {"from": "human", "value": "one"},
            {"from": "gpt", "value": "two"},
            {"from": "human", "value": "nobody answers"},
        ],
    },
    {
        "id": "sys",
        "conversations": [{"from": "system", "value": "x"}, {"from": "gpt", "value": "y"}],
    },
    {
        "id": "gpt",
        "conversations": [{"from": "gpt", "value": "x"}, {"from": "human", "value": "y"}],
    },
    {"id": "none", "conversations": []},
]
LIMA = [
    {"conversations": ["Ask", "Answer"], "source": "stackexchange"},
    {"conversations": ["a", "b", "c", "d", "left over"], "source": "multi_turn"},
]
WIZARD = [
    {
        "idx": "k1",
        "conversations": [{"from": "human", "value": "Evolve"}, {"from": "gpt", "value": "Done"}],
    }
]
ORCA = [
    {"id": "niv.1", "system_prompt": "", "question": "1?", "response": "one"},
    {"id": "t0.2", "system_prompt": "Be brief.", "question": "2?", "response": "two"},
]
SCIENCE = [{"input": "Abstract: none.", "output": "none", "dataset": "science.qa"}]
HARD_CODED = [("Prompt", "Output"), ("Who are you?", "A model."), ("Who made you?", "People.")]


def _said(*texts: str) -> list[dict[str, str]]:
    return [{"role": ("user", "assistant")[i % 2], "content": t} for i, t in enumerate(texts)]


MIXTURE = [
    {"id": f"{source}{i}", "source": source, "messages": _said(f"{source} {i % 3}?", "yes")}
    for source in (
        "ai2-adapt-dev/tulu_hard_coded_repeated_10",
        "ai2-adapt-dev/oasst1_converted",
        "ai2-adapt-dev/no_robots_converted",
        "ai2-adapt-dev/personahub_math_v5_regen_149960",
        "allenai/tulu-3-sft-personas-math-grade",
        "ai2-adapt-dev/numinamath_tir_math_decontaminated",
        "ai2-adapt-dev/personahub_code_v2_34999",
        "ai2-adapt-dev/evol_codealpaca_heval_decontaminated",
        "ai2-adapt-dev/coconot_converted",
        "ai2-adapt-dev/personahub_ifdata_manual_seed_v3_29980",
        "ai2-adapt-dev/tulu_v3.9_aya_100k",
    )
    for i in range(4)
]
WILDCHAT = [
    {
        "conversation_hash": str(i),
        "model": model,
        "conversation": [{**turn, "language": "English", "toxic": False} for turn in _said("q", a)],
        "language": "English",
    }
    for i, (model, a) in enumerate([("gpt-4-0314", "four"), ("gpt-3.5-turbo-0301", "three")])
]
SCIRIFF = [
    {"dataset": "science.qasper", "id": "s1", "messages": _said("Paper?", "Yes.")},
    {"dataset": "flan_v2", "id": "f1", "messages": _said("FLAN?", "Yes.")},
]
TABLE = [{"task": "TQA", "dataset": "d", "prompt": "|a|", "completion": "a", "metadata": "{}"}]
PERSONA = [{"id": "p1", "prompt": "x?", "messages": _said("x?", "1")}]
OPEN_MATH = [
    {"problem": f"{source}?", "generated_solution": "1", "expected_answer": "1",
     "problem_source": source}
    for source in ("gsm8k", "augmented_gsm8k", "math", "augmented_math")
]  # fmt: skip
JAILBREAK = [
    {"vanilla": "plain", "adversarial": "", "tactics": "", "completion": "no",
     "data_type": "vanilla_harmful"},
    {"vanilla": "plain", "adversarial": 'with a "quote"\nand a line', "tactics": "['x']",
     "completion": "no\nreally", "data_type": "adversarial_harmful"},
]  # fmt: skip
WILDGUARD = [
    {"prompt": "bad?", "adversarial": False, "response": "no", "subcategory": "x"},
    {"prompt": "only a prompt", "adversarial": False, "response": None, "subcategory": "x"},
]
AYA = [{"inputs": "Habari?", "targets": "Nzuri", "language": "Swahili", "user_id": "u"}]


def write_hub(root: Path) -> Path:
    """All samples below ``root``; returns it."""
    store, orca = "hamishivi/tulu_mix_store", "Open-Orca/OpenOrca"
    share = "anon8231489123/ShareGPT_Vicuna_unfiltered/HTML_cleaned_raw_dataset/sg_90k_part"
    files: dict[str, Any] = {
        f"{store}/flanv2-1M-v2.jsonl": FLAN,
        f"{store}/cot_zsopt.jsonl": COT_ZERO,
        f"{store}/cot_fsopt.jsonl": COT_FEW,
        f"{store}/science_train.jsonl": SCIENCE,
        f"{store}/hard_coded_examples.xlsx": HARD_CODED,
        "OpenAssistant/oasst1/2023-04-12_oasst_ready.trees.jsonl.gz": TREES,
        "databricks/databricks-dolly-15k/databricks-dolly-15k.jsonl": DOLLY,
        "Instruction-Tuning-with-GPT-4/GPT-4-LLM/alpaca_gpt4_data.json": ALPACA,
        "sahil280114/codealpaca/code_alpaca_20k.json": CODE,
        f"{share}1_html_cleaned.json": SHAREGPT[:2],
        f"{share}2_html_cleaned.json": SHAREGPT[2:],
        "GAIR/lima/train.jsonl": LIMA,
        "WizardLM/WizardLM_evol_instruct_V2_196k/WizardLM_evol_instruct_V2_143k.json": WIZARD,
        f"{orca}/1M-GPT4-Augmented.parquet": ORCA[:1],
        f"{orca}/3_5M-GPT3_5-Augmented.parquet": ORCA[1:],
        "allenai/tulu-3-sft-mixture/data/train-00000-of-00002.parquet": MIXTURE[:20],
        "allenai/tulu-3-sft-mixture/data/train-00001-of-00002.parquet": MIXTURE[20:],
        "allenai/WildChat-1M-Full/data/train-00000-of-00001.parquet": WILDCHAT,
        "allenai/SciRIFF-train-mix/data/train-00000-of-00001.parquet": SCIRIFF,
        "LipengCS/Table-GPT/train/train_All.jsonl": TABLE,
        "allenai/tulu-3-sft-personas-algebra/data/train-00000-of-00001.parquet": PERSONA,
        "nvidia/OpenMathInstruct-2/data/train-00000-of-00001.parquet": OPEN_MATH,
        "allenai/wildjailbreak/train/train.tsv": JAILBREAK,
        "allenai/wildguardmix/train/wildguard_train.parquet": WILDGUARD,
        "CohereForAI/aya_dataset/data/train-00000-of-00001.parquet": AYA,
    }
    for name, content in files.items():
        write(root / name, content)
    # A tokenizer for ShareGPT: the embedded model's stands for Llama's.
    tokenizer = root / "oobabooga" / "llama-tokenizer"
    tokenizer.mkdir(parents=True)
    for path in model_folder().glob("*token*"):
        (tokenizer / path.name).write_bytes(path.read_bytes())
    return root


def write(path: Path, content: list[Any]) -> None:
    """Records in the format of the file's ending."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(record) + "\n" for record in content)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(lines.encode()))
    elif path.suffix == ".jsonl":
        path.write_text(lines, encoding="utf-8")
    elif path.suffix == ".json":
        path.write_text(json.dumps(content, indent=1), encoding="utf-8")
    elif path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(content), path)
    elif path.suffix == ".tsv":
        with path.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, list(content[0]), delimiter="\t")
            writer.writeheader()
            writer.writerows(content)
    else:
        _write_sheet(path, content)


def _write_sheet(path: Path, content: list[tuple[str, str]]) -> None:
    """An Excel file as Excel writes it: the texts in a table of their own."""
    space = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
    texts = [cell for row in content for cell in row]
    strings = "".join(f"<si><t>{text}</t></si>" for text in texts)
    rows = "".join(
        f'<row r="{r + 1}">'
        + "".join(
            f'<c r="{"AB"[c]}{r + 1}" t="s"><v>{r * 2 + c}</v></c>' for c in range(len(content[r]))
        )
        + "</row>"
        for r in range(len(content))
    )
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("xl/sharedStrings.xml", f"<sst {space}>{strings}</sst>")
        archive.writestr(
            "xl/worksheets/sheet1.xml",
            f"<worksheet {space}><sheetData>{rows}</sheetData></worksheet>",
        )
