"""The command line: Hydra's, with every mistake found first and a report at the end.

``main`` composes and checks all that was asked for before the first run starts (no torch yet), then
lets Hydra launch the run or the sweep, then builds board and plots from the records. The exit code
is 0 only if every run is done. After Ctrl-C a sweep's report is built all the same.
"""

from __future__ import annotations

import logging
import os
import sys
import warnings
from typing import ClassVar

import hydra
from omegaconf import DictConfig

from harness.check import Request, check
from harness.overrides import UsageError, flags_first
from harness.watch import follow

# Flags that print something and run nothing.
HYDRAS_OWN = {
    "--cfg", "-c", "--hydra-help", "--info", "-i", "--version", "--shell-completion", "-sc",
}  # fmt: skip

STOPPED = 130  # the exit code after Ctrl-C

HELP = """\
usage: python -m harness [KEY=VALUE ...]        one run
       python -m harness -m [KEY=A,B,C ...]     a sweep over all combinations
       python -m harness experiment=NAME        a preset, sweeps included
       python -m harness.report DIR...          board and plots from records alone
       python -m harness.watch DIR              how far a sweep is that was started elsewhere

  python -m harness method=rds_plus pool.size=2000 budget=128 target=multi_task
  python -m harness -m method=random,rds_plus pool.size=2000,8000 budget=64,256 seed=0,1,2
  python -m harness pool=jsonl pool.path=my_rows.jsonl method=rds_plus

groups (GROUP=NAME):
{groups}

other settings:
{settings}

  --cfg job         print the composed configuration and stop
  --hydra-help      Hydra's own options (launchers, -m, --info, ...)
"""


def main() -> None:
    """Entry point of ``python -m harness`` and ``winnow``."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    arguments = sys.argv[1:]
    if any(word in ("-h", "--help") for word in arguments):
        print(_help())
        return
    if any(word.partition("=")[0] in HYDRAS_OWN for word in arguments):
        sys.argv[1:] = flags_first(arguments)
        _hydra_main()
        return
    try:
        request = check(arguments)
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    sys.argv[1:] = flags_first(arguments)
    code = 0
    _failures.main = os.getpid()
    try:
        with follow(request):
            _hydra_main()
    except SystemExit as stop:  # Hydra's word for a failed job
        code = stop.code if isinstance(stop.code, int) else 1
    except KeyboardInterrupt:
        code = STOPPED
        if request.multirun:
            print("stopped; the report of what is done follows (Ctrl-C: without)", file=sys.stderr)
    try:
        if request.multirun or code != STOPPED:
            _report(request)
    except KeyboardInterrupt:
        code = STOPPED
    sys.exit(code or (1 if _failures.runs else 0))


class _Failures:
    """Runs of this process that failed. Other launchers' jobs raise, and Hydra counts them."""

    main: int | None = None
    runs: ClassVar[list[str]] = []


_failures = _Failures()


@hydra.main(version_base="1.3", config_path="pkg://conf", config_name="config")
def _hydra_main(config: DictConfig) -> None:
    """One job of Hydra's."""
    from harness.run import RunFailed, run
    from harness.settings import build

    _calm_libraries()
    try:
        run(build(config))
    except RunFailed as error:
        if _failures.main != os.getpid():
            raise
        _failures.runs.append(str(error))  # a raise would end Hydra before the report


def _report(request: Request) -> None:
    """Board, plots and page from the records of this sweep's folder."""
    if request.until == "record" and (request.out / "records").is_dir():
        from harness.report import build_report, print_summary

        compare, reference = request.report.compare, request.report.reference
        paths = build_report(
            [request.out], request.out, compare, reference=reference, if_changed=True
        )
        print_summary(request.out, paths, compare, reference)


def _calm_libraries() -> None:
    """Libraries' chatter goes below the line; our own words stay."""
    for name in ("httpx", "filelock", "fvcore", "urllib3", "datasets", "fsspec", "absl", "lm_eval"):
        logging.getLogger(name).setLevel(logging.WARNING)
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    warnings.filterwarnings("ignore", category=FutureWarning)  # of other packages


def _help() -> str:
    from harness.check import describe

    groups, settings = describe()
    return HELP.format(groups=groups, settings=settings)


__all__ = ["main"]
