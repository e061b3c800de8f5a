"""The plan as tables in the terminal, and as JSON."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from harness.plan.hardware import Hardware
from harness.plan.lengths import Profile
from harness.plan.sweep import RunPlan, SweepPlan
from harness.ranges import size
from harness.record import SELECTION_STAGES

COUNTED = (*SELECTION_STAGES, "train")  # evaluation is no part of a method's cost
STAGES = (*COUNTED, "evaluate")
WIDTH = 100  # columns, where the output is no terminal
_MANY = 40  # rows of the table, beyond which targets are averaged as seeds are


def as_json(
    sweep: SweepPlan,
    profile: Profile,
    hardware: dict[str, Hardware],
    utilisation: float,
    seconds: float,
) -> dict[str, Any]:
    """The whole plan as plain data; FLOPs, bytes, hours."""
    full = {stage: sum(run.flops(stage) for run in sweep.runs) for stage in STAGES}
    spent = {stage: sweep.spent.get(stage, 0.0) for stage in STAGES}
    total = sum(spent.values())
    return {
        "cells": sweep.asked,
        "runs": [
            {
                **run.words,
                "selection_known": run.known,
                "flops": {stage: run.flops(stage) for stage in STAGES},
                "flops_total": run.flops(*COUNTED),
                "flops_paper": run.flops(*COUNTED, paper=True),
                "tokens": sum(work.tokens for work in run.works if work.stage in COUNTED),
            }
            for run in sweep.runs
        ],
        "flops_full_price": full,
        "flops_spent": spent,
        "passes": {"asked": sweep.passes_asked, "done": sweep.passes_done},
        "trainings": {"asked": sweep.trainings_asked, "done": sweep.trainings_done},
        "bytes": {"stored": dict(sweep.stored), "held_while_training": sweep.held},
        "utilisation": utilisation,
        "hours": {
            name: {
                "device": one.name,
                "tflops": one.tflops,
                "source": one.source,
                "sweep": one.hours(total, utilisation),
                "by_stage": {k: one.hours(v, utilisation) for k, v in spent.items()},
            }
            for name, one in hardware.items()
        },
        "profile": {
            "name": profile.name,
            "source": profile.source,
            "mean_tokens": float(profile.sample.column("tokens").mean()),
            "standard_error": profile.error,
        },
        "notes": sweep.notes,
        "seconds": seconds,
    }


def show(
    sweep: SweepPlan, plan: dict[str, Any], hardware: dict[str, Hardware], utilisation: float
) -> None:
    """Print the tables, for 100 columns."""
    console = Console(width=None if Console().is_terminal else WIDTH, highlight=False)
    _runs(console, sweep.runs, next(iter(hardware.values())), utilisation)
    _totals(console, plan, hardware, utilisation)
    passes, trainings, lengths = plan["passes"], plan["trainings"], plan["profile"]
    stored = {k: v for k, v in plan["bytes"]["stored"].items() if v}
    parts = ", ".join(f"{k} {size(v)}" for k, v in stored.items())
    lines = [
        ("runs", f"{len(plan['runs'])} distinct, for {plan['cells']} cells"),
        (
            "passes",
            f"{passes['asked']} over the pool are asked for, {passes['done']} done: "
            f"{passes['asked'] - passes['done']} saved by sharing",
        ),
        ("trainings", f"{trainings['asked']} are asked for, {trainings['done']} done"),
        (
            "disk",
            f"{size(sum(stored.values()))} stay in the store" + f" ({parts})" * bool(parts) + "; "
            f"{size(plan['bytes']['held_while_training'])} more while a model trains (weights and "
            "a checkpoint, fp32)",
        ),
        (
            "lengths",
            f"{lengths['mean_tokens']:.1f} tokens a row (standard error "
            f"{lengths['standard_error']:.1%}), by the profile {lengths['name']}: "
            f"{lengths['source']}",
        ),
        (
            "total*",
            "selection and training; evaluation apart, answers as long as they may be. hours: of "
            f"total*, on one {_short(next(iter(hardware.values())))}. Stages that are nowhere a "
            "hundredth of it have no column",
        ),
        ("paper", "2N a token to infer, 6N to train, 2,048 tokens a row, evaluation free"),
        *(("note", note) for note in plan["notes"]),
        ("planned", f"in {plan['seconds']:.1f} s"),
    ]
    table = Table.grid(padding=(0, 2, 0, 0))
    for line in lines:
        table.add_row(*line)
    console.print(table)


def _runs(console: Console, runs: list[RunPlan], device: Hardware, utilisation: float) -> None:
    """What a run of each kind costs; what is the same in all rows stands in the title."""
    groups = grouped(runs)
    # What is nowhere a hundredth of a run's total stands among the totals alone.
    stages = [
        stage
        for stage in STAGES
        if stage in ("train", "evaluate")
        or any(run.flops(stage) >= 0.01 * run.flops(*COUNTED) > 0 for run in runs)
    ]
    each = {key: {words[key] for words, _ in groups} for key in ("model", "pool", "budget")}
    one = {key: next(iter(values)) for key, values in each.items() if len(values) == 1}
    said = {
        "model": "model {}", "pool": "a pool of {:,} rows", "budget": "a budget of {:,} rows",
    }  # fmt: skip
    title = ", ".join(said[key].format(value) for key, value in one.items())
    several = {key for key in ("target", "seed") if len({run.words[key] for run in runs}) > 1}
    hidden = sorted(several - set(groups[0][0]), reverse=True) if groups else []
    averaged = f" (means over {'s and '.join(hidden)}s)" if hidden else ""
    console.print(f"What a run costs, alone: FLOPs{averaged}{': ' * bool(title)}{title}")
    shown = sorted(several - set(hidden))
    varied = [*(key for key in each if key not in one), *shown]
    table = Table(box=box.SIMPLE, pad_edge=False, padding=0)
    for name in ("method", *varied, "runs", *stages, "total*", "paper", "hours"):
        left = name in ("method", "model", "target")
        table.add_column(name, justify="left" if left else "right", no_wrap=not left)
    for words, members in groups:
        means = {s: sum(run.flops(s) for run in members) / len(members) for s in stages}
        total = sum(means[s] for s in stages if s in COUNTED)
        paper = sum(run.flops(*COUNTED, paper=True) for run in members) / len(members)
        known = all(run.known for run in members)
        table.add_row(
            words["method"],
            *(f"{v:,}" if isinstance(v := words[key], int) else str(v) for key in varied),
            str(len(members)),
            *(_flops(means[s]) if known or s in ("train", "evaluate") else "?" for s in stages),
            *(
                [_flops(total), _flops(paper), _hours(device.hours(total, utilisation))]
                if known
                else ["?"] * 3
            ),
        )
    console.print(table)


def grouped(runs: list[RunPlan]) -> list[tuple[dict[str, Any], list[RunPlan]]]:
    """Runs as rows of the table: seeds together, which cost the same; if many, targets too."""
    keys = ("method", "model", "pool", "budget", "target")
    for wanted in (keys, keys[:-1]):
        found: dict[tuple[Any, ...], list[RunPlan]] = defaultdict(list)
        for run in runs:
            found[tuple(run.words[key] for key in wanted)].append(run)
        if len(found) <= _MANY:
            break
    return [(dict(zip(wanted, key, strict=True)), members) for key, members in found.items()]


def _totals(
    console: Console, plan: dict[str, Any], hardware: dict[str, Hardware], utilisation: float
) -> None:
    console.print(
        f"What the sweep costs: FLOPs, and hours of one device at {utilisation:.0%} of its peak"
    )
    table = Table(box=box.SIMPLE, pad_edge=False)
    for name in ("stage", "unshared", "spent"):
        table.add_column(name, justify="left" if name == "stage" else "right")
    for one in hardware.values():
        table.add_column(f"{_short(one)} h", justify="right")
    full, spent = plan["flops_full_price"], plan["flops_spent"]
    rows = [(stage, full[stage], spent[stage]) for stage in STAGES]
    for stage, price, paid in [*rows, ("all", sum(full.values()), sum(spent.values()))]:
        hours = [_hours(one.hours(paid, utilisation)) for one in hardware.values()]
        table.add_row(stage, _flops(price), _flops(paid), *hours)
    console.print(table)


def _short(device: Hardware) -> str:
    return device.name.removeprefix("NVIDIA ").removeprefix("GeForce ")


def _flops(value: float) -> str:
    return f"{value:.2e}".replace("e+", "e") if value else "0"


def _hours(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
