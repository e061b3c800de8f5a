"""Checking a submission: every number of every record's scores, from its per-item results.

Data is parsed and compared, nothing else: no class that a record names is imported or built, no
array or pickle is loaded. What can be recomputed is recomputed: mean, standard error and number of
items; the item scores themselves where the metric needs neither a judge nor execution; orderings
against what the record says of them; items, prompts and gold answers against the benchmarks
themselves (harness/board/against.py), where these are given or made. What cannot (FLOPs, seconds, a
judge's verdicts) is the submitter's word, and the result says which benchmarks these are.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.board.against import SUITES, Checked, Truth, differences, prompts_known, true_rows
from harness.board.orderings import check_ordering, json_lines
from harness.board.regrade import averages, foreign, regrade, regrades
from harness.board.submission import (
    ALLOWED,
    FORMAT,
    MANIFEST,
    MAX_TOTAL,
    Source,
    SubmissionError,
    describe,
    open_source,
    parse_json,
    safe_name,
)
from harness.files import digest
from harness.record import Record, RecordError, Score, read_record
from harness.statistics.items import ItemError, parse_rows, unpack

MAX_RECORD = 1 << 24  # bytes
TOLERANCE = 1e-6  # percent
PER_FILE = 3  # problems that are named of one file


@dataclass
class Verified:
    """What a check found.

    Attributes:
        problems: what is off; empty for a submission that holds.
        notes: what could not be checked, or is no fault.
        records, regraded, recomputed: finished records, item files graded again, scores recomputed.
        unpacked: bytes that gzip hid so far.
        targets: by benchmark, digests of (item, target) with the number of runs that have them:
            two submissions on the same data have the same.
    """

    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    records: int = 0
    regraded: int = 0
    recomputed: int = 0
    unpacked: int = 0
    targets: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    checked: dict[str, Checked] = field(default_factory=lambda: defaultdict(Checked))


def verify(path: Path, data: Path | None = None) -> Verified:
    """Check a folder or zip file; never raises for what is in it.

    Args:
        path: the submission.
        data: the benchmarks, as ``suite.data`` takes them, against which every item is held; None:
            only ``micro``'s are, which are generated.

    Raises:
        FileNotFoundError: ``data`` is no folder.
    """
    if data is not None and not data.is_dir():
        raise FileNotFoundError(f"--data {data}: no such folder; give one as suite.data takes it")
    result = Verified()
    truth = Truth(data)
    try:
        source = open_source(path)
        names = source.names()
    except SubmissionError as error:
        result.problems.append(str(error))
        return result
    packed = MANIFEST in names
    used = {MANIFEST}
    if packed:
        result.problems += _manifest(source, names)
    else:
        result.notes.append(f"no {MANIFEST}: only records and per-item results are checked")
    seen: dict[str, str] = {}
    for name in names:
        parts = name.split("/")
        if len(parts) < 2 or parts[-2] != "records" or not name.endswith(".json"):
            continue
        used.add(name)
        record = _record(source, name, result)
        if record is None:
            continue
        if record.run_id in seen:
            result.problems.append(f"{name}: the run {record.run_id} is in {seen[record.run_id]}")
        seen[record.run_id] = name
        root = "/".join(parts[:-2])
        try:
            used |= _check_record(
                source, name, f"{root}/" if root else "", record, packed, truth, result
            )
        except Exception as error:  # strangers' data: whatever it does to us is a fault of theirs
            result.problems.append(f"{name}: cannot be checked ({type(error).__name__}: {error})")
    if not seen:
        result.problems.append("no records/*.json")
    for name, digests in result.targets.items():
        if len(digests) > 1:
            result.problems.append(
                f"{name}: runs of one suite were scored on {len(digests)} different sets of items "
                "or targets"
            )
    if packed:
        result.problems += [f"{name} belongs to no record" for name in names if name not in used]
    return result


def _manifest(source: Source, names: list[str]) -> Iterator[str]:
    try:
        manifest = parse_json(source.read(MANIFEST), MANIFEST)
    except SubmissionError as error:
        yield str(error)
        return
    files = manifest.get("files") if isinstance(manifest, dict) else None
    if not isinstance(files, dict) or manifest.get("format") != FORMAT:
        yield f"{MANIFEST}: not of format {FORMAT}"
        return
    for name in sorted(set(files) - set(names)):
        yield f"{name} is in {MANIFEST} and missing"
    for name in names:
        if name == MANIFEST:
            continue
        if not name.endswith(ALLOWED):
            yield f"{name}: only {', '.join(ALLOWED)} are data of a submission"
        elif name not in files:
            yield f"{name} is not in {MANIFEST}"
        else:
            try:
                if describe(source.read(name)) != files[name]:
                    yield f"{name} is not the file that {MANIFEST} names (sha256, bytes)"
            except SubmissionError as error:
                yield str(error)


def _record(source: Source, name: str, result: Verified) -> Record | None:
    try:
        data = source.read(name)
        if len(data) > MAX_RECORD:
            raise SubmissionError(f"{name} is larger than {MAX_RECORD:,} bytes")
        parse_json(data, name)
        with tempfile.TemporaryDirectory() as folder:  # records are read by one function only
            path = Path(folder) / "record.json"
            path.write_bytes(data)
            record = read_record(path)
    except SubmissionError as error:
        result.problems.append(str(error))
        return None
    except (RecordError, ValueError, RecursionError) as error:
        result.problems.append(f"{name}: {' '.join(str(error).split())[:300]}")
        return None
    if not safe_name(record.run_id) or "/" in record.run_id:
        result.problems.append(f"{name}: {record.run_id!r} is no run id")
        return None
    return record


def _check_record(
    source: Source,
    name: str,
    root: str,
    record: Record,
    packed: bool,
    truth: Truth,
    result: Verified,
) -> set[str]:
    """Check one record; the names of the files that belong to it."""
    if record.status != "done":
        result.notes.append(f"{name}: a failed run")
        return set()
    result.records += 1
    used = set()
    for benchmark, score in sorted(record.scores.items()):
        if score.items is None or not safe_name(score.items):
            result.problems.append(f"{name}: {benchmark}: no per-item results ({score.items!r})")
            continue
        file = f"{root}{score.items}"
        used.add(file)
        try:
            rows = parse_rows(_unpack(source, file, result))
        except (ItemError, SubmissionError) as error:
            result.problems.append(f"{name}: {benchmark}: {file}: {error}")
            continue
        against, rows_true = _against(truth, record, benchmark, rows, result)
        result.problems += [f"{file}: {problem}" for problem in against]
        found = list(_check_score(benchmark, score, rows, rows_true, result))
        result.problems += [f"{file}: {problem}" for problem in found[:PER_FILE]]
        if len(found) > PER_FILE:
            result.problems.append(f"{file}: and {len(found) - PER_FILE} more")
        suite = f"{benchmark} (suite {record.suite} {record.digests.get('suite', '')})"
        content = sorted(json.dumps([row["item_id"], row.get("target")]) for row in rows)
        result.targets[suite][digest(content)] += 1
    ordering = f"{root}runs/{record.run_id}/selection.jsonl.gz"
    if packed and record.budget:
        used.add(ordering)
        try:
            rows = json_lines(_unpack(source, ordering, result), ordering)
            result.problems += [f"{ordering}: {p}" for p in check_ordering(record, rows)]
        except (ItemError, SubmissionError) as error:
            result.problems.append(f"{ordering}: {error}")
    return used


def _against(
    truth: Truth, record: Record, name: str, rows: list[dict[str, Any]], result: Verified
) -> tuple[list[str], list[dict[str, Any]]]:
    """What differs from the real benchmark, and the rows with its gold answers."""
    if not truth.knows(record.suite):
        if truth.has_data:
            return [f"the suite {record.suite} is none of {', '.join(SUITES)}: its items cannot be "
                    "held against data"], rows  # fmt: skip
        result.notes.append(f"{name}: items are not held against the benchmark; give --data DIR")
        return [], rows
    try:
        items = truth.expected(record, name)
    except (ValueError, OSError) as error:
        return [f"cannot be held against the benchmark: {' '.join(str(error).split())[:300]}"], rows
    if record.suite != "lm_eval" and foreign(record.scores[name].notes):
        return [f"the suite {record.suite} has no score by lm-eval's protocol"], rows
    if not prompts_known(record, name):
        result.notes.append(f"{name}: prompts are not checked (a template or protocol not ours)")
    limit = record.config.get("suite", {}).get("limit")
    if limit is not None:
        result.notes.append(f"{name}: suite.limit={limit}: {len(items)} items are a sample")
    counts = result.checked[f"{name} (suite {record.suite})"]
    problems = list(differences(record, name, rows, items, counts))
    return problems, true_rows(rows, items)


def _unpack(source: Source, name: str, result: Verified) -> bytes:
    data = unpack(source.read(name))
    result.unpacked += len(data)
    if result.unpacked > MAX_TOTAL:
        raise SubmissionError(f"more than {MAX_TOTAL:,} bytes unpacked in all")
    return data


def _check_score(
    name: str,
    score: Score,
    rows: list[dict[str, Any]],
    graded: list[dict[str, Any]],
    result: Verified,
) -> Iterator[str]:
    """Mean, error and count from the items; the scores of ``graded`` from their outputs."""
    from evaluation.statistics import mean_and_error

    identities = Counter(row["item_id"] for row in rows)
    twice = [item for item, count in identities.items() if count > 1]
    if twice:
        yield f"{len(twice)} items more than once, e.g. {twice[0]!r}"
    scored = [row for row in rows if row["score"] is not None]
    if not scored:
        yield "no scored item"
        return
    if len(scored) != score.n:
        yield f"{len(scored)} scored items, but the record says {score.n}"
    values = [float(row["score"]) for row in scored]
    groups = [row["subject"] for row in scored]
    clusters = [row.get("cluster") or row["subject"] for row in scored]
    # Older records take items of a group as independent.
    found = [
        mean_and_error(values, groups, rule, by)  # type: ignore[arg-type]
        for rule in averages(name)
        for by in (clusters, None)
    ]
    if score.metric.startswith("length_controlled"):
        result.notes.append(f"{name}: {score.metric} is no mean over items and is not recomputed")
    elif not any(
        _close(mean, score.score) and _close(error, score.stderr) for mean, error in found
    ):
        mean, error = found[0]
        said = f"{score.score:.6g} ± {_text(score.stderr)}"
        yield f"the items give {mean:.6g} ± {_text(error)}, but the record says {said}"
    result.recomputed += 1
    if regrades(name, score.notes):
        result.regraded += 1
    else:
        result.notes.append(f"{name}: item scores are taken as they are ({score.metric})")
    yield from regrade(name, score.notes, graded)


def _close(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return math.isfinite(other) and abs(one - other) <= TOLERANCE


def _text(value: float | None) -> str:
    return "none" if value is None else f"{value:.6g}"
