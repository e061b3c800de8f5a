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
_MANY = 40  # rows of the table, beyond which targets and seeds are averaged


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
    """Print the tables."""
    console = Console(width=None if Console().is_terminal else 132, highlight=False)
    first = next(iter(hardware.values()))
    groups = grouped(sweep.runs)
    averaged = len(groups) < len(sweep.runs)
    table = Table(box=box.SIMPLE, pad_edge=False, title_justify="left")
    table.title = f"What a run costs, alone: FLOPs{' (means over targets and seeds)' * averaged}"
    for name in ("method", "pool", "budget", "runs"):
        table.add_column(name, justify="left" if name == "method" else "right")
    for name in (*STAGES, "total*", "paper", f"{first.name.split()[-2]} h"):
        table.add_column(name, justify="right")
    for words, runs in groups:
        means = [sum(run.flops(s) for run in runs) / len(runs) for s in STAGES]
        total = sum(run.flops(*COUNTED) for run in runs) / len(runs)
        paper = sum(run.flops(*COUNTED, paper=True) for run in runs) / len(runs)
        known = all(run.known for run in runs)
        table.add_row(
            words["method"],
            f"{words['pool']:,}",
            f"{words['budget']:,}",
            str(len(runs)),
            *(_flops(m) if known or s in ("train", "evaluate") else "?"
              for s, m in zip(STAGES, means, strict=True)),
            _flops(total) if known else "?",
            _flops(paper) if known else "?",
            _hours(first.hours(total, utilisation)) if known else "?",
        )  # fmt: skip
    console.print(table)
    _totals(console, plan, hardware, utilisation)
    stored = ", ".join(f"{k} {size(v)}" for k, v in plan["bytes"]["stored"].items() if v)
    held, lengths = plan["bytes"]["held_while_training"], plan["profile"]
    for line in (
        f"{plan['cells']} cells, {len(plan['runs'])} distinct runs. Passes over the pool: "
        f"{plan['passes']['asked']} asked for, {plan['passes']['done']} done, "
        f"{plan['passes']['asked'] - plan['passes']['done']} saved by sharing. Trainings: "
        f"{plan['trainings']['asked']} asked for, {plan['trainings']['done']} done.",
        f"Disk: {size(sum(plan['bytes']['stored'].values()))} stay in the store ({stored}); "
        f"up to {size(held)} more while a model trains (weights and checkpoint, fp32).",
        f"Lengths: profile {lengths['name']}, {lengths['mean_tokens']:.1f} tokens a row (standard "
        f"error {lengths['standard_error']:.1%}): {lengths['source']}.",
        "* selection and training; evaluation stands apart, with every answer as long as it may be."
        " paper: 2N/6N a token, 2,048 tokens a row.",
        *plan["notes"],
        f"Planned in {plan['seconds']:.1f} s.",
    ):
        console.print(line)


def grouped(runs: list[RunPlan]) -> list[tuple[dict[str, Any], list[RunPlan]]]:
    """Runs as rows of the table: one each, or if that are many, by method, pool and budget."""
    keys = ("method", "model", "pool", "budget", "target", "seed")
    found: dict[tuple[Any, ...], list[RunPlan]] = defaultdict(list)
    for run in runs:
        key = tuple(run.words[k] for k in (keys if len(runs) <= _MANY else keys[:4]))
        found[key].append(run)
    return [(dict(zip(keys, key, strict=False)), members) for key, members in found.items()]


def _totals(
    console: Console, plan: dict[str, Any], hardware: dict[str, Hardware], utilisation: float
) -> None:
    table = Table(box=box.SIMPLE, pad_edge=False, title_justify="left")
    table.title = f"What the sweep costs; device hours at {utilisation:.0%} of the peak"
    for name in ("stage", "FLOPs if nothing were shared", "FLOPs spent"):
        table.add_column(name, justify="left" if name == "stage" else "right")
    for one in hardware.values():
        table.add_column(one.name.removeprefix("NVIDIA ").removeprefix("GeForce "), justify="right")
    full, spent = plan["flops_full_price"], plan["flops_spent"]
    rows = [(stage, full[stage], spent[stage]) for stage in STAGES]
    for stage, price, paid in [*rows, ("all", sum(full.values()), sum(spent.values()))]:
        hours = [_hours(one.hours(paid, utilisation)) for one in hardware.values()]
        table.add_row(stage, _flops(price), _flops(paid), *hours)
    console.print(table)


def _flops(value: float) -> str:
    return f"{value:.3g}" if value else "0"


def _hours(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
